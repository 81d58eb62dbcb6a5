//! How often a server that says again and again that its lists have changed is asked for them.

use std::time::{Duration, Instant};

use crate::limits::{REFRESH_PAUSE, REFRESH_PAUSE_MAX};

/// A pause is so many times as long without a word until the next one is short again.
const QUIET: u32 = 4;

/// How long changes are gathered before a server is asked: ever longer while they don't cease.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last pause was over, and how long it was.
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// The pause that begins now.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        let is_restless = |(over, pause): &(Instant, Duration)| now < *over + *pause * QUIET;
        let pause = match self.last.filter(is_restless) {
            Some((_, pause)) => (pause * 2).min(REFRESH_PAUSE_MAX),
            None => REFRESH_PAUSE,
        };
        self.last = Some((now + pause, pause));
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_does_not_cease_is_asked_ever_less_often_and_after_a_silence_soon_again() {
        let (mut pace, mut now, mut asked) = (Pace::default(), Instant::now(), 0);
        let end = now + Duration::from_hours(1);
        while now < end {
            now += pace.pause(now) + Duration::from_millis(1);
            asked += 1;
        }
        assert!((60..150).contains(&asked), "{asked} times in an hour");
        assert_eq!(pace.pause(now), REFRESH_PAUSE_MAX);
        now += REFRESH_PAUSE_MAX * (QUIET + 2);
        assert_eq!(pace.pause(now), REFRESH_PAUSE);
    }

    #[test]
    fn whoever_changes_now_and_then_is_asked_at_once_each_time() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(pace.pause(now), REFRESH_PAUSE);
            now += REFRESH_PAUSE * (QUIET + 2);
        }
    }
}
