//! Records that wait to be written. Those that were queued together become one `write`.
//!
//! ```text
//!  queue ──► queue ──► … ──► whoever writes first writes all of them ──► each learns its number
//! ```
//!
//! To queue takes a lock that is never held while anything is written, so nobody waits for the disk to
//! get in line (but for whoever fills a batch, and writes it); what comes while somebody writes goes out
//! with the next write. A record counts only
//! when it is written. What is queued and never asked for again is written by whoever comes next, or
//! by the thread that syncs.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use crate::error::AuditError;
use crate::limits::ALONE_WRITES;
use crate::record::Draft;

use super::Seq;
use super::round::Round;
use super::shared::Shared;

/// A record that waits to be written: it counts when [`Queued::write`] says so. Dropped before that, it is
/// written all the same, and if it is an intent, it stays open until the next start.
#[derive(Debug)]
#[must_use = "a queued record counts when it is written"]
pub struct Queued<'a> {
    pub(super) shared: &'a Shared,
    pub(super) fate: Arc<Fate>,
    pub(super) index: u64,
    pub(super) has_company: bool,
}

impl Queued<'_> {
    /// Whether others will probably get in line in a moment: who lets them saves their writes.
    pub fn has_company(&self) -> bool {
        self.has_company
    }

    /// Writes it and all that is queued beside it, unless somebody has; says under which number.
    /// Waits while somebody else writes.
    pub fn write(&self) -> Result<Seq, AuditError> {
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

    /// Waits until it is on the disk, once it was written; says under which number. It costs one sync, shared with
    /// all that wait at that time. If the record is never synced ([`Sync::Off`](super::Sync::Off)), being written is
    /// all that there is to wait for.
    pub async fn synced(&self) -> Result<Seq, AuditError> {
        let Written { first, losses } = match self.fate.get() {
            Some(Ok(written)) => *written,
            Some(Err(step)) => return Err(self.shared.closed(step)),
            None => return Err(self.shared.closed("write")),
        };
        let seq = first + self.index;
        let Err(step) = self.shared.await_sync(losses).await else {
            return Ok(Seq(seq));
        };
        // Whoever was about to act on it must not.
        self.shared.intake().account.owe(seq);
        Err(self.shared.closed(step))
    }

    /// What became of it, if that is known.
    pub fn told(&self) -> Option<Result<Seq, AuditError>> {
        Some(match self.fate.get()? {
            Ok(written) => Ok(Seq(written.first + self.index)),
            Err(step) => Err(self.shared.closed(step)),
        })
    }
}

/// Where records were written that were queued together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// The number of the first.
    pub(super) first: u64,
    /// How many files had been lost to a failure by then: if it is more now, these records may be lost, too.
    pub(super) losses: u64,
}

/// What became of records that were queued together: where they were written, or the step that failed.
pub(super) type Fate = OnceLock<Result<Written, &'static str>>;

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
    pub(super) fn tell(&self, fate: Result<Written, &'static str>) {
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

    /// Books that an intent was refused after it was written, because it may not have reached the disk.
    pub(super) fn owe(&mut self, intent: u64) {
        if self.open.remove(&intent) {
            self.owed.insert(intent);
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
    /// Somebody waits for the next sync, so it gathers no more.
    pub(crate) is_urgent: bool,
    /// Who waits for it.
    pub(crate) round: Arc<Round>,
    /// How many files were lost to a failure.
    pub(crate) losses: u64,
    /// The step that failed, as long as that lasts.
    pub(super) failed: Option<&'static str>,
    /// The log is being dropped.
    pub(crate) is_closing: bool,
    /// For how many writes to come nobody need wait for company; 0: it pays to wait.
    pub(super) alone_for: u8,
    /// What waits.
    pub(super) batch: Batch,
    /// Which intents have no outcome yet.
    pub(super) account: Account,
}

impl Intake {
    /// Gets a record in line.
    pub(super) fn queue(&mut self, draft: Draft, change: Change) -> Place {
        if let Change::Closes(intent) = change {
            self.account.open.remove(&intent);
            self.account.closing.insert(intent);
        }
        let index = self.batch.push(Entry { draft, change });
        Place { fate: Arc::clone(&self.batch.fate), index, has_company: self.alone_for == 0 }
    }

    /// Takes all that waits, to write it.
    pub(super) fn take(&mut self) -> Batch {
        self.alone_for = alone_after(self.batch.entries.len(), self.alone_for);
        std::mem::take(&mut self.batch)
    }
}

/// A place in the line.
pub(super) struct Place {
    pub(super) fate: Arc<Fate>,
    pub(super) index: u64,
    pub(super) has_company: bool,
}

/// For how many writes nobody need wait for company, after one of this many records. As long as waiting
/// pays, all wait; when somebody has waited in vain, the next ones don't, until one tries again.
fn alone_after(records: usize, alone_for: u8) -> u8 {
    match (records, alone_for) {
        (0, unchanged) => unchanged,
        (1, 0) => ALONE_WRITES,
        (1, rest) => rest - 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_goes_on_while_it_pays_and_is_tried_again_now_and_then() {
        assert_eq!(alone_after(5, 0), 0);
        assert_eq!(alone_after(1, 0), ALONE_WRITES);
        assert_eq!(alone_after(0, 7), 7);
        assert_eq!((1..=ALONE_WRITES).fold(ALONE_WRITES, |alone_for, _| alone_after(1, alone_for)), 0);
        assert_eq!(alone_after(2, 9), 0, "company that comes by itself is company");
    }
}
