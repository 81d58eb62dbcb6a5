//! What was refused before it came to the road: recorded like what is refused on it.
//!
//! The first refusal of a kind is recorded before it is told. Who goes on is counted, and recorded as one every
//! [`REFUSALS_WINDOW`] with the exact number: a flood of attempts neither fills the record nor hides in it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hayward_api::{Principal, Source};

use super::Road;
use crate::limits::{REFUSALS_MAX, REFUSALS_WINDOW};

/// A refusal before the road.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// Who was refused, as far as that is known.
    pub(crate) principal: Arc<Principal>,
    /// Where from.
    pub(crate) source: Source,
    /// The id of the request.
    pub(crate) request_id: Arc<str>,
    /// What was asked for: a method of the protocol or of HTTP.
    pub(crate) method: String,
    /// Of what: the tool, the path.
    pub(crate) name: String,
    /// What kind of refusal it is: those of one kind are counted together.
    pub(crate) code: i64,
    /// What was told.
    pub(crate) reason: String,
}

/// Refusals that are counted together.
type Kind = (String, Option<IpAddr>, i64);

/// A number of refusals of one kind.
#[derive(Clone, Debug)]
pub(super) struct Refusals {
    /// The first of them.
    pub(super) first: Refused,
    /// How many there were.
    pub(super) count: u64,
}

/// Counts refusals.
#[derive(Debug, Default)]
pub(super) struct Counter(Mutex<HashMap<Kind, Counted>>);

#[derive(Debug)]
struct Counted {
    /// When one of them was recorded last.
    recorded: Instant,
    /// Those since then.
    since: Option<Refusals>,
}

impl Counter {
    /// Counts one; returns what is due to be recorded.
    pub(super) fn count(&self, refused: Refused) -> Vec<Refusals> {
        let mut counted = self.lock();
        let mut kind = (refused.principal.credential.clone(), refused.source.ip(), refused.code);
        if !counted.contains_key(&kind) && counted.len() >= REFUSALS_MAX {
            // Of too many kinds, the rest is one.
            kind = (String::new(), None, 0);
        }
        match counted.get_mut(&kind) {
            None => {
                counted.insert(kind, Counted { recorded: Instant::now(), since: None });
                vec![Refusals { first: refused, count: 1 }]
            }
            Some(known) => {
                known.since.get_or_insert(Refusals { first: refused, count: 0 }).count += 1;
                if known.recorded.elapsed() < REFUSALS_WINDOW {
                    return Vec::new();
                }
                known.recorded = Instant::now();
                known.since.take().into_iter().collect()
            }
        }
    }

    /// What was counted and waits for this long to be recorded; kinds that have come to rest are forgotten.
    pub(super) fn due(&self, patience: Duration) -> Vec<Refusals> {
        let mut due = Vec::new();
        self.lock().retain(|_, counted| {
            if counted.recorded.elapsed() < patience {
                return true;
            }
            counted.recorded = Instant::now();
            let since = counted.since.take();
            let is_active = since.is_some();
            due.extend(since);
            is_active
        });
        due
    }

    /// Takes back what could not be recorded.
    pub(super) fn take_back(&self, refusals: Refusals) {
        let first = &refusals.first;
        let kind = (first.principal.credential.clone(), first.source.ip(), first.code);
        let mut counted = self.lock();
        let known = counted.entry(kind).or_insert(Counted { recorded: Instant::now(), since: None });
        let count = refusals.count + known.since.take().map_or(0, |since| since.count);
        known.since = Some(Refusals { count, ..refusals });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Road {
    /// Records what was refused before it came here, the first of a kind before it is told.
    pub(crate) async fn refuse(&self, refused: Refused) {
        self.record_refusals(self.refused.count(refused)).await;
    }

    /// Records what was refused since, if that is due.
    pub(crate) async fn note_refusals(&self, patience: Duration) {
        self.record_refusals(self.refused.due(patience)).await;
    }

    async fn record_refusals(&self, due: Vec<Refusals>) {
        for refusals in due {
            if self.recorder.refused(&refusals).await.is_err() {
                // Nothing was done, and the log says why it is not recorded.
                self.refused.take_back(refusals);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn refused(last_byte: u8, code: i64) -> Refused {
        Refused {
            principal: Arc::new(Principal::anonymous()),
            source: Source::peer(Some(SocketAddr::from(([10, 0, 0, last_byte], 1)))),
            request_id: "r".into(),
            method: "POST".into(),
            name: "/mcp".into(),
            code,
            reason: "no".into(),
        }
    }

    fn sum(refusals: &[Refusals]) -> u64 {
        refusals.iter().map(|refusals| refusals.count).sum()
    }

    #[test]
    fn the_first_of_a_kind_is_recorded_at_once_and_the_rest_is_counted_exactly() {
        let counter = Counter::default();
        assert_eq!(sum(&counter.count(refused(1, 401))), 1);
        for _ in 0..99 {
            assert!(counter.count(refused(1, 401)).is_empty());
        }
        assert_eq!(sum(&counter.count(refused(2, 401))), 1, "somebody else is of another kind");
        assert_eq!(sum(&counter.count(refused(1, 403))), 1);
        assert!(counter.due(REFUSALS_WINDOW).is_empty());
        assert_eq!(sum(&counter.due(Duration::ZERO)), 99);
        assert!(counter.due(Duration::ZERO).is_empty(), "nothing is counted twice");
        assert!(counter.lock().is_empty(), "kinds that have come to rest are forgotten");
    }

    #[test]
    fn a_flood_of_kinds_is_counted_in_bounded_memory() {
        let counter = Counter::default();
        let attempts = 3 * REFUSALS_MAX as u64;
        let at_once: u64 =
            (0..attempts).map(|code| sum(&counter.count(refused(1, code.cast_signed())))).sum();
        assert!(counter.lock().len() <= REFUSALS_MAX + 1);
        assert_eq!(at_once + sum(&counter.due(Duration::ZERO)), attempts);
    }

    #[test]
    fn what_could_not_be_recorded_stays_counted() {
        let counter = Counter::default();
        let first = counter.count(refused(1, 401)).pop().unwrap();
        counter.count(refused(1, 401));
        counter.take_back(first);
        assert_eq!(sum(&counter.due(Duration::ZERO)), 2);
    }
}
