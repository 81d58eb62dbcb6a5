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
    let idle = shared.wake.wait_while(shared.lock(), |state| !state.is_dirty && !state.is_closing);
    let state = idle.unwrap_or_else(PoisonError::into_inner);
    let gathered = shared.wake.wait_timeout_while(state, SYNC_DELAY, |state| !state.is_closing);
    let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
    if !state.is_dirty {
        return !state.is_closing;
    }
    // What was queued and never asked for again is written here. A failure has been told by then.
    drop(shared.flush(&mut state));
    state.is_dirty = false;
    let (file, path) = (Arc::clone(&state.file.file), state.file.path.clone());
    drop(state);
    if let Err(error) = file.sync_data().map_err(AuditError::io("sync", &path)) {
        shared.fail(&mut shared.lock(), &error);
    }
    true
}
