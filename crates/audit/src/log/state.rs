//! What is behind the lock: the file in use, the numbers, and which intents are open.

use std::time::Instant;

use crate::error::AuditError;
use crate::file::RecordFile;
use crate::folder::Folder;
use crate::record::{Draft, LEFT_OPEN, MarkBody, OutcomeBody, RecordKind};
use crate::recovery::{self, Found};

use super::Sync;
use super::failure::{Failure, Footing};
use super::queue::Entry;

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) file: RecordFile,
    /// Why nothing is written at the moment.
    pub(crate) failure: Option<Failure>,
    /// When to try again to put a full file aside, if that failed.
    pub(crate) rotate_at: Option<Instant>,
    /// When it was last said that files are deleted before their time.
    pub(crate) warned_at: Option<Instant>,
    next_seq: u64,
    /// Where in the file the last mark is.
    marked_at: u64,
    boot_id: String,
    /// The line that is being built; kept for its memory.
    line: Vec<u8>,
}

impl State {
    /// Opens the file in use and carries on where its last writer ended.
    pub(crate) fn open(folder: &Folder, sync: Sync) -> Result<Self, AuditError> {
        folder.discard_next();
        let mut file = folder.current()?;
        let is_new = file.size == 0;
        let found = last_state(folder, &file)?;
        if found.torn_bytes > 0 {
            file.append(b"\n")?;
        }
        let mut state = Self::new(file, found.last_seq + 1);
        for intent in &found.open {
            state.append(&Draft::new(RecordKind::Outcome, &OutcomeBody::new(*intent, &LEFT_OPEN)))?;
        }
        state.mark(found.torn_bytes, None, Vec::new())?;
        if sync == Sync::Each {
            state.file.sync()?;
        }
        if is_new && sync != Sync::Off {
            folder.sync()?;
        }
        Ok(state)
    }

    fn new(file: RecordFile, next_seq: u64) -> Self {
        Self {
            file,
            failure: None,
            rotate_at: None,
            warned_at: None,
            next_seq,
            marked_at: 0,
            boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            line: Vec::new(),
        }
    }

    /// Whether the file in use can't be trusted any more, and no fresh one works yet.
    pub(crate) fn has_lost_its_file(&self) -> bool {
        self.failure.is_some_and(|failure| failure.footing == Footing::FreshFile)
    }

    pub(crate) fn append(&mut self, draft: &Draft) -> Result<u64, AuditError> {
        let seq = self.next_seq;
        self.line.clear();
        draft.write_line(&mut self.line, seq);
        self.file.append(&self.line)?;
        self.next_seq += 1;
        Ok(seq)
    }

    /// Appends these records in one write, and returns the number of the first.
    pub(super) fn append_all(&mut self, entries: &[Entry]) -> Result<u64, AuditError> {
        let first = self.next_seq;
        self.line.clear();
        for (seq, entry) in (first..).zip(entries) {
            entry.draft.write_line(&mut self.line, seq);
        }
        self.file.append(&self.line)?;
        self.next_seq += entries.len() as u64;
        Ok(first)
    }

    /// Bytes since the last mark.
    pub(crate) fn unmarked(&self) -> u64 {
        self.file.size - self.marked_at
    }

    pub(crate) fn mark(
        &mut self,
        torn_bytes: u64,
        reopened_after: Option<&'static str>,
        open: Vec<u64>,
    ) -> Result<(), AuditError> {
        self.marked_at = self.file.size;
        let draft = self.draft_mark(torn_bytes, reopened_after, open);
        self.append(&draft).map(drop)
    }

    fn draft_mark(&self, torn_bytes: u64, reopened_after: Option<&'static str>, open: Vec<u64>) -> Draft {
        let (boot_id, pid) = (self.boot_id.trim(), std::process::id());
        Draft::new(RecordKind::Mark, &MarkBody { boot_id, pid, torn_bytes, reopened_after, open })
    }

    /// Makes the next file fit for use: with a mark, and on the disk if this is to be synced. The
    /// number of that mark is taken only when the file is.
    pub(crate) fn begin(
        &mut self,
        mut next: RecordFile,
        sync: Sync,
        reopened_after: Option<&'static str>,
        open: Vec<u64>,
    ) -> Result<RecordFile, AuditError> {
        next.reserve()?;
        let draft = self.draft_mark(0, reopened_after, open);
        self.line.clear();
        draft.write_line(&mut self.line, self.next_seq);
        next.append(&self.line)?;
        if sync != Sync::Off {
            next.sync()?;
        }
        Ok(next)
    }

    /// Goes on in the file that was begun.
    pub(crate) fn adopt(&mut self, file: RecordFile) {
        self.file = file;
        self.next_seq += 1;
        self.marked_at = 0;
    }
}

/// What the last writer left: in the file in use, or in the last one before it that holds a record.
fn last_state(folder: &Folder, file: &RecordFile) -> Result<Found, AuditError> {
    let found = recovery::scan(&file.file).map_err(AuditError::io("read", &file.path))?;
    if found.last_seq > 0 {
        return Ok(found);
    }
    for aside in folder.aside()?.iter().rev() {
        let older = recovery::scan(&folder.open_aside(aside.number)?)
            .map_err(AuditError::io("read a file put aside in", &folder.path))?;
        if older.last_seq > 0 {
            return Ok(Found { torn_bytes: found.torn_bytes, ..older });
        }
    }
    Ok(found)
}
