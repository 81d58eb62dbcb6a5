//! Notices that files have changed, once they have come to rest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::config::file::{Look, look};

/// How often files are looked at; twice this until a change is acted on.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Files, and how they looked.
pub(super) struct Watch {
    /// As somebody read them last.
    read: BTreeMap<PathBuf, Look>,
    /// As they were seen last.
    seen: BTreeMap<PathBuf, Look>,
    ticks: Interval,
}

impl Watch {
    /// Watches files that were read when they looked like this.
    pub(super) fn new(read: BTreeMap<PathBuf, Look>) -> Self {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { seen: read.clone(), read, ticks }
    }

    /// They were read again, perhaps others beside or instead, when they looked like this.
    pub(super) fn were_read(&mut self, read: BTreeMap<PathBuf, Look>) {
        (self.seen, self.read) = (read.clone(), read);
    }

    /// Waits until they look otherwise than when they were read, and twice the same: somebody may be in the middle of
    /// writing them. Cancellation-safe.
    pub(super) async fn changed(&mut self) {
        loop {
            self.ticks.tick().await;
            if self.sees(self.read.keys().map(|path| (path.clone(), look(path))).collect()) {
                return;
            }
        }
    }

    /// Notes how they look now; whether that is to be acted on.
    fn sees(&mut self, now: BTreeMap<PathBuf, Look>) -> bool {
        let is_at_rest = self.seen == now;
        self.seen = now;
        is_at_rest && self.seen != self.read
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_change_is_acted_on_once_it_is_at_rest_and_once_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let looks = || BTreeMap::from([(path.clone(), look(&path))]);
        let mut watch = Watch::new(looks());
        assert!(!watch.sees(looks()) && !watch.sees(looks()));
        for written in 1..4 {
            fs::write(&path, "x".repeat(written)).unwrap();
            assert!(!watch.sees(looks()), "it was written a moment ago");
        }
        assert!(watch.sees(looks()));
        watch.were_read(looks());
        assert!(!watch.sees(looks()) && !watch.sees(looks()));
        fs::remove_file(&path).unwrap();
        assert!(!watch.sees(looks()) && watch.sees(looks()));
        watch.were_read(looks());
        assert!(!watch.sees(looks()));
    }
}
