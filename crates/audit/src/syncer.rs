//! The thread that carries what was written to the disk.
//!
//! It never holds the lock while it syncs, so writers don't wait for the disk. A sync that fails
//! closes the record, also if its file was put aside meanwhile: a failure is told once per open
//! file, so whoever put it aside may not have seen it.

use std::sync::{Arc, PoisonError};
use std::thread;

use crate::error::AuditError;
use crate::limits::{IDLE_WAIT, SYNC_DELAY};
use crate::log::{Intake, Round, Shared};

/// Starts the thread; it ends when the log is dropped, after a last sync.
pub(crate) fn spawn(shared: Arc<Shared>) -> Result<thread::JoinHandle<()>, AuditError> {
    let dir = shared.folder.path.clone();
    thread::Builder::new()
        .name("audit-sync".to_owned())
        .spawn(move || while sync_once(&shared) {})
        .map_err(AuditError::io("start the thread that syncs", &dir))
}

/// Waits for records, gathers for a while, syncs, signs now and then. False when there is nothing more to come.
fn sync_once(shared: &Shared) -> bool {
    let synced = shared.lock().synced;
    let due = shared.sign_in(synced).unwrap_or(IDLE_WAIT);
    let idle =
        shared.wake.wait_timeout_while(shared.intake(), due, |intake| !intake.is_dirty && !intake.is_closing);
    let (intake, waited) = idle.unwrap_or_else(PoisonError::into_inner);
    if waited.timed_out() {
        drop(intake);
        shared.sign_and_look(synced);
        return true;
    }
    let gathers = |intake: &mut Intake| !intake.is_closing && !intake.is_urgent;
    let gathered = shared.wake.wait_timeout_while(intake, SYNC_DELAY, gathers);
    let (mut intake, _) = gathered.unwrap_or_else(PoisonError::into_inner);
    if !intake.is_dirty {
        return !intake.is_closing;
    }
    (intake.is_dirty, intake.is_urgent) = (false, false);
    let waiting = Waiting { round: std::mem::take(&mut intake.round), losses: intake.losses };
    drop(intake);
    sync(shared, &waiting);
    true
}

/// Who waits for a sync.
struct Waiting {
    round: Arc<Round>,
    /// How many files had been lost when it was taken up: what is written since a further loss isn't theirs.
    losses: u64,
}

fn sync(shared: &Shared, waiting: &Waiting) {
    let round = &waiting.round;
    let mut state = shared.lock();
    // What was queued and never asked for again is written here. A failure has been told by then.
    drop(shared.flush(&mut state));
    if state.has_lost_its_file() {
        // Syncing that file again would only fail again, and put off the attempt with a fresh one.
        return round.tell(Err("sync"));
    }
    if state.losses != waiting.losses {
        round.tell(Err("sync"));
    }
    let (file, path) = (Arc::clone(&state.file.file), state.file.path.clone());
    let (end, losses) = (state.end(), state.losses);
    drop(state);
    let synced = file.sync_data().map_err(AuditError::io("sync", &path));
    let mut state = shared.lock();
    match synced {
        Err(error) => {
            shared.fail(&mut state, &error);
            round.tell(Err("sync"));
        }
        // If somebody else was told of a failure meanwhile, the kernel had no more to tell us.
        Ok(()) if state.losses != losses => round.tell(Err("sync")),
        Ok(()) => {
            round.tell(Ok(()));
            let end = state.synced.filter(|synced| synced.seq > end.seq).unwrap_or(end);
            state.synced = Some(end);
            drop(state);
            shared.sign_and_look(Some(end));
        }
    }
}
