//! Why something could not be recorded, and what to do about it.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hayward_api::{Code, Error};
use rustix::io::Errno;

/// Why something could not be recorded or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The system failed at one step.
    #[error("failed to {step} `{path}`")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An earlier failure closed the record, and its cause lasts or has not been looked at again.
    #[error("record `{path}` is closed since it failed to {step}")]
    Closed {
        /// The file of the record.
        path: PathBuf,
        /// The step that failed.
        step: &'static str,
    },
    /// It took too long: the disk hangs, or is much too slow.
    #[error("the record was not written within {after:?}")]
    Late {
        /// How long it was waited for.
        after: Duration,
    },
    /// A file that we need isn't what it must be.
    #[error("`{path}` is unfit for use: {why}")]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The outcome of an intent that isn't open: it has one already, or never was.
    #[error("intent {seq} is not open")]
    NotOpen {
        /// The number that was given.
        seq: u64,
    },
}

impl AuditError {
    pub(crate) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }

    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { source, .. } if is_out_of_descriptors(source) => {
                "raise the limit on open files of the daemon"
            }
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free space on the disk of the data directory"
                }
                io::ErrorKind::PermissionDenied => {
                    "let the user of the daemon own the data directory and all in it"
                }
                _ => "look at the disk of the data directory",
            },
            Self::Closed { .. } => "repair what the log names; the record then opens by itself",
            Self::Late { .. } => "look at the disk of the data directory: it hangs, or others keep it busy",
            Self::Unfit { .. } => {
                "put the file back as it was (keys: mode 600), from a backup if need be; it is never replaced by itself"
            }
            Self::NotOpen { .. } => "report this as a defect of Hayward",
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

impl From<AuditError> for Error {
    fn from(error: AuditError) -> Self {
        let code = match &error {
            AuditError::Io { .. }
            | AuditError::Closed { .. }
            | AuditError::Late { .. }
            | AuditError::Unfit { .. } => Code::Unavailable,
            AuditError::NotOpen { .. } => Code::Internal,
        };
        let detail = match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Self::new(code, "the call cannot be recorded, so it is refused")
            .with_hint(error.hint())
            .with_detail(detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_learns_the_way_out_and_no_path() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::from(AuditError::io("write", Path::new("/secret/record.jsonl"))(full));
        assert_eq!(error.code, Code::Unavailable);
        assert!(!error.message.contains("/secret") && !error.hint.unwrap().contains("/secret"));
        assert!(error.detail.unwrap().starts_with("failed to write `/secret/record.jsonl`: "));
    }
}
