//! What became of requests: latencies, sorted once and then read by rank, and errors.

use std::time::Duration;

use anyhow::Result;

/// What was seen of a number of requests.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How long each good answer took.
    pub(crate) latencies: Vec<Duration>,
    /// How many were not good.
    pub(crate) errors: usize,
    /// The first of those.
    pub(crate) first_error: Option<String>,
}

impl Seen {
    /// Notes an answer that took this long, or what went wrong.
    pub(crate) fn note(&mut self, outcome: Result<()>, latency: Duration) {
        match outcome {
            Ok(()) => self.latencies.push(latency),
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }

    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.latencies.extend(other.latencies);
        self.errors += other.errors;
        self.first_error = self.first_error.or(other.first_error);
        self
    }
}

/// Latencies in order.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Sorts them.
    pub(crate) fn of(mut list: Vec<Duration>) -> Self {
        list.sort_unstable();
        Self(list)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The latency at or below which `percent` of them lie; zero if there are none.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The longest; zero if there are none.
    pub(crate) fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_list() {
        let list = Latencies::of((1..=100).rev().map(Duration::from_micros).collect());
        for rank in [1, 50, 90, 99, 100] {
            assert_eq!(list.percentile(rank), Duration::from_micros(rank as u64));
        }
        assert_eq!((list.count(), list.longest()), (100, Duration::from_micros(100)));
    }

    #[test]
    fn errors_are_counted_apart_from_answers() {
        let (mut good, mut bad) = (Seen::default(), Seen::default());
        good.note(Ok(()), Duration::from_micros(10));
        bad.note(Err(anyhow::anyhow!("status 500")), Duration::ZERO);
        bad.note(Err(anyhow::anyhow!("status 501")), Duration::ZERO);
        let both = good.and(bad);
        assert_eq!((both.latencies.len(), both.errors), (1, 2));
        assert_eq!(both.first_error.as_deref(), Some("status 500"));
    }

    #[test]
    fn nothing_took_no_time() {
        let list = Latencies::default();
        assert_eq!((list.percentile(50), list.longest()), (Duration::ZERO, Duration::ZERO));
    }
}
