//! One file of the record, open for appending.
//!
//! A record is one `write`, and what a failed one left is taken back.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, fstat};
use rustix::io::Errno;

use crate::error::AuditError;
use crate::limits::RESERVE_BYTES;

/// A file, and how much of it is records.
#[derive(Debug)]
pub(crate) struct RecordFile {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    pub(crate) size: u64,
}

impl RecordFile {
    pub(crate) fn new(path: PathBuf, file: File) -> Result<Self, AuditError> {
        let size = file.metadata().map_err(AuditError::io("read the size of", &path))?.len();
        Ok(Self { path, file: Arc::new(file), size })
    }

    /// Appends a whole record, or leaves the file as it was. A file without a name is refused: nobody
    /// would find the record in it.
    pub(crate) fn append(&mut self, line: &[u8]) -> Result<(), AuditError> {
        let is_gone = fstat(&*self.file).is_ok_and(|stat| stat.st_nlink == 0);
        if is_gone {
            return Err(AuditError::io("find", &self.path)(ErrorKind::NotFound.into()));
        }
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
        if let Err(error) = self.cut() {
            // Whoever carries on here cuts again; the next start finds the torn line.
            tracing::warn!(%error, "failed to remove a torn record");
        }
        AuditError::io("write", &self.path)(error)
    }

    /// Ends the file after its last whole record.
    pub(crate) fn cut(&self) -> Result<(), AuditError> {
        self.file.set_len(self.size).map_err(AuditError::io("cut", &self.path))
    }

    /// Whether nothing is begun behind the last line.
    pub(crate) fn ends_with_newline(&self) -> io::Result<bool> {
        let mut last = [b'\n'];
        if self.size > 0 {
            self.file.read_exact_at(&mut last, self.size - 1)?;
        }
        Ok(last == *b"\n")
    }

    /// Makes sure of some room behind the last record, where the file system can.
    pub(crate) fn reserve(&self) -> Result<(), AuditError> {
        match fallocate(&*self.file, FallocateFlags::KEEP_SIZE, self.size, RESERVE_BYTES) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(errno) => Err(AuditError::io("reserve room in", &self.path)(errno.into())),
        }
    }

    pub(crate) fn sync(&self) -> Result<(), AuditError> {
        self.file.sync_data().map_err(AuditError::io("sync", &self.path))
    }
}
