//! The steps around a record: [recover](super::recover) from a failure, make room, append, carry to the disk.

use std::error::Error as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::error::AuditError;
use crate::folder::Folder;
use crate::keys::{Keys, PublicKey};
use crate::limits::{BATCH_BYTES, MARK_BYTES, RETRY_AFTER, WARN_AFTER};
use crate::record::{Draft, End, MarkBody};
use crate::retention::{self, Pressure};

use super::deletion::Deletion;
use super::queue::{Batch, Change, Intake, Place, Queued, Written};
use super::signer::{self, Signer};
use super::state::{Begun, State};
use super::{LogConfig, Sync};

/// What the writer and the thread that syncs share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) folder: Folder,
    pub(super) config: LogConfig,
    /// Taken after `state` by whoever needs both.
    intake: Mutex<Intake>,
    state: Mutex<State>,
    /// Taken after `state` by whoever needs both.
    pub(super) signer: Option<Mutex<Signer>>,
    /// Wakes the thread that syncs.
    pub(crate) wake: Condvar,
}

impl Shared {
    pub(crate) fn open(dir: &Path, mut config: LogConfig) -> Result<Self, AuditError> {
        let folder = Folder::open(dir)?;
        config.keys = config.keys.map(|keys| signer::going_on(&folder, keys)).transpose()?;
        let every = Duration::from_millis(config.limits.checkpoint_ms);
        let mut signer = config.keys.clone().map(|keys| Signer::open(&folder, keys, every)).transpose()?;
        let signed = signer.as_ref().and_then(Signer::last);
        let (state, fresh) = State::open(&folder, &config, signed)?;
        if let Some(signer) = &mut signer {
            signer.kept_from = state.kept_from;
        }
        let intake = Mutex::new(Intake { is_dirty: true, ..Intake::default() });
        let (state, signer) = (Mutex::new(state), signer.map(Mutex::new));
        let shared = Self { folder, config, intake, state, signer, wake: Condvar::new() };
        shared.warn_early(&mut shared.lock());
        if let (Some(fresh), Some(keys)) = (fresh, shared.keys()) {
            // From then on, that there is no record and no checkpoint means that somebody took them away.
            shared.checkpoint(&mut shared.lock())?;
            shared.folder.sync()?;
            keys.keep(fresh)?;
        }
        Ok(shared)
    }

    /// What digests arguments and signs.
    pub(super) fn keys(&self) -> Option<&Keys> {
        self.config.keys.as_deref()
    }

    /// Where records get in line. Held for nanoseconds.
    pub(crate) fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The intents whose outcomes are owed. What is behind the intake is copied, so that nobody waits for it while something is
    /// written.
    pub(super) fn open_intents(&self) -> Vec<u64> {
        self.intake().account.all()
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
            Ok(first) => Ok(Written { first: *first, losses: state.losses }),
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

    pub(super) fn carry(&self, state: &mut State) -> Result<(), AuditError> {
        match self.config.sync {
            Sync::Off => {}
            Sync::Each => {
                state.carry()?;
                self.sign_if_due(state.synced);
            }
            Sync::Background => self.will_sync(&mut self.intake()),
        }
        Ok(())
    }

    /// Waits until all that is written by now is on the disk; else says which step failed. It was written when so
    /// many files had been lost.
    pub(super) async fn await_sync(&self, losses: u64) -> Result<(), &'static str> {
        if self.config.sync != Sync::Background {
            return Ok(());
        }
        let round = {
            let mut intake = self.intake();
            if intake.losses != losses {
                return Err("sync");
            }
            (intake.is_dirty, intake.is_urgent) = (true, true);
            self.wake.notify_one();
            Arc::clone(&intake.round)
        };
        round.told().await
    }

    /// Wakes the thread that syncs, once for all that comes until it does.
    fn will_sync(&self, intake: &mut Intake) {
        if self.config.sync == Sync::Background && !intake.is_dirty {
            intake.is_dirty = true;
            self.wake.notify_one();
        }
    }

    /// Puts a full file aside, and sets a mark where one is due, or where the wall clock was set.
    fn make_room(&self, state: &mut State) -> Result<(), AuditError> {
        if state.file.size >= self.config.limits.file_bytes_max {
            self.rotate(state)?;
        }
        let (seen, clock_step) = state.clock.look();
        if clock_step.is_some() || state.unmarked() >= MARK_BYTES {
            let open = self.open_intents();
            state.mark(MarkBody { open, clock_step: clock_step.clone(), ..MarkBody::default() })?;
        }
        if let Some(step) = clock_step {
            // Only now: a step that can't be recorded is seen again.
            state.clock.settle(seen);
            step.warn();
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
        if self.config.sync != Sync::Off || self.signer.is_some() {
            state.carry()?;
        }
        // The end of a file is always signed, so that the file can be deleted some day.
        self.sign(state.synced);
        let doomed = match self.begin_fresh(state, None) {
            Ok(doomed) => doomed,
            Err(error) => {
                if state.rotate_at.replace(now + RETRY_AFTER).is_none() {
                    tell(&error, "failed to put a full file aside: it is written on until that works");
                }
                return Ok(());
            }
        };
        state.rotate_at = None;
        self.delete(state, &doomed)?;
        self.warn_early(state);
        self.sync_names()
    }

    /// Begins a fresh file in the place of the one in use, and says which old ones go; if that fails, nothing has changed.
    pub(super) fn begin_fresh(
        &self,
        state: &mut State,
        reopened_after: Option<&'static str>,
    ) -> Result<Deletion, AuditError> {
        // While a failure lasts nothing can be signed, so nothing is deleted.
        let doomed = match reopened_after {
            None => self.plan_deletion(state, |aside| retention::doomed(aside, &self.config.limits)),
            Some(_) => Deletion::default(),
        };
        if reopened_after.is_some()
            && let (Some(signer), Some(synced)) = (&self.signer, state.synced)
        {
            // What may be missing from the disk begins behind a signed place, so that it is no excuse for more.
            lock(signer).sign(synced)?;
        }
        let begun = self.folder.next().and_then(|next| {
            let open = self.open_intents();
            let begun = state.begin(next, self.config.sync, reopened_after, open)?;
            Ok(Begun { file: self.folder.install(begun.file)?, ..begun })
        });
        state.adopt(begun.inspect_err(|_| self.folder.discard_next())?, self.config.sync);
        Ok(doomed)
    }

    pub(super) fn sync_names(&self) -> Result<(), AuditError> {
        if self.config.sync == Sync::Off { Ok(()) } else { self.folder.sync() }
    }

    /// Says something that would be said at every file otherwise.
    pub(super) fn warn(&self, state: &mut State, say: impl FnOnce(&Self)) {
        if state.warned_at.is_none_or(|at| at.elapsed() >= WARN_AFTER) {
            state.warned_at = Some(Instant::now());
            say(self);
        }
    }

    /// Warns before files have to be deleted early, or the disk is full.
    pub(super) fn warn_early(&self, state: &mut State) {
        let looked = self.folder.aside().and_then(|aside| Ok((aside, self.folder.space()?)));
        let pressure = looked.map(|(aside, space)| {
            retention::pressure(aside.iter().map(|file| file.bytes).sum(), space, &self.config.limits)
        });
        let (what, hint) = match pressure {
            Ok(Some(Pressure::Files)) => {
                ("the record has nearly taken the room that it may", "raise `audit.files_kept_bytes_max`")
            }
            Ok(Some(Pressure::Disk)) => (
                "the disk of the record is nearly full",
                "free space: when it is full, every call is refused",
            ),
            // What can't be looked at now is told when it is needed.
            Ok(None) | Err(_) => return,
        };
        self.warn(state, |_| tracing::warn!(hint, "{what}"));
    }

    /// Signs all up to this record, if it is on the disk and time has passed since the last time.
    pub(crate) fn sign_if_due(&self, synced: Option<End>) {
        if self.sign_in(synced) == Some(Duration::ZERO) {
            self.sign(synced);
        }
    }

    /// The same, and looks whether there is room.
    pub(crate) fn sign_and_look(&self, synced: Option<End>) {
        if self.sign_in(synced) == Some(Duration::ZERO) {
            self.sign(synced);
            self.warn_early(&mut self.lock());
        }
    }

    /// How long until a checkpoint is due for this.
    pub(crate) fn sign_in(&self, synced: Option<End>) -> Option<Duration> {
        self.signer.as_ref().and_then(|signer| lock(signer).due_in(synced))
    }

    /// Signs all up to this record. The record goes on if that fails: it is only less proof, for now.
    pub(crate) fn sign(&self, synced: Option<End>) {
        if let (Some(signer), Some(end)) = (&self.signer, synced)
            && let Err(error) = lock(signer).sign(end)
        {
            tell(&error, "failed to sign the record");
        }
    }

    /// Carries all to the disk and signs it.
    pub(super) fn checkpoint(&self, state: &mut State) -> Result<(), AuditError> {
        let Some(signer) = &self.signer else {
            return Ok(());
        };
        if state.has_lost_its_file() {
            return Err(self.closed("sync"));
        }
        state.carry().inspect_err(|error| self.fail(state, error))?;
        lock(signer).sign(state.end())
    }

    /// Hands the record over to a fresh key, and says which. Whatever of this fails, the next start goes on.
    pub(super) fn rotate_key(&self, state: &mut State) -> Result<PublicKey, AuditError> {
        let (Some(keys), Some(signer)) = (self.keys(), &self.signer) else {
            return Err(AuditError::Unfit {
                path: self.folder.path.clone(),
                why: "nothing signs this record",
            });
        };
        if state.has_lost_its_file() {
            return Err(self.closed("sync"));
        }
        let next = keys.make_next()?;
        // One that is signed by nothing else yet.
        let open = self.open_intents();
        state.mark(MarkBody { open, ..MarkBody::default() })?;
        state.carry().inspect_err(|error| self.fail(state, error))?;
        lock(signer).hand_over(state.end(), &next)?;
        Ok(keys.take_next()?.public())
    }
}

pub(super) fn lock(signer: &Mutex<Signer>) -> MutexGuard<'_, Signer> {
    // What a panic leaves behind is at worst a line that is no checkpoint.
    signer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the log of a failure, with its cause and the way out.
pub(super) fn tell(error: &AuditError, what: &str) {
    let cause = error.source().map(tracing::field::display);
    tracing::error!(%error, cause, hint = error.hint(), "{what}");
}
