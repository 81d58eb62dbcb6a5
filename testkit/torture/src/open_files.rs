//! Few files may be open, and many connections want to be.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::daemon::Started;
use crate::fault::Trial;
use crate::history::Verdict;
use crate::house::{House, Subject, Tokens};
use crate::programs::pause;
use crate::random::Random;
use crate::script::Deed;
use crate::tally::Tally;

/// How many files may be open: fewer than are kept back for what isn't a connection, and some more.
const ALLOWED: [u64; 2] = [256, 560];
/// Connections that are opened and say nothing.
const IDLE: usize = 600;
/// Calls beside them.
const CALLS: usize = 20;
/// How soon calls are served, and files closed, when the crowd has gone.
const RECOVERED_WITHIN: Duration = Duration::from_secs(15);
/// Files that may stay open beyond what was open before: pools keep a few.
const MORE_OPEN: usize = 16;

/// Opens more connections than there may be files.
pub fn run(subject: &Subject, seed: u64, tell: &dyn Fn(&Trial)) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for allowed in ALLOWED {
        let tally = crowd(subject, allowed, &mut Random::new(seed))?;
        let trial = Trial { name: format!("{allowed} open files, {IDLE} idle connections"), tally };
        tell(&trial);
        trials.push(trial);
    }
    Ok(trials)
}

fn crowd(subject: &Subject, allowed: u64, random: &mut Random) -> Result<Tally> {
    let mut tally = Tally { injected: 1, ..Tally::default() };
    let name = format!("{allowed} open files");
    let mut house = House::new(subject, Tokens::Stored)?;
    let words = ["prlimit".to_owned(), format!("--nofile={allowed}"), "--".to_owned()];
    let Started::Ready(daemon) = house.begin(&words)? else {
        anyhow::bail!("no start with {allowed} open files: {}", house.log());
    };
    house.play(&daemon, random, 1, 6)?;
    let before = daemon.descriptors();
    let crowd: Vec<_> = (0..IDLE).filter_map(|_| TcpStream::connect(daemon.address).ok()).collect();
    let mut served = 0;
    for _ in 0..CALLS {
        match house.send(&daemon, Deed::Append)? {
            Verdict::Done => served += 1,
            // Whoever is sent away is told so, or hung up on before anything was read.
            Verdict::Turned | Verdict::Unanswered => {}
            other => tally.violation(format!("{name}: a call came to {other:?}")),
        }
    }
    if served == 0 {
        tally.violation(format!(
            "{name}: not one call of {CALLS} was served beside {} idle ones",
            crowd.len()
        ));
    }
    drop(crowd);
    let began = Instant::now();
    let is_calm = || daemon.descriptors() <= before + MORE_OPEN;
    while house.send(&daemon, Deed::Append)? != Verdict::Done || !is_calm() {
        if began.elapsed() > RECOVERED_WITHIN {
            let open = daemon.descriptors();
            tally.violation(format!("{name}: not as before: {open} open files, {before} before"));
            break;
        }
        pause(Duration::from_millis(50));
    }
    tally.slowest_recovery = began.elapsed();
    let status = daemon.stop()?;
    if !status.success() {
        tally.violation(format!("{name}: the daemon ended with {status}"));
    }
    house.settle(&mut tally, &name)?;
    tally.calls = u64::try_from(house.entries.len()).unwrap_or(0);
    Ok(tally)
}
