//! The place of the running job in the spool, as its supervisor holds it.

use std::os::fd::OwnedFd;

use crate::spool::{LastWord, Place};

/// See the module.
pub(super) struct Spooled {
    place: Place,
    /// The read ends of the job's standard output and error: what is in them, the server has not read.
    readers: [OwnedFd; 2],
    /// Tells the next server that there is somebody to wait for.
    _lock: Option<OwnedFd>,
}

impl Spooled {
    pub(super) fn new(place: Place, readers: [OwnedFd; 2]) -> Self {
        let lock = place.hold();
        Self { place, readers, _lock: lock }
    }

    /// Appends the rest of the output, and writes how the job ended. Nobody is left to be told that this failed: the next
    /// server then says that it doesn't know.
    pub(super) fn tell(&self, word: &LastWord) {
        for (stream, reader) in ["stdout", "stderr"].iter().zip(&self.readers) {
            self.place.append(stream, reader).ok();
        }
        self.place.tell(word).ok();
    }
}
