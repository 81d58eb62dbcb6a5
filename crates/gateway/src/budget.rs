//! What may be held in memory at once, all clients together: bodies that are read or wait for their call to end,
//! and results that wait to leave. Beyond it, what comes is refused before memory runs out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hayward_api::{Code, Principal};
use hayward_mcp::error::RpcError;

/// Up to this size nobody looks whose it is: the number of connections and calls bounds them.
const SMALL: usize = 64 * 1024;

/// How many bytes may be held, and how many are.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
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
        Self(Arc::new(Shared { max, held: AtomicUsize::new(0), shares: Mutex::default() }))
    }

    /// Holds nothing yet.
    pub(crate) fn begin(&self, principal: &Arc<Principal>) -> Reserved {
        Reserved { budget: self.clone(), bytes: 0, principal: Arc::clone(principal), share: 0 }
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }
}

impl Reserved {
    /// Holds this many bytes more. One credential gets half of the budget at most, so that it starves nobody.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.take(bytes)?;
        if self.bytes <= SMALL {
            return Ok(());
        }
        let shared = &self.budget.0;
        let mut shares = shared.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let own = shares.get(&self.principal.credential).copied().unwrap_or_default();
        let grown = own + self.bytes - self.share;
        if grown > shared.max / 2 {
            return Err(Exhausted);
        }
        shares.insert(self.principal.credential.clone(), grown);
        self.share = self.bytes;
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), Exhausted> {
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
        let shared = &self.budget.0;
        shared.held.fetch_sub(self.bytes, Ordering::Relaxed);
        if self.share > 0 {
            let mut shares = shared.shares.lock().unwrap_or_else(PoisonError::into_inner);
            let rest = shares.get(&self.principal.credential).map_or(0, |own| own.saturating_sub(self.share));
            if rest == 0 {
                shares.remove(&self.principal.credential);
            } else {
                shares.insert(self.principal.credential.clone(), rest);
            }
        }
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
    fn one_credential_gets_half_of_it_at_most() {
        let budget = Budget::new(10 * SMALL);
        let mut own: Vec<_> = (0..2).map(|_| budget.begin(&named("a"))).collect();
        assert_eq!((own[0].grow(3 * SMALL), own[1].grow(3 * SMALL)), (Ok(()), Err(Exhausted)));
        let mut other = budget.begin(&named("b"));
        assert_eq!(other.grow(4 * SMALL), Ok(()));
        drop(own);
        drop(other);
        assert_eq!(budget.held(), 0);
        assert!(budget.0.shares.lock().unwrap().is_empty());
        assert_eq!(budget.begin(&named("a")).grow(5 * SMALL), Ok(()));
    }
}
