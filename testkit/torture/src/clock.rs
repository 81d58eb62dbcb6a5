//! The wall clock jumps while a daemon runs (`libfaketime`): an hour, a year, forward and back.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::daemon::Started;
use crate::fault::Trial;
use crate::history::Verdict;
use crate::house::{House, Subject, Tokens};
use crate::random::Random;
use crate::script::Deed;
use crate::tally::Tally;

/// Where Debian puts the library.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

/// What the clock says from then on, apart from what it should: as the library takes it, in seconds, and in words.
const JUMPS: [(&str, i64, &str); 6] = [
    ("+3600", 3_600, "1 h forward"),
    ("-3600", -3_600, "1 h back"),
    ("+1y", YEAR_S, "1 year forward"),
    ("-1y", -YEAR_S, "1 year back"),
    ("-1", -1, "1 s back"),
    ("-2", -2, "one more second back"),
];

/// A year of the library, in seconds.
const YEAR_S: i64 = 365 * 86_400;

/// How far off the record may be about a jump.
const OFF_MAX_MS: i64 = 200;

/// How long a command may take that should take 50 ms: its time is not that of the wall.
const LATE_MAX: Duration = Duration::from_secs(2);

/// Why the clock can't be made to jump here; none if it can.
pub fn missing() -> Option<String> {
    library().is_none().then(|| "`libfaketime` is not installed".to_owned())
}

fn library() -> Option<PathBuf> {
    LIBRARIES.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// Lets the clock of one daemon jump, one jump after the other.
pub fn run(subject: &Subject, seed: u64, tell: &dyn Fn(&Trial)) -> Result<Vec<Trial>> {
    let library = library().context("`libfaketime` is not installed")?;
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut house = House::new(subject, Tokens::Stored)?;
    let clock = house.beside("clock");
    fs::write(&clock, "+0\n").context("failed to set a clock")?;
    let words = [
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        "DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    let Started::Ready(daemon) = house.begin(&words)? else {
        anyhow::bail!("no start with another clock: {}", house.log());
    };
    house.play(&daemon, &mut random, 1, 6)?;
    for (jump, _, name) in JUMPS {
        fs::write(&clock, format!("{jump}\n")).context("failed to set a clock")?;
        tally.injected += 1;
        let began = Instant::now();
        let verdict = house.send(&daemon, Deed::AppendLate)?;
        if verdict != Verdict::Done || began.elapsed() > LATE_MAX {
            tally.violation(format!("{name}: a command came to {verdict:?} after {:?}", began.elapsed()));
        }
        for (deed, expect) in [
            (Deed::Create, Verdict::Done),
            (Deed::AppendOnce, Verdict::Done),
            (Deed::Write, Verdict::Done),
            (Deed::Denied, Verdict::Failed),
        ] {
            let verdict = house.send(&daemon, deed)?;
            if verdict != expect {
                tally.violation(format!("{name}: {deed:?} came to {verdict:?}"));
            }
        }
    }
    daemon.stop()?;
    let account = house.account()?;
    if account.days.len() < 2 {
        tally.violation("the clock of the record has not jumped: the fault was none");
    }
    if let Some(wrong) = misjudged(&account.clock_steps) {
        tally.violation(wrong);
    }
    if !house.log().contains("the wall clock was set") {
        tally.violation("no warning says that the clock was set");
    }
    house.settle(&mut tally, "clock")?;
    tally.calls = u64::try_from(house.entries.len()).unwrap_or(0);
    let trial =
        Trial { name: format!("the wall clock jumps: {}", JUMPS.map(|(.., name)| name).join(", ")), tally };
    tell(&trial);
    Ok(vec![trial])
}

/// What the record has wrong about the jumps: it tells each of them, and nothing else.
fn misjudged(told_ms: &[i64]) -> Option<String> {
    let mut before_s = 0;
    let steps_ms = JUMPS.map(|(_, after_s, _)| (after_s - std::mem::replace(&mut before_s, after_s)) * 1_000);
    let is_right = told_ms.len() == steps_ms.len()
        && told_ms.iter().zip(steps_ms).all(|(told, step)| told.abs_diff(step) <= OFF_MAX_MS.unsigned_abs());
    (!is_right).then(|| format!("the clock was set by {steps_ms:?} ms, and the record says {told_ms:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_jump_must_be_told_once_and_as_far_as_it_went() {
        let year = YEAR_S * 1_000;
        let right =
            [3_600_000, -7_200_000, year + 3_600_000, -2 * year, year - 1_000, -1_000].map(|step| step + 7);
        assert_eq!(misjudged(&right), None);
        assert!(misjudged(&right[1..]).is_some());
        assert!(misjudged(&[&right[..], &[-1_000]].concat()).is_some());
        let mut wrong = right;
        wrong[2] -= 1_000;
        assert!(misjudged(&wrong).is_some());
    }
}
