//! Overwriting a file where it stands, for files that can't be replaced: those with several names,
//! mounted ones, those in a directory that we may not write, and the kernel's settings in `/proc` and
//! `/sys`.
//!
//! Not atomic: a reader may see half of it, and so may everybody after a power cut. The old content is
//! held back and restored if writing fails.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, OFlags, ftruncate};
use rustix::io::Errno;

use super::Fs;
use super::directory::is_kernels;
use super::error::FsError;
use super::handle::Handle;
use super::metadata;
use super::temp::reserve;

impl Fs {
    /// Overwrites a file. If `expected` is given and isn't what it holds, it is a conflict.
    pub(super) fn overwrite(
        &self,
        target: &Handle,
        path: &Path,
        content: &[u8],
        expected: Option<&[u8]>,
    ) -> Result<(), FsError> {
        let failed = |errno| FsError::of("write", path, errno);
        if is_kernels(target, target.stat().st_dev) {
            let file = File::from(target.reopen(OFlags::WRONLY).map_err(failed)?);
            return file.write_all_at(content, 0).map_err(|error| FsError::of_io("write", path, &error));
        }
        let file = File::from(target.reopen(OFlags::RDWR).map_err(failed)?);
        let old = self.hold_back(&file, path)?;
        if expected.is_some_and(|expected| expected != old) {
            return Err(FsError::Conflict { path: path.to_owned() });
        }
        metadata::lend_nothing(&file).map_err(failed)?;
        let written = put(&file, content, old.len()).and_then(|()| self.sync(&file));
        written.map_err(|errno| match put(&file, &old, content.len()) {
            Ok(()) => failed(errno),
            Err(errno) => FsError::Io { step: "restore the old content of", path: path.to_owned(), errno },
        })
    }

    fn hold_back(&self, file: &File, path: &Path) -> Result<Vec<u8>, FsError> {
        let mut old = Vec::new();
        let bytes_max = self.in_place_bytes_max;
        let read = file.take(bytes_max as u64 + 1).read_to_end(&mut old);
        read.map_err(|error| FsError::of_io("read", path, &error))?;
        if old.len() > bytes_max {
            let bytes = file.metadata().map_or(0, |metadata| metadata.len());
            return Err(FsError::TooLarge { path: path.to_owned(), bytes, bytes_max });
        }
        Ok(old)
    }
}

/// Makes `content` all that a file holds. Asks for the space before anything is overwritten.
fn put(file: &File, content: &[u8], old_length: usize) -> Result<(), Errno> {
    reserve(file, FallocateFlags::KEEP_SIZE, content.len())?;
    file.write_all_at(content, 0).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if content.len() < old_length {
        ftruncate(file, content.len() as u64)?;
    }
    Ok(())
}
