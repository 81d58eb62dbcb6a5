//! The thread that carries what was written to the disk.
//!
//! It never holds the lock while it syncs, so writers don't wait for the disk. A sync that fails
//! closes the record, also if its file was put aside meanwhile: a failure is told once per open
//! file, so whoever put it aside may not have seen it.

use std::sync::{Arc, PoisonError};
use std::thread;

use crate::error::AuditError;
use crate::limits::SYNC_DELAY;
use crate::log::Shared;

/// Starts the thread; it ends when the log is dropped, after a last sync.
pub(crate) fn spawn(shared: Arc<Shared>) -> Result<thread::JoinHandle<()>, AuditError> {
    let dir = shared.folder.path.clone();
    thread::Builder::new()
        .name("audit-sync".to_owned())
        .spawn(move || while sync_once(&shared) {})
        .map_err(AuditError::io("start the thread that syncs", &dir))
}

/// Waits for records, gathers for a while, syncs. False when there is nothing more to come.
fn sync_once(shared: &Shared) -> bool {
    let idle = shared.wake.wait_while(shared.intake(), |intake| !intake.is_dirty && !intake.is_closing);
    let intake = idle.unwrap_or_else(PoisonError::into_inner);
    let gathered = shared.wake.wait_timeout_while(intake, SYNC_DELAY, |intake| !intake.is_closing);
    let (mut intake, _) = gathered.unwrap_or_else(PoisonError::into_inner);
    if !intake.is_dirty {
        return !intake.is_closing;
    }
    intake.is_dirty = false;
    drop(intake);
    let mut state = shared.lock();
    // What was queued and never asked for again is written here. A failure has been told by then.
    drop(shared.flush(&mut state));
    if state.has_lost_its_file() {
        // Syncing that file again would only fail again, and put off the attempt with a fresh one.
        return true;
    }
    let (file, path) = (Arc::clone(&state.file.file), state.file.path.clone());
    drop(state);
    if let Err(error) = file.sync_data().map_err(AuditError::io("sync", &path)) {
        shared.fail(&mut shared.lock(), &error);
    }
    true
}
