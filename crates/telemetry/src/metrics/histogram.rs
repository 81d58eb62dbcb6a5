//! How long things took, in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in seconds. The last bucket has none.
///
/// From a read that is answered out of memory to the longest command that may run.
pub const BOUNDS: [f64; 17] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 30.0, 120.0,
    600.0,
];

/// The same in nanoseconds.
const BOUNDS_NS: [u64; BOUNDS.len()] = [
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    120_000_000_000,
    600_000_000_000,
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// Durations, counted by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// What a histogram has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// How many fell into each bucket, not summed up.
    pub buckets: Vec<u64>,
    /// How long all of them took, in seconds.
    pub sum_s: f64,
}

impl Counts {
    /// How many there were.
    pub fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl Histogram {
    /// Counts something that took this long.
    pub fn count(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS_NS.partition_point(|bound| *bound < ns);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        let buckets = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let sum_s = Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)).as_secs_f64();
        Counts { buckets, sum_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        for (bound, at) in BOUNDS.iter().zip(0..) {
            let histogram = Histogram::default();
            histogram.count(Duration::from_secs_f64(*bound));
            histogram.count(Duration::from_secs_f64(*bound) + Duration::from_nanos(1));
            let counts = histogram.counts();
            assert_eq!((counts.buckets[at], counts.buckets[at + 1], counts.total()), (1, 1, 2), "{bound}");
        }
    }
}
