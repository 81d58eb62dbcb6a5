//! Changing a file as a whole: a reader sees the old content or the new, whatever happens.
//!
//! ```text
//!  place ─► turn ─► temp beside it ─► content, owner, attributes, mode ─► fsync ─► rename ─► fsync dir
//!                                                                            │
//!                       edit: exchange, and back again unless what came out is what was read
//! ```

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use hayward_tool::Cx;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, fstat, fsync, openat, renameat, renameat_with, statat};
use rustix::io::Errno;

use super::Fs;
use super::error::FsError;
use super::identity::{FileId, Version};
use super::metadata;
use super::path::AbsPath;
use super::place::{Missing, Place};
use super::temp::Temp;
use crate::limits::{EDIT_ATTEMPTS, RACES_MAX};

/// How a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// A reader saw the old content or the new.
    Atomically,
    /// A reader may have seen a part.
    InPlace,
}

/// What became of an attempt.
enum Attempt {
    Done,
    /// Somebody else changed the file.
    Outrun,
    /// The file can't be replaced, only overwritten.
    Irreplaceable,
}

impl Fs {
    /// Makes `content` all that the file holds; makes the file and its directories if need be.
    pub(crate) fn write(&self, cx: &Cx, path: &AbsPath, content: &[u8]) -> Result<Written, FsError> {
        for _ in 0..RACES_MAX {
            let (place, _turn) = self.place_in_turn(cx, path, Missing::Create)?;
            match self.write_at(cx, &place, path.as_path(), content)? {
                Attempt::Done => return Ok(Written::Atomically),
                Attempt::Irreplaceable => return self.write_over(&place, path, content, None),
                Attempt::Outrun => {}
            }
        }
        Err(FsError::Conflict { path: path.as_path().to_owned() })
    }

    /// Changes the content of a file that exists. `change` is asked again if somebody else was faster.
    pub(crate) fn edit<E: From<FsError>>(
        &self,
        cx: &Cx,
        path: &AbsPath,
        bytes_max: usize,
        mut change: impl FnMut(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Written, E> {
        for _ in 0..EDIT_ATTEMPTS {
            let (place, _turn) = self.place_in_turn(cx, path, Missing::Refuse)?;
            let Some((version, old)) = read_whole(&place, path.as_path(), bytes_max)? else {
                continue;
            };
            let new = change(&old)?;
            if new == old {
                return Ok(Written::Atomically);
            }
            match self.edit_at(cx, &place, path.as_path(), (&version, &old, &new))? {
                Attempt::Done => return Ok(Written::Atomically),
                Attempt::Irreplaceable => {
                    return Ok(self.write_over(&place, path, &new, Some(&old))?);
                }
                Attempt::Outrun => {}
            }
        }
        Err(FsError::Conflict { path: path.as_path().to_owned() }.into())
    }

    fn write_at(&self, cx: &Cx, place: &Place, path: &Path, content: &[u8]) -> Result<Attempt, FsError> {
        let Some(mut temp) = self.prepare(cx, place, path, content)? else {
            return Ok(Attempt::Irreplaceable);
        };
        let renamed = match place.target {
            Some(_) => renameat(&place.parent, temp.name(), &place.parent, &place.name),
            None => rename_new(place, &place.parent, temp.name()),
        };
        match renamed {
            Ok(()) => temp.is_renamed(),
            Err(Errno::EXIST) => return Ok(Attempt::Outrun),
            Err(Errno::BUSY) if place.target.is_some() => return Ok(Attempt::Irreplaceable),
            Err(errno) => return Err(FsError::of("replace", path, errno)),
        }
        self.sync_directory(&place.parent, path)?;
        Ok(Attempt::Done)
    }

    fn edit_at(
        &self,
        cx: &Cx,
        place: &Place,
        path: &Path,
        (version, old, new): (&Version, &[u8], &[u8]),
    ) -> Result<Attempt, FsError> {
        let Some(mut temp) = self.prepare(cx, place, path, new)? else {
            return Ok(Attempt::Irreplaceable);
        };
        let failed = |errno| FsError::of("replace", path, errno);
        let now = statat(&place.parent, &place.name, AtFlags::SYMLINK_NOFOLLOW);
        if !now.is_ok_and(|stat| Version::from(&stat) == *version) {
            return Ok(Attempt::Outrun);
        }
        match exchange(place, &temp) {
            Ok(()) if holds(place, temp.name(), old) => {}
            Ok(()) => {
                undo_exchange(place, &mut temp).map_err(failed)?;
                return Ok(Attempt::Outrun);
            }
            Err(Errno::NOENT) => return Ok(Attempt::Outrun),
            Err(Errno::BUSY) => return Ok(Attempt::Irreplaceable),
            // This file system can't exchange: the check above has to do.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                renameat(&place.parent, temp.name(), &place.parent, &place.name).map_err(failed)?;
                temp.is_renamed();
            }
            Err(errno) => return Err(failed(errno)),
        }
        drop(temp); // removes the old file, so that the directory is synced without it
        self.sync_directory(&place.parent, path)?;
        Ok(Attempt::Done)
    }

    /// The file that will take the place, complete and synced; none if there can't be one.
    fn prepare<'a>(
        &self,
        cx: &Cx,
        place: &'a Place,
        path: &Path,
        content: &[u8],
    ) -> Result<Option<Temp<'a>>, FsError> {
        if place.is_irreplaceable() {
            return Ok(None);
        }
        let mode = if place.target.is_some() { 0o600 } else { 0o666 };
        let mut temp = match Temp::create(&place.parent, Mode::from_raw_mode(mode)) {
            Ok(temp) => temp,
            Err(errno) if place.target.is_some() && is_lack_of_rights(errno) => return Ok(None),
            Err(errno) => return Err(FsError::of("write beside", path, errno)),
        };
        temp.fill(content).map_err(|errno| FsError::of("write", path, errno))?;
        if let Some(target) = &place.target
            && metadata::copy(target, temp.file()).is_err()
        {
            return Ok(None); // it would lose its owner or an attribute
        }
        self.sync(temp.file()).map_err(|errno| FsError::of("sync", path, errno))?;
        match cx.stop() {
            Some(stop) => Err(stop.into()),
            None => Ok(Some(temp)),
        }
    }

    fn write_over(
        &self,
        place: &Place,
        path: &AbsPath,
        content: &[u8],
        expected: Option<&[u8]>,
    ) -> Result<Written, FsError> {
        let path = path.as_path();
        let target = place.target.as_ref().ok_or_else(|| FsError::NotFound { path: path.to_owned() })?;
        self.overwrite(target, path, content, expected)?;
        Ok(Written::InPlace)
    }

    pub(super) fn sync(&self, file: impl AsFd) -> Result<(), Errno> {
        if self.syncs { fsync(file) } else { Ok(()) }
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_directory(&self, directory: impl AsFd, path: &Path) -> Result<(), FsError> {
        if !self.syncs {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(directory, ".", flags, Mode::empty()) {
            Ok(directory) => {
                fsync(directory).map_err(|errno| FsError::of("sync the directory of", path, errno))
            }
            Err(Errno::ACCESS) => Ok(()), // we may write there but not read: nothing to sync with
            Err(errno) => Err(FsError::of("open the directory of", path, errno)),
        }
    }
}

/// Reads a file and the version that was read; none if it changed meanwhile.
fn read_whole(place: &Place, path: &Path, bytes_max: usize) -> Result<Option<(Version, Vec<u8>)>, FsError> {
    let failed = |errno| FsError::of("read", path, errno);
    let Some(target) = place.target.as_ref().filter(|_| place.is_current()) else {
        return Ok(None);
    };
    let file = File::from(target.reopen(OFlags::RDONLY).map_err(failed)?);
    let before = fstat(&file).map_err(failed)?;
    let mut content = Vec::new();
    let read = (&file).take(bytes_max as u64 + 1).read_to_end(&mut content);
    read.map_err(|error| FsError::of_io("read", path, &error))?;
    if content.len() > bytes_max {
        let bytes = u64::try_from(before.st_size).unwrap_or_default();
        return Err(FsError::TooLarge { path: path.to_owned(), bytes, bytes_max });
    }
    let after = Version::from(&fstat(&file).map_err(failed)?);
    Ok((after == Version::from(&before)).then_some((after, content)))
}

/// Gives a new file, which is in this directory, its name unless somebody else has taken it.
pub(super) fn rename_new(place: &Place, parent: &OwnedFd, temp: &str) -> Result<(), Errno> {
    let flags = RenameFlags::NOREPLACE;
    match renameat_with(parent, temp, &place.parent, &place.name, flags) {
        Err(Errno::INVAL | Errno::NOSYS) => renameat(parent, temp, &place.parent, &place.name),
        other => other,
    }
}

fn exchange(place: &Place, temp: &Temp<'_>) -> Result<(), Errno> {
    renameat_with(&place.parent, temp.name(), &place.parent, &place.name, RenameFlags::EXCHANGE)
}

/// Puts back what an exchange took out, unless somebody has replaced or removed meanwhile what took its place: theirs is newer.
/// If that fails, what was taken out is kept under the temporary name rather than lost.
fn undo_exchange(place: &Place, temp: &mut Temp<'_>) -> Result<(), Errno> {
    let undone = undo_exchanges(place, temp);
    if undone.is_err() {
        temp.is_renamed();
    }
    undone
}

fn undo_exchanges(place: &Place, temp: &Temp<'_>) -> Result<(), Errno> {
    let taken_out = || statat(&place.parent, temp.name(), AtFlags::SYMLINK_NOFOLLOW);
    let mut put_there = FileId::from(&fstat(temp.file())?);
    for _ in 0..RACES_MAX {
        let puts_there = FileId::from(&taken_out()?);
        match exchange(place, temp) {
            Ok(()) => {}
            // Whoever removed it meant whatever was there.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        if FileId::from(&taken_out()?) == put_there {
            return Ok(());
        }
        // What came out is newer than what went in, so back with it.
        put_there = puts_there;
    }
    Err(Errno::BUSY)
}

/// Whether a name holds exactly this content.
fn holds(place: &Place, name: &str, content: &[u8]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(&place.parent, name, flags, Mode::empty()) else {
        return false;
    };
    let mut held = Vec::with_capacity(content.len() + 1);
    let read = File::from(file).take(content.len() as u64 + 1).read_to_end(&mut held);
    read.is_ok() && held == content
}

/// Whether no file can be made beside one that may well be writable itself.
fn is_lack_of_rights(errno: Errno) -> bool {
    matches!(errno, Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOENT | Errno::OPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::path::PathBuf;
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// An `Fs`, a call, and a file that holds `old`.
    fn rig() -> (TempDir, Fs, Cx, PathBuf) {
        let root = TempDir::new().unwrap();
        let path = root.path().join("x");
        put_new(&path, b"old");
        let cx = Cx::new(Duration::from_mins(1), CancellationToken::new());
        (root, Fs::bare(), cx, path)
    }

    fn put_new(path: &Path, content: &[u8]) {
        File::create(path).unwrap().write_all_at(content, 0).unwrap();
    }

    fn abs(path: &Path) -> AbsPath {
        AbsPath::parse(path.to_str().unwrap()).unwrap()
    }

    fn names(root: &TempDir) -> usize {
        std::fs::read_dir(root.path()).unwrap().count()
    }

    #[test]
    fn an_edit_that_was_outrun_is_made_again_on_the_new_content() {
        let (root, fs, cx, path) = rig();
        let mut rounds = 0;
        let written = fs.edit(&cx, &abs(&path), 100, |content| {
            rounds += 1;
            if rounds == 1 {
                // In place, and of the same length.
                put_new(&path, b"OLD");
            }
            Ok::<_, FsError>([content, b"!"].concat())
        });
        assert_eq!(written.unwrap(), Written::Atomically);
        assert_eq!((rounds, std::fs::read(&path).unwrap()), (2, b"OLD!".to_vec()));
        assert_eq!(names(&root), 1);
    }

    #[test]
    fn an_edit_that_is_always_outrun_is_a_conflict_and_changes_nothing() {
        let (root, fs, cx, path) = rig();
        let mut rounds = 0;
        let written = fs.edit(&cx, &abs(&path), 100, |_| {
            rounds += 1;
            let other = path.with_extension("new");
            put_new(&other, format!("other {rounds}").as_bytes());
            std::fs::rename(other, &path).unwrap();
            Ok::<_, FsError>(b"ours".to_vec())
        });
        assert!(matches!(written, Err(FsError::Conflict { .. })), "{written:?}");
        assert_eq!(std::fs::read(&path).unwrap(), format!("other {EDIT_ATTEMPTS}").as_bytes());
        assert_eq!(names(&root), 1);
    }

    #[test]
    fn an_exchange_that_took_out_something_else_is_undone() {
        let (root, fs, _, path) = rig();
        let place = fs.place(&abs(&path), Missing::Refuse).unwrap();
        let mut temp = Temp::create(&place.parent, Mode::from_raw_mode(0o600)).unwrap();
        temp.fill(b"ours").unwrap();
        exchange(&place, &temp).unwrap();
        assert!(!holds(&place, temp.name(), b"was read before"));
        assert!(holds(&place, temp.name(), b"old"));
        undo_exchange(&place, &mut temp).unwrap();
        drop(temp);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(&root), 1);
    }

    #[test]
    fn what_somebody_else_did_before_an_exchange_was_undone_stays_done() {
        for newer in [Some("newer"), None] {
            let (root, fs, _, path) = rig();
            let place = fs.place(&abs(&path), Missing::Refuse).unwrap();
            let mut temp = Temp::create(&place.parent, Mode::from_raw_mode(0o600)).unwrap();
            temp.fill(b"ours").unwrap();
            exchange(&place, &temp).unwrap();
            std::fs::remove_file(&path).unwrap();
            if let Some(newer) = newer {
                put_new(&path, newer.as_bytes());
            }
            undo_exchange(&place, &mut temp).unwrap();
            drop(temp);
            assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), newer);
            assert_eq!(names(&root), usize::from(newer.is_some()));
        }
    }

    #[test]
    fn a_file_that_goes_while_it_is_edited_is_not_made_again() {
        let (root, fs, cx, path) = rig();
        let written = fs.edit(&cx, &abs(&path), 100, |_| {
            std::fs::remove_file(&path).ok();
            Ok::<_, FsError>(b"ours".to_vec())
        });
        assert!(matches!(written, Err(FsError::NotFound { .. })), "{written:?}");
        assert_eq!(names(&root), 0);
    }
}
