//! Which of the files put aside may go.
//!
//! Whoever may call tools, or only try to, fills the record. So the number of files alone deletes
//! nothing: a file must also have lain for a while, time enough to be collected or noticed. Only
//! a disk about to be filled overrides that, and the log says so. Pure decisions.

use std::time::Duration;

use crate::limits::{DISK_FREE_WARN_BYTES, DISK_FREE_WARN_PERCENT, FILES_KEPT_WARN_PERCENT, Limits};

/// A file put aside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aside {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    /// Since it was last written.
    pub(crate) age: Duration,
}

/// How many of the oldest files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doomed {
    pub(crate) count: usize,
    /// Some of them go before their time, since all together are too large.
    pub(crate) is_early: bool,
}

/// Decides over these files, oldest first.
pub(crate) fn doomed(aside: &[Aside], limits: &Limits) -> Doomed {
    let kept = usize::try_from(limits.files_kept).unwrap_or(usize::MAX);
    let beyond = &aside[..aside.len().saturating_sub(kept)];
    let kept_for = Duration::from_millis(limits.files_kept_ms_min);
    let due = beyond.iter().take_while(|file| file.age >= kept_for).count();
    let mut count = due;
    let mut bytes: u64 = aside[due..].iter().map(|file| file.bytes).sum();
    // The newest stays, however large it is.
    while bytes > limits.files_kept_bytes_max && count + 1 < aside.len() {
        bytes -= aside[count].bytes;
        count += 1;
    }
    Doomed { count, is_early: count > due }
}

/// Bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) free: u64,
    pub(crate) size: u64,
}

/// What is told before anything has to be deleted early, or the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    /// The files put aside take most of the room that they may.
    Files,
    /// The file system has little room left.
    Disk,
}

/// Whether room runs out, for files of this many bytes in all.
pub(crate) fn pressure(bytes: u64, space: Space, limits: &Limits) -> Option<Pressure> {
    let part = |of: u64, percent: u64| of / 100 * percent;
    let free_min = part(space.size, DISK_FREE_WARN_PERCENT).min(DISK_FREE_WARN_BYTES);
    if space.free < free_min {
        return Some(Pressure::Disk);
    }
    (bytes >= part(limits.files_kept_bytes_max, FILES_KEPT_WARN_PERCENT)).then_some(Pressure::Files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of 10 bytes with these ages in seconds; 2 are kept, for 60 seconds, and 50 bytes.
    fn check(ages: &[u64], count: usize, is_early: bool) {
        let limits = Limits {
            files_kept: 2,
            files_kept_ms_min: 60_000,
            files_kept_bytes_max: 50,
            ..Limits::default()
        };
        let file = |age: &u64| Aside { number: 1, bytes: 10, age: Duration::from_secs(*age) };
        let aside: Vec<Aside> = ages.iter().map(file).collect();
        assert_eq!(doomed(&aside, &limits), Doomed { count, is_early }, "{ages:?}");
    }

    #[test]
    fn a_file_goes_when_it_is_beyond_the_number_and_old() {
        check(&[], 0, false);
        check(&[90, 80], 0, false);
        check(&[90, 80, 70], 1, false);
        check(&[90, 80, 70, 65], 2, false);
        check(&[90, 59, 1], 1, false);
    }

    #[test]
    fn a_young_file_stays_however_many_there_are() {
        check(&[59, 5, 4, 3, 2], 0, false);
        check(&[61, 59, 4, 3, 2], 1, false);
    }

    #[test]
    fn too_much_in_all_goes_early() {
        check(&[5, 5, 4, 3, 2, 1], 1, true);
        check(&[90, 5, 5, 4, 3, 2, 1], 2, true);
        check(&[90, 90, 90, 5, 5, 4, 3, 2], 3, false);
    }

    #[test]
    fn the_newest_stays_however_large_it_is() {
        let aside = [1, 2].map(|number| Aside { number, bytes: u64::MAX / 4, age: Duration::ZERO });
        assert_eq!(doomed(&aside, &Limits::default()), Doomed { count: 1, is_early: true });
        assert_eq!(doomed(&aside[1..], &Limits::default()), Doomed { count: 0, is_early: false });
    }

    #[test]
    fn it_is_told_early_that_room_runs_out() {
        let limits = Limits { files_kept_bytes_max: 1000, ..Limits::default() };
        let gib = 1 << 30;
        for (bytes, free, size, expected) in [
            (799, 500 * gib, 1000 * gib, None),
            (800, 500 * gib, 1000 * gib, Some(Pressure::Files)),
            // Of a large disk a gibibyte is enough, of a small one a part.
            (0, gib, 1000 * gib, None),
            (0, gib - 1, 1000 * gib, Some(Pressure::Disk)),
            (0, 60 << 20, 1 << 30, None),
            (900, 50 << 20, 1 << 30, Some(Pressure::Disk)),
        ] {
            assert_eq!(pressure(bytes, Space { free, size }, &limits), expected, "{bytes} {free} {size}");
        }
    }
}
