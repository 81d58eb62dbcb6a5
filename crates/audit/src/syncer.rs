//! The thread that carries what was written to the disk.
//!
//! It never holds the lock while it syncs, so writers don't wait for the disk. A sync that fails
//! closes the record: what the kernel could not write may be gone from its cache too, so trying
//! again would only pretend.

use std::sync::{Arc, PoisonError};
use std::thread;

use crate::error::AuditError;
use crate::limits::SYNC_DELAY;
use crate::log::Shared;

/// Starts the thread; it ends when the log is dropped, after a last sync.
pub(crate) fn spawn(shared: Arc<Shared>) -> Result<thread::JoinHandle<()>, AuditError> {
    let dir = shared.dir.clone();
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
    state.is_dirty = false;
    let (file, epoch) = (Arc::clone(&state.file.file), state.epoch);
    drop(state);
    if let Err(error) = file.sync_data() {
        let mut state = shared.lock();
        // A record that was reopened meanwhile has a new file and a clean start.
        if state.epoch == epoch {
            tracing::error!(path = %state.file.path.display(), %error, "failed to sync the record");
            state.failed_step = Some("sync");
        }
    }
    true
}
