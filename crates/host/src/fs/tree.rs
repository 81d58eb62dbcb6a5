//! Every file that a walk finds, opened for visitors in several threads, inside our fence.

use std::ffi::OsStr;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use hayward_tool::Cx;
use ignore::overrides::Override;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};

use super::directory::{Fence, is_kernels, kind_of};
use super::error::FsError;
use super::feed::Feed;
use super::handle::Handle;
use super::walk::Walk;
use super::{Access, Fs};
use crate::limits::{FILES_AT_ONCE, WAITING_BATCHES_MAX};

/// What is walked and how.
pub(crate) struct Tree<'a> {
    /// The call that it is walked for.
    pub(crate) cx: &'a Cx,
    /// A directory that was looked up.
    pub(crate) root: &'a Handle,
    /// The same as its caller named it.
    pub(crate) path: &'a Path,
    /// Globs of the caller.
    pub(crate) filter: Override,
    /// Threads that visit files.
    pub(crate) threads: usize,
}

/// A visitor of files.
pub(crate) trait Visit: FnMut(&Path, File, &Stat) -> ControlFlow<()> {}

impl<V: FnMut(&Path, File, &Stat) -> ControlFlow<()>> Visit for V {}

impl Fs {
    /// Calls a visitor of `start` with each file, in no order, until one says to stop or the call has to. Each thread has
    /// a visitor of its own; there is one thread until there are some files.
    pub(crate) fn each_file<V: Visit>(
        &self,
        tree: &Tree<'_>,
        start: impl Fn() -> V + Sync,
    ) -> Result<(), FsError> {
        let fence = self.fence();
        let is_kernels = is_kernels(tree.root, tree.root.stat().st_dev);
        let door = Door { fs: self, fence: &fence, is_kernels, device: tree.root.stat().st_dev };
        let place = (tree.root, tree.path);
        let mut files = Walk::begin(self, &fence, (tree.cx, &tree.filter), place, is_kernels)?;
        let feed = Feed::new(WAITING_BATCHES_MAX);
        let work = |batch: Vec<PathBuf>, visit: &mut V| {
            if door.pass(&batch, visit).is_break() {
                feed.abandon();
            }
        };
        let help = || {
            let mut visit = start();
            while let Some(batch) = feed.take() {
                work(batch, &mut visit);
            }
        };
        std::thread::scope(|scope| {
            let mut visit = start();
            for count in 0.. {
                let batch: Vec<_> = files.by_ref().take(FILES_AT_ONCE).collect();
                if batch.is_empty() || feed.is_closed() {
                    break;
                }
                if count == 1 {
                    (1..tree.threads).for_each(|_| drop(scope.spawn(help)));
                }
                let is_alone = count == 0 || tree.threads == 1;
                let batch = if is_alone { Some(batch) } else { feed.offer(batch) };
                if let Some(batch) = batch {
                    work(batch, &mut visit);
                }
            }
            feed.close();
            while let Some(batch) = feed.take() {
                work(batch, &mut visit);
            }
        });
        files.failed().map_or(Ok(()), Err)
    }
}

/// Where files pass on their way to a visitor.
struct Door<'a> {
    fs: &'a Fs,
    fence: &'a Fence<'a>,
    is_kernels: bool,
    /// That of the directory where the search begins.
    device: u64,
}

impl Door<'_> {
    /// Lets files pass, most of which are in the same directory as the one before.
    fn pass(&self, batch: &[PathBuf], visit: &mut impl Visit) -> ControlFlow<()> {
        let mut nearby: Option<(&Path, OwnedFd)> = None;
        for path in batch {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                continue;
            };
            if nearby.as_ref().is_none_or(|(path, _)| *path != parent) {
                nearby = self.enter(parent).map(|directory| (parent, directory));
            }
            let file = nearby.as_ref().and_then(|(_, directory)| open_regular(directory, name));
            if let Some((file, stat)) = file.filter(|(file, stat)| self.shows(path, file, stat)) {
                visit(path, file, &stat)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Opens a directory, judged by where it really is: between the walk and now, somebody may have put a
    /// symbolic link in its place or above it.
    fn enter(&self, path: &Path) -> Option<OwnedFd> {
        let directory = self.fs.open_path(CWD, path, OFlags::DIRECTORY).ok()?;
        let handle = Handle::of(directory.try_clone().ok()?).ok()?;
        self.fs.check(&handle, path, Access::Read).ok().map(|()| directory)
    }

    fn shows(&self, path: &Path, file: &File, stat: &Stat) -> bool {
        // A file of the kernel's can be mounted anywhere; on the device of the root it would have shown there.
        let is_plain = stat.st_dev == self.device || !is_kernels(file, stat.st_dev);
        if is_plain && !self.is_kernels && !self.fs.is_narrow() {
            return !self.fence.hides(stat.into());
        }
        // Names in /proc change their meaning from process to process, and those beneath a root may be hidden.
        let handle = file.try_clone().ok().and_then(|file| Handle::of(file.into()).ok());
        handle.is_some_and(|handle| self.fs.check(&handle, path, Access::Read).is_ok())
    }
}

/// Opens what the walk took for a regular file, if it still is one.
///
/// By name, unlike all else in this room, because three system calls for each file of a large tree are
/// too many; `O_NONBLOCK` keeps a FIFO that was put there in this moment from holding us up.
fn open_regular(directory: &OwnedFd, name: &OsStr) -> Option<(File, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty()).ok()?;
    let stat = fstat(&file).ok()?;
    (kind_of(&stat) == FileType::RegularFile).then(|| (File::from(file), stat))
}
