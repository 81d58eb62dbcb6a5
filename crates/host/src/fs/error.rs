//! Why a file can't be had, and how tools say so: the codes and wording that the seed's clients know,
//! where the seed has them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hayward_api::Code;
use hayward_api::fence::RunAs;
use hayward_tool::{Stop, ToolError};
use rustix::io::Errno;

use super::path::PathDefect;

/// Why a file can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FsError {
    #[error("path {defect}")]
    InvalidPath { defect: PathDefect },
    #[error("File not found: {}", path.display())]
    NotFound { path: PathBuf },
    #[error("{} is a directory", path.display())]
    IsDirectory { path: PathBuf },
    #[error("{}: a part of the path is not a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("{} is not a regular file but a {kind}", path.display())]
    NotRegular { path: PathBuf, kind: &'static str },
    #[error("Permission denied: {}", path.display())]
    Permission { path: PathBuf },
    #[error("Access denied: path is within protected directory {}", root.display())]
    Protected { root: PathBuf },
    #[error("Permission denied: {} is outside of what this token may reach: {roots}", path.display())]
    Outside { path: PathBuf, roots: Arc<str> },
    #[error("Permission denied: {} may be read and not changed: {roots}", path.display())]
    ReadOnlyRoot { path: PathBuf, roots: Arc<str> },
    #[error("Permission denied: this token acts as user {user}, and file tools act as the daemon's")]
    OtherUser { user: RunAs },
    #[error("No space left on device: {}", path.display())]
    NoSpace { path: PathBuf },
    #[error("Read-only file system: {}", path.display())]
    ReadOnly { path: PathBuf },
    #[error("{} has {bytes} bytes, max is {bytes_max}", path.display())]
    TooLarge { path: PathBuf, bytes: u64, bytes_max: usize },
    #[error("{}: the rules of ignore files that hold here are more than {bytes_max} bytes", path.display())]
    TooManyRules { path: PathBuf, bytes_max: usize },
    #[error("{} has nothing to read now", path.display())]
    WouldBlock { path: PathBuf },
    #[error("{} already exists and overwrite=False.", path.display())]
    Exists { path: PathBuf },
    #[error("{} can only be overwritten where it stands: it has several names, is mounted, or its directory can't be written", path.display())]
    Irreplaceable { path: PathBuf },
    #[error("{} was changed by somebody else at the same time", path.display())]
    Conflict { path: PathBuf },
    #[error("the call has to stop")]
    Stopped { stop: Stop },
    #[error("failed to {step} {}: {errno}", path.display())]
    Io { step: &'static str, path: PathBuf, errno: Errno },
}

impl From<PathDefect> for FsError {
    fn from(defect: PathDefect) -> Self {
        Self::InvalidPath { defect }
    }
}

impl From<Stop> for FsError {
    fn from(stop: Stop) -> Self {
        Self::Stopped { stop }
    }
}

impl FsError {
    /// The error of a step that the kernel refused.
    pub(crate) fn of(step: &'static str, path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NOENT => Self::NotFound { path },
            Errno::ISDIR => Self::IsDirectory { path },
            Errno::NOTDIR => Self::NotADirectory { path },
            Errno::ACCESS | Errno::PERM => Self::Permission { path },
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace { path },
            Errno::ROFS => Self::ReadOnly { path },
            Errno::AGAIN => Self::WouldBlock { path },
            Errno::NAMETOOLONG => Self::InvalidPath { defect: PathDefect::TooLong },
            _ => Self::Io { step, path, errno },
        }
    }

    /// The same for what `std` reports.
    pub(crate) fn of_io(step: &'static str, path: &Path, error: &std::io::Error) -> Self {
        Self::of(step, path, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    fn code(&self) -> (&'static str, Code) {
        match self {
            Self::InvalidPath { .. } => ("InvalidPath", Code::Invalid),
            Self::NotFound { .. } => ("FileNotFoundError", Code::NotFound),
            Self::IsDirectory { .. } => ("IsADirectoryError", Code::Invalid),
            Self::NotADirectory { .. } => ("NotADirectoryError", Code::Invalid),
            Self::NotRegular { .. } => ("NotARegularFile", Code::Invalid),
            // The machine refuses its own user, not we the caller: hence no `Forbidden`.
            Self::Permission { .. } => ("PermissionError", Code::Unavailable),
            Self::Protected { .. } => ("ProtectedPath", Code::Forbidden),
            Self::Outside { .. } | Self::ReadOnlyRoot { .. } | Self::OtherUser { .. } => {
                ("PermissionDenied", Code::Forbidden)
            }
            Self::NoSpace { .. } => ("NoSpace", Code::Unavailable),
            Self::ReadOnly { .. } => ("ReadOnlyFileSystem", Code::Unavailable),
            Self::TooLarge { .. } => ("FileTooLarge", Code::TooLarge),
            Self::TooManyRules { .. } => ("TooManyRules", Code::TooLarge),
            Self::WouldBlock { .. } => ("WouldBlock", Code::Unavailable),
            Self::Exists { .. } => ("FileExists", Code::Conflict),
            Self::Irreplaceable { .. } => ("Irreplaceable", Code::Unsupported),
            Self::Conflict { .. } => ("Conflict", Code::Conflict),
            Self::Stopped { stop: Stop::Cancelled } => ("Cancelled", Code::Unavailable),
            Self::Stopped { stop: Stop::Deadline } => ("TimeoutError", Code::Timeout),
            Self::Io { .. } => ("OSError", Code::Unavailable),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::InvalidPath { defect } => defect.hint(),
            Self::NotFound { .. } => "Check the file path",
            Self::IsDirectory { .. } => "Use glob to list directory contents",
            Self::NotADirectory { .. } => "Check each directory of the path",
            Self::NotRegular { .. } => "Only regular files can be used; for others use a command",
            Self::Permission { .. } => {
                "Check owner and mode of the file and its directories; the server's user has no permission"
            }
            Self::Protected { .. } => "The server protects its own data; use another path",
            Self::Outside { .. } => "Use a path beneath one of these roots",
            Self::ReadOnlyRoot { .. } => "Write beneath a root that may be written",
            Self::OtherUser { .. } => "Use bash_execute to read, search and change files",
            Self::NoSpace { .. } => "Free some space, then try again; nothing was changed",
            Self::ReadOnly { .. } => "Use a path on a file system that is mounted for writing",
            Self::TooLarge { .. } => "Use a command for files of this size",
            Self::TooManyRules { .. } => "Search a directory beside it, or shorten that file",
            Self::WouldBlock { .. } => "Use a command with a timeout to wait for data",
            Self::Exists { .. } => "Set overwrite, or choose another path",
            Self::Irreplaceable { .. } => "Choose another path, and copy the content with a command",
            Self::Conflict { .. } => "Read the file again, then repeat the change; nothing was changed",
            Self::Stopped { .. } => "Ask for less at once, or try again",
            Self::Io { .. } => "Check the file and its file system",
        }
    }
}

impl From<FsError> for ToolError {
    fn from(error: FsError) -> Self {
        if let FsError::Stopped { stop } = error {
            return stop.into();
        }
        let (code, kind) = error.code();
        Self::new(code, kind, error.to_string()).suggest(error.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_becomes_a_code_that_clients_know() {
        for (errno, code) in [
            (Errno::NOENT, "FileNotFoundError"),
            (Errno::ISDIR, "IsADirectoryError"),
            (Errno::NOTDIR, "NotADirectoryError"),
            (Errno::ACCESS, "PermissionError"),
            (Errno::PERM, "PermissionError"),
            (Errno::ROFS, "ReadOnlyFileSystem"),
            (Errno::AGAIN, "WouldBlock"),
            (Errno::NAMETOOLONG, "InvalidPath"),
            (Errno::NOSPC, "NoSpace"),
            (Errno::DQUOT, "NoSpace"),
            (Errno::IO, "OSError"),
        ] {
            let error = ToolError::from(FsError::of("open", Path::new("/x"), errno));
            assert_eq!(error.code, code);
            assert!(error.suggestion.is_some_and(|hint| !hint.is_empty()));
        }
    }

    #[test]
    fn a_protected_path_is_told_in_the_words_of_the_seed() {
        let error = ToolError::from(FsError::Protected { root: "/data".into() });
        assert_eq!(error.message, "Access denied: path is within protected directory /data");
        assert_eq!((error.code, error.kind), ("ProtectedPath", Code::Forbidden));
    }
}
