//! Ids of requests that brought none of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// Makes ids that are unique and say nothing: half random and drawn once, half a count.
///
/// Drawing each at random would cost a system call for every request.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: [u8; 8],
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        let mut process = [0; 8];
        process.copy_from_slice(&Uuid::new_v4().as_bytes()[8..]);
        Self { process, count: AtomicU64::new(0) }
    }

    /// The next id: a UUID of version 8 (RFC 9562, 5.8).
    pub(crate) fn next(&self) -> Arc<str> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.process);
        bytes[8..].copy_from_slice(&self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let mut text = Uuid::encode_buffer();
        (&*Uuid::new_v8(bytes).hyphenated().encode_lower(&mut text)).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_id_comes_twice_and_no_two_processes_share_one() {
        let (one, other) = (RequestIds::new(), RequestIds::new());
        let ids: HashSet<Arc<str>> = (0..1000).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(ids.len(), 2000);
    }
}
