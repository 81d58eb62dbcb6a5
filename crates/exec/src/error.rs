//! Why a job didn't start, or why nothing is known about its end.

use std::io;
use std::path::PathBuf;

use crate::job::Job;
use crate::wire::{NotStarted, Step};

/// Why a job has no result.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields say in the message what they are")]
pub enum ExecError {
    /// The working directory doesn't exist (any more).
    #[error("working directory `{}` does not exist", path.display())]
    WorkingDirNotFound { path: PathBuf },
    /// The working directory is something else.
    #[error("working directory `{}` is not a directory", path.display())]
    NotADirectory { path: PathBuf },
    /// The working directory depends on where the server runs.
    #[error("working directory `{}` is not absolute", path.display())]
    WorkingDirRelative { path: PathBuf },
    /// This user may not enter the directory or execute the program.
    #[error("no permission for `{}`", path.display())]
    PermissionDenied { path: PathBuf },
    /// There is no such program, or its interpreter is missing.
    #[error("program `{program}` was not found")]
    ProgramNotFound { program: String },
    /// More than the kernel takes: 128 KiB for one argument, about 2 MiB for all.
    #[error("arguments and environment are too long")]
    ArgumentsTooLong,
    /// C strings end at a NUL byte.
    #[error("{what} contains a NUL byte")]
    NulByte { what: &'static str },
    /// The kernel has no room for another process.
    #[error("no more processes can be started now")]
    TooManyProcesses {
        #[source]
        source: io::Error,
    },
    /// The server has no room for another open file.
    #[error("no more files can be opened now")]
    TooManyFiles {
        #[source]
        source: io::Error,
    },
    /// The queue for a turn is full.
    #[error("{waiting_max} commands are waiting already")]
    Busy { waiting_max: u64 },
    /// As many jobs are talked to as may be.
    #[error("{max} commands are being talked to already")]
    TooManyConversations { max: u64 },
    /// No job starts any more.
    #[error("the server is stopping")]
    ShuttingDown,
    /// The program couldn't be started for another reason.
    #[error("failed to start `{program}`")]
    NotStarted {
        program: String,
        #[source]
        source: io::Error,
    },
    /// The supervisor couldn't be started or doesn't answer. The job didn't start.
    #[error("failed to {step} the supervisor of a command")]
    SupervisorFailed {
        step: &'static str,
        #[source]
        source: io::Error,
    },
    /// The profile says something that can't be meant.
    #[error("the profile can't be held: {what}")]
    ProfileInvalid { what: String },
    /// A root of a confined job isn't there, is no file or directory, or is the kernel's.
    #[error("a root of the command can't be granted")]
    RootRefused {
        #[source]
        source: io::Error,
    },
    /// A root lies in a protected path, or holds one that couldn't be kept from the job here.
    #[error("a root of the command and a protected path can't be kept apart")]
    RootProtected,
    /// The kernel can't hold this fence, and without it the job doesn't run.
    #[error("the kernel can't confine the command: {fence}")]
    NotConfined {
        fence: &'static str,
        #[source]
        source: io::Error,
    },
    /// The supervisor ended before its job, which was ended with it.
    #[error("the supervisor of the command was ended, and the command with it")]
    SupervisorLost,
}

impl ExecError {
    /// The error of a step around the supervisor.
    pub(crate) fn supervisor(step: &'static str, source: io::Error) -> Self {
        Self::out_of_room(source).unwrap_or_else(|source| Self::SupervisorFailed { step, source })
    }

    /// The error for what a supervisor says about this job.
    pub(crate) fn not_started(job: &Job, why: NotStarted) -> Self {
        use rustix::io::Errno;
        let (path, program) = (job.cwd.clone(), job.program.clone());
        let source = io::Error::from_raw_os_error(why.errno);
        match (why.step, Errno::from_raw_os_error(why.errno)) {
            (Step::Root, _) => Self::RootRefused { source },
            (Step::Protect, _) => Self::RootProtected,
            (Step::Stage, _) => Self::SupervisorLost,
            (Step::Isolate, _) => Self::supervisor("isolate", source),
            (Step::Mount, _) => Self::NotConfined { fence: "mounts", source },
            (Step::Landlock, _) => Self::NotConfined { fence: "Landlock", source },
            (Step::Privileges, _) => Self::NotConfined { fence: "privileges", source },
            (Step::Syscalls, _) => Self::NotConfined { fence: "system calls", source },
            (Step::Limit, _) => Self::NotConfined { fence: "limits", source },
            (Step::EnterCgroup, _) => Self::supervisor("contain", source),
            (Step::WorkingDir, Errno::NOENT) => Self::WorkingDirNotFound { path },
            (Step::WorkingDir, Errno::NOTDIR) => Self::NotADirectory { path },
            (Step::WorkingDir, Errno::ACCESS) => Self::PermissionDenied { path },
            (Step::Program, Errno::NOENT | Errno::NOTDIR) => Self::ProgramNotFound { program },
            (Step::Program, Errno::ACCESS) => Self::PermissionDenied { path: program.into() },
            (Step::Program, Errno::TOOBIG) => Self::ArgumentsTooLong,
            _ => Self::out_of_room(source).unwrap_or_else(|source| Self::NotStarted { program, source }),
        }
    }

    fn out_of_room(source: io::Error) -> Result<Self, io::Error> {
        use rustix::io::Errno;
        match Errno::from_io_error(&source) {
            Some(Errno::AGAIN | Errno::NOMEM) => Ok(Self::TooManyProcesses { source }),
            Some(Errno::MFILE | Errno::NFILE) => Ok(Self::TooManyFiles { source }),
            _ => Err(source),
        }
    }

    /// What the caller can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::WorkingDirNotFound { .. } | Self::NotADirectory { .. } => "name a directory that exists",
            Self::WorkingDirRelative { .. } => "use an absolute path",
            Self::PermissionDenied { .. } => "check the mode and owner of the path",
            Self::ProgramNotFound { .. } => "check its name and the PATH, or use its full path",
            Self::ArgumentsTooLong => "write the text to a file and pass its path",
            Self::NulByte { .. } => "remove the NUL byte",
            Self::TooManyProcesses { .. }
            | Self::TooManyFiles { .. }
            | Self::Busy { .. }
            | Self::TooManyConversations { .. } => "try again when other commands have ended",
            Self::ProfileInvalid { .. } => "correct the profile",
            Self::RootRefused { .. } => "name files and directories that exist and aren't the kernel's",
            Self::RootProtected => "name a root that neither holds nor lies in a protected path",
            Self::NotConfined { .. } => {
                "it needs Linux 6.2 with Landlock and seccomp; the fences of this machine are shown by an assessment"
            }
            Self::ShuttingDown => "try again when the server is back",
            Self::SupervisorLost => {
                "the command may have run in part: look at what it did before you repeat it, and let it not \
                 kill its parent"
            }
            Self::NotStarted { .. } | Self::SupervisorFailed { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn job() -> Job {
        Job {
            program: "tool".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: "/folder".into(),
            stdout_bytes_max: 0,
            stderr_bytes_max: 0,
            timeout: std::time::Duration::ZERO,
            survivors: crate::job::Survivors::End,
            profile: crate::profile::Profile::Full,
            quota: crate::quota::Quota::default(),
            label: None,
        }
    }

    fn of(step: Step, errno: Errno) -> ExecError {
        ExecError::not_started(&job(), NotStarted { step, errno: errno.raw_os_error() })
    }

    #[test]
    fn what_failed_is_told_by_its_step() {
        for (step, errno, message) in [
            (Step::Root, Errno::NOENT, "a root of the command can't be granted"),
            (Step::Protect, Errno::PERM, "a root of the command and a protected path can't be kept apart"),
            (Step::Stage, Errno::PIPE, "the supervisor of the command was ended, and the command with it"),
            (Step::Isolate, Errno::IO, "failed to isolate the supervisor of a command"),
            (Step::EnterCgroup, Errno::NOENT, "failed to contain the supervisor of a command"),
            (Step::Mount, Errno::PERM, "the kernel can't confine the command: mounts"),
            (Step::Landlock, Errno::OPNOTSUPP, "the kernel can't confine the command: Landlock"),
            (Step::Privileges, Errno::PERM, "the kernel can't confine the command: privileges"),
            (Step::Syscalls, Errno::INVAL, "the kernel can't confine the command: system calls"),
            (Step::Limit, Errno::PERM, "the kernel can't confine the command: limits"),
            (Step::WorkingDir, Errno::NOENT, "working directory `/folder` does not exist"),
            (Step::WorkingDir, Errno::NOTDIR, "working directory `/folder` is not a directory"),
            (Step::WorkingDir, Errno::ACCESS, "no permission for `/folder`"),
            (Step::WorkingDir, Errno::IO, "failed to start `tool`"),
            (Step::Program, Errno::NOENT, "program `tool` was not found"),
            (Step::Program, Errno::NOTDIR, "program `tool` was not found"),
            (Step::Program, Errno::ACCESS, "no permission for `tool`"),
            (Step::Program, Errno::TOOBIG, "arguments and environment are too long"),
            (Step::Program, Errno::NOEXEC, "failed to start `tool`"),
            (Step::Watch, Errno::INVAL, "failed to start `tool`"),
        ] {
            assert_eq!(of(step, errno).to_string(), message, "{step:?} {errno:?}");
        }
    }

    #[test]
    fn a_lack_of_room_is_told_from_a_failure() {
        for step in [Step::Program, Step::Watch, Step::Isolate, Step::EnterCgroup] {
            for errno in [Errno::AGAIN, Errno::NOMEM] {
                assert!(matches!(of(step, errno), ExecError::TooManyProcesses { .. }), "{step:?} {errno:?}");
            }
            for errno in [Errno::MFILE, Errno::NFILE] {
                assert!(matches!(of(step, errno), ExecError::TooManyFiles { .. }), "{step:?} {errno:?}");
            }
            let is_failure = matches!(
                of(step, Errno::IO),
                ExecError::NotStarted { .. } | ExecError::SupervisorFailed { .. }
            );
            assert!(is_failure, "{step:?}");
        }
    }

    #[test]
    fn a_way_out_is_named_where_there_is_one() {
        for (error, word) in [
            (of(Step::WorkingDir, Errno::NOENT), "exists"),
            (of(Step::WorkingDir, Errno::NOTDIR), "exists"),
            (ExecError::WorkingDirRelative { path: "x".into() }, "absolute"),
            (of(Step::Program, Errno::ACCESS), "mode and owner"),
            (of(Step::Program, Errno::NOENT), "PATH"),
            (of(Step::Program, Errno::TOOBIG), "to a file"),
            (ExecError::NulByte { what: "an argument" }, "NUL"),
            (of(Step::Program, Errno::AGAIN), "other commands have ended"),
            (of(Step::Program, Errno::MFILE), "other commands have ended"),
            (ExecError::Busy { waiting_max: 1 }, "other commands have ended"),
            (ExecError::ProfileInvalid { what: String::new() }, "profile"),
            (of(Step::Root, Errno::NOENT), "kernel's"),
            (of(Step::Protect, Errno::PERM), "protected path"),
            (of(Step::Landlock, Errno::OPNOTSUPP), "Landlock"),
            (ExecError::ShuttingDown, "is back"),
            (ExecError::SupervisorLost, "before you repeat it"),
        ] {
            assert!(error.hint().is_some_and(|hint| hint.contains(word)), "{error}: {:?}", error.hint());
        }
        for error in [of(Step::Program, Errno::IO), of(Step::Isolate, Errno::IO)] {
            assert_eq!(error.hint(), None, "{error}");
        }
    }
}
