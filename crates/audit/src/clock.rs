//! Whether the wall clock was set: it is compared with the time that has passed since the last look.
//!
//! Looked at whenever records are written, so that an idle server has no timer for it; a step is told by the first
//! record behind it. What has passed is counted by a clock that goes on while the machine sleeps, so that waking up is
//! no step, and that is slewed with the wall clock, so that nothing but a step tells the two apart.

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::limits::CLOCK_STEP_MIN;

/// The wall clock was set. Stands in a mark, so that whatever reads records of an older version reads this, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ClockStep {
    /// What it would have said.
    from: String,
    /// What it says.
    to: String,
    /// How far it was set ahead, in milliseconds; less than zero if it was set back.
    step_ms: i64,
}

/// What both clocks say, one read between two of the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Since the machine started, before.
    before: SignedDuration,
    wall: Timestamp,
    /// Since the machine started, after.
    after: SignedDuration,
}

/// Compares the clocks.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    /// What both said when they agreed last.
    last: Reading,
    /// How far a test has set the wall clock ahead.
    #[cfg(test)]
    set_ahead: SignedDuration,
}

impl Reading {
    fn take() -> Self {
        let before = since_start();
        Self { before, wall: Timestamp::now(), after: since_start() }
    }
}

impl ClockWatch {
    pub(crate) fn start() -> Self {
        Self {
            last: Reading::take(),
            #[cfg(test)]
            set_ahead: SignedDuration::ZERO,
        }
    }

    /// What the clocks say, and whether the wall clock was set since the look that was [settled](Self::settle) last.
    pub(crate) fn look(&self) -> (Reading, Option<ClockStep>) {
        let now = self.read();
        (now, step(&self.last, &now))
    }

    /// What this look has seen is recorded: in it the clocks agree, and whatever came after it is seen by the next.
    pub(crate) fn settle(&mut self, seen: Reading) {
        self.last = seen;
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "a test sets its clock")]
    fn read(&self) -> Reading {
        Reading::take()
    }

    #[cfg(test)]
    fn read(&self) -> Reading {
        let now = Reading::take();
        Reading { wall: now.wall.checked_add(self.set_ahead).unwrap(), ..now }
    }

    /// As if the wall clock had been set ahead by this.
    #[cfg(test)]
    pub(crate) fn jump(&mut self, by: SignedDuration) {
        self.set_ahead += by;
    }
}

/// Between two readings. Whoever was held up in the middle of one knows less, and a doubt is no step.
fn step(last: &Reading, now: &Reading) -> Option<ClockStep> {
    let wall = now.wall.duration_since(last.wall);
    let (ahead_min, ahead_max) = (wall - (now.after - last.before), wall - (now.before - last.after));
    let ahead = if ahead_min >= CLOCK_STEP_MIN {
        ahead_min
    } else if ahead_max <= -CLOCK_STEP_MIN {
        ahead_max
    } else {
        return None;
    };
    let from = now.wall.checked_sub(ahead).unwrap_or(last.wall);
    Some(ClockStep {
        from: from.to_string(),
        to: now.wall.to_string(),
        step_ms: i64::try_from(ahead.as_millis()).unwrap_or(if ahead.is_negative() {
            i64::MIN
        } else {
            i64::MAX
        }),
    })
}

fn since_start() -> SignedDuration {
    let now = clock_gettime(ClockId::Boottime);
    SignedDuration::new(now.tv_sec, i32::try_from(now.tv_nsec).unwrap_or(0))
}

impl ClockStep {
    /// Tells the log.
    pub(crate) fn warn(&self) {
        let Self { from, to, step_ms } = self;
        tracing::warn!(
            %from, %to, step_ms,
            hint = "find out who set it: until a restart, tokens expire by the later one of both times",
            "the wall clock was set"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    /// Both clocks at this time, when reading them took so long.
    fn reading(wall_ms: i64, passed_ms: i64, took_ms: i64) -> Reading {
        let before = SignedDuration::from_millis(passed_ms);
        let after = SignedDuration::from_millis(passed_ms + took_ms);
        Reading { before, wall: Timestamp::from_millisecond(wall_ms).unwrap(), after }
    }

    fn check(wall_ms: i64, passed_ms: i64, took_ms: i64, expect: Option<i64>) {
        let step = step(&reading(10 * DAY_MS, 7, 0), &reading(10 * DAY_MS + wall_ms, 7 + passed_ms, took_ms));
        assert_eq!(step.map(|step| step.step_ms), expect, "{wall_ms} {passed_ms} {took_ms}");
    }

    #[test]
    fn a_clock_that_is_set_in_either_direction_is_a_step_and_time_that_passes_is_none() {
        check(0, 0, 0, None);
        check(DAY_MS, DAY_MS, 0, None);
        check(3_600_000, 0, 0, Some(3_600_000));
        check(-3_600_000, 0, 0, Some(-3_600_000));
        check(1_000 - DAY_MS, 1_000, 0, Some(-DAY_MS));
        // A leap second that is told by going back.
        check(0, 1_000, 0, Some(-1_000));
    }

    #[test]
    fn what_is_smaller_than_a_step_is_none_nor_is_being_held_up_between_two_clocks() {
        let least = i64::try_from(CLOCK_STEP_MIN.as_millis()).unwrap();
        check(least - 1, 0, 0, None);
        check(1 - least, 0, 0, None);
        check(least, 0, 0, Some(least));
        check(-least, 0, 0, Some(-least));
        check(5_000, 0, 5_000, None);
        check(0, 0, 5_000, None);
        check(10_000, 0, 5_000, Some(5_000));
    }

    #[test]
    fn a_step_names_what_the_clock_would_have_said_and_what_it_says() {
        let (last, now) = (reading(0, 0, 0), reading(3_602_000, 2_000, 0));
        let step = step(&last, &now).unwrap();
        assert_eq!((&*step.from, &*step.to), ("1970-01-01T00:00:02Z", "1970-01-01T01:00:02Z"));
    }

    /// Steps of the real clocks, which nobody holds still: to some seconds.
    fn assert_hours(seen: Option<ClockStep>, hours: i64) {
        let step_ms = seen.unwrap().step_ms;
        assert!((step_ms - hours * 3_600_000).abs() < 10_000, "{step_ms}");
    }

    #[test]
    fn a_watch_sees_a_jump_until_it_is_settled() {
        let mut watch = ClockWatch::start();
        assert_eq!(watch.look().1, None);
        watch.jump(SignedDuration::from_hours(-1));
        for _ in 0..2 {
            assert_hours(watch.look().1, -1);
        }
        let (seen, _) = watch.look();
        watch.settle(seen);
        assert_eq!(watch.look().1, None);
    }

    #[test]
    fn a_jump_between_a_look_and_its_settling_is_seen_by_the_next_look() {
        let mut watch = ClockWatch::start();
        watch.jump(SignedDuration::from_hours(1));
        let (seen, first) = watch.look();
        assert_hours(first, 1);
        watch.jump(SignedDuration::from_hours(-3));
        watch.settle(seen);
        assert_hours(watch.look().1, -3);
    }
}
