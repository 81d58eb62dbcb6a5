//! Signs how far the record has come, once it is on the disk.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::checkpoint::{self, Checkpoint, line_hash};
use crate::error::AuditError;
use crate::file::RecordFile;
use crate::folder::Folder;
use crate::hex::{Hash, Hex};
use crate::keys::Keys;
use crate::record::End;

/// What signs, and the file that it writes.
#[derive(Debug)]
pub(super) struct Signer {
    keys: Arc<Keys>,
    file: RecordFile,
    /// The hash of the last line.
    prev: Hash,
    last: Option<Checkpoint>,
    /// When the last one was made, or tried.
    tried_at: Option<Instant>,
    every: Duration,
    /// The oldest record that is kept.
    pub(super) kept_from: u64,
}

impl Signer {
    pub(super) fn open(folder: &Folder, keys: Arc<Keys>, every: Duration) -> Result<Self, AuditError> {
        let mut file = folder.checkpoints()?;
        if file.size == 0 {
            folder.sync()?;
        }
        let read = || AuditError::io("read", &file.path);
        let last = checkpoint::last(&file.file).map_err(read())?;
        if !file.ends_with_newline().map_err(read())? {
            // What a crash left of a line ends here.
            file.append(b"\n")?;
        }
        let (last, prev) = last.map_or((None, Hash::ZERO), |(last, hash)| (Some(last), hash));
        Ok(Self { keys, file, prev, last, tried_at: None, every, kept_from: 0 })
    }

    /// The newest checkpoint.
    pub(super) fn last(&self) -> Option<&Checkpoint> {
        self.last.as_ref()
    }

    /// How long until the next one is due, if this is what is on the disk; none if it is signed already.
    pub(super) fn due_in(&self, synced: Option<End>) -> Option<Duration> {
        let synced = synced?;
        let is_new = self.last.as_ref().is_none_or(|last| last.seq < synced.seq);
        let wait = self.tried_at.map_or(Duration::ZERO, |at| self.every.saturating_sub(at.elapsed()));
        is_new.then_some(wait)
    }

    /// Signs all up to this record, unless it has been.
    pub(super) fn sign(&mut self, end: End) -> Result<(), AuditError> {
        let before = self.last.as_ref().map_or(0, |last| last.seq);
        if self.last.is_some() && end.seq <= before {
            return Ok(());
        }
        self.tried_at = Some(Instant::now());
        let checkpoint = Checkpoint {
            node: end.node,
            epoch: end.epoch,
            seq: end.seq,
            hash: end.hash,
            time: Timestamp::now().to_string(),
            records: end.seq - before,
            kept_from: self.kept_from,
            prev: self.prev,
            key: Hex::parse(self.keys.public().to_string().as_bytes()).expect("a key is hexadecimal"),
        };
        let line = checkpoint.signed(&self.keys);
        self.file.append(&line)?;
        self.prev = line_hash(&line);
        self.last = Some(checkpoint);
        self.file.sync()
    }

    /// Whether this record was signed, with this hash.
    pub(super) fn has_signed(&self, seq: u64, hash: Hash) -> io::Result<bool> {
        let found = checkpoint::find(&self.file.file, seq)?;
        Ok(found.is_some_and(|found| found.hash == hash))
    }
}
