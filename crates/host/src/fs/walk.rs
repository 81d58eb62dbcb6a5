//! The files beneath a directory that a search by content looks at: not the hidden ones, nor what
//! rule files leave out, nor what the fence hides. Symbolic links are not followed.

use std::ffi::{CStr, OsStr, OsString};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hayward_tool::Cx;
use ignore::overrides::Override;
use rustix::fs::FileType;

use super::Fs;
use super::directory::{Directory, Fence};
use super::error::FsError;
use super::handle::Handle;
use super::rules::{Rules, Ruling, ruling};
use crate::limits::ENTRIES_BYTES;

/// A walk in progress: an iterator over paths, until something is in its way.
pub(super) struct Walk<'a> {
    cx: &'a Cx,
    fs: &'a Fs,
    fence: &'a Fence<'a>,
    /// Globs of the caller, held against paths as the caller names them.
    filter: &'a Override,
    /// Whether it began in the kernel's own files, which it doesn't enter from outside.
    is_in_kernels: bool,
    /// Directories still to be entered.
    waiting: Vec<Step>,
    /// The directory that is being read.
    open: Option<Open>,
    /// Files that were found in it: no more than are read at once, however many there are.
    files: Vec<PathBuf>,
    /// For reading names.
    buffer: Vec<u8>,
    /// What was in the way.
    failed: Option<FsError>,
}

/// A directory to enter: no more than its name beside what it shares with its neighbours, because a
/// directory can hold a great many of them.
struct Step {
    above: Arc<Place>,
    name: OsString,
}

/// A directory that is searched.
struct Place {
    /// As the caller would name it.
    path: PathBuf,
    /// Where it is, which rules are held against.
    real: PathBuf,
    /// What holds in it.
    rules: Arc<Rules>,
}

/// A directory that was entered.
struct Open {
    directory: Directory,
    place: Arc<Place>,
}

impl<'a> Walk<'a> {
    /// Begins at a directory that was looked up by this path.
    pub(super) fn begin(
        fs: &'a Fs,
        fence: &'a Fence<'a>,
        (cx, filter): (&'a Cx, &'a Override),
        (root, path): (&Handle, &Path),
        is_in_kernels: bool,
    ) -> Result<Self, FsError> {
        let rules = fs.rules_above(root.real())?;
        let mut walk = Self {
            cx,
            fs,
            fence,
            filter,
            is_in_kernels,
            waiting: Vec::new(),
            open: None,
            files: Vec::new(),
            buffer: Vec::with_capacity(ENTRIES_BYTES),
            failed: None,
        };
        if let Some(directory) = fence.enter_through(path) {
            walk.open(directory, path.to_owned(), root.real().to_owned(), &rules)?;
        }
        Ok(walk)
    }

    /// What was in its way, if it ended before its end.
    pub(super) fn failed(self) -> Option<FsError> {
        self.failed
    }

    fn enter(&mut self, Step { above, name }: &Step) -> Result<(), FsError> {
        let path = above.path.join(name);
        match self.fence.enter(&path) {
            Some(directory) if self.is_in_kernels || !directory.is_kernels() => {
                self.open(directory, path, above.real.join(name), &above.rules)
            }
            _ => Ok(()),
        }
    }

    fn open(
        &mut self,
        directory: Directory,
        path: PathBuf,
        real: PathBuf,
        above: &Arc<Rules>,
    ) -> Result<(), FsError> {
        let rules = self.fs.rules_in(&directory, &real, above)?;
        self.open = Some(Open { directory, place: Arc::new(Place { path, real, rules }) });
        Ok(())
    }

    /// Adds some more of what is in a directory, and keeps it open if there may be more.
    fn read(&mut self, open: Open) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let more = open.directory.some_names(&mut buffer, &mut |name, kind| {
            self.meet(&open.place, name, kind);
            ControlFlow::Continue(())
        });
        self.buffer = buffer;
        self.open = more.is_continue().then_some(open);
    }

    /// Adds a name of a directory, if it is for a search.
    fn meet(&mut self, place: &Arc<Place>, name: &CStr, kind: FileType) {
        let is_directory = kind == FileType::Directory;
        if !is_directory && kind != FileType::RegularFile {
            return;
        }
        let name = OsStr::from_bytes(name.to_bytes());
        let (path, real) = (place.path.join(name), place.real.join(name));
        let is_hidden = name.as_bytes().starts_with(b".");
        let asked = || ruling(&self.filter.matched(&path, is_directory));
        if !is_shown(asked, || place.rules.judge(&real, is_directory), is_hidden) {
            return;
        }
        if is_directory {
            self.waiting.push(Step { above: Arc::clone(place), name: name.to_owned() });
        } else {
            self.files.push(path);
        }
    }
}

/// What the caller asks for counts most, then rules, then whether it is hidden.
fn is_shown(asked: impl Fn() -> Ruling, ruled: impl Fn() -> Ruling, is_hidden: bool) -> bool {
    match asked() {
        Ruling::In => true,
        Ruling::Out => false,
        Ruling::Nothing => match ruled() {
            Ruling::In => true,
            Ruling::Out => false,
            Ruling::Nothing => !is_hidden,
        },
    }
}

impl Iterator for Walk<'_> {
    type Item = PathBuf;

    fn next(&mut self) -> Option<PathBuf> {
        loop {
            if let Some(file) = self.files.pop() {
                return Some(file);
            }
            if self.cx.stop().is_some() {
                return None;
            }
            if let Some(open) = self.open.take() {
                self.read(open);
                continue;
            }
            let step = self.waiting.pop()?;
            if let Err(error) = self.enter(&step) {
                self.failed = Some(error);
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_outweigh_rules_and_rules_outweigh_hiding() {
        use Ruling::{In, Nothing, Out};
        for (asked, ruled, is_hidden, expect) in [
            (In, Out, true, true),
            (Out, In, false, false),
            (Nothing, Out, false, false),
            (Nothing, In, true, true),
            (Nothing, Nothing, true, false),
            (Nothing, Nothing, false, true),
        ] {
            assert_eq!(is_shown(|| asked, || ruled, is_hidden), expect, "{asked:?} {ruled:?} {is_hidden}");
        }
    }
}
