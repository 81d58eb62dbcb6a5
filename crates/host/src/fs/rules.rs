//! What the rule files of a tree leave out of a search: `.gitignore`, `.ignore`, `.rgignore` and
//! `.git/info/exclude`, understood as ripgrep does.
//!
//! Whoever may write into a tree writes these files, so they are read like any other file: through the
//! fence, never a FIFO, a device or a file of the kernel's, and no more of them at once than a limit
//! allows, since compiled rules take hundreds of times the memory of their text. What isn't a plain file
//! holds no rules. Settings outside of the tree (`core.excludesFile`, worktrees) have no part in it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{AtFlags, OFlags, statat};

use super::directory::{Directory, is_kernels};
use super::error::FsError;
use super::handle::Handle;
use super::{Access, Fs};
use crate::limits::has_too_many_braces;

/// Rule files in order of weight: whatever the first one says of a path counts.
const NAMES: [&str; 4] = [".rgignore", ".ignore", ".gitignore", ".git/info/exclude"];
/// From here on they are git's, and count within a repository only, up to its root.
const FIRST_OF_GIT: usize = 2;

/// The rules that hold in a directory: its own and those of all above it.
#[derive(Debug, Default)]
pub(super) struct Rules {
    own: [Option<Gitignore>; NAMES.len()],
    is_repository: bool,
    above: Option<Arc<Rules>>,
    /// Whether it is a repository, or in one.
    is_in_repository: bool,
    /// Bytes of all rule files that hold here.
    bytes: usize,
}

/// What rules say of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It is left out.
    Out,
    /// It is asked for, even if it is hidden.
    In,
    /// Nothing.
    Nothing,
}

impl Rules {
    /// What holds for this path beneath the directory.
    pub(super) fn judge(&self, path: &Path, is_directory: bool) -> Ruling {
        let mut said = [Ruling::Nothing; NAMES.len()];
        let mut was_repository = false;
        let levels = std::iter::successors(Some(self), |rules| rules.above.as_deref());
        for rules in levels {
            let is_of_git = self.is_in_repository && !was_repository;
            let count = if is_of_git { NAMES.len() } else { FIRST_OF_GIT };
            for (said, own) in said.iter_mut().zip(&rules.own).take(count) {
                if let (Ruling::Nothing, Some(own)) = (*said, own) {
                    *said = ruling(&own.matched(path, is_directory));
                }
            }
            was_repository |= rules.is_repository;
        }
        said.into_iter().find(|said| *said != Ruling::Nothing).unwrap_or(Ruling::Nothing)
    }
}

/// What a glob says, whatever it is.
pub(super) fn ruling<T>(said: &Match<T>) -> Ruling {
    match said {
        Match::None => Ruling::Nothing,
        Match::Ignore(_) => Ruling::Out,
        Match::Whitelist(_) => Ruling::In,
    }
}

impl Fs {
    /// The rules that hold in a directory whose real path this is, read from the root down.
    pub(super) fn rules_above(&self, real: &Path) -> Result<Arc<Rules>, FsError> {
        let mut above: Vec<&Path> = real.ancestors().skip(1).collect();
        above.reverse();
        let fence = self.fence();
        above.into_iter().try_fold(Arc::default(), |rules, path| match fence.enter_through(path) {
            Some(directory) => self.rules_in(&directory, path, &rules),
            None => Ok(rules),
        })
    }

    /// The rules that hold in a directory, given those above it.
    pub(super) fn rules_in(
        &self,
        directory: &Directory,
        real: &Path,
        above: &Arc<Rules>,
    ) -> Result<Arc<Rules>, FsError> {
        // Whoever has roots isn't told whether anything is beyond them.
        let how = if self.is_narrow() { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
        let is_repository = statat(directory.fd(), ".git", how).is_ok();
        let mut rules = Rules {
            is_repository,
            above: Some(Arc::clone(above)),
            is_in_repository: is_repository || above.is_in_repository,
            bytes: above.bytes,
            ..Rules::default()
        };
        let mut has_own = is_repository;
        for (own, name) in rules.own.iter_mut().zip(NAMES) {
            let Some(text) = self.read_rules(directory, real, name, &mut rules.bytes)? else {
                continue;
            };
            *own = Some(compiled(real, &text));
            has_own = true;
        }
        Ok(if has_own { Arc::new(rules) } else { Arc::clone(above) })
    }

    /// The text of a rule file; none if there is no plain one, or it can't be read.
    fn read_rules(
        &self,
        directory: &Directory,
        real: &Path,
        name: &str,
        bytes: &mut usize,
    ) -> Result<Option<String>, FsError> {
        let Some(file) = self.open_rules(directory, real, name) else {
            return Ok(None);
        };
        let bytes_max = self.rules_bytes_max;
        let mut text = Vec::new();
        let room = (bytes_max - *bytes) as u64;
        if file.take(room + 1).read_to_end(&mut text).is_err() {
            return Ok(None);
        }
        if text.len() as u64 > room {
            return Err(FsError::TooManyRules { path: real.join(name), bytes_max });
        }
        *bytes += text.len();
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    fn open_rules(&self, directory: &Directory, real: &Path, name: &str) -> Option<File> {
        let held = self.open_path(directory.fd(), Path::new(name), OFlags::empty());
        let handle = Handle::of(held.ok()?).ok()?;
        handle.require_regular(handle.real()).ok()?;
        // A file of /proc may wait for ever, or hand out what others wait for.
        if is_kernels(&handle, handle.stat().st_dev) || self.check(&handle, real, Access::Read).is_err() {
            return None;
        }
        handle.reopen(OFlags::RDONLY).ok().map(File::from)
    }
}

/// Rules whose globs are relative to this directory. A line that is no glob, or none that is safe to
/// compile, is passed over.
fn compiled(real: &Path, text: &str) -> Gitignore {
    let mut builder = GitignoreBuilder::new(real);
    for line in text.trim_start_matches('\u{feff}').lines().filter(|line| !has_too_many_braces(line)) {
        drop(builder.add_line(None, line));
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}
