//! Every file beneath a directory that a search by content may see: ripgrep's walk with its rules
//! (hidden and ignored files are left out), inside our fence.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use ignore::overrides::Override;
use ignore::{DirEntry, WalkBuilder, WalkState};
use rustix::fs::{FileType, Mode, OFlags, fstat, open, stat};

use super::Fs;
use super::directory::{is_kernels, kind_of};
use super::handle::Handle;
use super::protect::Census;

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
    /// Threads that walk.
    pub(crate) threads: usize,
}

impl Fs {
    /// Calls a visitor of `start` with each file, in no order, until one says to stop. Each thread has
    /// a visitor of its own.
    pub(crate) fn each_file<V>(&self, tree: &Tree<'_>, start: impl Fn() -> V)
    where
        V: FnMut(&Path, File) -> ControlFlow<()> + Send,
    {
        let fence = self.fence();
        let is_kernels = is_kernels(tree.root, tree.root.stat().st_dev);
        let shows = |file: &File| {
            if is_kernels {
                self.shows_file(file) // names of /proc change their meaning from process to process
            } else {
                fstat(file).is_ok_and(|stat| !fence.hides((&stat).into()))
            }
        };
        let walk = walk_of(tree, is_kernels, fence.census());
        walk.build_parallel().run(|| {
            let mut visit = start();
            Box::new(move |entry| {
                let Some((entry, file)) = entry.ok().and_then(open_regular) else {
                    return WalkState::Continue;
                };
                if shows(&file) && visit(entry.path(), file).is_break() {
                    return WalkState::Quit;
                }
                WalkState::Continue
            })
        });
    }

    fn shows_file(&self, file: &File) -> bool {
        let handle = file.try_clone().ok().and_then(|file| Handle::of(file.into()).ok());
        handle.is_some_and(|handle| self.protection.check(&handle).is_ok())
    }
}

fn walk_of(tree: &Tree<'_>, is_kernels: bool, census: &Arc<Census>) -> WalkBuilder {
    let census = Arc::clone(census);
    let mut walk = WalkBuilder::new(tree.path);
    walk.overrides(tree.filter.clone()).threads(tree.threads);
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

/// Opens what the walk took for a regular file, if it still is one.
///
/// By name, unlike all else in this room, because three system calls for each file of a large tree are
/// too many; `O_NONBLOCK` keeps a FIFO that was put there in this moment from holding us up.
fn open_regular(entry: DirEntry) -> Option<(DirEntry, File)> {
    if !entry.file_type()?.is_file() {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(entry.path(), flags, Mode::empty()).ok()?;
    let is_regular = fstat(&file).is_ok_and(|stat| kind_of(&stat) == FileType::RegularFile);
    is_regular.then(|| (entry, File::from(file)))
}
