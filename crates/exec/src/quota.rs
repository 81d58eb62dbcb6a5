//! What one job may use up. Each bound is optional; those of a confined job have defaults.
//!
//! | bound | by cgroup | without its controller |
//! |---|---|---|
//! | memory | all of the job together, no swap; the kernel ends the job | `RLIMIT_AS`: each process by itself |
//! | processes | all of the job together, threads included | `RLIMIT_NPROC`: all of that user together, and nothing for root |
//! | cpu | all of the job together | not bounded |
//! | file | (a file can't be bounded by cgroup) | `RLIMIT_FSIZE`: each file by itself |
//!
//! A quota never keeps a job from starting; [`Containment`](crate::Containment) says how it is held.

use serde::{Deserialize, Serialize};

use crate::limits::{CONFINED_CPU_PERCENT, CONFINED_FILE_BYTES, CONFINED_MEMORY_BYTES, CONFINED_PROCESSES};

/// What one job may use up; see the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes of memory, page cache included.
    pub memory_bytes: Option<u64>,
    /// Processes and threads at once.
    pub processes: Option<u64>,
    /// Time on processors, in percent of one of them.
    pub cpu_percent: Option<u64>,
    /// Bytes of one file that it writes.
    pub file_bytes: Option<u64>,
}

/// What a job ran into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exhausted {
    /// The kernel ended processes because the job had all its memory.
    pub memory: bool,
    /// A process or thread was refused because the job had all it may have.
    pub processes: bool,
}

impl Quota {
    /// What a confined job gets where nothing else is said.
    pub const CONFINED: Self = Self {
        memory_bytes: Some(CONFINED_MEMORY_BYTES),
        processes: Some(CONFINED_PROCESSES),
        cpu_percent: Some(CONFINED_CPU_PERCENT),
        file_bytes: Some(CONFINED_FILE_BYTES),
    };

    /// This quota, and that one where this says nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.or(other.memory_bytes),
            processes: self.processes.or(other.processes),
            cpu_percent: self.cpu_percent.or(other.cpu_percent),
            file_bytes: self.file_bytes.or(other.file_bytes),
        }
    }

    /// Whether nothing is bounded.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_goes_before_the_default() {
        let mine = Quota { processes: Some(3), ..Quota::default() };
        let both = mine.or(Quota::CONFINED);
        assert_eq!((both.processes, both.memory_bytes), (Some(3), Quota::CONFINED.memory_bytes));
        assert!(Quota::default().is_none() && !both.is_none());
    }
}
