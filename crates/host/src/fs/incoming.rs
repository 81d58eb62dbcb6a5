//! A file that comes in parts, and takes its place when it is whole.
//!
//! Until then it has no name, where the file system can do that, so that nothing of it is left if we die; else a
//! name that says whose it is. Its place is looked up again at the end: what has changed there meanwhile counts.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use hayward_tool::Cx;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Mode, OFlags, fallocate, fchmod, linkat, openat, renameat, unlinkat,
};
use rustix::io::Errno;

use super::Fs;
use super::error::FsError;
use super::handle::link_to;
use super::metadata;
use super::path::AbsPath;
use super::place::{Missing, Place};
use super::replace::rename_new;
use super::temp::fresh_name;
use crate::limits::RACES_MAX;

/// See the module. Gone when dropped, unless it was given its place.
pub(crate) struct Incoming {
    file: File,
    parent: OwnedFd,
    /// Its name for now, if it has one.
    name: Option<String>,
}

/// What may be in the place of a file that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overwrite {
    /// Nothing.
    Refuse,
    /// Another file, which goes.
    Allow,
}

impl Incoming {
    fn new(parent: OwnedFd) -> Result<Self, Errno> {
        let mode = Mode::from_raw_mode(0o600);
        let unnamed = openat(&parent, ".", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode);
        match unnamed {
            Ok(file) => Ok(Self { file: file.into(), parent, name: None }),
            // Older kernels take the flag for a request to write to a directory.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => Self::named(parent, mode),
            Err(errno) => Err(errno),
        }
    }

    fn named(parent: OwnedFd, mode: Mode) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = fresh_name()?;
        let file = openat(&parent, &name, flags, mode)?;
        Ok(Self { file: file.into(), parent, name: Some(name) })
    }

    /// Asks for space behind the bytes that are there, so that a full disk is told early.
    pub(crate) fn reserve(&self, offset: u64, bytes: u64) -> Result<(), Errno> {
        if bytes == 0 {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, offset, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            other => other,
        }
    }

    /// Appends bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives back space behind its bytes that was asked for and isn't used.
    pub(crate) fn release(&self) -> std::io::Result<()> {
        self.file.set_len(self.file.metadata()?.len())
    }

    /// Gives it a name beside its place, so that it can be renamed.
    fn name_in(&mut self, parent: &OwnedFd) -> Result<String, Errno> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let name = fresh_name()?;
        linkat(CWD, link_to(&self.file), parent, &name, AtFlags::SYMLINK_FOLLOW)?;
        self.parent = rustix::io::fcntl_dupfd_cloexec(parent, 0)?;
        Ok(self.name.insert(name).clone())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Nobody is left to tell if that fails; the name says whose it was.
            unlinkat(&self.parent, name, AtFlags::empty()).ok();
        }
    }
}

impl Fs {
    /// Whether a file may be put here, and whether there is one now. Makes nothing.
    pub(crate) fn check_target(&self, path: &AbsPath) -> Result<bool, FsError> {
        match self.look(path) {
            Ok(_) => replaceable(&self.place(path, Missing::Refuse)?, path).map(|()| true),
            Err(FsError::NotFound { .. }) => self.check_new(path).map(|()| false),
            Err(error) => Err(error),
        }
    }

    /// Begins a file that will be put here; makes its directories.
    pub(crate) fn begin_incoming(&self, path: &AbsPath) -> Result<Incoming, FsError> {
        let place = self.place(path, Missing::Create)?;
        replaceable(&place, path)?;
        Incoming::new(place.parent).map_err(|errno| FsError::of("write beside", path.as_path(), errno))
    }

    /// Puts a file in its place, for good: synced, and at once. Keeps owner, mode and attributes of the one that
    /// was there; a new one is for its owner only.
    pub(crate) fn settle(
        &self,
        cx: &Cx,
        path: &AbsPath,
        mut incoming: Incoming,
        overwrite: Overwrite,
    ) -> Result<(), FsError> {
        for _ in 0..RACES_MAX {
            if self.settle_once(cx, path, &mut incoming, overwrite)? {
                return Ok(());
            }
        }
        Err(FsError::Conflict { path: path.as_path().to_owned() })
    }

    /// Says whether it has its place: somebody may have taken a name that was free.
    fn settle_once(
        &self,
        cx: &Cx,
        path: &AbsPath,
        incoming: &mut Incoming,
        overwrite: Overwrite,
    ) -> Result<bool, FsError> {
        let shown = path.as_path();
        let failed = |errno| FsError::of("replace", shown, errno);
        let (place, _turn) = self.place_in_turn(cx, path, Missing::Create)?;
        if place.target.is_some() && overwrite == Overwrite::Refuse {
            return Err(FsError::Exists { path: shown.to_owned() });
        }
        replaceable(&place, path)?;
        match &place.target {
            Some(target) => metadata::copy(target, &incoming.file).map_err(failed)?,
            None => fchmod(&incoming.file, Mode::from_raw_mode(0o600)).map_err(failed)?,
        }
        incoming.release().map_err(|error| FsError::of_io("cut", shown, &error))?;
        self.sync(&incoming.file).map_err(|errno| FsError::of("sync", shown, errno))?;
        if let Some(stop) = cx.stop() {
            return Err(stop.into());
        }
        let name = incoming.name_in(&place.parent).map_err(failed)?;
        match put(&place, incoming, &name) {
            Ok(()) => incoming.name = None,
            Err(Errno::EXIST) if overwrite == Overwrite::Allow => return Ok(false),
            Err(Errno::EXIST) => return Err(FsError::Exists { path: shown.to_owned() }),
            Err(errno) => return Err(failed(errno)),
        }
        self.sync_directory(&place.parent, shown)?;
        Ok(true)
    }
}

/// Refuses a place whose file can't be replaced, or beside which none may be made.
fn replaceable(place: &Place, path: &AbsPath) -> Result<(), FsError> {
    if place.is_irreplaceable() {
        return Err(FsError::Irreplaceable { path: path.as_path().to_owned() });
    }
    Ok(())
}

/// Fails with `EXIST` if a new name is taken meanwhile.
fn put(place: &Place, incoming: &Incoming, name: &str) -> Result<(), Errno> {
    match place.target {
        Some(_) => renameat(&incoming.parent, name, &place.parent, &place.name),
        None => rename_new(place, &incoming.parent, name),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn abs(path: &Path) -> AbsPath {
        AbsPath::parse(path.to_str().unwrap()).unwrap()
    }

    fn cx() -> Cx {
        Cx::new(Duration::from_mins(1), CancellationToken::new())
    }

    fn names(root: &TempDir) -> usize {
        std::fs::read_dir(root.path()).unwrap().count()
    }

    #[test]
    fn a_file_is_seen_when_it_is_whole_and_keeps_what_the_old_one_had() {
        let (root, fs) = (TempDir::new().unwrap(), Fs::bare());
        let (new, old) = (root.path().join("sub/new"), root.path().join("old"));
        std::fs::write(&old, "old").unwrap();
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o6640)).unwrap();
        for (path, mode) in [(&new, 0o600), (&old, 0o640)] {
            let mut incoming = fs.begin_incoming(&abs(path)).unwrap();
            incoming.append(b"first ").unwrap();
            assert_eq!(std::fs::read(path).ok(), path.exists().then(|| b"old".to_vec()));
            incoming.append(b"second").unwrap();
            fs.settle(&cx(), &abs(path), incoming, Overwrite::Allow).unwrap();
            assert_eq!(std::fs::read(path).unwrap(), b"first second");
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, mode, "no rights are lent");
        }
        assert_eq!(names(&root), 2, "nothing else is left");
    }

    #[test]
    fn what_is_not_to_be_overwritten_is_looked_at_again_at_the_end() {
        let (root, fs) = (TempDir::new().unwrap(), Fs::bare());
        let path = root.path().join("x");
        let incoming = fs.begin_incoming(&abs(&path)).unwrap();
        std::fs::write(&path, "somebody was faster").unwrap();
        let refused = fs.settle(&cx(), &abs(&path), incoming, Overwrite::Refuse);
        assert!(matches!(refused, Err(FsError::Exists { .. })), "{refused:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"somebody was faster");
        assert_eq!(names(&root), 1);
    }

    #[test]
    fn a_file_with_a_name_for_now_is_put_in_its_place_and_removed_otherwise() {
        let (root, fs) = (TempDir::new().unwrap(), Fs::bare());
        let path = root.path().join("x");
        let begin = || {
            let place = fs.place(&abs(&path), Missing::Create).unwrap();
            Incoming::named(place.parent, Mode::from_raw_mode(0o600)).unwrap()
        };
        drop(begin());
        assert_eq!(names(&root), 0);
        let mut incoming = begin();
        incoming.append(b"x").unwrap();
        fs.settle(&cx(), &abs(&path), incoming, Overwrite::Refuse).unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), names(&root)), (b"x".to_vec(), 1));
    }

    #[test]
    fn a_file_with_several_names_is_refused_and_a_directory_is_none() {
        let (root, fs) = (TempDir::new().unwrap(), Fs::bare());
        let path = root.path().join("x");
        std::fs::write(&path, "old").unwrap();
        std::fs::hard_link(&path, root.path().join("y")).unwrap();
        let is_irreplaceable = |error: FsError| matches!(error, FsError::Irreplaceable { .. });
        assert!(fs.begin_incoming(&abs(&path)).err().is_some_and(is_irreplaceable));
        assert!(fs.check_target(&abs(&path)).err().is_some_and(is_irreplaceable));
        assert!(matches!(fs.check_target(&abs(root.path())), Err(FsError::IsDirectory { .. })));
        let other = root.path().join("other");
        let incoming = fs.begin_incoming(&abs(&other)).unwrap();
        std::fs::hard_link(&path, &other).unwrap();
        let settled = fs.settle(&cx(), &abs(&other), incoming, Overwrite::Allow);
        assert!(settled.err().is_some_and(is_irreplaceable), "it is looked at again at the end");
        std::fs::remove_file(&other).unwrap();
        assert!(!fs.check_target(&abs(&root.path().join("new/dir/file"))).unwrap());
        assert_eq!(names(&root), 2, "looking makes nothing");
    }
}
