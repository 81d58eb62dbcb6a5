//! Where a file is written: a name in a directory that is held open, and what has that name now.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use hayward_tool::Cx;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, readlink, statat};
use rustix::io::Errno;

use super::error::FsError;
use super::handle::Handle;
use super::identity::FileId;
use super::path::AbsPath;
use super::turns::{Key, Turn};
use super::{Access, Fs};
use crate::limits::{LINKS_MAX, RACES_MAX};

/// A place to write to.
pub(super) struct Place {
    /// The directory, by an `O_PATH` descriptor.
    pub(super) parent: OwnedFd,
    parent_id: FileId,
    /// The name in it; no symbolic link.
    pub(super) name: OsString,
    /// The file that has the name now.
    pub(super) target: Option<Handle>,
    /// Whether no other file may be made in the directory.
    is_shut: bool,
}

/// Whether a file that doesn't exist may be made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Refuse,
    Create,
}

impl Place {
    /// What waits for a turn here.
    pub(super) fn key(&self) -> Key {
        (self.parent_id, self.name.clone())
    }

    /// Whether the name still means the same file, or none.
    pub(super) fn is_current(&self) -> bool {
        match (statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW), &self.target) {
            (Ok(stat), Some(target)) => FileId::from(&stat) == target.id(),
            (Err(Errno::NOENT), None) => true,
            _ => false,
        }
    }

    /// Whether the file can only be overwritten: no other may be made beside it, or it has other names,
    /// which a replacement would leave behind with the old content.
    pub(super) fn is_irreplaceable(&self) -> bool {
        self.target.as_ref().is_some_and(|target| self.is_shut || target.stat().st_nlink > 1)
    }
}

impl Fs {
    /// Finds where a path is written to: behind symbolic links, and in no protected directory.
    pub(super) fn place(&self, path: &AbsPath, missing: Missing) -> Result<Place, FsError> {
        for _ in 0..RACES_MAX {
            let place = match self.look(path) {
                Ok(target) => {
                    target.require_regular(path.as_path())?;
                    self.reach.check(&target, path.as_path(), Access::Write)?;
                    self.place_of(target)
                }
                Err(FsError::NotFound { .. }) if missing == Missing::Create => self.new_place(path)?,
                Err(error) => return Err(error),
            };
            if let Some(place) = place.filter(Place::is_current) {
                return Ok(place);
            }
        }
        Err(FsError::Conflict { path: path.as_path().to_owned() })
    }

    /// The same when it is our turn there: whoever was before us may have replaced the file.
    pub(super) fn place_in_turn(
        &self,
        cx: &Cx,
        path: &AbsPath,
        missing: Missing,
    ) -> Result<(Place, Turn<'_>), FsError> {
        for _ in 0..RACES_MAX {
            let place = self.place(path, missing)?;
            let turn = self.turns.take(cx, place.key())?;
            if place.is_current() {
                return Ok((place, turn));
            }
            let again = self.place(path, missing)?;
            if again.key() == place.key() {
                return Ok((again, turn));
            }
        }
        Err(FsError::Conflict { path: path.as_path().to_owned() })
    }

    /// The place of a file that exists; none if it went meanwhile.
    fn place_of(&self, target: Handle) -> Option<Place> {
        let name = target.real().file_name()?.to_owned();
        let parent =
            Handle::of(self.open_path(CWD, target.real().parent()?, OFlags::DIRECTORY).ok()?).ok()?;
        // Nothing above the target is protected: that was checked with the target. But a root may be a file.
        let is_shut = self.reach.check(&parent, parent.real(), Access::Write).is_err();
        let parent_id = parent.id();
        Some(Place { parent: parent.into(), parent_id, name, target: Some(target), is_shut })
    }

    /// The place of a file that doesn't exist, in directories that are made if need be.
    fn new_place(&self, path: &AbsPath) -> Result<Option<Place>, FsError> {
        if path.names_directory() {
            return Err(FsError::IsDirectory { path: path.as_path().to_owned() });
        }
        let path = path.as_path();
        let end = without_detours(&end_of_links(path)?)?;
        let (Some(parent), Some(name)) = (end.parent(), end.file_name()) else {
            return Err(FsError::IsDirectory { path: path.to_owned() });
        };
        let parent = match self.open_path(CWD, parent, OFlags::DIRECTORY) {
            Ok(found) => found,
            Err(Errno::NOENT) => self.make_directories(parent, path)?,
            Err(errno) => return Err(FsError::of("open", parent, errno)),
        };
        self.empty_place(parent, name.to_owned(), path).map(Some)
    }

    /// Refuses a file that doesn't exist where none may be made. Makes nothing.
    pub(super) fn check_new(&self, path: &AbsPath) -> Result<(), FsError> {
        if path.names_directory() {
            return Err(FsError::IsDirectory { path: path.as_path().to_owned() });
        }
        let end = without_detours(&end_of_links(path.as_path())?)?;
        self.check_missing(&end, path.as_path(), Access::Write)
    }

    /// A place for a new file, in a directory that is in reach and isn't protected.
    fn empty_place(&self, parent: OwnedFd, name: OsString, path: &Path) -> Result<Place, FsError> {
        let held = Handle::of(parent).map_err(|errno| FsError::of("look up", Path::new(&name), errno))?;
        // The name that it was asked for by may have led here through `..`.
        self.reach.check_missing((&held, Path::new(&name)), path, Access::Write)?;
        self.protection.check_missing(&held, Path::new(&name))?;
        let parent_id = held.id();
        Ok(Place { parent: held.into(), parent_id, name, target: None, is_shut: false })
    }

    /// Makes the missing directories of a path, each in one that isn't protected. What would be refused at
    /// its end is refused before the first of them is made.
    fn make_directories(&self, missing: &Path, path: &Path) -> Result<OwnedFd, FsError> {
        let failed = |errno| FsError::of("make directories for", missing, errno);
        self.check_missing(missing, path, Access::Write)?;
        let mut directory = self.open_path(CWD, Path::new("/"), OFlags::DIRECTORY).map_err(failed)?;
        for part in missing.components().filter_map(part_name) {
            let next = match self.open_path(&directory, Path::new(part), OFlags::DIRECTORY) {
                Err(Errno::NOENT) => self.make_directory(directory, part, path)?,
                found => found.map_err(failed)?,
            };
            directory = next;
        }
        Ok(directory)
    }

    fn make_directory(&self, parent: OwnedFd, name: &OsStr, path: &Path) -> Result<OwnedFd, FsError> {
        let failed = |errno| FsError::of("make directories for", path, errno);
        let above = self.empty_place(parent, name.to_owned(), path)?.parent;
        match mkdirat(&above, name, Mode::from_raw_mode(0o777)) {
            Ok(()) => self.sync_directory(&above, path)?,
            Err(Errno::EXIST) => {} // somebody was faster
            Err(errno) => return Err(failed(errno)),
        }
        self.open_path(&above, Path::new(name), OFlags::DIRECTORY).map_err(failed)
    }
}

fn part_name(part: Component<'_>) -> Option<&OsStr> {
    match part {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }
}

/// The same path without steps into directories that don't exist and out of them again: none of those is
/// made on the way.
fn without_detours(path: &Path) -> Result<PathBuf, FsError> {
    let exists = |above: &&Path| statat(CWD, *above, AtFlags::empty()).is_ok();
    let above = path.ancestors().find(exists).unwrap_or(Path::new("/"));
    let mut missing = Vec::new();
    for part in path.strip_prefix(above).unwrap_or(path).components().filter_map(part_name) {
        if part != ".." {
            missing.push(part);
        } else if missing.pop().is_none() {
            return Err(FsError::NotFound { path: path.to_owned() });
        }
    }
    Ok(missing.into_iter().fold(above.to_owned(), |path, part| path.join(part)))
}

/// Where a path leads that doesn't lead to a file: the last of its dangling symbolic links.
pub(super) fn end_of_links(path: &Path) -> Result<PathBuf, FsError> {
    let mut end = path.to_owned();
    for _ in 0..LINKS_MAX {
        match readlink(&end, Vec::new()) {
            Ok(link) => {
                let link = PathBuf::from(OsString::from_vec(link.into_bytes()));
                end = end.parent().map(|parent| parent.join(&link)).unwrap_or(link);
            }
            Err(_) => return Ok(end),
        }
    }
    Err(FsError::of("follow", path, Errno::LOOP))
}
