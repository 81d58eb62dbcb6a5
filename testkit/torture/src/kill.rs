//! Death at every moment: SIGKILL as a thread begins its N-th write, sync, rename, … of all that it makes.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::daemon::Started;
use crate::house::{House, Subject, Tokens};
use crate::programs::holds_within;
use crate::random::Random;
use crate::strace;
use crate::tally::Tally;

/// Clients at once.
const CLIENTS: u64 = 2;
/// Calls of each.
const CALLS: u64 = 16;
/// Lives on one data directory, each but the last one ended by a kill.
const LIVES: u64 = 6;
/// Of so many data directories, one begins with nothing at all.
const FRESH_EVERY: u64 = 4;
/// Attempts for each death that is wanted, since threads don't always come that far.
const ATTEMPTS: u64 = 4;
/// How long a daemon that was killed may still be seen.
const DEAD_WITHIN: Duration = Duration::from_secs(20);

/// How many, and which.
#[derive(Clone, Copy, Debug)]
pub struct Kills {
    /// Deaths that are wanted.
    pub count: u64,
    /// What chance is made of.
    pub seed: u64,
    /// Data directories at once.
    pub lanes: u64,
}

/// A moment: as a thread begins its `nth` call of this kind.
type Point = (String, u64);

/// What all lanes have come to.
#[derive(Debug, Default)]
struct Progress {
    tally: Tally,
    houses: u64,
    attempts: u64,
}

impl Progress {
    /// The number of the next data directory, and how many lives it may have; none if there are deaths enough.
    fn next(&mut self, kills: Kills) -> Option<(u64, u64)> {
        let wanted = kills.count.saturating_sub(self.tally.injected);
        if wanted == 0 || self.attempts >= ATTEMPTS * kills.count {
            return None;
        }
        self.houses += 1;
        let lives = if self.houses.is_multiple_of(FRESH_EVERY) { 1 } else { LIVES.min(wanted) };
        self.attempts += lives;
        Some((self.houses, lives))
    }
}

/// Kills until there are as many deaths as wanted. Fails if that can't be tried at all.
pub fn run(subject: &Subject, kills: Kills, tell: &(dyn Fn(&Tally) + Sync)) -> Result<Tally> {
    let stored = moments(subject, Tokens::Stored, kills.seed)?;
    let fresh = moments(subject, Tokens::Temporary, kills.seed)?;
    let progress = Mutex::new(Progress::default());
    let panicked = || anyhow!("a lane has panicked");
    let lane = || -> Result<()> {
        loop {
            let next = progress.lock().map_err(|_| panicked())?.next(kills);
            let Some((house, lives)) = next else {
                return Ok(());
            };
            let (tokens, points) = if house.is_multiple_of(FRESH_EVERY) {
                (Tokens::Temporary, &fresh)
            } else {
                (Tokens::Stored, &stored)
            };
            let mut random = Random::new(kills.seed.wrapping_mul(1_000_003).wrapping_add(house));
            let tally = torture(subject, tokens, points, lives, &mut random)?;
            let mut progress = progress.lock().map_err(|_| panicked())?;
            progress.tally.add(tally);
            tell(&progress.tally);
        }
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..kills.lanes.max(1)).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().try_for_each(|it| it.join().map_err(|_| panicked())?)
    })?;
    Ok(progress.into_inner().map_err(|_| panicked())?.tally)
}

/// All moments of a life that nothing happens to, its end among them.
fn moments(subject: &Subject, tokens: Tokens, seed: u64) -> Result<Vec<Point>> {
    let mut house = House::new(subject, tokens)?;
    let trace = house.beside("trace");
    let mut random = Random::new(seed);
    let Started::Ready(daemon) = house.begin(&strace::counting(&trace))? else {
        return Err(anyhow!("a daemon that is only counted ends: {}", house.log()));
    };
    house.play(&daemon, &mut random, CLIENTS, CALLS)?;
    daemon.stop()?;
    let counts = strace::counts(&trace)?;
    Ok(counts.into_iter().flat_map(|(call, most)| (1..=most).map(move |nth| (call.clone(), nth))).collect())
}

/// Some lives on one data directory, each ended at a moment of chance.
fn torture(
    subject: &Subject,
    tokens: Tokens,
    points: &[Point],
    lives: u64,
    random: &mut Random,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut house = House::new(subject, tokens)?;
    for _ in 0..lives {
        let (call, nth) = choose(points, random).context("there is no moment to kill at")?;
        let trace = house.beside("trace");
        let is_dead = live(&mut house, &strace::killing(call, *nth, &trace), random)?;
        if is_dead {
            tally.injected += 1;
            tally.points.insert((call.clone(), *nth));
            tally.places.extend(strace::place(&trace));
        } else {
            tally.missed += 1;
        }
        house.settle(&mut tally, &format!("killed at {call} {nth}"))?;
        if tally.violations > 0 {
            break;
        }
    }
    tally.calls = u64::try_from(house.entries.len()).unwrap_or(0);
    Ok(tally)
}

/// Any moment, or one of any kind: so the rare kinds come as well, and the frequent ones at all their numbers.
fn choose<'a>(points: &'a [Point], random: &mut Random) -> Option<&'a Point> {
    if random.below(2) == 0 {
        return random.pick(points);
    }
    let mut kinds: Vec<&str> = points.iter().map(|(call, _)| call.as_str()).collect();
    kinds.dedup();
    let kind = random.pick(&kinds).copied()?;
    let of_kind: Vec<&Point> = points.iter().filter(|(call, _)| call == kind).collect();
    random.pick(&of_kind).copied()
}

/// One life under these words; whether it was cut off.
fn live(house: &mut House, words: &[String], random: &mut Random) -> Result<bool> {
    let mut daemon = match house.begin(words)? {
        Started::Ready(daemon) => daemon,
        // Killed before it listened; anything else would be an end of its own.
        Started::Ended(status) => return Ok(!status.success() && status.code().is_none()),
    };
    house.play(&daemon, random, CLIENTS, CALLS)?;
    if house.entries.last().is_some_and(|entry| !entry.was_sent()) {
        holds_within(DEAD_WITHIN, || !daemon.is_running());
    }
    // Its end writes, too.
    let status = daemon.stop()?;
    Ok(status.code().is_none())
}
