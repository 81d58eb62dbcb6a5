//! What an installation changes: decided as a whole, shown, and then done.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::fences::passwd;
use crate::ready::place;
use crate::stack::step;

use super::system::System;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A system user, unless it is there.
    User(String),
    /// A directory of this mode, owned by the user.
    Folder { path: PathBuf, mode: u32, owner: String },
    /// The directory of everything that is kept; one that is there stays as it is.
    DataFolder(PathBuf),
    /// A file; one that is there is replaced.
    File { path: PathBuf, mode: u32, text: String },
    /// A file, unless it is there.
    FirstFile { path: PathBuf, mode: u32, text: String },
    /// A command of systemd; one that fails is told, and no more if it may.
    Run { words: Vec<String>, may_fail: bool },
    /// What lies below a directory goes to the user.
    Own { path: PathBuf, owner: String },
    /// A system user that an installation made goes.
    RemoveUser(String),
    /// A file goes.
    Remove(PathBuf),
    /// A directory goes with all that is in it.
    RemoveFolder(PathBuf),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "make the system user `{name}`, unless it is there"),
            Self::Folder { path, mode, owner } => {
                write!(f, "make directory {} (mode {mode:03o}, of {owner})", path.display())
            }
            Self::DataFolder(path) => write!(f, "make directory {} (mode 700)", path.display()),
            Self::File { path, mode, .. } => write!(f, "write {} (mode {mode:03o})", path.display()),
            Self::FirstFile { path, mode, .. } => {
                write!(f, "write {} (mode {mode:03o}), unless it is there", path.display())
            }
            Self::Run { words, .. } => write!(f, "run {}", words.join(" ")),
            Self::Own { path, owner } => write!(f, "give {} to {owner}", path.display()),
            Self::RemoveUser(name) => {
                write!(f, "remove the system user `{name}`, which an installation made")
            }
            Self::Remove(path) => write!(f, "remove {}", path.display()),
            Self::RemoveFolder(path) => write!(f, "remove {} with all that is in it", path.display()),
        }
    }
}

/// Where steps are done.
pub(super) struct Place<'a> {
    /// What stands for `/`.
    pub(super) root: &'a Path,
    /// The running system, if that is where it is.
    pub(super) system: Option<&'a System>,
}

impl Place<'_> {
    /// Where a path is.
    pub(super) fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Does one step.
    pub(super) fn perform(&self, what: &Step) -> Result<(), Failure> {
        let failed = || format!("failed to {what}");
        match what {
            Step::User(name) => self.system.map_or(Ok(()), |system| system.add_user(name)),
            Step::RemoveUser(name) => self.system.map_or(Ok(()), |system| system.remove_user(name)),
            Step::Run { words, may_fail } => match self.system {
                Some(system) => {
                    system.run(words).or_else(|failure| if *may_fail { Ok(()) } else { Err(failure) })
                }
                None => Ok(()),
            },
            Step::Folder { path, mode, owner } => {
                let path = self.at(path);
                step(fs::create_dir_all(&path), failed)?;
                step(fs::set_permissions(&path, fs::Permissions::from_mode(*mode)), failed)?;
                self.own(&path, owner)
            }
            Step::DataFolder(path) => {
                let path = self.at(path);
                step(fs::create_dir_all(&path), failed)?;
                step(fs::set_permissions(&path, fs::Permissions::from_mode(0o700)), failed)
            }
            Step::FirstFile { path, .. } if self.at(path).exists() => Ok(()),
            Step::File { path, mode, text } | Step::FirstFile { path, mode, text } => {
                step(self.write(path, *mode, text), failed)
            }
            Step::Own { path, owner } => self.own_all(&self.at(path), owner),
            Step::Remove(path) => step(gone(fs::remove_file(self.at(path))), failed),
            Step::RemoveFolder(path) => step(gone(fs::remove_dir_all(self.at(path))), failed),
        }
    }

    fn write(&self, path: &Path, mode: u32, text: &str) -> std::io::Result<()> {
        let path = self.at(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        place(&path, text.as_bytes(), mode)
    }

    /// Elsewhere than on the running system, users are somebody else's.
    fn own(&self, path: &Path, owner: &str) -> Result<(), Failure> {
        if self.system.is_none() {
            return Ok(());
        }
        let (uid, gid) = passwd(owner)?;
        // A link that somebody put there leads nowhere.
        step(lchown(path, Some(uid), Some(gid)), || format!("failed to give `{}` to {owner}", path.display()))
    }

    fn own_all(&self, path: &Path, owner: &str) -> Result<(), Failure> {
        self.own(path, owner)?;
        let entries = step(fs::read_dir(path), || format!("failed to list `{}`", path.display()))?;
        for entry in entries.flatten() {
            // Links are nobody's of ours.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.own_all(&entry.path(), owner)?,
                Ok(kind) if kind.is_file() => self.own(&entry.path(), owner)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn gone(result: std::io::Result<()>) -> std::io::Result<()> {
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
