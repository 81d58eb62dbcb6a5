//! The bytes of an upload, into a file that takes its place when it is whole.

use std::path::Path;

use bytes::Bytes;
use hayward_tool::{Cx, Incoming as Piece, Part, Received, TransferError};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::tickets::Order;
use super::{not_written, refused};
use crate::fs::{Fs, FsError, Incoming};
use crate::limits::PIECES_AT_ONCE;

/// An upload that isn't whole.
pub(super) struct Half {
    file: Incoming,
    bytes: u64,
    digest: Option<Sha256>,
}

impl Half {
    fn begin(fs: &Fs, order: &Order) -> Result<Self, TransferError> {
        let file = fs.begin_incoming(&order.path).map_err(|error| not_begun(order.path.as_path(), error))?;
        Ok(Self { file, bytes: 0, digest: order.sha256.map(|_| Sha256::new()) })
    }

    /// How much has come.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn append(&mut self, chunk: &Bytes, order: &Order) -> Result<(), TransferError> {
        let bytes = self.bytes + chunk.len() as u64;
        if bytes > order.bytes_max {
            return Err(TransferError::SizeExceeded { bytes_max: order.bytes_max });
        }
        self.file
            .append(chunk)
            .map_err(|error| not_written(FsError::of_io("write", order.path.as_path(), &error)))?;
        if let Some(digest) = &mut self.digest {
            digest.update(chunk);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Gives the file its place.
    fn settle(self, fs: &Fs, cx: &Cx, order: &Order) -> Result<(), TransferError> {
        let digest: Option<[u8; 32]> = self.digest.map(|digest| digest.finalize().into());
        if digest != order.sha256 {
            return Err(TransferError::DigestMismatch);
        }
        fs.settle(cx, &order.path, self.file, order.overwrite).map_err(not_written)
    }
}

/// Takes what comes. Gives what there is of it back, unless it is whole or worth nothing any more.
pub(super) fn receive(
    fs: &Fs,
    cx: &Cx,
    order: &Order,
    (half, part): (Option<Half>, Part),
    chunks: mpsc::Receiver<Piece>,
) -> (Option<Half>, Result<Received, TransferError>) {
    let mut half = match half.map_or_else(|| Half::begin(fs, order), Ok) {
        Ok(half) => half,
        Err(error) => return (None, Err(error)),
    };
    let end = match take(&mut half, cx, order, part, chunks) {
        Ok(end) => end,
        // What came is kept: the sender may go on.
        Err(error @ TransferError::StreamAborted { .. }) => {
            // Space for bytes that may never come is others'.
            half.file.release().ok();
            return (Some(half), Err(error));
        }
        Err(error) => return (None, Err(error)),
    };
    let bytes = half.bytes;
    if !end.is_whole {
        return (Some(half), Ok(end));
    }
    match half.settle(fs, cx, order) {
        Ok(()) => (None, Ok(Received { bytes, is_whole: true })),
        Err(error) => (None, Err(error)),
    }
}

fn take(
    half: &mut Half,
    cx: &Cx,
    order: &Order,
    part: Part,
    mut chunks: mpsc::Receiver<Piece>,
) -> Result<Received, TransferError> {
    if let Some(bytes) = part.bytes {
        half.file
            .reserve(half.bytes, bytes)
            .map_err(|errno| not_written(FsError::of("reserve space for", order.path.as_path(), errno)))?;
    }
    let end = part.bytes.map(|bytes| half.bytes.saturating_add(bytes));
    // Several at once, as each time that there is room again, the thread that reads from the network is woken.
    let mut pieces = Vec::with_capacity(PIECES_AT_ONCE);
    loop {
        if chunks.blocking_recv_many(&mut pieces, PIECES_AT_ONCE) == 0 {
            return Err(TransferError::StreamAborted { bytes: half.bytes });
        }
        for piece in pieces.drain(..) {
            let aborted = TransferError::StreamAborted { bytes: half.bytes };
            match piece {
                _ if cx.stop().is_some() => return Err(aborted),
                Piece::Chunk(chunk) => half.append(&chunk, order)?,
                Piece::End if end.is_some_and(|end| half.bytes < end) => return Err(aborted),
                Piece::End => {
                    let is_whole = part.total.is_none_or(|total| half.bytes >= total);
                    return Ok(Received { bytes: half.bytes, is_whole });
                }
            }
            if end.is_some_and(|end| half.bytes > end) {
                return Err(TransferError::BadLength { what: "more bytes than were announced" });
            }
        }
    }
}

/// Why there is no file to write to: its directory, or the file itself.
fn not_begun(path: &Path, error: FsError) -> TransferError {
    let has_directory = path.parent().is_some_and(Path::is_dir);
    match refused(error) {
        TransferError::Refused(error) if has_directory => TransferError::WriteFailed { what: error.message },
        TransferError::Refused(error) => TransferError::MkdirFailed { what: error.message },
        TransferError::PathNotFound { what } if has_directory => TransferError::WriteFailed { what },
        TransferError::PathNotFound { what } => TransferError::MkdirFailed { what },
        other => other,
    }
}
