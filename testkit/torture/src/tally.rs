//! What was injected and what came of it, summed up.

use std::collections::BTreeSet;
use std::time::Duration;

/// Violations that are told; more are counted.
const TOLD_MAX: usize = 40;

/// The sum of many trials.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Faults that came to pass.
    pub injected: u64,
    /// Trials in which the fault didn't come, since there was no such moment. They are checked all the same.
    pub missed: u64,
    /// Different places at which they came: which system call on what.
    pub places: BTreeSet<String>,
    /// Different faults: which system call, and the how manieth.
    pub points: BTreeSet<(String, u64)>,
    /// Calls that were sent.
    pub calls: u64,
    /// Calls that were refused since they couldn't be recorded.
    pub refused: u64,
    /// Calls whose end nobody knows, as the record says.
    pub unknown: u64,
    /// Torn pieces that were found and recognised.
    pub torn: u64,
    /// The longest that a restart took until it was ready.
    pub slowest_ready: Duration,
    /// The longest that it took to serve again once a fault was gone.
    pub slowest_recovery: Duration,
    /// What must not be.
    pub violations: u64,
    /// The first of them, in words.
    pub told: Vec<String>,
    /// What could not be done here, and why.
    pub skipped: Vec<String>,
}

impl Tally {
    /// Takes down something that must not be.
    pub fn violation(&mut self, what: impl Into<String>) {
        self.violations += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what.into());
        }
    }

    /// Takes down how long a restart took.
    pub fn ready_in(&mut self, time: Duration) {
        self.slowest_ready = self.slowest_ready.max(time);
    }

    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.injected += other.injected;
        self.missed += other.missed;
        self.places.extend(other.places);
        self.points.extend(other.points);
        self.calls += other.calls;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.torn += other.torn;
        self.slowest_ready = self.slowest_ready.max(other.slowest_ready);
        self.slowest_recovery = self.slowest_recovery.max(other.slowest_recovery);
        self.violations += other.violations;
        let room = TOLD_MAX.saturating_sub(self.told.len());
        self.told.extend(other.told.into_iter().take(room));
        self.skipped.extend(other.skipped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_sums_and_of_many_violations_the_first_are_told() {
        let mut all = Tally::default();
        for number in 0..30 {
            let mut one =
                Tally { injected: 1, slowest_ready: Duration::from_secs(number), ..Tally::default() };
            one.violation("a");
            one.violation("b");
            all.add(one);
        }
        assert_eq!((all.injected, all.violations, all.told.len()), (30, 60, TOLD_MAX));
        assert_eq!(all.slowest_ready, Duration::from_secs(29));
    }
}
