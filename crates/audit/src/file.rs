//! The files of the record: the one that is written, and those put aside.
//!
//! `record.jsonl` is in use; `record.1.jsonl`, `record.2.jsonl`, … were put aside, the greatest
//! number last. A record is one `write`, and what a failed one left is taken back.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::error::AuditError;

const CURRENT: &str = "record.jsonl";

/// The file in use.
#[derive(Debug)]
pub(crate) struct RecordFile {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    pub(crate) size: u64,
}

impl RecordFile {
    /// Opens the file in use, or makes it.
    pub(crate) fn open(dir: &Path) -> Result<Self, AuditError> {
        let path = dir.join(CURRENT);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(AuditError::io("open", &path))?;
        let size = file.metadata().map_err(AuditError::io("read the size of", &path))?.len();
        Ok(Self { path, file: Arc::new(file), size })
    }

    /// Appends a whole record, or leaves the file as it was.
    pub(crate) fn append(&mut self, line: &[u8]) -> Result<(), AuditError> {
        let mut rest = line;
        while !rest.is_empty() {
            match (&*self.file).write(rest) {
                Ok(0) => return Err(self.take_back(ErrorKind::WriteZero.into())),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.take_back(error)),
            }
        }
        self.size += line.len() as u64;
        Ok(())
    }

    /// Removes the start of a record that could not be written to its end.
    fn take_back(&self, error: io::Error) -> AuditError {
        if let Err(error) = self.file.set_len(self.size) {
            // The next start finds the torn line and begins a fresh one.
            tracing::warn!(path = %self.path.display(), %error, "failed to remove a torn record");
        }
        AuditError::io("write", &self.path)(error)
    }

    pub(crate) fn sync(&self) -> Result<(), AuditError> {
        self.file.sync_data().map_err(AuditError::io("sync", &self.path))
    }
}

/// Makes the folder of the record, for its owner only.
pub(crate) fn create_dir(dir: &Path) -> Result<(), AuditError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(AuditError::io("create", dir))
}

/// Makes sure that names which came or went in the folder survive a power loss.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), AuditError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(AuditError::io("sync", dir))
}

/// The files put aside, oldest first.
pub(crate) fn put_aside(dir: &Path) -> Result<Vec<(u64, PathBuf)>, AuditError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(AuditError::io("list", dir))? {
        let entry = entry.map_err(AuditError::io("list", dir))?;
        if let Some(number) = entry.file_name().to_str().and_then(number) {
            files.push((number, entry.path()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The number in `record.N.jsonl`.
fn number(name: &str) -> Option<u64> {
    name.strip_prefix("record.")?.strip_suffix(".jsonl")?.parse().ok()
}

/// Puts the file in use aside, and deletes the oldest beyond those that are kept.
pub(crate) fn rotate(dir: &Path, kept: u64) -> Result<(), AuditError> {
    let older = put_aside(dir)?;
    let next = older.last().map_or(1, |(number, _)| number + 1);
    let current = dir.join(CURRENT);
    fs::rename(&current, dir.join(format!("record.{next}.jsonl")))
        .map_err(AuditError::io("put aside", &current))?;
    let kept = usize::try_from(kept).unwrap_or(usize::MAX);
    for (_, path) in older.iter().take((older.len() + 1).saturating_sub(kept)) {
        fs::remove_file(path).map_err(AuditError::io("delete", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_put_aside_have_a_number() {
        assert_eq!(number("record.12.jsonl"), Some(12));
        for other in ["record.jsonl", "record.x.jsonl", "record.1.json", "x.record.1.jsonl"] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn ten_comes_after_nine_and_the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["record.9.jsonl", "record.10.jsonl", "record.jsonl", "other.jsonl"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        rotate(dir.path(), 2).unwrap();
        let numbers = |dir| put_aside(dir).unwrap().iter().map(|(number, _)| *number).collect::<Vec<_>>();
        assert_eq!(numbers(dir.path()), [10, 11]);
        assert_eq!(fs::read(dir.path().join("record.11.jsonl")).unwrap(), b"record.jsonl");
        assert!(dir.path().join("other.jsonl").exists());
    }
}
