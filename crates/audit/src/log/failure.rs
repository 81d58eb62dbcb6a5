//! What a failure means for the file it happened to. Pure decisions.

use std::io;
use std::time::Instant;

use crate::error::AuditError;
use crate::limits::RETRY_AFTER;

/// Where the record may go on; the later one is the stricter one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Footing {
    /// In the same file, which is whole up to its last record.
    SameFile,
    /// In a fresh file only. After a failed sync the kernel holds pages for clean that never
    /// reached the disk, so another sync of the same file would only pretend.
    FreshFile,
}

/// Why the record is closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) step: &'static str,
    pub(crate) footing: Footing,
    /// When to try again.
    pub(crate) retry_at: Instant,
}

impl Failure {
    pub(crate) fn new(error: &AuditError, now: Instant) -> Self {
        let (step, footing) = match error {
            AuditError::Io { step, source, .. } => (*step, footing(step, source.kind())),
            AuditError::Closed { step, .. } => (*step, Footing::SameFile),
            AuditError::Late { .. } => ("write in time", Footing::SameFile),
            AuditError::Unfit { why, .. } => (*why, Footing::SameFile),
            AuditError::NotOpen { .. } => ("find the intent", Footing::SameFile),
        };
        Self { step, footing, retry_at: now + RETRY_AFTER }
    }

    /// This one, after an earlier one that lasts: the graver one is told.
    pub(crate) fn after(self, earlier: Option<Self>) -> Self {
        match earlier {
            Some(earlier) if earlier.footing >= self.footing => Self { retry_at: self.retry_at, ..earlier },
            _ => self,
        }
    }
}

fn footing(step: &str, kind: io::ErrorKind) -> Footing {
    match kind {
        // With delayed allocation a sync too can find the disk full, and then pages are lost.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded if step != "sync" => Footing::SameFile,
        _ => Footing::FreshFile,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn failure(step: &'static str, kind: io::ErrorKind) -> Failure {
        Failure::new(&AuditError::io(step, Path::new("/r"))(kind.into()), Instant::now())
    }

    #[test]
    fn only_a_full_disk_leaves_the_file_fit_for_use() {
        for (step, kind, expected) in [
            ("write", io::ErrorKind::StorageFull, Footing::SameFile),
            ("write", io::ErrorKind::QuotaExceeded, Footing::SameFile),
            ("write", io::ErrorKind::ReadOnlyFilesystem, Footing::FreshFile),
            ("write", io::ErrorKind::Other, Footing::FreshFile),
            ("sync", io::ErrorKind::StorageFull, Footing::FreshFile),
            ("sync", io::ErrorKind::Other, Footing::FreshFile),
        ] {
            assert_eq!(failure(step, kind).footing, expected, "{step} {kind}");
        }
    }

    #[test]
    fn the_graver_failure_is_told_whichever_came_first() {
        let full = failure("write", io::ErrorKind::StorageFull);
        let sync = failure("sync", io::ErrorKind::Other);
        for both in [sync.after(Some(full)), full.after(Some(sync))] {
            assert_eq!((both.step, both.footing), ("sync", Footing::FreshFile));
        }
        assert_eq!(full.after(Some(sync)).retry_at, full.retry_at);
        assert_eq!(full.after(None).step, "write");
    }
}
