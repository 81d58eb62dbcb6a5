//! Records that wait to be written. Those that were queued together become one `write`.
//!
//! ```text
//!  queue ──► queue ──► … ──► whoever writes first writes all of them ──► each learns its number
//! ```
//!
//! To queue takes a lock that is never held while anything is written, so nobody waits for the disk to
//! get in line; what comes while somebody writes goes out with the next write. A record counts only
//! when it is written. What is queued and never asked for again is written by whoever comes next, or
//! by the thread that syncs.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use crate::error::AuditError;
use crate::record::Draft;

use super::Seq;
use super::shared::Shared;

/// A record that waits to be written: it counts when [`Queued::write`] says so.
#[derive(Debug)]
#[must_use = "a queued record counts when it is written"]
pub struct Queued<'a> {
    pub(super) shared: &'a Shared,
    pub(super) fate: Arc<Fate>,
    pub(super) index: u64,
}

impl Queued<'_> {
    /// Writes it and all that is queued beside it, unless somebody has; says under which number.
    /// Waits while somebody else writes.
    pub fn write(self) -> Result<Seq, AuditError> {
        if let Some(told) = self.told() {
            return told;
        }
        let mut state = self.shared.lock();
        self.told().unwrap_or_else(|| {
            self.shared.flush(&mut state)?;
            self.told().unwrap_or_else(|| Err(self.shared.closed("write")))
        })
    }

    /// The same without waiting: none while somebody else writes, which is over in microseconds.
    pub fn try_write(&self) -> Option<Result<Seq, AuditError>> {
        if let Some(told) = self.told() {
            return Some(told);
        }
        let mut state = self.shared.try_lock()?;
        self.told().or_else(|| match self.shared.flush(&mut state) {
            Ok(()) => self.told(),
            Err(error) => Some(Err(error)),
        })
    }

    /// What became of it, if that is known.
    fn told(&self) -> Option<Result<Seq, AuditError>> {
        Some(match self.fate.get()? {
            Ok(first) => Ok(Seq(first + self.index)),
            Err(step) => Err(self.shared.closed(step)),
        })
    }
}

/// What became of records that were queued together: the number of the first, or the step that failed.
pub(super) type Fate = OnceLock<Result<u64, &'static str>>;

/// What a record changes in the account of open intents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is an intent.
    Opens,
    /// It is the outcome of the intent of this number.
    Closes(u64),
    /// It is neither.
    Nothing,
}

/// A record that waits.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) draft: Draft,
    pub(super) change: Change,
}

/// Records that will be written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    pub(super) bytes: usize,
    pub(super) fate: Arc<Fate>,
}

impl Batch {
    /// Adds a record and returns its place.
    fn push(&mut self, entry: Entry) -> u64 {
        let index = self.entries.len() as u64;
        self.bytes += entry.draft.len();
        self.entries.push(entry);
        index
    }

    /// Tells all who wait what became of their records.
    pub(super) fn tell(&self, fate: Result<u64, &'static str>) {
        self.fate.get_or_init(|| fate);
    }
}

/// Intents without an outcome.
// Invariant: an intent is in one of these from its record on until that of its outcome.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Those whose outcome is still to come.
    pub(super) open: BTreeSet<u64>,
    /// Those whose outcome is queued.
    pub(super) closing: BTreeSet<u64>,
    /// Those whose outcome came when it could not be written. Bounded by those that were open.
    pub(super) owed: BTreeSet<u64>,
}

impl Account {
    /// All of them, in order.
    pub(super) fn all(&self) -> Vec<u64> {
        let mut all: Vec<u64> =
            [&self.open, &self.closing, &self.owed].into_iter().flatten().copied().collect();
        all.sort_unstable();
        all
    }

    /// Books what was written from this number on.
    pub(super) fn book(&mut self, batch: &Batch, first: u64, is_settled: bool) {
        for (seq, entry) in (first..).zip(&batch.entries) {
            match entry.change {
                Change::Opens if is_settled => self.open.insert(seq),
                // Written, but not synced as was asked for: it is refused, and owed an outcome that says so.
                Change::Opens => self.owed.insert(seq),
                Change::Closes(intent) => self.closing.remove(&intent),
                Change::Nothing => false,
            };
        }
    }

    /// Books that nothing of it was written: intents that have ended are owed their outcomes.
    pub(super) fn give_up(&mut self, batch: &Batch) {
        for entry in &batch.entries {
            if let Change::Closes(intent) = entry.change {
                self.closing.remove(&intent);
                self.owed.insert(intent);
            }
        }
    }
}

/// Where records get in line, behind a lock of its own.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// Something was queued or written since the last sync.
    pub(crate) is_dirty: bool,
    /// The log is being dropped.
    pub(crate) is_closing: bool,
    /// What waits.
    pub(super) batch: Batch,
    /// Which intents have no outcome yet.
    pub(super) account: Account,
}

impl Intake {
    /// Gets a record in line; says under which fate, at which place.
    pub(super) fn queue(&mut self, draft: Draft, change: Change) -> (Arc<Fate>, u64) {
        if let Change::Closes(intent) = change {
            self.account.open.remove(&intent);
            self.account.closing.insert(intent);
        }
        let index = self.batch.push(Entry { draft, change });
        (Arc::clone(&self.batch.fate), index)
    }
}
