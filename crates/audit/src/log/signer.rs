//! Signs how far the record has come, once it is on the disk.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::checkpoint::{self, Checkpoint, line_hash};
use crate::error::AuditError;
use crate::file::RecordFile;
use crate::folder::Folder;
use crate::hex::Hash;
use crate::keys::{Keys, NextKey};
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
    /// Whether the record was handed over to another key.
    is_over: bool,
    /// The oldest record that is kept.
    pub(super) kept_from: u64,
}

/// The keys to go on with in this folder: ours, or those that a rotation has handed the record over to.
pub(super) fn going_on(folder: &Folder, keys: Arc<Keys>) -> Result<Arc<Keys>, AuditError> {
    let file = folder.checkpoints()?;
    match checkpoint::last(&file.file).map_err(AuditError::io("read", &file.path))? {
        Some((newest, line)) => keys.going_on(&newest, &line),
        None => Ok(keys),
    }
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
        let (last, prev) = last.map_or((None, Hash::ZERO), |(last, line)| (Some(last), line_hash(&line)));
        Ok(Self { keys, file, prev, last, tried_at: None, every, is_over: false, kept_from: 0 })
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
        if self.is_over || self.last.as_ref().is_some_and(|last| end.seq <= last.seq) {
            return Ok(());
        }
        self.write(end, None)
    }

    /// Signs all up to this record, of which nothing is signed yet, and that this key signs from then on; ours signs
    /// nothing more, even if this fails: it may be on the disk.
    pub(super) fn hand_over(&mut self, end: End, next: &NextKey) -> Result<(), AuditError> {
        self.is_over = true;
        self.write(end, Some(next))
    }

    fn write(&mut self, end: End, next: Option<&NextKey>) -> Result<(), AuditError> {
        let before = self.last.as_ref().map_or(0, |last| last.seq);
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
            key: self.keys.public().digits(),
            next_key: next.map(|next| next.public().digits()),
        };
        let line = match next {
            Some(next) => checkpoint.clone().handed_over(&self.keys, next),
            None => checkpoint.signed(&self.keys),
        };
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
