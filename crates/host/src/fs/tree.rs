//! Every file beneath a directory that a search by content may see: ripgrep's walk with its rules
//! (hidden and ignored files are left out), inside our fence.

use std::ffi::OsStr;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use hayward_tool::Cx;
use ignore::overrides::Override;
use ignore::{DirEntry, WalkBuilder};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, open, openat, statat};
use rustix::io::Errno;

use super::Fs;
use super::directory::{Fence, is_kernels, kind_of};
use super::feed::Feed;
use super::handle::Handle;
use super::protect::Census;
use crate::limits::{FILES_AT_ONCE, WAITING_BATCHES_MAX};

/// Files that the walk reads in every directory, by name and without asking what they are.
const RULE_FILES: [&str; 4] = [".gitignore", ".ignore", ".rgignore", ".git/info/exclude"];

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
    pub(crate) fn each_file<V: Visit>(&self, tree: &Tree<'_>, start: impl Fn() -> V + Sync) {
        let door = Door {
            fs: self,
            fence: self.fence(),
            is_kernels: is_kernels(tree.root, tree.root.stat().st_dev),
        };
        let walk = walk_of(tree, door.is_kernels, door.fence.census());
        let feed = Feed::new(WAITING_BATCHES_MAX);
        let work = |batch: Vec<DirEntry>, visit: &mut V| {
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
            let entries = walk.build().take_while(|_| tree.cx.stop().is_none());
            let mut files = entries.filter_map(Result::ok).filter(is_file);
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
    }
}

/// Where files pass on their way to a visitor.
struct Door<'a> {
    fs: &'a Fs,
    fence: Fence<'a>,
    is_kernels: bool,
}

impl Door<'_> {
    /// Lets files pass, most of which are in the same directory as the one before.
    fn pass(&self, batch: &[DirEntry], visit: &mut impl Visit) -> ControlFlow<()> {
        let mut nearby: Option<(&Path, OwnedFd)> = None;
        for entry in batch {
            let parent = entry.path().parent().unwrap_or(Path::new("/"));
            if nearby.as_ref().is_none_or(|(path, _)| *path != parent) {
                nearby = self.enter(parent).map(|directory| (parent, directory));
            }
            let file = nearby.as_ref().and_then(|(_, directory)| open_regular(directory, entry.file_name()));
            if let Some((file, stat)) = file.filter(|(file, stat)| self.shows(file, stat)) {
                visit(entry.path(), file, &stat)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Opens a directory, judged by where it really is: between the walk and now, somebody may have put a
    /// symbolic link in its place or above it.
    fn enter(&self, path: &Path) -> Option<OwnedFd> {
        let (directory, _) = open_directory(path).ok()?;
        let handle = Handle::of(directory.try_clone().ok()?).ok()?;
        self.fs.protection.check(&handle).ok().map(|()| directory)
    }

    fn shows(&self, file: &File, stat: &Stat) -> bool {
        if !self.is_kernels {
            return !self.fence.hides(stat.into());
        }
        // Names in /proc change their meaning from process to process.
        let handle = file.try_clone().ok().and_then(|file| Handle::of(file.into()).ok());
        handle.is_some_and(|handle| self.fs.protection.check(&handle).is_ok())
    }
}

fn walk_of(tree: &Tree<'_>, is_kernels: bool, census: &Arc<Census>) -> WalkBuilder {
    let census = Arc::clone(census);
    let mut walk = WalkBuilder::new(tree.path);
    walk.overrides(tree.filter.clone());
    let is_plain = |above| open_directory(above).is_ok_and(|(above, _)| has_plain_rules(&above));
    if tree.path.ancestors().all(is_plain) {
        walk.add_custom_ignore_filename(".rgignore");
    } else {
        walk.standard_filters(false).hidden(true);
    }
    walk.filter_entry(move |entry| {
        let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
        !is_directory || entry.depth() == 0 || may_enter(entry.path(), is_kernels, &census)
    });
    walk
}

fn may_enter(path: &Path, is_inside_kernels: bool, census: &Census) -> bool {
    let Ok((directory, stat)) = open_directory(path) else {
        return false;
    };
    census.root_of((&stat).into()).is_none()
        && (is_inside_kernels || !is_kernels(&directory, stat.st_dev))
        && has_plain_rules(&directory)
}

fn open_directory(path: &Path) -> Result<(OwnedFd, Stat), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(path, flags, Mode::empty())?;
    let stat = fstat(&directory)?;
    Ok((directory, stat))
}

/// Whether the rule files of a directory can be read: the walk would wait for a FIFO for ever.
fn has_plain_rules(directory: &OwnedFd) -> bool {
    RULE_FILES.iter().all(|name| match statat(directory, *name, AtFlags::empty()) {
        Ok(stat) => matches!(kind_of(&stat), FileType::RegularFile | FileType::Directory),
        Err(_) => true,
    })
}

fn is_file(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_file())
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
