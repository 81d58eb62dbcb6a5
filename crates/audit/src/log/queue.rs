//! Records that wait to be written. Those that were queued together become one `write`.
//!
//! ```text
//!  queue ──► queue ──► … ──► whoever asks first writes all of them ──► each learns its number
//! ```
//!
//! A record counts only when it is written. What is queued and never asked for again is written by
//! whoever comes next, or by the thread that syncs.

use std::sync::{Arc, OnceLock};

use crate::error::AuditError;
use crate::record::Draft;

use super::shared::Shared;
use super::{Seq, state};

/// A record that waits to be written: it counts when [`Queued::write`] says so.
#[derive(Debug)]
#[must_use = "a queued record counts when it is written"]
pub struct Queued<'a> {
    shared: &'a Shared,
    fate: Arc<Fate>,
    index: u64,
    has_company: bool,
}

impl<'a> Queued<'a> {
    pub(super) fn new(shared: &'a Shared, fate: Arc<Fate>, index: u64, has_company: bool) -> Self {
        Self { shared, fate, index, has_company }
    }

    /// Whether others are probably about to be recorded as well: who lets them queue first saves their
    /// writes.
    pub fn has_company(&self) -> bool {
        self.has_company
    }

    /// Writes it and all that is queued beside it, unless somebody has; says under which number.
    pub fn write(self) -> Result<Seq, AuditError> {
        if self.fate.get().is_none() {
            let mut state = self.shared.lock();
            // Somebody may have written it while this waited for the lock.
            if self.fate.get().is_none() {
                self.shared.flush(&mut state)?;
            }
        }
        match self.fate.get() {
            Some(Ok(first)) => Ok(Seq(first + self.index)),
            Some(Err(step)) => Err(self.shared.closed(step)),
            None => Err(self.shared.closed("write")),
        }
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
    pub(super) fn push(&mut self, entry: Entry) -> u64 {
        let index = self.entries.len() as u64;
        self.bytes += entry.draft.len();
        self.entries.push(entry);
        index
    }

    /// Whether the outcome of this intent waits here.
    pub(super) fn closes(&self, intent: u64) -> bool {
        self.entries.iter().any(|entry| entry.change == Change::Closes(intent))
    }

    /// Tells all who wait what became of their records. Told once: a batch is written once.
    pub(super) fn tell(&self, fate: Result<u64, &'static str>) {
        self.fate.get_or_init(|| fate);
    }

    /// Books what was written from this number on.
    pub(super) fn book(&self, first: u64, account: &mut state::Account, is_settled: bool) {
        for (seq, entry) in (first..).zip(&self.entries) {
            match entry.change {
                Change::Opens if is_settled => account.open.insert(seq),
                // Written, but not synced as was asked for: it is refused, and owed an outcome that says so.
                Change::Opens => account.owed.insert(seq),
                Change::Closes(intent) => account.open.remove(&intent),
                Change::Nothing => false,
            };
        }
    }

    /// Books that nothing of it was written: intents that have ended are owed their outcomes.
    pub(super) fn give_up(&self, account: &mut state::Account) {
        for entry in &self.entries {
            if let Change::Closes(intent) = entry.change {
                account.open.remove(&intent);
                account.owed.insert(intent);
            }
        }
    }
}
