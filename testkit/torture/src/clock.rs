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

/// What the clock says from then on, apart from what it should, and in words.
const JUMPS: [(&str, &str); 5] = [
    ("+3600", "1 h forward"),
    ("-3600", "1 h back"),
    ("+1y", "1 year forward"),
    ("-1y", "1 year back"),
    ("-1", "1 s back"),
];

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
    for (jump, name) in JUMPS {
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
    if house.account()?.days.len() < 2 {
        tally.violation("the clock of the record has not jumped: the fault was none");
    }
    house.settle(&mut tally, "clock")?;
    tally.calls = u64::try_from(house.entries.len()).unwrap_or(0);
    let trial =
        Trial { name: format!("the wall clock jumps: {}", JUMPS.map(|(_, name)| name).join(", ")), tally };
    tell(&trial);
    Ok(vec![trial])
}
