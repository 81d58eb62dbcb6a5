//! What is done to the servers from outside, at random.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use hayward_testkit::chaos::{Fault, Random};
use rustix::process::{Signal, kill_process};
use tokio::time::sleep;

use crate::world::{SERVERS, World};

/// Longest time between two torments of a short run, and of a long one, in milliseconds. In a long one, a copy that is
/// killed again and again would be left alone for minutes.
const PAUSE_MS: u64 = 500;
const PAUSE_LONG_MS: u64 = 3_000;

/// How long a server that runs elsewhere is frozen or gone, in milliseconds.
const AWAY_MS: u64 = 1_500;

pub(crate) struct Torment {
    chance: Random,
    pause_ms: u64,
    /// What was done, and how often.
    done: BTreeMap<&'static str, usize>,
}

impl fmt::Display for Torment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "torments: {:?}", self.done)
    }
}

impl Torment {
    pub(crate) fn new(seed: u64, is_long: bool) -> Self {
        let pause_ms = if is_long { PAUSE_LONG_MS } else { PAUSE_MS };
        Self { chance: Random::new(seed ^ 0xC4A0), pause_ms, done: BTreeMap::new() }
    }

    /// Goes on until then.
    pub(crate) async fn go_on(&mut self, world: &mut World, until: Instant) {
        let token = world.token().await;
        while Instant::now() < until {
            world.look();
            self.one(world, &token).await;
            let pause = Duration::from_millis(self.chance.below(self.pause_ms));
            sleep(pause.min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    async fn one(&mut self, world: &mut World, token: &str) {
        let what = match self.chance.below(10) {
            0 | 1 => self.signal(world, Signal::KILL, "killed"),
            2 => self.signal(world, Signal::STOP, "frozen"),
            3 | 4 => self.call(world, token, &Fault::LETHAL, "told to end"),
            5 => {
                self.call(world, token, &[Fault::Large, Fault::Endless, Fault::Events, Fault::Deep], "flood")
            }
            6 => self.call(world, token, &Fault::OF_HTTP, "broken answer"),
            7 => self.away(world).await,
            _ => {
                let server = *self.chance.pick(&SERVERS).unwrap();
                world.declare(server).await;
                "declared anew"
            }
        };
        *self.done.entry(what).or_default() += 1;
    }

    fn signal(&mut self, world: &World, signal: Signal, what: &'static str) -> &'static str {
        let Some(pid) = self.chance.pick(&world.processes()).copied() else { return "nobody was there" };
        // Whoever has just ended needs no signal.
        kill_process(pid, signal).ok();
        what
    }

    /// Beside everything: what comes of it is nobody's concern.
    fn call(&mut self, world: &World, token: &str, faults: &[Fault], what: &'static str) -> &'static str {
        let fault = self.chance.pick(faults).unwrap();
        let servers = SERVERS.map(|server| server.name);
        // Elsewhere nobody starts again what has ended.
        let servers = if Fault::LETHAL.contains(fault) { &servers[..4] } else { &servers[..] };
        let server = self.chance.pick(servers).unwrap();
        tokio::spawn(world.call(token.to_owned(), server, &fault.name()));
        what
    }

    /// A server that runs elsewhere is gone for a while, or frozen.
    async fn away(&mut self, world: &mut World) -> &'static str {
        let at = usize::try_from(self.chance.below(2)).unwrap();
        let away = Duration::from_millis(self.chance.below(AWAY_MS));
        let elsewhere = &mut world.elsewhere()[at];
        if self.chance.below(2) == 0 {
            elsewhere.kill();
            sleep(away).await;
            elsewhere.start_again().unwrap();
            return "gone elsewhere";
        }
        elsewhere.signal(Signal::STOP).unwrap();
        sleep(away).await;
        elsewhere.signal(Signal::CONT).unwrap();
        "frozen elsewhere"
    }
}
