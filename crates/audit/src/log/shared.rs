//! The steps around a record: recover from a failure, make room, append, carry to the disk.

use std::error::Error as _;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use crate::error::AuditError;
use crate::folder::Folder;
use crate::limits::{BATCH_BYTES, MARK_BYTES, RETRY_AFTER, WARN_AFTER};
use crate::record::{Draft, NOT_WRITTEN, OutcomeBody, RecordKind};
use crate::retention;

use super::failure::{Failure, Footing};
use super::queue::{Batch, Change, Intake, Place, Queued};
use super::state::State;
use super::{LogConfig, Sync};

/// What the writer and the thread that syncs share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) folder: Folder,
    config: LogConfig,
    /// Taken after `state` by whoever needs both.
    intake: Mutex<Intake>,
    state: Mutex<State>,
    /// Wakes the thread that syncs.
    pub(crate) wake: Condvar,
}

impl Shared {
    pub(crate) fn open(dir: &Path, config: LogConfig) -> Result<Self, AuditError> {
        let folder = Folder::open(dir)?;
        let state = Mutex::new(State::open(&folder, config.sync)?);
        let intake = Mutex::new(Intake { is_dirty: true, ..Intake::default() });
        Ok(Self { folder, config, intake, state, wake: Condvar::new() })
    }

    /// Where records get in line. Held for nanoseconds.
    pub(crate) fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to write. Held for a write into the page cache, and rarely for a new file.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock comes before a write (a record that can't be serialised), so
        // what is behind the lock is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to write, if nobody has it.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Queues a record to be written with those that others queue.
    pub(super) fn queue(
        &self,
        mut intake: MutexGuard<'_, Intake>,
        draft: Draft,
        change: Change,
    ) -> Queued<'_> {
        let Place { fate, index, has_company } = intake.queue(draft, change);
        self.will_sync(&mut intake);
        let is_full = intake.batch.bytes >= BATCH_BYTES;
        drop(intake);
        if is_full {
            // Whoever waits for it learns of a failure.
            drop(self.flush(&mut self.lock()));
        }
        Queued { shared: self, fate, index, has_company }
    }

    /// Writes all that is queued in one go, and sees to it that it reaches the disk as the
    /// configuration says. In the background, it is safe from the death of the process only.
    pub(crate) fn flush(&self, state: &mut State) -> Result<(), AuditError> {
        let batch = self.intake().take();
        if batch.entries.is_empty() {
            return Ok(());
        }
        let flushed = self.write(state, &batch);
        batch.tell(match &flushed {
            Ok(first) => Ok(*first),
            Err(_) => Err(state.failure.map_or("write", |failure| failure.step)),
        });
        flushed.map(drop)
    }

    fn write(&self, state: &mut State, batch: &Batch) -> Result<u64, AuditError> {
        let opened = self.recover(state);
        let written = opened.and_then(|()| {
            let written = self.make_room(state).and_then(|()| state.append_all(&batch.entries));
            written.inspect_err(|error| self.fail(state, error))
        });
        let first = written.inspect_err(|_| self.intake().account.give_up(batch))?;
        let settled = self.carry(state).inspect_err(|error| self.fail(state, error));
        self.intake().account.book(batch, first, settled.is_ok());
        settled.map(|()| first)
    }

    /// The record is closed since this step failed.
    pub(super) fn closed(&self, step: &'static str) -> AuditError {
        AuditError::Closed { path: self.folder.path.clone(), step }
    }

    fn carry(&self, state: &mut State) -> Result<(), AuditError> {
        match self.config.sync {
            Sync::Off => {}
            Sync::Each => state.file.sync()?,
            Sync::Background => self.will_sync(&mut self.intake()),
        }
        Ok(())
    }

    /// Wakes the thread that syncs, once for all that comes until it does.
    fn will_sync(&self, intake: &mut Intake) {
        if self.config.sync == Sync::Background && !intake.is_dirty {
            intake.is_dirty = true;
            self.wake.notify_one();
        }
    }

    /// Puts a full file aside, and sets a mark where one is due.
    fn make_room(&self, state: &mut State) -> Result<(), AuditError> {
        if state.file.size >= self.config.limits.file_bytes_max {
            self.rotate(state)?;
        }
        if state.unmarked() >= MARK_BYTES {
            state.mark(0, None, self.intake().account.all())?;
        }
        Ok(())
    }

    /// Puts a full file aside. What stops that but leaves the file fit for use is no reason to stop:
    /// it is written on, and tried again later.
    fn rotate(&self, state: &mut State) -> Result<(), AuditError> {
        let now = Instant::now();
        if state.rotate_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        if self.config.sync != Sync::Off {
            state.file.sync()?;
        }
        if let Err(error) = self.begin_fresh(state, None) {
            if state.rotate_at.replace(now + RETRY_AFTER).is_none() {
                tell(&error, "failed to put a full file aside: it is written on until that works");
            }
            return Ok(());
        }
        state.rotate_at = None;
        self.sync_names()
    }

    /// Begins a fresh file in the place of the one in use; if that fails, nothing has changed.
    fn begin_fresh(&self, state: &mut State, reopened_after: Option<&'static str>) -> Result<(), AuditError> {
        let begun = self.folder.next().and_then(|next| {
            let next = state.begin(next, self.config.sync, reopened_after, self.intake().account.all())?;
            self.folder.install(next)
        });
        state.adopt(begun.inspect_err(|_| self.folder.discard_next())?);
        self.delete_old(state);
        Ok(())
    }

    fn sync_names(&self) -> Result<(), AuditError> {
        if self.config.sync == Sync::Off { Ok(()) } else { self.folder.sync() }
    }

    /// Deletes what need not be kept. The record goes on if it can't.
    fn delete_old(&self, state: &mut State) {
        let deleted = self.folder.aside().and_then(|aside| {
            let doomed = retention::doomed(&aside, &self.config.limits);
            aside[..doomed.count].iter().try_for_each(|file| self.folder.delete_aside(file.number))?;
            Ok(doomed.is_early)
        });
        if matches!(deleted, Ok(false)) || state.warned_at.is_some_and(|at| at.elapsed() < WARN_AFTER) {
            return;
        }
        state.warned_at = Some(Instant::now());
        match deleted {
            Ok(_) => tracing::warn!(
                hint = "raise `audit.files_kept_bytes_max`, and find out who fills the record",
                "the record is too large: files of it are deleted before their time"
            ),
            Err(error) => tell(&error, "failed to delete old files of the record"),
        }
    }

    /// Closes the record: nothing is written until its cause is gone.
    pub(crate) fn fail(&self, state: &mut State, error: &AuditError) {
        tell(error, "the record is closed: every call is refused");
        self.note(state, error);
    }

    /// Remembers a failure, and takes a file that can't be trusted out of use, so that a restart
    /// doesn't go on in it either.
    fn note(&self, state: &mut State, error: &AuditError) {
        let earlier = state.failure;
        let failure = Failure::new(error, Instant::now()).after(earlier);
        let was_trusted = earlier.is_none_or(|earlier| earlier.footing == Footing::SameFile);
        state.failure = Some(failure);
        if failure.footing == Footing::FreshFile
            && was_trusted
            && let Err(error) = self.folder.put_aside()
        {
            tell(&error, "failed to put the file aside that failed");
        }
    }

    /// Opens the record again if a failure has closed it, some time has passed and its cause is gone.
    pub(crate) fn recover(&self, state: &mut State) -> Result<(), AuditError> {
        let Some(Failure { step, footing, retry_at }) = state.failure else {
            return Ok(());
        };
        if Instant::now() < retry_at {
            return Err(self.closed(step));
        }
        if let Err(error) = self.reopen(state, step, footing) {
            tracing::debug!(%error, "the record stays closed");
            self.note(state, &error);
            return Err(self.closed(step));
        }
        state.failure = None;
        tracing::warn!(step, "the record is open again after a failure");
        Ok(())
    }

    /// Writes the outcomes that could not be written when they came.
    fn settle_owed(&self, state: &mut State) -> Result<(), AuditError> {
        let owed = self.intake().account.owed.clone();
        for intent in owed {
            state.append(&Draft::new(RecordKind::Outcome, &OutcomeBody::new(intent, &NOT_WRITTEN)))?;
            self.intake().account.owed.remove(&intent);
        }
        Ok(())
    }

    fn reopen(&self, state: &mut State, step: &'static str, footing: Footing) -> Result<(), AuditError> {
        match footing {
            Footing::SameFile => {
                state.file.cut()?;
                state.file.reserve()?;
                state.mark(0, Some(step), self.intake().account.all())?;
            }
            Footing::FreshFile => {
                self.begin_fresh(state, Some(step))?;
                self.sync_names()?;
            }
        }
        self.settle_owed(state)?;
        self.carry(state)
    }
}

/// Tells the log of a failure, with its cause and the way out.
fn tell(error: &AuditError, what: &str) {
    let cause = error.source().map(tracing::field::display);
    tracing::error!(%error, cause, hint = error.hint(), "{what}");
}
