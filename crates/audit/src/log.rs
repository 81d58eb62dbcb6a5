//! The writer: numbers records, appends them, and refuses everything after a failure.
//!
//! One short lock and one `write` per record, so it can be called from async code; the only
//! exception is [`Sync::Each`], which waits for the disk. One log owns its folder: the lock on the
//! data directory sees to that.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::error::AuditError;
use crate::file::{self, RecordFile};
use crate::limits::{Limits, MARK_BYTES, SPINS};
use crate::record::{
    DeniedBody, Draft, Intent, IntentBody, LEFT_OPEN, MarkBody, Outcome, OutcomeBody, RecordKind,
};
use crate::{recovery, syncer};

/// The number of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

impl Seq {
    /// As a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// When records are carried to the disk. Neither loses anything when the process is killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Within 50 ms, by a thread of its own.
    #[default]
    Background,
    /// Whenever the kernel wants to.
    Off,
    /// Before the call that wrote it returns.
    Each,
}

/// How the record is kept.
#[derive(Clone, Debug, Default)]
pub struct LogConfig {
    /// When records are carried to the disk.
    pub sync: Sync,
    /// Sizes.
    pub limits: Limits,
}

/// The record, open for writing.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    syncer: Option<JoinHandle<()>>,
}

impl Log {
    /// Opens the record in this folder, or begins one. Intents that a crash left open get the
    /// outcome `unknown`.
    pub fn open(dir: &Path, config: LogConfig) -> Result<Self, AuditError> {
        let state = State::open(dir, &config, &BTreeSet::new())?;
        let has_syncer = config.sync == Sync::Background;
        let shared =
            Arc::new(Shared { dir: dir.to_owned(), config, state: Mutex::new(state), wake: Condvar::new() });
        let syncer = has_syncer.then(|| syncer::spawn(Arc::clone(&shared))).transpose()?;
        Ok(Self { shared, syncer })
    }

    /// Records what is about to happen. If this fails, it must not happen.
    pub fn intent(&self, intent: &Intent<'_>) -> Result<Seq, AuditError> {
        let draft = Draft::new(RecordKind::Intent, &IntentBody::new(intent));
        let mut state = self.shared.lock();
        let seq = self.shared.write(&mut state, &draft)?;
        state.open.insert(seq);
        Ok(Seq(seq))
    }

    /// Records how an intent ended. An intent has one outcome.
    pub fn outcome(&self, seq: Seq, outcome: &Outcome<'_>) -> Result<(), AuditError> {
        let draft = Draft::new(RecordKind::Outcome, &OutcomeBody::new(seq.0, outcome));
        let mut state = self.shared.lock();
        if !state.open.remove(&seq.0) {
            return Err(AuditError::NotOpen { seq: seq.0 });
        }
        self.shared.write(&mut state, &draft).map(drop)
    }

    /// Records what was asked for and refused: intent and outcome at once.
    pub fn denied(&self, intent: &Intent<'_>, reason: &str) -> Result<Seq, AuditError> {
        let draft = Draft::new(RecordKind::Denied, &DeniedBody::new(intent, reason));
        self.shared.write(&mut self.shared.lock(), &draft).map(Seq)
    }

    /// Begins again after a failure, once its cause is gone. Calls that are running keep their
    /// intents; what else is open gets the outcome `unknown`.
    pub fn reopen(&self) -> Result<(), AuditError> {
        let mut state = self.shared.lock();
        let mut fresh = State::open(&self.shared.dir, &self.shared.config, &state.open)?;
        fresh.epoch = state.epoch + 1;
        *state = fresh;
        self.shared.wake.notify_all();
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.wake.notify_all();
        if let Some(Err(_)) = self.syncer.take().map(JoinHandle::join) {
            tracing::error!("the thread that syncs the record has panicked");
        }
    }
}

/// What the writer and the thread that syncs share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    config: LogConfig,
    state: Mutex<State>,
    pub(crate) wake: Condvar,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // The lock is held for one write into the page cache, which is over before a thread that went
        // to sleep would be awake again.
        for _ in 0..SPINS {
            if let Ok(state) = self.state.try_lock() {
                return state;
            }
            std::hint::spin_loop();
        }
        // A panic under the lock comes before a write (a record that can't be serialised), so
        // what is behind the lock is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &mut State, draft: &Draft) -> Result<u64, AuditError> {
        if let Some(step) = state.failed_step {
            return Err(AuditError::Closed { path: state.file.path.clone(), step });
        }
        let written = self.make_room(state).and_then(|()| state.append(draft));
        let written = written.and_then(|seq| self.after_write(state).map(|()| seq));
        if let Err(error) = &written {
            state.close(error);
        }
        written
    }

    /// Puts a full file aside, and sets a mark where one is due.
    fn make_room(&self, state: &mut State) -> Result<(), AuditError> {
        let limits = &self.config.limits;
        if state.file.size >= limits.file_bytes_max {
            if self.config.sync != Sync::Off {
                state.file.sync()?;
            }
            file::rotate(&self.dir, limits.files_kept)?;
            state.file = RecordFile::open(&self.dir)?;
            state.mark(0)?;
            if self.config.sync != Sync::Off {
                file::sync_dir(&self.dir)?;
            }
        } else if state.file.size - state.marked_at >= MARK_BYTES {
            state.mark(0)?;
        }
        Ok(())
    }

    fn after_write(&self, state: &mut State) -> Result<(), AuditError> {
        match self.config.sync {
            Sync::Off => {}
            Sync::Each => state.file.sync()?,
            Sync::Background if state.is_dirty => {}
            Sync::Background => {
                state.is_dirty = true;
                self.wake.notify_one();
            }
        }
        Ok(())
    }
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) file: RecordFile,
    /// Something is written and not yet synced.
    pub(crate) is_dirty: bool,
    /// The log is being dropped.
    pub(crate) is_closing: bool,
    /// What failed; nothing is written any more.
    pub(crate) failed_step: Option<&'static str>,
    /// How often the record was reopened.
    pub(crate) epoch: u64,
    next_seq: u64,
    /// Where in the file the last mark is.
    marked_at: u64,
    // Invariant: an intent is in here from its record on until its outcome is asked for.
    open: BTreeSet<u64>,
    boot_id: String,
    /// The line that is being built; kept for its memory.
    line: Vec<u8>,
}

impl State {
    /// Opens the file in use and carries on where its last writer ended.
    fn open(dir: &Path, config: &LogConfig, living: &BTreeSet<u64>) -> Result<Self, AuditError> {
        file::create_dir(dir)?;
        let mut file = RecordFile::open(dir)?;
        let is_new = file.size == 0;
        let found = last_state(dir, &file)?;
        if found.torn_bytes > 0 {
            file.append(b"\n")?;
        }
        let mut state = Self {
            file,
            is_dirty: true,
            is_closing: false,
            failed_step: None,
            epoch: 0,
            next_seq: found.last_seq + 1,
            marked_at: 0,
            open: living.clone(),
            boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            line: Vec::new(),
        };
        for intent in found.open.difference(living) {
            state.append(&Draft::new(RecordKind::Outcome, &OutcomeBody::new(*intent, &LEFT_OPEN)))?;
        }
        state.mark(found.torn_bytes)?;
        if config.sync == Sync::Each {
            state.file.sync()?;
        }
        if is_new && config.sync != Sync::Off {
            file::sync_dir(dir)?;
        }
        Ok(state)
    }

    fn append(&mut self, draft: &Draft) -> Result<u64, AuditError> {
        let seq = self.next_seq;
        self.line.clear();
        draft.write_line(&mut self.line, seq);
        self.file.append(&self.line)?;
        self.next_seq += 1;
        Ok(seq)
    }

    fn mark(&mut self, torn_bytes: u64) -> Result<(), AuditError> {
        self.marked_at = self.file.size;
        let boot_id = self.boot_id.trim().to_owned();
        let open = self.open.iter().copied().collect();
        let body = MarkBody { boot_id: &boot_id, pid: std::process::id(), torn_bytes, open };
        self.append(&Draft::new(RecordKind::Mark, &body)).map(drop)
    }

    fn close(&mut self, error: &AuditError) {
        tracing::error!(
            %error,
            cause = error.source().map(tracing::field::display),
            hint = error.hint(),
            "the record is closed: every call is refused"
        );
        self.failed_step = Some(match error {
            AuditError::Io { step, .. } | AuditError::Closed { step, .. } => step,
            AuditError::NotOpen { .. } => "find the intent",
        });
    }
}

/// What the last writer left, in the file in use or, if that was only begun, in the one before.
fn last_state(dir: &Path, file: &RecordFile) -> Result<recovery::Found, AuditError> {
    let found = recovery::scan(&file.file).map_err(AuditError::io("read", &file.path))?;
    if found.last_seq > 0 {
        return Ok(found);
    }
    let Some((_, path)) = file::put_aside(dir)?.pop() else {
        return Ok(found);
    };
    let older = std::fs::File::open(&path)
        .and_then(|older| recovery::scan(&older))
        .map_err(AuditError::io("read", &path))?;
    Ok(recovery::Found { torn_bytes: found.torn_bytes, ..older })
}

#[cfg(test)]
mod tests;
