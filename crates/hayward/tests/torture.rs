//! The real binary under faults that are really injected: the short form of `cargo xtask torture`.
//!
//! What can't be injected on this machine is said, and is a failure where the test command requires all its tools.
#![cfg(test)]

use std::time::Duration;

use hayward_testkit::installed;
use hayward_torture::kill::{self, Kills};
use hayward_torture::power::{self, Cuts, Durability};
use hayward_torture::{Subject, Tally, clock, fault, rotation, strace};

const SEED: u64 = 20_261_127;

fn subject() -> Subject {
    Subject { binary: env!("CARGO_BIN_EXE_hayward").into() }
}

/// Whether it can be tried here; if not, why is said.
fn can(missing: Option<&str>) -> bool {
    if let Some(why) = missing {
        installed::leave_out(why);
    }
    missing.is_none()
}

/// Whether a disk may be mounted here, which is asked of nobody but root.
fn can_mount() -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can mount");
        return false;
    }
    can(power::missing().as_deref())
}

fn assert_sound(tally: &Tally) {
    println!("{tally:?}");
    assert_eq!((tally.violations, tally.told.as_slice()), (0, &[][..]));
}

#[test]
fn a_daemon_that_is_killed_at_any_moment_leaves_a_record_that_is_whole() {
    if !can(strace::missing().as_deref()) {
        return;
    }
    let kills = Kills { count: 10, seed: SEED, lanes: 2 };
    let tally = kill::run(&subject(), kills, &|_| {}).unwrap();
    assert_sound(&tally);
    assert!(tally.injected >= 10);
}

#[test]
fn a_power_cut_takes_nothing_that_was_promised() {
    if !can_mount() {
        return;
    }
    // Other tests use the disk, too.
    let grace = Duration::from_secs(2);
    let cuts = Cuts { count: 2, seed: SEED, durability: Durability::Strict, grace };
    let tally = power::run(&subject(), cuts, &|_| {}).unwrap();
    assert_sound(&tally);
    assert_eq!(tally.injected, 2);
}

#[test]
fn a_disk_that_is_full_for_a_while_refuses_everything_and_then_nothing() {
    if !can_mount() {
        return;
    }
    for trial in fault::fill_disks(&subject(), SEED, &|_| {}).unwrap() {
        assert_sound(&trial.tally);
        assert!(trial.tally.refused > 0, "{}", trial.name);
    }
}

#[test]
fn a_clock_that_jumps_is_recorded_each_time_and_holds_up_nothing() {
    if !can(clock::missing().as_deref()) {
        return;
    }
    for trial in clock::run(&subject(), SEED, &|_| {}).unwrap() {
        assert_sound(&trial.tally);
        assert!(trial.tally.injected > 0, "{}", trial.name);
    }
}

#[test]
fn a_rotation_of_the_key_that_fails_or_dies_at_any_call_leaves_a_record_that_opens_and_proves_itself() {
    if !can(strace::missing().as_deref()) {
        return;
    }
    for trial in rotation::run(&subject(), &|_| {}).unwrap() {
        assert_sound(&trial.tally);
        assert!(trial.tally.injected > 30, "{:?}", trial.tally.points);
    }
}
