//! Slows whoever guesses passwords: at an account from one address, from an address at whatever accounts, and, much later and
//! for a short time only, at an account from everywhere.
//!
//! A value without a clock: whoever asks says what time it is. What it keeps is bounded; when it is full, those who have to
//! wait least are forgotten first, so that a flood of names can't free the one that is guessed at.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Failures of an address, or at an account from one address, that cost nothing.
pub const FREE: u32 = 5;
/// Failures at an account from all addresses together that cost nothing.
pub const FREE_EVERYWHERE: u32 = 100;
/// Seconds to wait after the first failure beyond; each further one doubles it.
const FIRST_WAIT: u64 = 1;
/// Seconds to wait at most.
pub const WAIT_MAX: u64 = 300;
/// Seconds to wait at most for what others did at the account from elsewhere: nobody locks an owner out.
pub const WAIT_EVERYWHERE_MAX: u64 = 30;
/// Seconds after the last failure until everything is forgotten.
const FORGET: u64 = 3600;
/// Accounts, addresses and pairs of them that are kept in mind.
pub const KEPT: usize = 20_000;
/// Accounts whose addresses of right logins are kept in mind.
const HOMES_KEPT: usize = 10_000;
/// Addresses of right logins that are kept in mind of an account.
const HOMES_OF_ONE: usize = 8;
/// Bytes of a name that are looked at.
const NAME_BYTES: usize = 254;

/// Whose failures are counted.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Who {
    /// An account from this address; none: from this machine.
    Pair(String, Option<IpAddr>),
    Address(IpAddr),
    /// An account from all addresses that aren't its homes.
    Account(String),
}

impl Who {
    /// Failures that cost nothing.
    fn free(&self) -> u32 {
        match self {
            Self::Pair(..) | Self::Address(_) => FREE,
            Self::Account(_) => FREE_EVERYWHERE,
        }
    }

    /// Seconds to wait at most.
    fn wait_max(&self) -> u64 {
        match self {
            Self::Pair(..) | Self::Address(_) => WAIT_MAX,
            Self::Account(_) => WAIT_EVERYWHERE_MAX,
        }
    }
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: u64,
    /// Guesses that aren't known to be right or wrong yet.
    under_way: u32,
}

impl Failures {
    /// When the next guess of this one is taken.
    fn until(self, who: &Who) -> u64 {
        match self.count.checked_sub(who.free()) {
            None => 0,
            Some(beyond) => {
                let wait = FIRST_WAIT.checked_shl(beyond.min(32)).unwrap_or(u64::MAX).min(who.wait_max());
                self.last.saturating_add(wait)
            }
        }
    }

    /// Whether all that are under way might use up what is free, or more.
    fn is_crowded(self, who: &Who, now: u64) -> bool {
        let count = if self.is_over(now) { 0 } else { self.count };
        self.under_way > 0 && count.saturating_add(self.under_way) >= who.free()
    }

    fn is_over(self, now: u64) -> bool {
        now.saturating_sub(self.last) >= FORGET
    }
}

/// A guess that is under way: it ends with [`Guesses::right`], [`Guesses::wrong`] or [`Guesses::take_back`].
#[must_use]
pub struct Guess {
    /// By whom, and at whom.
    of: Vec<Who>,
    account: String,
    address: Option<IpAddr>,
}

/// Why a guess isn't taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Early {
    /// It is taken in so many seconds.
    Wait(u64),
    /// It is taken when others that are under way turn out to be right, perhaps.
    Crowded,
}

/// Who has failed how often.
#[derive(Default)]
pub struct Guesses {
    failures: HashMap<Who, Failures>,
    /// Where accounts have logged in from, and when last.
    homes: HashMap<String, (u64, VecDeque<Option<IpAddr>>)>,
}

impl Guesses {
    /// Takes a guess at this account from this address. As many may be under way as there may be wrong ones: of many that
    /// come together no more are taken than one after the other. A guess that comes too early is refused without a look at
    /// the password, and isn't counted.
    ///
    /// # Errors
    /// When one is taken.
    pub fn begin(&mut self, account: &str, address: Option<IpAddr>, now: u64) -> Result<Guess, Early> {
        let guess = self.guess(account, address);
        if let Some(wait) = self.wait(&guess, now) {
            return Err(Early::Wait(wait));
        }
        let is_crowded =
            |who: &Who| self.failures.get(who).is_some_and(|failures| failures.is_crowded(who, now));
        if guess.of.iter().any(is_crowded) {
            return Err(Early::Crowded);
        }
        for who in &guess.of {
            self.failures_of(who, now).under_way += 1;
        }
        Ok(guess)
    }

    /// Counts a guess as none: nothing was learnt from it.
    pub fn take_back(&mut self, guess: Guess) {
        for who in guess.of {
            let Some(failures) = self.failures.get_mut(&who) else { continue };
            failures.under_way = failures.under_way.saturating_sub(1);
            if failures.count == 0 && failures.under_way == 0 {
                self.failures.remove(&who);
            }
        }
    }

    /// Counts a wrong guess.
    pub fn wrong(&mut self, guess: Guess, now: u64) {
        for who in guess.of {
            let failures = self.failures_of(&who, now);
            let count = if failures.is_over(now) { 0 } else { failures.count };
            let under_way = failures.under_way.saturating_sub(1);
            *failures = Failures { count: count.saturating_add(1), last: now, under_way };
        }
    }

    /// Forgets the failures at an account from the address that its password came from, which is a home of it from now on.
    /// Those of the address stay: it may guess at others.
    pub fn right(&mut self, guess: Guess, now: u64) {
        let pair = Who::Pair(guess.account.clone(), guess.address);
        if let Some(failures) = self.failures.get_mut(&pair) {
            failures.count = 0;
        }
        self.settle(&guess.account, guess.address, now);
        self.take_back(guess);
    }

    fn guess(&self, account: &str, address: Option<IpAddr>) -> Guess {
        let end = account.floor_char_boundary(NAME_BYTES);
        let (account, address) = (account[..end].to_lowercase(), address.map(network));
        let mut of = vec![Who::Pair(account.clone(), address)];
        of.extend(address.map(Who::Address));
        let is_home = self.homes.get(&account).is_some_and(|(_, homes)| homes.contains(&address));
        if !is_home {
            of.push(Who::Account(account.clone()));
        }
        Guess { of, account, address }
    }

    /// Seconds until this guess is taken; none if it is now.
    fn wait(&self, guess: &Guess, now: u64) -> Option<u64> {
        let waits = guess.of.iter().filter_map(|who| {
            let failures = self.failures.get(who).filter(|failures| !failures.is_over(now))?;
            failures.until(who).checked_sub(now).filter(|wait| *wait > 0)
        });
        waits.max()
    }

    fn failures_of(&mut self, who: &Who, now: u64) -> &mut Failures {
        self.make_room(who, now);
        self.failures.entry(who.clone()).or_insert(Failures { count: 0, last: now, under_way: 0 })
    }

    fn make_room(&mut self, who: &Who, now: u64) {
        if self.failures.len() < KEPT || self.failures.contains_key(who) {
            return;
        }
        self.failures.retain(|_, failures| failures.under_way > 0 || !failures.is_over(now));
        if self.failures.len() < KEPT {
            return;
        }
        // A tenth at once, so that a flood doesn't make each failure cost a walk.
        let weight = |who: &Who, it: &Failures| (it.until(who), it.count, it.last);
        let mut weights: Vec<_> = self.failures.iter().map(|(who, it)| weight(who, it)).collect();
        let (_, least, _) = weights.select_nth_unstable(KEPT / 10);
        let least = *least;
        self.failures.retain(|who, it| it.under_way > 0 || weight(who, it) > least);
    }

    /// Remembers where an account has logged in from.
    fn settle(&mut self, account: &str, address: Option<IpAddr>, now: u64) {
        if self.homes.len() >= HOMES_KEPT && !self.homes.contains_key(account) {
            let mut last: Vec<u64> = self.homes.values().map(|(last, _)| *last).collect();
            let (_, oldest, _) = last.select_nth_unstable(HOMES_KEPT / 10);
            let oldest = *oldest;
            self.homes.retain(|_, (last, _)| *last > oldest);
        }
        let (last, homes) = self.homes.entry(account.to_owned()).or_default();
        *last = now;
        homes.retain(|home| *home != address);
        homes.push_back(address);
        if homes.len() > HOMES_OF_ONE {
            homes.pop_front();
        }
    }
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
mod tests;
