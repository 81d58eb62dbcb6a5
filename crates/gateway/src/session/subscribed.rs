//! The resources that a client is told of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hayward_mcp::limits::{SUBSCRIBED_BYTES_MAX, SUBSCRIBED_URIS_MAX};

use crate::upstreams::Interest;

/// URIs of resources that a client is told of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscribed(Arc<Mutex<Uris>>);

#[derive(Debug, Default)]
struct Uris {
    /// Each with what lets its server tell of it, if it has to be asked.
    all: HashMap<String, Option<Interest>>,
    /// Bytes of all of them.
    bytes: usize,
}

impl Subscribed {
    /// Adds one; false if there are too many, or too many bytes of them.
    pub(crate) fn add(&self, uri: String, interest: Option<Interest>) -> bool {
        let mut uris = self.lock();
        if uris.all.contains_key(&uri) {
            return true;
        }
        let bytes = uris.bytes + uri.len();
        if uris.all.len() >= SUBSCRIBED_URIS_MAX || bytes > SUBSCRIBED_BYTES_MAX {
            return false;
        }
        uris.bytes = bytes;
        uris.all.insert(uri, interest);
        true
    }

    /// Takes one away.
    pub(crate) fn remove(&self, uri: &str) {
        let mut uris = self.lock();
        if uris.all.remove(uri).is_some() {
            uris.bytes -= uri.len();
        }
    }

    /// Whether it is one of them.
    pub(crate) fn has(&self, uri: &str) -> bool {
        self.lock().all.contains_key(uri)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lock().all.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Uris> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_bounded_in_number_and_in_bytes() {
        let many = Subscribed::default();
        let added =
            (0..2 * SUBSCRIBED_URIS_MAX).filter(|number| many.add(format!("a://{number}"), None)).count();
        assert_eq!(added, SUBSCRIBED_URIS_MAX);
        let long = Subscribed::default();
        let uri = |number: usize| format!("a://{number}/{}", "x".repeat(SUBSCRIBED_BYTES_MAX / 4));
        let added = (0..10).filter(|number| long.add(uri(*number), None)).count();
        assert_eq!((added, long.add(uri(0), None), long.add(uri(4), None)), (3, true, false));
        long.remove(&uri(0));
        assert!(long.add(uri(4), None));
    }
}
