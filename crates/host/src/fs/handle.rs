//! A file that was looked up and judged, and may now be opened.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, open, readlink};
use rustix::io::Errno;

use super::error::FsError;
use super::identity::{FileId, kind_name};
use super::path::AbsPath;
use super::place::end_of_links;
use super::{Access, Fs};

/// A file or directory, held by an `O_PATH` descriptor, which has no effect on what it holds.
#[derive(Debug)]
pub(crate) struct Handle {
    fd: OwnedFd,
    stat: Stat,
    real: PathBuf,
}

impl Handle {
    /// Looks a path up, following symbolic links.
    #[cfg(test)]
    pub(super) fn look(path: &Path) -> Result<Self, Errno> {
        Self::of(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
    }

    pub(super) fn of(fd: OwnedFd) -> Result<Self, Errno> {
        let stat = fstat(&fd)?;
        let real = readlink(link_to(&fd), Vec::with_capacity(128))?;
        Ok(Self { stat, real: OsString::from_vec(real.into_bytes()).into(), fd })
    }

    /// Where the kernel says that it is.
    pub(crate) fn real(&self) -> &Path {
        &self.real
    }

    pub(crate) fn stat(&self) -> &Stat {
        &self.stat
    }

    pub(crate) fn id(&self) -> FileId {
        (&self.stat).into()
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Refuses all but regular files, naming the path as the caller did.
    pub(super) fn require_regular(&self, path: &Path) -> Result<(), FsError> {
        let path = path.to_owned();
        match self.kind() {
            FileType::RegularFile => Ok(()),
            FileType::Directory => Err(FsError::IsDirectory { path }),
            kind => Err(FsError::NotRegular { path, kind: kind_name(kind) }),
        }
    }

    /// Opens exactly what is held. Only for regular files and directories: opening others has effects.
    pub(super) fn reopen(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        // Some files of /proc would block: with O_NONBLOCK they say so instead.
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        open(link_to(&self.fd), flags, Mode::empty())
    }
}

impl From<Handle> for OwnedFd {
    fn from(handle: Handle) -> Self {
        handle.fd
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The name under which the kernel lets us open or inspect what a descriptor holds.
pub(super) fn link_to(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

impl Fs {
    /// Looks a path up and refuses what is out of reach or protected, missing files in such places included.
    pub(crate) fn look(&self, path: &AbsPath) -> Result<Handle, FsError> {
        let path = path.as_path();
        match self.open_path(CWD, path, OFlags::empty()).and_then(Handle::of) {
            Ok(handle) => self.check(&handle, path, Access::Read).map(|()| handle),
            Err(errno) => Err(self.not_looked_up(path, errno)),
        }
    }

    /// Why a path can't be looked up. What is out of reach is told in one way, whatever is there.
    fn not_looked_up(&self, path: &Path, errno: Errno) -> FsError {
        if errno != Errno::NOENT && !self.is_narrow() {
            return FsError::of("look up", path, errno);
        }
        let end = end_of_links(path).map_err(|error| self.reach.outside(path).unwrap_or(error));
        match end.and_then(|end| self.check_missing(&end, path, Access::Read)) {
            Ok(()) => FsError::of("look up", path, errno),
            Err(refused) => refused,
        }
    }

    /// Opens a regular file for reading.
    pub(crate) fn open_file(&self, path: &AbsPath) -> Result<(File, Stat), FsError> {
        let handle = self.look(path)?;
        handle.require_regular(path.as_path())?;
        let fd = handle.reopen(OFlags::RDONLY).map_err(|errno| FsError::of("open", path.as_path(), errno))?;
        Ok((File::from(fd), handle.stat))
    }
}
