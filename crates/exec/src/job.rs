//! What is run, and what became of it: the values that callers give and get.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::ExecError;
use crate::profile::Profile;
use crate::quota::{Exhausted, Quota};
use crate::spool::Label;
use crate::wire::Status;

/// A command to run.
#[derive(Clone, Debug)]
pub struct Job {
    /// A path, or a name that is looked up in the `PATH` of `env` (absolute entries only).
    pub program: String,
    /// Its arguments, without the program itself.
    pub args: Vec<String>,
    /// Its whole environment; nothing else is inherited.
    pub env: Vec<(String, String)>,
    /// Where it runs; absolute.
    pub cwd: PathBuf,
    /// Bytes of standard output that are kept; the rest is read and counted.
    pub stdout_bytes_max: usize,
    /// Bytes of standard error that are kept; the rest is read and counted.
    pub stderr_bytes_max: usize,
    /// How long it may take, its wait for a turn included.
    pub timeout: Duration,
    /// What happens to processes that it leaves behind.
    pub survivors: Survivors,
    /// What it may do.
    pub profile: Profile,
    /// What it may use up.
    pub quota: Quota,
    /// What it is called in the spool; without a name nothing of it outlives the server.
    pub label: Option<Label>,
}

/// What happens to processes that a job leaves behind when it exits by itself.
///
/// Holders of the job's pipes are ended either way: nobody reads those pipes any more. A confined
/// job leaves nobody, and is refused if it is to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Survivors {
    /// They are ended.
    #[default]
    End,
    /// They are left alone, on purpose: a daemon that the job was meant to start.
    Leave,
}

/// What became of a job that was started, or that was ended before its turn came.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// The start of its standard output.
    pub stdout: Captured,
    /// The start of its standard error.
    pub stderr: Captured,
    /// What was still there after it ended, at most 64 of them.
    pub survivors: Vec<Survivor>,
    /// From the call to the result.
    pub duration: Duration,
    /// What it ran into, as far as its cgroups tell.
    pub exhausted: Exhausted,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended it, not ours.
    Signaled {
        /// The number of the signal.
        signal: i32,
    },
    /// Its time was over.
    TimedOut,
    /// Its caller cancelled it or went away, or the server stops.
    Cancelled,
}

impl From<Status> for Ending {
    fn from(status: Status) -> Self {
        match status {
            Status::Code(code) => Self::Exited { code },
            Status::Signal(signal) => Self::Signaled { signal },
        }
    }
}

/// The start of a stream, and how long it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The bytes that were kept.
    pub bytes: Vec<u8>,
    /// All bytes that were read.
    pub bytes_total: u64,
}

impl Captured {
    /// Whether there was more than was kept.
    pub fn is_truncated(&self) -> bool {
        self.bytes_total > self.bytes.len() as u64
    }
}

/// A process that was there after its job had ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// Its process id.
    pub pid: i32,
    /// Its command line, shortened; `[name]` where it has none.
    pub command: String,
    /// What was done about it.
    pub fate: Fate,
}

/// What was done about a survivor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It was ended.
    Ended,
    /// It was left alone, as asked.
    Left,
    /// It was killed but hangs in the kernel; it goes when the kernel lets it.
    Stuck,
}

impl Job {
    /// What it may use up: what it says, and where it is confined and says nothing, the defaults.
    pub fn effective_quota(&self) -> Quota {
        match self.profile {
            Profile::Full => self.quota,
            Profile::Confined(_) => self.quota.or(Quota::CONFINED),
        }
    }

    /// Refuses what no kernel could take.
    pub(crate) fn check(&self) -> Result<(), ExecError> {
        let has_nul = |text: &String| text.contains('\0');
        let what = if has_nul(&self.program) {
            "program"
        } else if self.args.iter().any(has_nul) {
            "argument"
        } else if self.env.iter().any(|(name, value)| has_nul(name) || has_nul(value)) {
            "environment"
        } else if self.cwd.as_os_str().as_encoded_bytes().contains(&0) {
            "working directory"
        } else if !self.cwd.is_absolute() {
            return Err(ExecError::WorkingDirRelative { path: self.cwd.clone() });
        } else if self.profile != Profile::Full && self.survivors == Survivors::Leave {
            let what = "a confined command leaves no process behind".to_owned();
            return Err(ExecError::ProfileInvalid { what });
        } else {
            return self.profile.check();
        };
        Err(ExecError::NulByte { what })
    }
}
