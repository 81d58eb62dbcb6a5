//! Slows whoever guesses passwords: by account and by address, each after a few failures.
//!
//! A value without a clock: whoever asks says what time it is. What it keeps is bounded; when it is full, those who have to
//! wait least are forgotten first, so that a flood of names can't free the one that is guessed at.

use std::collections::HashMap;
use std::net::IpAddr;

/// Failures that cost nothing.
pub const FREE: u32 = 5;
/// Seconds to wait after the first failure beyond; each further one doubles it.
const FIRST_WAIT: u64 = 1;
/// Seconds to wait at most.
pub const WAIT_MAX: u64 = 300;
/// Seconds after the last failure until everything is forgotten.
const FORGET: u64 = 3600;
/// Accounts and addresses that are kept in mind.
pub const KEPT: usize = 10_000;
/// Bytes of a name that are looked at.
const NAME_BYTES: usize = 254;

/// Whose failures are counted.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Who {
    Account(String),
    Address(IpAddr),
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: u64,
}

impl Failures {
    /// When the next guess is taken.
    fn until(self) -> u64 {
        match self.count.checked_sub(FREE) {
            None => 0,
            Some(beyond) => {
                let wait = FIRST_WAIT.checked_shl(beyond.min(32)).unwrap_or(WAIT_MAX).min(WAIT_MAX);
                self.last.saturating_add(wait)
            }
        }
    }

    fn is_over(self, now: u64) -> bool {
        now.saturating_sub(self.last) >= FORGET
    }
}

/// A guess that counts as wrong until it turns out to be right.
pub struct Guess {
    /// Whose failures it was added to, and when the last one was before.
    before: Vec<(Who, Option<u64>)>,
    at: u64,
}

/// Who has failed how often.
#[derive(Default)]
pub struct Guesses {
    failures: HashMap<Who, Failures>,
}

impl Guesses {
    /// Takes a guess at this account from this address, and counts it as wrong at once: of many that come together no more
    /// are taken than one after the other. A guess that comes too early is refused without a look at the password, and isn't
    /// counted.
    ///
    /// # Errors
    /// Seconds until one is taken.
    pub fn begin(&mut self, account: &str, address: Option<IpAddr>, now: u64) -> Result<Guess, u64> {
        if let Some(wait) = self.wait(account, address, now) {
            return Err(wait);
        }
        let last = |who| {
            let last = self.failures.get(&who).map(|failures| failures.last);
            (who, last)
        };
        let before = keys(account, address).map(last).collect();
        self.failed(account, address, now);
        Ok(Guess { before, at: now })
    }

    /// Counts a guess as none: it was right.
    pub fn take_back(&mut self, guess: Guess) {
        for (who, last) in guess.before {
            let Some(failures) = self.failures.get_mut(&who) else { continue };
            failures.count = failures.count.saturating_sub(1);
            if failures.last == guess.at {
                failures.last = last.unwrap_or(guess.at);
            }
            if failures.count == 0 {
                self.failures.remove(&who);
            }
        }
    }

    /// Seconds until a guess at this account from this address is taken; none if it is now.
    fn wait(&self, account: &str, address: Option<IpAddr>, now: u64) -> Option<u64> {
        let waits = keys(account, address).filter_map(|who| {
            let failures = self.failures.get(&who).filter(|failures| !failures.is_over(now))?;
            failures.until().checked_sub(now).filter(|wait| *wait > 0)
        });
        waits.max()
    }

    /// Counts a wrong guess.
    fn failed(&mut self, account: &str, address: Option<IpAddr>, now: u64) {
        for who in keys(account, address) {
            self.make_room(&who, now);
            let failures = self.failures.entry(who).or_insert(Failures { count: 0, last: now });
            let count = if failures.is_over(now) { 0 } else { failures.count };
            *failures = Failures { count: count.saturating_add(1), last: now };
        }
    }

    /// Forgets the failures of an account whose password was right. Those of the address stay, but for this guess: it may
    /// guess at others.
    pub fn succeeded(&mut self, account: &str, guess: Guess) {
        self.take_back(guess);
        self.failures.remove(&named(account));
    }

    fn make_room(&mut self, who: &Who, now: u64) {
        if self.failures.len() < KEPT || self.failures.contains_key(who) {
            return;
        }
        self.failures.retain(|_, failures| !failures.is_over(now));
        if self.failures.len() < KEPT {
            return;
        }
        // A tenth at once, so that a flood doesn't make each failure cost a walk.
        let mut until: Vec<(u64, u64)> = self.failures.values().map(|it| (it.until(), it.last)).collect();
        let (_, least, _) = until.select_nth_unstable(KEPT / 10);
        let least = *least;
        self.failures.retain(|_, it| (it.until(), it.last) > least);
    }
}

fn keys(account: &str, address: Option<IpAddr>) -> impl Iterator<Item = Who> {
    [Some(named(account)), address.map(|address| Who::Address(network(address)))].into_iter().flatten()
}

fn named(account: &str) -> Who {
    let end = account.floor_char_boundary(NAME_BYTES);
    Who::Account(account[..end].to_lowercase())
}

/// An IPv6 address stands for its network of 64 bits: whoever has one has all of it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn five_failures_are_free_and_then_waits_double_up_to_an_end() {
        let (mut guesses, mut now) = (Guesses::default(), 1000);
        for _ in 0..FREE {
            assert_eq!(guesses.wait("ann", HERE, now), None);
            guesses.failed("ann", HERE, now);
        }
        let mut waits = Vec::new();
        for _ in 0..11 {
            let wait = guesses.wait("ann", HERE, now).unwrap();
            waits.push(wait);
            now += wait;
            assert_eq!(guesses.wait("ann", HERE, now), None);
            guesses.failed("ann", HERE, now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(guesses.wait("ann", HERE, now + FORGET), None);
    }

    #[test]
    fn an_account_is_slow_from_everywhere_and_an_address_for_everybody() {
        let mut guesses = Guesses::default();
        for round in 0..20 {
            guesses.failed("ann", Some(address(round)), 1000);
            guesses.failed(&format!("user-{round}"), HERE, 1000);
        }
        assert!(guesses.wait("ANN", Some(address(99)), 1000).is_some());
        assert!(guesses.wait("somebody", HERE, 1000).is_some());
        assert_eq!(guesses.wait("somebody", Some(address(99)), 1000), None);
    }

    #[test]
    fn a_right_password_clears_the_account_and_not_the_address() {
        let mut guesses = Guesses::default();
        (0..9).for_each(|_| guesses.failed("ann", HERE, 1000));
        let wait = guesses.wait("ann", HERE, 1000).unwrap();
        let right = guesses.begin("ann", HERE, 1000 + wait).ok().unwrap();
        guesses.succeeded("Ann", right);
        assert_eq!(guesses.wait("ann", Some(address(7)), 1000), None);
        assert_eq!(guesses.wait("bob", HERE, 1000), Some(wait), "neither more nor less than before");
    }

    #[test]
    fn guesses_that_come_together_are_no_more_than_one_after_the_other() {
        let mut guesses = Guesses::default();
        let taken: Vec<_> = (0..50).filter_map(|_| guesses.begin("ann", HERE, 1000).ok()).collect();
        assert_eq!(taken.len(), usize::try_from(FREE).unwrap());
        for guess in taken {
            guesses.take_back(guess);
        }
        assert!(guesses.failures.is_empty(), "right ones leave nothing");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let mut guesses = Guesses::default();
        for host in 0..9 {
            let address = format!("2001:db8::{host}").parse().ok();
            guesses.failed(&format!("user-{host}"), address, 1000);
        }
        assert!(guesses.wait("x", "2001:db8::ffff".parse().ok(), 1000).is_some());
        assert!(guesses.wait("x", "2001:db8:0:1::1".parse().ok(), 1000).is_none());
    }

    #[test]
    fn a_flood_of_names_neither_fills_the_memory_nor_frees_who_is_guessed_at() {
        let mut guesses = Guesses::default();
        (0..20).for_each(|_| guesses.failed("ann", None, 1000));
        for number in 0..u32::try_from(KEPT).unwrap() * 3 {
            guesses.failed(&format!("user-{number}"), Some(address(number)), 1001);
        }
        assert!(guesses.failures.len() <= KEPT);
        assert!(guesses.wait("ann", None, 1001).is_some());
    }
}
