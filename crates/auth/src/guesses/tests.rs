//! Guesses, by account and by address.

use super::*;

const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

#[expect(clippy::unnecessary_wraps, reason = "as guesses take it")]
fn address(number: u32) -> Option<IpAddr> {
    Some(IpAddr::V4(number.into()))
}

impl Guesses {
    fn waits(&self, account: &str, address: Option<IpAddr>, now: u64) -> Option<u64> {
        self.wait(&self.guess(account, address), now)
    }

    /// Counts a wrong guess, whether it would be taken or not.
    fn failed(&mut self, account: &str, address: Option<IpAddr>, now: u64) {
        let guess = self.guess(account, address);
        self.wrong(guess, now);
    }
}

#[test]
fn five_failures_are_free_and_then_waits_double_up_to_an_end() {
    let (mut guesses, mut now) = (Guesses::default(), 1000);
    for _ in 0..FREE {
        assert_eq!(guesses.waits("ann", HERE, now), None);
        guesses.failed("ann", HERE, now);
    }
    let mut waits = Vec::new();
    for _ in 0..11 {
        let wait = guesses.waits("ANN", HERE, now).unwrap();
        waits.push(wait);
        now += wait;
        assert_eq!(guesses.waits("ann", HERE, now), None);
        guesses.failed("ann", HERE, now);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(guesses.waits("ann", HERE, now + FORGET), None);
}

#[test]
fn an_address_is_slow_for_everybody_and_nobody_else() {
    let mut guesses = Guesses::default();
    (0..20).for_each(|round| guesses.failed(&format!("user-{round}"), HERE, 1000));
    assert!(guesses.waits("somebody", HERE, 1000).is_some());
    assert_eq!(guesses.waits("somebody", address(99), 1000), None);
    (0..20).for_each(|_| guesses.failed("ann", address(7), 1000));
    assert_eq!(guesses.waits("ann", address(8), 1000), None, "wrong guesses from elsewhere");
}

#[test]
fn who_guesses_from_everywhere_is_slow_and_the_owner_at_home_is_not_locked_out() {
    let (mut guesses, mut now) = (Guesses::default(), 1000);
    let right = guesses.begin("ann", HERE, now).ok().unwrap();
    guesses.right(right, now);
    let places = 1..=FREE_EVERYWHERE;
    for number in places.clone() {
        assert_eq!(guesses.waits("ann", address(number), now), None);
        guesses.failed("ann", address(number), now);
    }
    let mut waits = Vec::new();
    for number in places.map(|number| number + 1000).take(7) {
        let wait = guesses.waits("ann", address(number), now).unwrap();
        waits.push(wait);
        now += wait;
        guesses.failed("ann", address(number), now);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30], "and the owner elsewhere waits no longer");
    assert_eq!(guesses.waits("ann", HERE, now), None, "the owner at home");
    (0..FREE).for_each(|_| guesses.failed("ann", HERE, now));
    assert!(guesses.waits("ann", HERE, now).is_some(), "who guesses at the home of the owner");
}

#[test]
fn a_right_password_clears_the_account_and_not_the_address() {
    let mut guesses = Guesses::default();
    (0..9).for_each(|_| guesses.failed("ann", HERE, 1000));
    let wait = guesses.waits("ann", HERE, 1000).unwrap();
    let right = guesses.begin("Ann", HERE, 1000 + wait).ok().unwrap();
    guesses.right(right, 1000 + wait);
    assert!(!guesses.failures.contains_key(&Who::Pair("ann".into(), HERE)));
    assert_eq!(guesses.waits("bob", HERE, 1000), Some(wait), "neither more nor less than before");
}

#[test]
fn guesses_that_come_together_are_no_more_than_one_after_the_other() {
    let mut guesses = Guesses::default();
    let mut taken: Vec<_> = (0..50).filter_map(|_| guesses.begin("ann", HERE, 1000).ok()).collect();
    assert_eq!(taken.len(), usize::try_from(FREE).unwrap());
    assert_eq!(guesses.begin("ann", HERE, 1000).err(), Some(Early::Crowded));
    guesses.take_back(taken.pop().unwrap());
    taken.push(guesses.begin("ann", HERE, 1000).ok().unwrap());
    taken.drain(..).for_each(|guess| guesses.wrong(guess, 1000));
    assert_eq!(guesses.begin("ann", HERE, 1000).err(), Some(Early::Wait(1)));
    let one = guesses.begin("ann", HERE, 1001).ok().unwrap();
    assert_eq!(guesses.begin("ann", HERE, 1001).err(), Some(Early::Crowded), "then one at a time");
    guesses.wrong(one, 1001);
    assert_eq!(guesses.begin("ann", HERE, 1001).err(), Some(Early::Wait(2)));
}

#[test]
fn right_guesses_leave_nothing_but_where_they_came_from() {
    let mut guesses = Guesses::default();
    for number in 0..200 {
        let guess = guesses.begin("ann", address(number), 1000).ok().unwrap();
        guesses.right(guess, 1000);
    }
    assert!(guesses.failures.is_empty());
    assert_eq!(guesses.homes["ann"].1.len(), HOMES_OF_ONE);
    for number in 0..u32::try_from(HOMES_KEPT).unwrap() * 2 {
        guesses.settle(&format!("user-{number}"), HERE, 1000 + u64::from(number));
    }
    assert!(guesses.homes.len() <= HOMES_KEPT);
}

#[test]
fn a_network_of_ipv6_counts_as_one_address() {
    let mut guesses = Guesses::default();
    for host in 0..9 {
        let address = format!("2001:db8::{host}").parse().ok();
        guesses.failed(&format!("user-{host}"), address, 1000);
    }
    assert!(guesses.waits("x", "2001:db8::ffff".parse().ok(), 1000).is_some());
    assert!(guesses.waits("x", "2001:db8:0:1::1".parse().ok(), 1000).is_none());
}

#[test]
fn a_flood_of_names_neither_fills_the_memory_nor_frees_who_is_guessed_at() {
    let mut guesses = Guesses::default();
    (0..20).for_each(|_| guesses.failed("ann", None, 1000));
    (0..50).for_each(|number| guesses.failed("bob", address(number), 1000));
    for number in 0..u32::try_from(KEPT).unwrap() * 3 {
        guesses.failed(&format!("user-{number}"), address(number), 1001);
    }
    assert!(guesses.failures.len() <= KEPT);
    assert!(guesses.waits("ann", None, 1001).is_some());
    assert_eq!(guesses.failures[&Who::Account("bob".into())].count, 50);
}
