//! How fast requests may come: from one address, and under one credential; and how long whoever fails to say who it is
//! has to wait for that to be told.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hayward_api::Principal;

use crate::limits::{FAILURE_DELAY_MIN, FAILURES_FREE, FAILURES_WINDOW, Limits, PACED_MAX};

const MINUTE: Duration = Duration::from_mins(1);

/// What is known of senders. In memory, and bounded.
pub struct Pace {
    per_address: u64,
    per_principal: u64,
    delay_max: Duration,
    addresses: Mutex<HashMap<IpAddr, Instant>>,
    principals: Mutex<HashMap<String, Instant>>,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

/// Failed attempts of one address.
struct Failures {
    count: u32,
    last: Instant,
}

impl Pace {
    /// Nobody is known.
    pub fn new(limits: &Limits) -> Self {
        Self {
            per_address: limits.address_requests_per_minute,
            per_principal: limits.principal_requests_per_minute,
            delay_max: Duration::from_millis(limits.failure_delay_ms_max),
            addresses: Mutex::default(),
            principals: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Counts a request of this address; else says how long to wait.
    pub(crate) fn of_address(&self, address: IpAddr) -> Result<(), Duration> {
        if self.per_address == 0 {
            return Ok(());
        }
        spend(&mut lock(&self.addresses), address.to_canonical(), self.per_address, Instant::now())
    }

    /// Counts a request under this credential, by its own bound or that of all; else says how long to wait.
    pub(crate) fn of_principal(&self, principal: &Principal) -> Result<(), Duration> {
        let own = principal.bounds.requests_per_minute.map(|bound| u64::from(bound.get()));
        let per_minute = own.unwrap_or(self.per_principal);
        if per_minute == 0 {
            return Ok(());
        }
        spend(&mut lock(&self.principals), principal.credential.clone(), per_minute, Instant::now())
    }

    /// Notes that an address failed to say who it is, and says how long it waits to learn that.
    pub(crate) fn failed(&self, address: IpAddr) -> Duration {
        if self.delay_max.is_zero() {
            return Duration::ZERO;
        }
        let (now, mut failures) = (Instant::now(), lock(&self.failures));
        if failures.len() >= PACED_MAX {
            failures.retain(|_, known| now.saturating_duration_since(known.last) < FAILURES_WINDOW);
        }
        if failures.len() >= PACED_MAX {
            // Many addresses fail at once: nobody is let off for that.
            return self.delay_max;
        }
        let known = failures.entry(address.to_canonical()).or_insert(Failures { count: 0, last: now });
        if now.saturating_duration_since(known.last) >= FAILURES_WINDOW {
            known.count = 0;
        }
        known.count = known.count.saturating_add(1);
        known.last = now;
        match known.count.checked_sub(FAILURES_FREE) {
            None | Some(0) => Duration::ZERO,
            Some(beyond) => (FAILURE_DELAY_MIN * (1 << beyond.min(16).saturating_sub(1))).min(self.delay_max),
        }
    }
}

/// Takes one of so many a minute: as many at once as may come in a quarter of a minute, then evenly.
fn spend<K: Eq + Hash>(
    known: &mut HashMap<K, Instant>,
    key: K,
    per_minute: u64,
    now: Instant,
) -> Result<(), Duration> {
    let each = MINUTE / u32::try_from(per_minute).unwrap_or(u32::MAX);
    let ahead_max = (MINUTE / 4).max(each);
    if known.len() >= PACED_MAX {
        known.retain(|_, next| *next > now);
    }
    let next = known.get(&key).copied().unwrap_or(now).max(now) + each;
    let ahead = next.saturating_duration_since(now);
    let wait = ahead.saturating_sub(ahead_max);
    if !wait.is_zero() {
        return Err(wait);
    }
    known.insert(key, next);
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use hayward_api::{Bounds, Tier};

    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn who_is_too_fast_is_told_how_long_to_wait_and_others_are_not_held_up() {
        let (mut known, now) = (HashMap::new(), Instant::now());
        for _ in 0..15 {
            assert_eq!(spend(&mut known, 1, 60, now), Ok(()));
        }
        assert_eq!(spend(&mut known, 1, 60, now), Err(Duration::from_secs(1)));
        assert_eq!(spend(&mut known, 2, 60, now), Ok(()));
        // Being refused costs nothing.
        assert_eq!(spend(&mut known, 1, 60, now + Duration::from_secs(1)), Ok(()));
        assert!(spend(&mut known, 1, 60, now + Duration::from_secs(1)).is_err());
        for minute in 1..4 {
            let now = now + MINUTE * minute;
            let taken = (0..100).filter(|_| spend(&mut known, 1, 60, now).is_ok()).count();
            assert_eq!(taken, 15, "nothing is saved up");
        }
    }

    #[test]
    fn one_a_minute_is_one() {
        let (mut known, now) = (HashMap::new(), Instant::now());
        assert_eq!(spend(&mut known, 1, 1, now), Ok(()));
        assert_eq!(spend(&mut known, 1, 1, now), Err(MINUTE));
        assert_eq!(spend(&mut known, 1, 1, now + MINUTE), Ok(()));
    }

    #[test]
    fn nobody_is_paced_unless_it_is_asked_for() {
        let pace = Pace::new(&Limits::default());
        let anybody = Principal::local("x", Tier::Read);
        for _ in 0..10_000 {
            assert!(pace.of_address(address(1)).is_ok() && pace.of_principal(&anybody).is_ok());
        }
        let own = Bounds { requests_per_minute: NonZeroU32::new(4), ..Bounds::default() };
        let bound = Principal { bounds: own, ..anybody };
        assert!(pace.of_principal(&bound).is_ok() && pace.of_principal(&bound).is_err());
    }

    #[test]
    fn an_address_is_the_same_in_both_families() {
        let pace = Pace::new(&Limits { address_requests_per_minute: 1, ..Limits::default() });
        assert!(pace.of_address(address(1)).is_ok());
        assert!(pace.of_address("::ffff:10.0.0.1".parse().unwrap()).is_err());
        assert!(pace.of_address(address(2)).is_ok());
    }

    #[test]
    fn who_fails_again_and_again_waits_longer_up_to_a_bound() {
        let pace = Pace::new(&Limits { failure_delay_ms_max: 1_000, ..Limits::default() });
        let delays: Vec<_> = (0..FAILURES_FREE + 30).map(|_| pace.failed(address(1))).collect();
        let free = usize::try_from(FAILURES_FREE).unwrap();
        assert!(delays[..free].iter().all(Duration::is_zero));
        assert_eq!(delays[free..free + 3], [FAILURE_DELAY_MIN, FAILURE_DELAY_MIN * 2, FAILURE_DELAY_MIN * 4]);
        assert_eq!(delays.last(), Some(&Duration::from_secs(1)));
        assert_eq!(pace.failed(address(2)), Duration::ZERO);
        let off = Pace::new(&Limits { failure_delay_ms_max: 0, ..Limits::default() });
        assert!((0..1_000).all(|_| off.failed(address(1)).is_zero()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut known, now) = (HashMap::new(), Instant::now());
        for key in 0..2 * PACED_MAX {
            let _told = spend(&mut known, key, 60, now + Duration::from_secs(key as u64));
        }
        assert!(known.len() <= PACED_MAX, "{}", known.len());
    }
}
