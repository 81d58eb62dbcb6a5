//! Directories: reading their names, and entering them past the fence.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, RawDir, Stat, fstat, fstatfs, major, openat2,
    statat,
};
use rustix::io::Errno;

use super::handle::Handle;
use super::identity::FileId;
use super::protect::Census;
use super::{Access, Fs};
use crate::limits::ENTRIES_BYTES;

/// A magic number that `rustix` doesn't name (`linux/magic.h`).
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// An open directory.
pub(crate) struct Directory {
    fd: OwnedFd,
    stat: Stat,
}

impl Directory {
    pub(super) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        Ok(Self { stat: fstat(&fd)?, fd })
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(crate) fn id(&self) -> FileId {
        (&self.stat).into()
    }

    pub(crate) fn stat(&self) -> &Stat {
        &self.stat
    }

    /// See [`is_kernels`].
    pub(crate) fn is_kernels(&self) -> bool {
        is_kernels(&self.fd, self.stat.st_dev)
    }

    /// Calls `visit` with each name but `.` and `..`, until that says to stop. What can't be read any
    /// more is left out.
    pub(crate) fn each_name(&self, mut visit: impl FnMut(&CStr, FileType) -> ControlFlow<()>) {
        let mut buffer = Vec::with_capacity(ENTRIES_BYTES);
        while self.some_names(&mut buffer, &mut visit).is_continue() {}
    }

    /// The same with as many names as fit into the buffer, beginning behind those of the last time; breaks
    /// when there are no more.
    pub(super) fn some_names(
        &self,
        buffer: &mut Vec<u8>,
        visit: &mut impl FnMut(&CStr, FileType) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut entries = RawDir::new(&self.fd, buffer.spare_capacity_mut());
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                let kind = match entry.file_type() {
                    FileType::Unknown => self.look(name).map_or(FileType::Unknown, |stat| kind_of(&stat)),
                    kind => kind,
                };
                visit(name, kind)?;
            }
            if entries.is_buffer_empty() {
                return ControlFlow::Continue(());
            }
        }
        ControlFlow::Break(())
    }

    /// What a name in it is; a symbolic link is itself.
    pub(crate) fn look(&self, name: &CStr) -> Result<Stat, Errno> {
        statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// What a name in it leads to.
    pub(crate) fn look_through(&self, name: &CStr) -> Result<Stat, Errno> {
        statat(&self.fd, name, AtFlags::empty())
    }
}

/// The kind of what was looked at.
pub(crate) fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// When what was looked at was modified: seconds and nanoseconds.
pub(crate) fn modified(stat: &Stat) -> (i64, u64) {
    (stat.st_mtime, stat.st_mtime_nsec)
}

/// The fence as one search sees it: judged by one inventory, taken at its start.
pub(crate) struct Fence<'a> {
    fs: &'a Fs,
    census: Arc<Census>,
}

impl Fs {
    pub(crate) fn fence(&self) -> Fence<'_> {
        Fence { fs: self, census: self.protection.census(Duration::ZERO) }
    }
}

impl Fence<'_> {
    /// Opens a directory whose path has no symbolic link behind a place that was entered before.
    pub(crate) fn enter(&self, path: &Path) -> Option<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let how = self.fs.reach.resolve_flags();
        let directory = Directory::new(openat2(CWD, path, flags, Mode::empty(), how).ok()?).ok()?;
        // Somebody may have put a symbolic link above it since.
        let is_in_reach = || {
            let handle = directory.fd().try_clone().ok().and_then(|fd| Handle::of(fd).ok());
            handle.is_some_and(|handle| self.fs.check(&handle, path, Access::Read).is_ok())
        };
        let is_shown = !self.hides(directory.id()) && (!self.is_narrow() || is_in_reach());
        is_shown.then_some(directory)
    }

    /// Opens a directory by any path.
    pub(crate) fn enter_through(&self, path: &Path) -> Option<Directory> {
        let handle = self.look_through(path)?;
        if !handle.is_directory() {
            return None;
        }
        Directory::new(handle.reopen(OFlags::RDONLY | OFlags::DIRECTORY).ok()?).ok()
    }

    /// Whether a path exists and leads to nothing protected.
    pub(crate) fn shows(&self, path: &Path) -> bool {
        self.look_through(path).is_some()
    }

    /// Whether this is protected, if no symbolic link led to it.
    pub(crate) fn hides(&self, id: FileId) -> bool {
        self.census.root_of(id).is_some()
    }

    /// Whether the caller has roots: then a path is to be asked for itself, see [`Self::shows`].
    pub(crate) fn is_narrow(&self) -> bool {
        self.fs.is_narrow()
    }

    fn look_through(&self, path: &Path) -> Option<Handle> {
        let handle = Handle::of(self.fs.open_path(CWD, path, OFlags::empty()).ok()?).ok()?;
        self.fs.check(&handle, path, Access::Read).ok()?;
        Some(handle)
    }
}

/// Whether this is the kernel's own (`/proc`, `/sys`): endless, and full of surprises. A search from
/// outside doesn't enter it.
pub(crate) fn is_kernels(fd: impl AsFd, dev: u64) -> bool {
    // Only file systems without a device have major number 0.
    major(dev) == 0
        && fstatfs(fd)
            .is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC || u64::try_from(fs.f_type) == Ok(SYSFS_MAGIC))
}

#[cfg(test)]
mod tests {
    use hayward_api::fence::Profile;

    use super::*;

    #[test]
    fn a_caller_with_roots_enters_no_directory_through_a_magic_link_above_it() {
        let root = tempfile::TempDir::new().unwrap();
        let (deep, link) = (root.path().join("deep"), root.path().join("link"));
        std::fs::create_dir_all(deep.join("sub")).unwrap();
        std::os::unix::fs::symlink(format!("/proc/self/root{}", deep.display()), &link).unwrap();
        let roots = vec![root.path().canonicalize().unwrap()];
        let fence = hayward_api::Fence { profile: Profile::Confined, roots, ..Default::default() };
        let wide = Fs::bare();
        let narrow = wide.reaching(&fence).unwrap();
        assert!(wide.fence().enter(&link.join("sub")).is_some());
        assert!(narrow.fence().enter(&link.join("sub")).is_none());
        assert!(narrow.fence().enter(&deep.join("sub")).is_some());
    }

    #[test]
    fn the_kernels_own_directories_are_known() {
        for (path, expect) in [("/proc", true), ("/sys", true), ("/", false), ("/dev", false)] {
            let handle = Handle::look(Path::new(path)).unwrap();
            assert_eq!(is_kernels(&handle, handle.stat().st_dev), expect, "{path}");
        }
    }
}
