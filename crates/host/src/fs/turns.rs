//! One writer at a time for each file, among our own.
//!
//! Against others a change of a file is checked when it is made; among ourselves, waiting for a turn
//! is cheaper than making a change twice, and leaves no gap between check and undo.

use std::collections::HashSet;
use std::ffi::OsString;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use hayward_tool::{Cx, Stop};

use super::identity::FileId;

/// How often a waiting thread looks whether it has to stop.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A place that is written to: a name in a directory.
pub(super) type Key = (FileId, OsString);

/// Who writes where.
#[derive(Default)]
pub(super) struct Turns {
    taken: Mutex<HashSet<Key>>,
    freed: Condvar,
}

/// A turn; ends when dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    key: Key,
}

impl Turns {
    /// Waits for a turn, as long as the call may run.
    pub(super) fn take(&self, cx: &Cx, key: Key) -> Result<Turn<'_>, Stop> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.contains(&key) {
            if let Some(stop) = cx.stop() {
                return Err(stop);
            }
            let woken = self.freed.wait_timeout(taken, LOOK_EVERY);
            taken = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        taken.insert(key.clone());
        Ok(Turn { turns: self, key })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.key);
        self.turns.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn a_place_is_had_by_one_at_a_time_and_others_are_free() {
        let turns = Turns::default();
        let key = |name: &str| (FileId { dev: 1, ino: 2 }, OsString::from(name));
        let cx = Cx::new(Duration::from_millis(1), CancellationToken::new());
        let turn = turns.take(&cx, key("a")).unwrap();
        assert!(turns.take(&cx, key("b")).is_ok());
        assert_eq!(turns.take(&cx, key("a")).err(), Some(Stop::Deadline));
        drop(turn);
        assert!(turns.take(&cx, key("a")).is_ok());
    }
}
