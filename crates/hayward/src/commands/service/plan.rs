//! What an installation changes: decided as a whole, shown, and then done.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use hayward_api::{Code, Error};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fchown, openat, statat};
use rustix::io::Errno;
use rustix::path::Arg;

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

impl Step {
    /// What it changes, if that is a file or a directory.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Folder { path, .. }
            | Self::DataFolder(path)
            | Self::File { path, .. }
            | Self::FirstFile { path, .. }
            | Self::Own { path, .. }
            | Self::Remove(path)
            | Self::RemoveFolder(path) => Some(path),
            Self::User(_) | Self::RemoveUser(_) | Self::Run { .. } => None,
        }
    }
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

    /// Refuses steps that a link leads out of the root: what an image links to is not this system's.
    pub(super) fn refuse_outside<'a>(&self, steps: impl Iterator<Item = &'a Step>) -> Result<(), Failure> {
        let real = |path: &Path| {
            let path = std::path::absolute(path).ok()?;
            path.ancestors().find_map(|above| above.canonicalize().ok())
        };
        let root = real(self.root).unwrap_or_default();
        for path in steps.filter_map(Step::path).map(|path| self.at(path)) {
            if real(&path).is_none_or(|real| !real.starts_with(&root)) {
                let message = format!("a link leads from `{}` out of `{}`", path.display(), root.display());
                let error = Error::new(Code::Conflict, message);
                return Err(error
                    .with_hint("nothing was changed; make it a directory, or a relative link")
                    .into());
            }
        }
        Ok(())
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
        if self.system.is_none() {
            return Ok(());
        }
        let owned = passwd(owner)?;
        let failed = || format!("failed to give what is in `{}` to {owner}", path.display());
        step(
            opened(CWD, path, OFlags::empty()).and_then(|dir| own_below(&dir, owned)).map_err(Into::into),
            failed,
        )
    }
}

/// Gives what lies below a directory to this user and group. By handles: whoever may rename there meanwhile, leads nowhere
/// else. Links, and whatever is no file, are nobody's of ours.
fn own_below(dir: &OwnedFd, owner: (u32, u32)) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)));
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let found = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => {
                let inner = opened(dir, name, OFlags::NOFOLLOW)?;
                fchown(&inner, uid, gid)?;
                own_below(&inner, owner)?;
            }
            FileType::RegularFile => chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?,
            _ => {}
        }
    }
    Ok(())
}

fn opened(at: impl AsFd, path: impl Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | flags, Mode::empty())
}

fn gone(result: std::io::Result<()>) -> std::io::Result<()> {
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn what_is_below_a_directory_is_given_away_and_nothing_that_took_its_place() {
        let root = tempfile::tempdir().unwrap();
        let (data, outside) = (root.path().join("data"), root.path().join("outside"));
        let file = |path: PathBuf| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        file(data.join("audit/record"));
        file(outside.join("audit/record"));
        symlink(&outside, data.join("link")).unwrap();
        let dir = opened(CWD, &data, OFlags::empty()).unwrap();
        fs::rename(&data, root.path().join("old")).unwrap();
        symlink(&outside, &data).unwrap();
        let own = fs::metadata(&outside).unwrap();
        // Whoever isn't root can give only to themselves, and is refused where it would be to another one.
        let is_root = rustix::process::geteuid().is_root();
        let to = if is_root { (own.uid() + 1, own.gid() + 1) } else { (own.uid(), own.gid()) };
        own_below(&dir, to).unwrap();
        let owner = |path: &str| {
            let found = fs::symlink_metadata(root.path().join(path)).unwrap();
            (found.uid(), found.gid())
        };
        for given in ["old/audit", "old/audit/record"] {
            assert_eq!(owner(given), to, "{given}");
        }
        for kept in ["outside", "outside/audit", "outside/audit/record", "old/link"] {
            assert_eq!(owner(kept), (own.uid(), own.gid()), "{kept}");
        }
    }
}
