//! What may be held in memory at once, all clients together: bodies that are read or wait for their call to end,
//! and results that wait to leave. Beyond it, what comes is refused before memory runs out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hayward_api::{Code, Principal};
use hayward_mcp::error::RpcError;
use hayward_tool::ToolError;

use crate::limits::UNSHARED_BYTES;

/// How many bytes may be held, and how many are.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    max: usize,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    held: AtomicUsize,
    /// What each credential holds of it in large pieces; those that hold nothing are not there.
    shares: Mutex<HashMap<String, usize>>,
}

/// Bytes that are held; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    budget: Budget,
    bytes: usize,
    /// Whose it is.
    principal: Arc<Principal>,
    /// How much of it counts as its credential's.
    share: usize,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl From<Exhausted> for RpcError {
    fn from(Exhausted: Exhausted) -> Self {
        Self::new(
            i64::from(Code::Unavailable.http_status()),
            "the server holds as much as it may: retry in a moment",
        )
    }
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, shared: Arc::default() }
    }

    /// The same with another bound: what is held counts for both.
    pub(crate) fn with_max(&self, max: usize) -> Self {
        Self { max, shared: Arc::clone(&self.shared) }
    }

    /// Holds nothing yet.
    pub(crate) fn begin(&self, principal: &Arc<Principal>) -> Reserved {
        Reserved { budget: self.clone(), bytes: 0, principal: Arc::clone(principal), share: 0 }
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }
}

impl Reserved {
    /// Holds this many bytes more, or as many as before. One credential gets half of the budget at most, so that it starves nobody.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let Budget { max, shared } = &self.budget;
        let grown = self.bytes.checked_add(bytes).ok_or(Exhausted)?;
        if grown <= UNSHARED_BYTES {
            shared.take(bytes, *max)?;
        } else {
            let mut shares = shared.shares.lock().unwrap_or_else(PoisonError::into_inner);
            let own = shares.get(&self.principal.credential).copied().unwrap_or_default();
            let own = (own - self.share).checked_add(grown).filter(|own| *own <= max / 2);
            let own = own.ok_or(Exhausted)?;
            shared.take(bytes, *max)?;
            shares.insert(self.principal.credential.clone(), own);
            self.share = grown;
        }
        self.bytes = grown;
        Ok(())
    }
}

impl Reserved {
    /// Holds this many bytes and no others.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if bytes >= self.bytes {
            return self.grow(bytes - self.bytes);
        }
        self.budget.shared.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        self.bytes = bytes;
        if self.share > bytes {
            self.give_back(self.share - bytes);
        }
        Ok(())
    }

    /// Gives back a part of the credential's share.
    fn give_back(&mut self, bytes: usize) {
        let mut shares = self.budget.shared.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let own = shares.get(&self.principal.credential).map_or(0, |own| own.saturating_sub(bytes));
        if own == 0 {
            shares.remove(&self.principal.credential);
        } else {
            shares.insert(self.principal.credential.clone(), own);
        }
        drop(shares);
        self.share -= bytes;
    }
}

impl Shared {
    fn take(&self, bytes: usize, max: usize) -> Result<(), Exhausted> {
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= max);
        match self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(Exhausted),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.shared.held.fetch_sub(self.bytes, Ordering::Relaxed);
        if self.share > 0 {
            self.give_back(self.share);
        }
    }
}

impl From<Exhausted> for ToolError {
    fn from(Exhausted: Exhausted) -> Self {
        Self::new("Overloaded", Code::Unavailable, "the server holds as much as it may")
            .suggest("retry in a moment")
    }
}

#[cfg(test)]
impl Budget {
    /// Holds nothing yet, for nobody.
    pub(crate) fn begin_for_test(&self) -> Reserved {
        self.begin(&Arc::new(Principal::anonymous()))
    }
}

#[cfg(test)]
mod tests {
    use hayward_api::Tier;

    use super::*;

    fn named(credential: &str) -> Arc<Principal> {
        Arc::new(Principal { credential: credential.to_owned(), ..Principal::local("x", Tier::Read) })
    }

    #[test]
    fn what_is_held_never_passes_the_budget_and_is_given_back() {
        let budget = Budget::new(10);
        let (mut first, mut second) = (budget.begin(&named("a")), budget.begin(&named("b")));
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

    #[test]
    fn what_is_held_counts_under_another_bound() {
        let budget = Budget::new(10);
        let mut own = budget.begin(&named("a"));
        assert_eq!(own.grow(8), Ok(()));
        let (narrower, wider) = (budget.with_max(5), budget.with_max(20));
        assert_eq!(narrower.begin(&named("b")).grow(1), Err(Exhausted));
        assert_eq!(wider.begin(&named("b")).grow(12), Ok(()));
        drop(own);
        assert_eq!((narrower.held(), narrower.begin(&named("b")).grow(5)), (0, Ok(())));
    }

    #[test]
    fn what_shrinks_gives_back_as_much() {
        let budget = Budget::new(10 * UNSHARED_BYTES);
        let mut own = budget.begin(&named("a"));
        for bytes in [
            3 * UNSHARED_BYTES,
            UNSHARED_BYTES,
            4 * UNSHARED_BYTES,
            2 * UNSHARED_BYTES,
            0,
            5 * UNSHARED_BYTES,
        ] {
            assert_eq!((own.resize(bytes), budget.held()), (Ok(()), bytes));
        }
        assert_eq!((own.resize(6 * UNSHARED_BYTES), budget.held()), (Err(Exhausted), 5 * UNSHARED_BYTES));
        assert_eq!(own.resize(1), Ok(()));
        assert_eq!(budget.begin(&named("a")).grow(5 * UNSHARED_BYTES - 1), Ok(()));
        drop(own);
        assert_eq!((budget.held(), budget.shared.shares.lock().unwrap().len()), (0, 0));
    }

    #[test]
    fn one_credential_gets_half_of_it_at_most() {
        let budget = Budget::new(10 * UNSHARED_BYTES);
        let mut own: Vec<_> = (0..2).map(|_| budget.begin(&named("a"))).collect();
        assert_eq!(
            (own[0].grow(3 * UNSHARED_BYTES), own[1].grow(3 * UNSHARED_BYTES)),
            (Ok(()), Err(Exhausted))
        );
        assert_eq!(budget.held(), 3 * UNSHARED_BYTES, "what is refused is not held");
        let mut other = budget.begin(&named("b"));
        assert_eq!(other.grow(4 * UNSHARED_BYTES), Ok(()));
        drop(own);
        drop(other);
        assert_eq!(budget.held(), 0);
        assert!(budget.shared.shares.lock().unwrap().is_empty());
        assert_eq!(budget.begin(&named("a")).grow(5 * UNSHARED_BYTES), Ok(()));
    }
}
