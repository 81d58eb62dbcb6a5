//! When it is, though the wall clock may jump: between what it says and what it should say by the time that has passed.
//!
//! What is to be kept for a while would be forgotten at once by a jump forward, and kept for ever by one back.

use std::time::Instant;

use hayward_store::Moment;

use super::now_unix;

/// Counts from the wall clock at its start.
#[derive(Debug)]
pub(super) struct Clock {
    started_unix: i64,
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started_unix: now_unix(), started: Instant::now() }
    }

    pub(super) fn now(&self) -> Moment {
        let passed = i64::try_from(self.started.elapsed().as_secs()).unwrap_or(i64::MAX);
        between(now_unix(), self.started_unix.saturating_add(passed))
    }
}

fn between(wall_unix: i64, counted_unix: i64) -> Moment {
    Moment { earliest_unix: wall_unix.min(counted_unix), latest_unix: wall_unix.max(counted_unix) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_in_either_direction_makes_nothing_old_early() {
        assert_eq!(between(5, 5), Moment { earliest_unix: 5, latest_unix: 5 });
        let forward = between(1_000, 5);
        assert_eq!(forward, between(5, 1_000));
        assert_eq!(forward, Moment { earliest_unix: 5, latest_unix: 1_000 });
        let now = Clock::start().now();
        assert!(now.latest_unix - now.earliest_unix <= 1);
    }
}
