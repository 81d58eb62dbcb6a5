//! How fast requests may come: from one address, and under one credential; how many of one address are answered at once;
//! and how long whoever fails to say who it is has to wait for that to be told.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hayward_api::Principal;

use super::addresses::{Addresses, Full, Held};
use crate::limits::{
    FAILURE_DELAY_MIN, FAILURES_FREE, FAILURES_WINDOW, Limits, PACED_MAX, PACED_SWEEP_INTERVAL,
};

const MINUTE: Duration = Duration::from_mins(1);

/// How fast they may be, and what is known of senders. In memory, and bounded.
pub struct Pace {
    per_address: u64,
    per_principal: u64,
    delay_max: Duration,
    at_once: u64,
    senders: Arc<Senders>,
}

/// What is known of senders, whatever the paces are.
#[derive(Default)]
struct Senders {
    at_once: Arc<Addresses>,
    addresses: Mutex<Known<IpAddr, Instant>>,
    principals: Mutex<Known<String, Instant>>,
    failures: Mutex<Known<IpAddr, Failures>>,
}

/// What is known of so many senders at most.
struct Known<K, V> {
    senders: HashMap<K, V>,
    swept: Option<Instant>,
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
            at_once: limits.requests_per_address_max,
            senders: Arc::default(),
        }
    }

    /// The same senders at these paces.
    #[must_use]
    pub fn under(&self, limits: &Limits) -> Self {
        Self { senders: Arc::clone(&self.senders), ..Self::new(limits) }
    }

    /// Counts a request of this address; else says how long to wait.
    pub(crate) fn of_address(&self, address: IpAddr) -> Result<(), Duration> {
        if self.per_address == 0 {
            return Ok(());
        }
        spend(&mut lock(&self.senders.addresses), sender(address), self.per_address, Instant::now())
    }

    /// A request of this address is being answered until what it gets is dropped.
    pub(crate) fn begin(&self, address: Option<IpAddr>) -> Result<Option<Held>, Full> {
        self.senders.at_once.hold(address, self.at_once)
    }

    /// Counts a request under this credential, by its own bound or that of all; else says how long to wait.
    pub(crate) fn of_principal(&self, principal: &Principal) -> Result<(), Duration> {
        let own = principal.bounds.requests_per_minute.map(|bound| u64::from(bound.get()));
        let per_minute = own.unwrap_or(self.per_principal);
        if per_minute == 0 {
            return Ok(());
        }
        spend(&mut lock(&self.senders.principals), principal.credential.clone(), per_minute, Instant::now())
    }

    /// Notes that an address failed to say who it is, and says how long it waits to learn that.
    pub(crate) fn failed(&self, address: IpAddr) -> Duration {
        if self.delay_max.is_zero() {
            return Duration::ZERO;
        }
        let (now, address, mut failures) = (Instant::now(), sender(address), lock(&self.senders.failures));
        failures.sweep(now, |known| now.saturating_duration_since(known.last) < FAILURES_WINDOW);
        let Some(known) = failures.of(address, || Failures { count: 0, last: now }) else {
            // Many addresses fail at once: nobody is let off for that.
            return self.delay_max;
        };
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

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self { senders: HashMap::new(), swept: None }
    }
}

impl<K: Eq + Hash, V> Known<K, V> {
    /// Forgets whom it is time to forget, if there are many; not at every request.
    fn sweep(&mut self, now: Instant, is_kept: impl Fn(&V) -> bool) {
        let is_due =
            self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= PACED_SWEEP_INTERVAL);
        if self.senders.len() >= PACED_MAX && is_due {
            self.senders.retain(|_, known| is_kept(known));
            self.swept = Some(now);
        }
    }

    /// What is known of this sender; none if there is no room for one more.
    fn of(&mut self, sender: K, new: impl FnOnce() -> V) -> Option<&mut V> {
        if self.senders.len() >= PACED_MAX && !self.senders.contains_key(&sender) {
            return None;
        }
        Some(self.senders.entry(sender).or_insert_with(new))
    }
}

/// Who sends from there. Whoever has one IPv6 address has all of its network's.
pub(super) fn sender(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Takes one of so many a minute: as many at once as may come in a quarter of a minute, then evenly.
fn spend<K: Eq + Hash>(
    known: &mut Known<K, Instant>,
    key: K,
    per_minute: u64,
    now: Instant,
) -> Result<(), Duration> {
    let each = MINUTE / u32::try_from(per_minute).unwrap_or(u32::MAX);
    let ahead_max = (MINUTE / 4).max(each);
    known.sweep(now, |next| *next > now);
    // Without room for one more, who isn't known waits: what is remembered is bounded, whoever sends.
    let next = known.of(key, || now).ok_or(each)?;
    // Nobody owes more than at this pace, though it may have been slower before.
    let after = (*next).max(now).min(now + ahead_max) + each;
    let wait = after.saturating_duration_since(now).saturating_sub(ahead_max);
    if !wait.is_zero() {
        return Err(wait);
    }
    *next = after;
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
        let (mut known, now) = (Known::default(), Instant::now());
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
        let (mut known, now) = (Known::default(), Instant::now());
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
    fn a_new_pace_holds_for_whoever_is_known() {
        let slow = Pace::new(&Limits { address_requests_per_minute: 1, ..Limits::default() });
        assert!(slow.of_address(address(1)).is_ok() && slow.of_address(address(1)).is_err());
        let none = slow.under(&Limits::default());
        assert!((0..100).all(|_| none.of_address(address(1)).is_ok()));
        assert!(slow.of_address(address(1)).is_err());
        let fast = slow.under(&Limits { address_requests_per_minute: 600, ..Limits::default() });
        let wait = fast.of_address(address(1)).unwrap_err();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
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
    fn what_is_remembered_is_bounded_and_makes_room_in_time() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert!((0..PACED_MAX).all(|key| spend(&mut known, key, 60, now).is_ok()));
        assert!((PACED_MAX..2 * PACED_MAX).all(|key| spend(&mut known, key, 60, now).is_err()));
        assert_eq!(known.senders.len(), PACED_MAX);
        assert_eq!(spend(&mut known, 0, 60, now), Ok(()), "who is known goes on");
        assert_eq!(spend(&mut known, usize::MAX, 60, now + MINUTE), Ok(()));
        assert!(known.senders.len() < PACED_MAX, "{}", known.senders.len());
    }

    #[test]
    fn whoever_has_a_network_of_addresses_is_one_sender() {
        let pace = Pace::new(&Limits { address_requests_per_minute: 1, ..Limits::default() });
        let of = |address: &str| pace.of_address(address.parse().unwrap());
        assert!(of("2001:db8:1:2::1").is_ok() && of("2001:db8:1:2:ffff::9").is_err());
        assert!(of("2001:db8:1:3::1").is_ok());
    }
}
