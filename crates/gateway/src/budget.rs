//! What may be held in memory at once, all clients together: bodies that are read or wait for their call to end,
//! and results that wait to leave. Beyond it, what comes is refused before memory runs out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes may be held, and how many are.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    held: AtomicUsize,
}

/// Bytes that are held; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    budget: Budget,
    bytes: usize,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(Shared { max, held: AtomicUsize::new(0) }))
    }

    /// Holds nothing yet.
    pub(crate) fn begin(&self) -> Reserved {
        Reserved { budget: self.clone(), bytes: 0 }
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }
}

impl Reserved {
    /// Holds this many bytes more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let shared = &self.budget.0;
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= shared.max);
        match shared.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(_) => Err(Exhausted),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.0.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_never_passes_the_budget_and_is_given_back() {
        let budget = Budget::new(10);
        let (mut first, mut second) = (budget.begin(), budget.begin());
        assert_eq!(first.grow(6), Ok(()));
        assert_eq!(second.grow(5), Err(Exhausted));
        assert_eq!(second.grow(usize::MAX), Err(Exhausted));
        assert_eq!(second.grow(4), Ok(()));
        assert_eq!(budget.held(), 10);
        drop(first);
        assert_eq!(second.grow(6), Ok(()));
        drop(second);
        assert_eq!(budget.held(), 0);
    }
}
