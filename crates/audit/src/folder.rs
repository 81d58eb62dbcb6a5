//! The folder of the record: the file in use, the next one while it is made, and those put aside.
//!
//! `record.jsonl` is in use; `record.1.jsonl`, `record.2.jsonl`, … were put aside, the greatest
//! number last. The next one is `record.next.jsonl` until it is fit for use, so that a failure on
//! the way there leaves the old one in its place. The folder is held open: to take the next file
//! into use, its own descriptor is the only new one.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, Mode, OFlags, RawDir, SeekFrom, fstatvfs, openat, renameat, seek, statat, unlinkat,
};
use rustix::io::Errno;

use crate::checkpoint::CHECKPOINTS;
use crate::error::AuditError;
use crate::file::RecordFile;
use crate::retention::{Aside, Space};

/// The file in use.
pub(crate) const CURRENT: &str = "record.jsonl";
const NEXT: &str = "record.next.jsonl";
/// Bytes of names that are read from the folder at once.
const NAMES_BYTES: usize = 8 * 1024;

/// The folder, held open.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    dir: File,
}

impl Folder {
    /// Opens the folder, or makes it, for its owner only.
    pub(crate) fn open(path: &Path) -> Result<Self, AuditError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).map_err(AuditError::io("create", path))?;
        let dir = File::open(path).map_err(AuditError::io("open", path))?;
        Ok(Self { path: path.to_owned(), dir })
    }

    /// Opens the file in use, or makes it.
    pub(crate) fn current(&self) -> Result<RecordFile, AuditError> {
        self.file(CURRENT, OFlags::empty())
    }

    /// Opens the file of the checkpoints, or makes it.
    pub(crate) fn checkpoints(&self) -> Result<RecordFile, AuditError> {
        self.file(CHECKPOINTS, OFlags::empty())
    }

    /// Makes the next file: never one that was there before.
    pub(crate) fn next(&self) -> Result<RecordFile, AuditError> {
        self.delete(NEXT)?;
        self.file(NEXT, OFlags::EXCL)
    }

    fn file(&self, name: &str, flags: OFlags) -> Result<RecordFile, AuditError> {
        let path = self.path.join(name);
        let flags =
            flags | OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| AuditError::io("open", &path)(errno.into()))?;
        RecordFile::new(path, file.into())
    }

    /// Takes the next file into use, in the place of the one that was.
    pub(crate) fn install(&self, next: RecordFile) -> Result<RecordFile, AuditError> {
        self.put_aside()?;
        self.rename(NEXT, CURRENT)?;
        Ok(RecordFile { path: self.path.join(CURRENT), ..next })
    }

    /// Gives up the next file. Whatever stays of it is removed before the next attempt.
    pub(crate) fn discard_next(&self) {
        if let Err(error) = self.delete(NEXT) {
            tracing::debug!(%error, "a file that was not taken into use stays");
        }
    }

    /// Puts the file in use aside, unless it is already.
    pub(crate) fn put_aside(&self) -> Result<(), AuditError> {
        let number = self.aside()?.last().map_or(1, |last| last.number + 1);
        match self.rename(CURRENT, &aside_name(number)) {
            Err(AuditError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), AuditError> {
        renameat(&self.dir, from, &self.dir, to)
            .map_err(|errno| AuditError::io("rename", &self.path.join(from))(errno.into()))
    }

    /// The files put aside, oldest first.
    pub(crate) fn aside(&self) -> Result<Vec<Aside>, AuditError> {
        let mut files = self.list().map_err(|errno| AuditError::io("list", &self.path)(errno.into()))?;
        files.sort_unstable_by_key(|file| file.number);
        Ok(files)
    }

    fn list(&self) -> Result<Vec<Aside>, Errno> {
        seek(&self.dir, SeekFrom::Start(0))?;
        let (mut files, mut names) = (Vec::new(), Vec::with_capacity(NAMES_BYTES));
        let mut entries = RawDir::new(&self.dir, names.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if let Some(number) = entry.file_name().to_str().ok().and_then(number) {
                let stat = statat(&self.dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                let bytes = u64::try_from(stat.st_size).unwrap_or(0);
                files.push(Aside { number, bytes, age: age(stat.st_mtime) });
            }
        }
        Ok(files)
    }

    /// The files put aside and, as the last of them, the one in use as it will be when it is put aside.
    pub(crate) fn soon_aside(&self) -> Result<Vec<Aside>, AuditError> {
        let mut files = self.aside()?;
        match statat(&self.dir, CURRENT, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let number = files.last().map_or(1, |last| last.number + 1);
                let bytes = u64::try_from(stat.st_size).unwrap_or(0);
                files.push(Aside { number, bytes, age: Duration::ZERO });
                Ok(files)
            }
            Err(Errno::NOENT) => Ok(files),
            Err(errno) => Err(AuditError::io("look at", &self.path.join(CURRENT))(errno.into())),
        }
    }

    /// What is free on the file system, and how large it is.
    pub(crate) fn space(&self) -> Result<Space, AuditError> {
        let stat =
            fstatvfs(&self.dir).map_err(|errno| AuditError::io("look at", &self.path)(errno.into()))?;
        Ok(Space { free: stat.f_bavail * stat.f_frsize, size: stat.f_blocks * stat.f_frsize })
    }

    /// Opens a file put aside, to read it.
    pub(crate) fn open_aside(&self, number: u64) -> Result<File, AuditError> {
        self.open_to_read(&aside_name(number))
    }

    /// Opens the file in use, to read it.
    pub(crate) fn open_current(&self) -> Result<File, AuditError> {
        self.open_to_read(CURRENT)
    }

    fn open_to_read(&self, name: &str) -> Result<File, AuditError> {
        openat(&self.dir, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(|errno| AuditError::io("open", &self.path.join(name))(errno.into()))
    }

    pub(crate) fn delete_aside(&self, number: u64) -> Result<(), AuditError> {
        self.delete(&aside_name(number))
    }

    fn delete(&self, name: &str) -> Result<(), AuditError> {
        match unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(AuditError::io("delete", &self.path.join(name))(errno.into())),
        }
    }

    /// Makes sure that names which came or went survive a power loss.
    pub(crate) fn sync(&self) -> Result<(), AuditError> {
        self.dir.sync_all().map_err(AuditError::io("sync", &self.path))
    }
}

pub(crate) fn aside_name(number: u64) -> String {
    format!("record.{number}.jsonl")
}

/// The number in `record.N.jsonl`.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("record.")?.strip_suffix(".jsonl")?.parse().ok()
}

/// How long ago a file was last written; nothing if its clock is ahead of ours.
fn age(modified_s: i64) -> Duration {
    let modified = UNIX_EPOCH + Duration::from_secs(u64::try_from(modified_s).unwrap_or(0));
    SystemTime::now().duration_since(modified).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_files_put_aside_have_a_number() {
        assert_eq!(number("record.12.jsonl"), Some(12));
        for other in [CURRENT, NEXT, "record.x.jsonl", "record.1.json", "x.record.1.jsonl"] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn the_next_file_takes_the_place_and_ten_comes_after_nine() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["record.9.jsonl", "record.10.jsonl", CURRENT, "other.jsonl", NEXT] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let folder = Folder::open(dir.path()).unwrap();
        let mut next = folder.next().unwrap();
        next.append(b"fresh").unwrap();
        folder.install(next).unwrap();
        let numbers: Vec<u64> = folder.aside().unwrap().iter().map(|aside| aside.number).collect();
        assert_eq!(numbers, [9, 10, 11]);
        assert_eq!(fs::read(dir.path().join("record.11.jsonl")).unwrap(), CURRENT.as_bytes());
        assert_eq!(fs::read(dir.path().join(CURRENT)).unwrap(), b"fresh");
        assert!(dir.path().join("other.jsonl").exists() && !dir.path().join(NEXT).exists());
    }

    #[test]
    fn a_next_file_that_is_given_up_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        folder.current().unwrap().append(b"old").unwrap();
        folder.next().unwrap().append(b"new").unwrap();
        folder.discard_next();
        assert_eq!(fs::read(dir.path().join(CURRENT)).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
