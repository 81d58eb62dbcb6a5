//! The bytes of a download, out of a file that is opened once.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};

use bytes::Bytes;
use hayward_tool::{Cx, Source, TransferError};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::not_read;
use super::tickets::Order;
use crate::fs::{AbsPath, Fs, FsError};
use crate::limits::CHUNK_BYTES;

/// Opens the file, which must be the one that a digest was told of.
pub(super) fn open(fs: &Fs, order: &Order) -> Result<(File, Source), TransferError> {
    let (file, source) = find(fs, &order.path).map_err(not_read)?;
    if order.version.as_ref().is_some_and(|version| *version != source.version) {
        return Err(TransferError::FileChanged);
    }
    Ok((file, source))
}

/// The file, and what is told of it.
pub(crate) fn find(fs: &Fs, path: &AbsPath) -> Result<(File, Source), FsError> {
    let (file, _) = fs.open_file(path)?;
    let found = file.metadata().map_err(|error| FsError::of_io("look at", path.as_path(), &error))?;
    let name = path.as_path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((file, Source { bytes: found.size(), name, version: version(&found) }))
}

/// Changes when the content of the file does, whoever sets its times.
fn version(found: &Metadata) -> String {
    let (dev, ino, size) = (found.dev(), found.ino(), found.size());
    let (mtime, ctime) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    format!("{dev:x}-{ino:x}-{size:x}-{:x}.{:x}-{:x}.{:x}", mtime.0, mtime.1, ctime.0, ctime.1)
}

/// The SHA-256 of a file, read to its end or until the call has to stop.
pub(crate) fn digest(file: &File, path: &AbsPath, cx: &Cx) -> Result<[u8; 32], FsError> {
    let (mut digest, mut chunk, mut at) = (Sha256::new(), vec![0; CHUNK_BYTES], 0);
    loop {
        if let Some(stop) = cx.stop() {
            return Err(stop.into());
        }
        match file.read_at(&mut chunk, at) {
            Ok(0) => return Ok(digest.finalize().into()),
            Ok(count) => {
                digest.update(&chunk[..count]);
                at += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(FsError::of_io("read", path.as_path(), &error)),
        }
    }
}

/// Sends a part of the file; says whether that was its end.
pub(super) fn send(
    file: &File,
    range: Range<u64>,
    chunks: &mpsc::Sender<Bytes>,
    cx: &Cx,
) -> Result<bool, TransferError> {
    let failed = |error: std::io::Error| TransferError::ReadFailed { what: error.to_string() };
    let begun = version(&file.metadata().map_err(failed)?);
    let mut at = range.start;
    while at < range.end {
        let room = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let mut chunk = vec![0; room];
        let count = match file.read_at(&mut chunk, at) {
            // It is shorter than it was.
            Ok(0) => return Err(TransferError::FileChanged),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(failed)?,
        };
        chunk.truncate(count);
        if cx.stop().is_some() || chunks.blocking_send(chunk.into()).is_err() {
            return Err(TransferError::StreamAborted { bytes: at - range.start });
        }
        at += count as u64;
    }
    let found = file.metadata().map_err(failed)?;
    // What was sent is not one version of it: the last piece is held back, so that nobody takes it for one.
    if version(&found) != begun {
        return Err(TransferError::FileChanged);
    }
    Ok(at >= found.len())
}
