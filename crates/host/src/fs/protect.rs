//! The fence around our own data: database, audit log, keys, and our own process.
//!
//! A file is judged by what it is, in four ways that don't rely on each other, because each name-based
//! check has a known way around (symbolic link, `..`, `/proc/self/root`, hard link, bind mount):
//!
//! 1. the real path, as the kernel tells it of the opened handle, lies beneath a protected path;
//! 2. the inode is one of those beneath our data (hard links, bind mounts of one file);
//! 3. a directory above it is a protected one or beneath one (bind mounts of directories);
//! 4. it belongs to one of our processes, or is memory of any process or of the machine.
//!
//! A protected path that doesn't exist yet is protected by its name until it does.

mod census;
mod process;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::stat;

use super::error::FsError;
use super::handle::Handle;
use super::identity::FileId;
use crate::limits::CENSUS_AGE_MAX;
pub(crate) use census::Census;

/// A protected path.
#[derive(Debug)]
struct Root {
    /// As it was configured, for messages.
    shown: PathBuf,
    /// Where it really is.
    real: PathBuf,
    /// Whether every file beneath it is known one by one, so that a hard link is found out.
    is_ours: bool,
}

/// What is protected.
pub(super) struct Protection {
    roots: Arc<[Root]>,
    census: Mutex<Arc<Census>>,
    files_max: usize,
}

impl Protection {
    pub(super) fn new(ours: &[PathBuf], extra: &[PathBuf], files_max: usize) -> Self {
        let root = |shown: &PathBuf, is_ours| Root { shown: shown.clone(), real: real_path(shown), is_ours };
        let ours = ours.iter().map(|path| root(path, true));
        let roots: Arc<[Root]> = ours.chain(extra.iter().map(|path| root(path, false))).collect();
        let census = Mutex::new(Arc::new(Census::take(&roots, files_max)));
        Self { roots, census, files_max }
    }

    /// Whether it protects these paths and no others.
    pub(super) fn is_of(&self, ours: &[PathBuf], extra: &[PathBuf]) -> bool {
        let named = ours.iter().map(|path| (path, true)).chain(extra.iter().map(|path| (path, false)));
        self.roots.iter().map(|root| (&root.shown, root.is_ours)).eq(named)
    }

    /// The inventory of what is protected, at most this old.
    pub(super) fn census(&self, age_max: Duration) -> Arc<Census> {
        let mut census = self.census.lock().unwrap_or_else(PoisonError::into_inner);
        if census.age() > age_max {
            *census = Arc::new(Census::take(&self.roots, self.files_max));
        }
        Arc::clone(&census)
    }

    /// Whether a check takes no more than a look into the inventory, for files with one name.
    pub(super) fn is_fresh(&self) -> bool {
        self.census.try_lock().is_ok_and(|census| census.age() <= CENSUS_AGE_MAX)
    }

    /// Refuses a handle that leads to something protected.
    pub(super) fn check(&self, handle: &Handle) -> Result<(), FsError> {
        if let Some(root) = self.roots.iter().find(|root| handle.real().starts_with(&root.real)) {
            return Err(FsError::Protected { root: root.shown.clone() });
        }
        if let Some(root) = process::protected_place(handle) {
            return Err(FsError::Protected { root });
        }
        let may_have_other_names = handle.stat().st_nlink > 1 && !handle.is_directory();
        let census = self.census(if may_have_other_names { Duration::ZERO } else { CENSUS_AGE_MAX });
        if let Some(root) = census.root_of(handle.id()) {
            return Err(FsError::Protected { root: root.to_owned() });
        }
        if may_have_other_names && !census.knows_all(handle.id()) {
            return Err(FsError::Protected { root: handle.real().to_owned() });
        }
        check_above(handle, &census)
    }

    /// Refuses what doesn't exist if it would be in a protected place, `rest` below this handle.
    pub(super) fn check_missing(&self, above: &Handle, rest: &Path) -> Result<(), FsError> {
        self.check(above)?;
        let would_be = above.real().join(rest);
        match self.roots.iter().find(|root| would_be.starts_with(&root.real)) {
            Some(root) => Err(FsError::Protected { root: root.shown.clone() }),
            None => Ok(()),
        }
    }
}

/// Refuses what lies beneath a protected directory by way of a bind mount.
fn check_above(handle: &Handle, census: &Census) -> Result<(), FsError> {
    if !census.shares_device(handle.id()) {
        return Ok(());
    }
    let above = handle.real().ancestors().skip(1).filter_map(|above| stat(above).ok());
    match above.map(|stat| FileId::from(&stat)).find_map(|id| census.root_of(id)) {
        Some(root) => Err(FsError::Protected { root: root.to_owned() }),
        None => Ok(()),
    }
}

/// The real path of what may not exist yet: that of its deepest part that does, and the rest.
fn real_path(path: &Path) -> PathBuf {
    let real = |above| Some((std::fs::canonicalize(above).ok()?, path.strip_prefix(above).ok()?));
    match path.ancestors().find_map(real) {
        Some((real, rest)) if rest.as_os_str().is_empty() => real,
        Some((real, rest)) => real.join(rest),
        None => path.to_owned(),
    }
}
