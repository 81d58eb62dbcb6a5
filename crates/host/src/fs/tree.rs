//! Every file beneath a directory that a search by content may see: ripgrep's walk with its rules
//! (hidden and ignored files are left out), inside our fence.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use ignore::overrides::Override;
use ignore::{DirEntry, WalkBuilder};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, stat};

use super::Fs;
use super::directory::{Fence, is_kernels, kind_of};
use super::feed::Feed;
use super::handle::Handle;
use super::protect::Census;
use crate::limits::{SERIAL_FILES, WAITING_FILES_MAX};

/// Files that the walk reads in every directory, by name and without asking what they are.
const RULE_FILES: [&str; 4] = [".gitignore", ".ignore", ".rgignore", ".git/info/exclude"];

/// What is walked and how.
pub(crate) struct Tree<'a> {
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
    /// Calls a visitor of `start` with each file, in no order, until one says to stop. Each thread has
    /// a visitor of its own; there is one thread until there are some files.
    pub(crate) fn each_file<V: Visit>(&self, tree: &Tree<'_>, start: impl Fn() -> V + Sync) {
        let door = Door {
            fs: self,
            fence: self.fence(),
            is_kernels: is_kernels(tree.root, tree.root.stat().st_dev),
        };
        let walk = walk_of(tree, door.is_kernels, door.fence.census());
        let feed = Feed::new(WAITING_FILES_MAX);
        let help = || {
            let mut visit = start();
            while let Some(entry) = feed.take() {
                if door.pass(&entry, &mut visit).is_break() {
                    feed.abandon();
                }
            }
        };
        std::thread::scope(|scope| {
            let mut visit = start();
            let mut count = 0;
            for entry in walk.build().filter_map(Result::ok).filter(is_file) {
                count += 1;
                if count == SERIAL_FILES {
                    (1..tree.threads).for_each(|_| drop(scope.spawn(help)));
                }
                let is_alone = count < SERIAL_FILES || tree.threads == 1;
                let Some(entry) = (if is_alone { Some(entry) } else { feed.offer(entry) }) else {
                    continue;
                };
                if door.pass(&entry, &mut visit).is_break() {
                    feed.abandon();
                }
                if feed.is_closed() {
                    break;
                }
            }
            feed.close();
            help();
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
    fn pass(&self, entry: &DirEntry, visit: &mut impl Visit) -> ControlFlow<()> {
        match open_regular(entry.path()) {
            Some((file, stat)) if self.shows(&file, &stat) => visit(entry.path(), file, &stat),
            _ => ControlFlow::Continue(()),
        }
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
    if tree.path.ancestors().all(has_plain_rules) {
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
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(directory) = open(path, flags, Mode::empty()) else {
        return false;
    };
    let Ok(stat) = fstat(&directory) else {
        return false;
    };
    census.root_of((&stat).into()).is_none()
        && (is_inside_kernels || !is_kernels(&directory, stat.st_dev))
        && has_plain_rules(path)
}

/// Whether the rule files of a directory can be read: the walk would wait for a FIFO for ever.
fn has_plain_rules(directory: &Path) -> bool {
    RULE_FILES.iter().all(|name| match stat(directory.join(name)) {
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
fn open_regular(path: &Path) -> Option<(File, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).ok()?;
    let stat = fstat(&file).ok()?;
    (kind_of(&stat) == FileType::RegularFile).then(|| (File::from(file), stat))
}
