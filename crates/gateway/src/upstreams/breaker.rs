//! When a server that fails again and again is left alone for a while: whoever calls it meanwhile is told at once, and not after
//! a timeout.
//!
//! ```text
//!  closed ── failures in a row ──► open ── its pause is over ──► one call tries ── it works ──► closed
//!                                   ▲                                    └── it fails: a longer pause ──┘
//! ```

use std::time::{Duration, Instant};

use crate::limits::{BREAKER_FAILURES, BREAKER_PAUSE_MAX, BREAKER_PAUSE_MIN, BREAKER_TRY};

/// The state of one server.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// Until when nobody tries, and whether somebody does then.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    pause: Duration,
    /// Since when somebody tries.
    tried: Option<Instant>,
}

impl Breaker {
    /// Whether a call may try; otherwise how long to wait.
    pub(crate) fn enter(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if now < open.until {
            return Err(open.until - now);
        }
        // Whoever takes long to find out keeps nobody else from it.
        if open.tried.is_some_and(|since| now.saturating_duration_since(since) < BREAKER_TRY) {
            return Err(BREAKER_PAUSE_MIN);
        }
        open.tried = Some(now);
        Ok(())
    }

    /// A call has worked: the server answered, if only with an error of its own.
    pub(crate) fn worked(&mut self) {
        *self = Self::default();
    }

    /// A call has failed: there was no answer. `jitter` is between 0 and 1.
    pub(crate) fn failed(&mut self, now: Instant, jitter: f64) {
        // What was on its way before it opened tells nothing new.
        if self.open.as_ref().is_some_and(|open| open.tried.is_none()) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < BREAKER_FAILURES && self.open.is_none() {
            return;
        }
        let pause = self.open.as_ref().map_or(BREAKER_PAUSE_MIN, |open| open.pause * 2);
        let pause = pause.min(BREAKER_PAUSE_MAX);
        let until = now + pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        self.open = Some(Open { until, pause, tried: None });
    }

    /// A call that was let in ended without telling anything of the server, e.g. because its client went away.
    pub(crate) fn left(&mut self) {
        if let Some(open) = &mut self.open {
            open.tried = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..BREAKER_FAILURES {
            assert_eq!(breaker.enter(now), Ok(()));
            breaker.failed(now, 1.0);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..BREAKER_FAILURES * 2 {
            breaker.failed(now, 1.0);
            breaker.worked();
        }
        assert_eq!(breaker.enter(now), Ok(()));
        assert_eq!(broken(now).enter(now), Err(BREAKER_PAUSE_MIN));
    }

    #[test]
    fn after_its_pause_one_call_tries_and_what_it_finds_counts() {
        let now = Instant::now();
        let mut breaker = broken(now);
        let later = now + BREAKER_PAUSE_MIN;
        assert_eq!(breaker.enter(later), Ok(()));
        assert!(breaker.enter(later).is_err(), "one is enough");
        breaker.failed(later, 1.0);
        assert_eq!(breaker.enter(later), Err(BREAKER_PAUSE_MIN * 2));
        let later = later + BREAKER_PAUSE_MIN * 2;
        breaker.enter(later).unwrap();
        breaker.worked();
        assert_eq!((breaker.enter(later), breaker.enter(later)), (Ok(()), Ok(())), "no error sticks");
    }

    #[test]
    fn a_try_that_tells_nothing_lets_another_one_try() {
        let now = Instant::now();
        let mut breaker = broken(now);
        let later = now + BREAKER_PAUSE_MIN;
        breaker.enter(later).unwrap();
        breaker.left();
        assert_eq!(breaker.enter(later), Ok(()));
    }

    #[test]
    fn one_that_takes_long_to_try_keeps_nobody_else_from_it() {
        let now = Instant::now();
        let mut breaker = broken(now);
        let later = now + BREAKER_PAUSE_MIN;
        breaker.enter(later).unwrap();
        assert_eq!(breaker.enter(later + BREAKER_TRY), Ok(()));
    }

    #[test]
    fn calls_that_fail_together_are_one_failure_once_it_is_open() {
        let now = Instant::now();
        let mut breaker = broken(now);
        for _ in 0..50 {
            breaker.failed(now, 1.0);
        }
        assert_eq!(breaker.enter(now), Err(BREAKER_PAUSE_MIN));
    }

    #[test]
    fn pauses_are_bounded() {
        let mut now = Instant::now();
        let mut breaker = broken(now);
        for _ in 0..40 {
            now += BREAKER_PAUSE_MAX;
            breaker.enter(now).unwrap();
            breaker.failed(now, 1.0);
            assert!(breaker.enter(now).unwrap_err() <= BREAKER_PAUSE_MAX);
        }
    }
}
