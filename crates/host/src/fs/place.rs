//! Where a file is written: a name in a directory that is held open, and what has that name now.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use hayward_tool::Cx;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, mkdirat, open, openat, readlink, statat};
use rustix::io::Errno;

use super::Fs;
use super::error::FsError;
use super::handle::Handle;
use super::identity::FileId;
use super::path::AbsPath;
use super::turns::{Key, Turn};
use crate::limits::{LINKS_MAX, RACES_MAX};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A place to write to.
pub(super) struct Place {
    /// The directory, by an `O_PATH` descriptor.
    pub(super) parent: OwnedFd,
    parent_id: FileId,
    /// The name in it; no symbolic link.
    pub(super) name: OsString,
    /// The file that has the name now.
    pub(super) target: Option<Handle>,
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

    /// Whether the file has other names, which a replacement would leave behind with the old content.
    pub(super) fn has_other_names(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.stat().st_nlink > 1)
    }
}

impl Fs {
    /// Finds where a path is written to: behind symbolic links, and in no protected directory.
    pub(super) fn place(&self, path: &AbsPath, missing: Missing) -> Result<Place, FsError> {
        for _ in 0..RACES_MAX {
            let place = match self.look(path) {
                Ok(target) => {
                    target.require_regular(path.as_path())?;
                    Self::place_of(target)
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
    fn place_of(target: Handle) -> Option<Place> {
        let name = target.real().file_name()?.to_owned();
        let parent = open(target.real().parent()?, DIRECTORY, Mode::empty()).ok()?;
        let parent_id = (&fstat(&parent).ok()?).into();
        // Nothing above the target is protected: that was checked with the target.
        Some(Place { parent, parent_id, name, target: Some(target) })
    }

    /// The place of a file that doesn't exist, in directories that are made if need be.
    fn new_place(&self, path: &AbsPath) -> Result<Option<Place>, FsError> {
        if path.names_directory() {
            return Err(FsError::IsDirectory { path: path.as_path().to_owned() });
        }
        let end = without_detours(&end_of_links(path.as_path())?)?;
        let (Some(parent), Some(name)) = (end.parent(), end.file_name()) else {
            return Err(FsError::IsDirectory { path: path.as_path().to_owned() });
        };
        let parent = match open(parent, DIRECTORY, Mode::empty()) {
            Ok(found) => found,
            Err(Errno::NOENT) => self.make_directories(parent)?,
            Err(errno) => return Err(FsError::of("open", parent, errno)),
        };
        self.empty_place(parent, name.to_owned()).map(Some)
    }

    /// A place for a new file, in a directory that isn't protected.
    fn empty_place(&self, parent: OwnedFd, name: OsString) -> Result<Place, FsError> {
        let held = parent.try_clone().map_err(|error| FsError::of_io("hold", Path::new(&name), &error))?;
        let held = Handle::of(held).map_err(|errno| FsError::of("look up", Path::new(&name), errno))?;
        self.protection.check(&held)?;
        // The name that it was asked for by may have led here through `..`.
        self.protection.check_missing(&held.real().join(&name))?;
        Ok(Place { parent, parent_id: held.id(), name, target: None })
    }

    /// Makes the missing directories of a path, each in one that isn't protected. What would be refused at
    /// its end is refused before the first of them is made.
    fn make_directories(&self, path: &Path) -> Result<OwnedFd, FsError> {
        let failed = |errno| FsError::of("make directories for", path, errno);
        self.protection.check_missing(path)?;
        let mut directory = open("/", DIRECTORY, Mode::empty()).map_err(failed)?;
        for part in path.components().filter_map(part_name) {
            let next = match openat(&directory, part, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => self.make_directory(directory, part, path)?,
                found => found.map_err(failed)?,
            };
            directory = next;
        }
        Ok(directory)
    }

    fn make_directory(&self, parent: OwnedFd, name: &OsStr, path: &Path) -> Result<OwnedFd, FsError> {
        let failed = |errno| FsError::of("make directories for", path, errno);
        let place = self.empty_place(parent, name.to_owned())?;
        let would_be = Handle::of(place.parent).map_err(failed)?;
        match mkdirat(&would_be, name, Mode::from_raw_mode(0o777)) {
            Ok(()) => self.sync_directory(&would_be, path)?,
            Err(Errno::EXIST) => {} // somebody was faster
            Err(errno) => return Err(failed(errno)),
        }
        openat(&would_be, name, DIRECTORY, Mode::empty()).map_err(failed)
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
