//! The bytes of a download, out of a file that is opened once.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hayward_tool::{Cx, Source, TransferError};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::not_read;
use super::tickets::Order;
use crate::fs::{AbsPath, Fs, FsError};
use crate::limits::{CHUNK_BYTES, SENT_BYTES};

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

/// The buffers of one transfer, used again when they were sent: fresh memory for each costs as much as reading into it.
#[derive(Clone, Default)]
struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    fn take(&self) -> Buffer {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: free.unwrap_or_else(|| vec![0; SENT_BYTES]), home: self.clone() }
    }
}

/// One of them; back among the others when this is dropped.
struct Buffer {
    bytes: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
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
    let (mut at, buffers) = (range.start, Buffers::default());
    while at < range.end {
        let mut buffer = buffers.take();
        let room = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(SENT_BYTES);
        let count = match file.read_at(&mut buffer.bytes[..room], at) {
            // It is shorter than it was.
            Ok(0) => return Err(TransferError::FileChanged),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(failed)?,
        };
        let chunk = Bytes::from_owner(buffer).slice(..count);
        if cx.stop().is_some() || chunks.blocking_send(chunk).is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_only_when_nobody_reads_it_any_more() {
        let buffers = Buffers::default();
        let fill = |byte| {
            let mut buffer = buffers.take();
            buffer.bytes[..4].fill(byte);
            Bytes::from_owner(buffer).slice(..4)
        };
        let (first, second) = (fill(1), fill(2));
        let place = first.as_ptr();
        assert_ne!(second.as_ptr(), place);
        let kept = first.slice(1..2);
        drop(first);
        let third = fill(3);
        assert_ne!(third.as_ptr(), place, "a part of it is still held");
        assert_eq!((&*kept, &*second, &*third), (&[1][..], &[2; 4][..], &[3; 4][..]));
        drop(kept);
        assert_eq!(fill(4).as_ptr(), place);
    }
}
