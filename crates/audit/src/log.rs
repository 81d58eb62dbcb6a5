//! The writer: numbers records, appends them, and refuses everything while that fails.
//!
//! A short lock to queue a record, and one `write` for all that are queued, so it can be called from
//! async code; the exceptions are [`Sync::Each`], which waits for the disk, and, rarely, a new file.
//! One log owns its folder: the lock on the data directory sees to that.

mod deletion;
mod failure;
mod queue;
mod recover;
mod round;
mod shared;
mod signer;
mod start;
mod state;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::AuditError;
use crate::hex::Hash;
use crate::keys::{Keys, PublicKey};
use crate::limits::Limits;
use crate::record::{DeniedBody, Draft, Intent, IntentBody, Outcome, OutcomeBody, RecordKind};
use crate::syncer;

use queue::Change;
pub(crate) use queue::Intake;
pub use queue::Queued;
pub(crate) use round::Round;
pub(crate) use shared::Shared;

/// The number of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

impl Seq {
    /// As a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// When records are carried to the disk. None of these loses anything when the process is killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Begun within 25 ms, or at once for whoever [waits](Queued::synced), by a thread of its own.
    #[default]
    Background,
    /// Whenever the kernel wants to.
    Off,
    /// Before the call that wrote it returns.
    Each,
}

/// Whether files are deleted, or only named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prune {
    /// They are named.
    Try,
    /// They are deleted.
    Delete,
}

/// How the record is kept.
#[derive(Clone, Debug, Default)]
pub struct LogConfig {
    /// What signs checkpoints and digests arguments. Without it the record is a chain that nobody vouches for.
    pub keys: Option<Arc<Keys>>,
    /// When records are carried to the disk.
    pub sync: Sync,
    /// Sizes.
    pub limits: Limits,
    /// What is known of calls whose outcome the last writer did not record, by the number of their intent.
    pub left: BTreeMap<u64, String>,
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
        let has_syncer = config.sync == Sync::Background;
        let shared = Arc::new(Shared::open(dir, config)?);
        let syncer = has_syncer.then(|| syncer::spawn(Arc::clone(&shared))).transpose()?;
        Ok(Self { shared, syncer })
    }

    /// Queues what is about to happen. Until that is written, it must not happen.
    pub fn intent(&self, intent: &Intent<'_>) -> Queued<'_> {
        let draft = Draft::new(RecordKind::Intent, &IntentBody::new(intent, self.digest(intent)));
        self.shared.queue(self.shared.intake(), draft, Change::Opens)
    }

    /// Queues how an intent ended. An intent has one outcome: if this one can't be written, it
    /// will be `unknown`.
    pub fn outcome(&self, seq: Seq, outcome: &Outcome<'_>) -> Result<Queued<'_>, AuditError> {
        let draft = Draft::new(RecordKind::Outcome, &OutcomeBody::new(seq.0, outcome));
        let intake = self.shared.intake();
        if !intake.account.open.contains(&seq.0) {
            return Err(AuditError::NotOpen { seq: seq.0 });
        }
        Ok(self.shared.queue(intake, draft, Change::Closes(seq.0)))
    }

    /// Queues what was asked for and refused: intent and outcome at once.
    pub fn denied(&self, intent: &Intent<'_>, reason: &str) -> Queued<'_> {
        self.denied_often(intent, reason, 1)
    }

    /// The same for so many attempts of one kind, of which this is the first.
    pub fn denied_often(&self, intent: &Intent<'_>, reason: &str, count: u64) -> Queued<'_> {
        let body = DeniedBody::new(intent, self.digest(intent), reason, count);
        let draft = Draft::new(RecordKind::Denied, &body);
        self.shared.queue(self.shared.intake(), draft, Change::Nothing)
    }

    fn digest(&self, intent: &Intent<'_>) -> Option<Hash> {
        Some(self.shared.keys()?.digest(intent.raw_arguments?.as_bytes()))
    }

    /// Carries all that is written to the disk and signs it.
    pub fn checkpoint(&self) -> Result<(), AuditError> {
        let mut state = self.shared.lock();
        self.shared.flush(&mut state)?;
        self.shared.checkpoint(&mut state)
    }

    /// Hands the record over to a fresh key that signs from then on, and ends. The old key vouches for it in a last
    /// checkpoint. If this fails, the record is as good as before, and the rotation is done by the next start or not
    /// at all.
    pub fn rotate_key(self) -> Result<PublicKey, AuditError> {
        let mut state = self.shared.lock();
        self.shared.flush(&mut state)?;
        self.shared.rotate_key(&mut state)
    }

    /// Deletes the oldest files put aside but for so many, and names them by their numbers. They go only if a checkpoint
    /// vouches for where the rest begins.
    pub fn prune_to(&self, kept: usize, mode: Prune) -> Result<Vec<u64>, AuditError> {
        // The last one is still in use.
        self.shared.prune(|aside| aside.len().saturating_sub(kept.saturating_add(1)), mode)
    }

    /// The same with the files that were put aside longer ago than this.
    pub fn prune_older(&self, age: Duration, mode: Prune) -> Result<Vec<u64>, AuditError> {
        self.shared.prune(|aside| aside.iter().take_while(|file| file.age > age).count(), mode)
    }

    /// Whether it takes records. If a failure has closed it, this tries to open it again, as a
    /// record would, so that whoever waits for it needs no call.
    pub fn is_open(&self) -> bool {
        match self.shared.try_lock() {
            Some(mut state) => self.shared.recover(&mut state).is_ok(),
            // Whoever has the lock may be held up by the disk, so this doesn't wait.
            None => self.shared.intake().failed.is_none(),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // What fails here has been told to the log, and nobody waits for it any more.
        drop(self.shared.flush(&mut self.shared.lock()));
        self.shared.intake().is_closing = true;
        self.shared.wake.notify_all();
        if let Some(Err(_)) = self.syncer.take().map(JoinHandle::join) {
            tracing::error!("the thread that syncs the record has panicked");
        }
        // A clean end is one that is signed.
        if let Err(error) = self.shared.checkpoint(&mut self.shared.lock()) {
            tracing::error!(%error, "the end of the record is not signed");
        }
    }
}

#[cfg(test)]
impl Log {
    /// Lets the disk fail to sync: the file is put aside and the record closed, until the next attempt.
    pub(crate) fn break_sync(&self) {
        let error = AuditError::io("sync", &self.shared.folder.path)(std::io::ErrorKind::Other.into());
        let mut state = self.shared.lock();
        self.shared.fail(&mut state, &error);
        if let Some(failure) = &mut state.failure {
            failure.retry_at = std::time::Instant::now();
        }
    }

    /// Lets the wall clock be set ahead by this.
    pub(crate) fn jump(&self, by: jiff::SignedDuration) {
        self.shared.lock().clock.jump(by);
    }
}

#[cfg(test)]
mod tests;
