//! What a plan is made of: what is wanted, what is written down, and what runs.

use std::collections::{HashMap, HashSet};

use hayward_runtime::fleet::{Instance, State};
use hayward_runtime::placement::End;
use tokio::time::Instant;

use super::crashes::Crashes;

/// All that matters at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// The servers of the store that have instances.
    pub(super) servers: Vec<Server>,
    /// The instances of the store.
    pub(super) kept: Vec<Kept>,
    /// The instances of the fleet.
    pub(super) observed: HashMap<String, Observed>,
    /// The names of instances that a daemon that died has left, and that run on.
    pub(super) left: HashSet<String>,
    /// When each server was last wanted, by its name.
    pub(super) demand: HashMap<String, Instant>,
    /// What crashed, and when it may be tried again.
    pub(super) crashes: Crashes,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Its uid.
    pub(super) uid: String,
    /// Its name.
    pub(super) name: String,
    /// Its generation.
    pub(super) generation: u64,
    /// What tells this version of it from every other one, values of secrets included; or why there is none to start.
    pub(super) version: Result<u64, String>,
    /// How many copies are to run.
    pub(super) replicas: u32,
    /// Seconds without a call after which none are.
    pub(super) idle_seconds: Option<u32>,
    /// Whether they are to run on this node.
    pub(super) is_ours: bool,
    /// What is in the way that somebody has to do something about.
    pub(super) problem: Option<Problem>,
}

/// What somebody has to do something about, as a condition says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Of which kind.
    pub(super) kind: &'static str,
    /// Why, in a word.
    pub(super) reason: &'static str,
    /// What is the matter, and what to do.
    pub(super) message: String,
}

/// An instance of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Its uid.
    pub(super) uid: String,
    /// Its name.
    pub(super) name: String,
    /// The name of its server.
    pub(super) server: String,
    /// The uid of its server.
    pub(super) owner: Option<String>,
    /// Which of the copies it is.
    pub(super) replica: u32,
    /// The generation of its spec, which its status speaks of.
    pub(super) generation: u64,
}

/// An instance of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observed {
    /// The name of its server.
    pub(super) server: String,
    /// Which of the copies it is.
    pub(super) replica: u32,
    /// The version of its server.
    pub(super) version: u64,
    /// What it is.
    pub(super) phase: Phase,
    /// Whether it is unwell.
    pub(super) is_unhealthy: bool,
    /// How it is, in a word.
    pub(super) health: &'static str,
    /// Why it isn't reached, or isn't well.
    pub(super) trouble: Option<String>,
    /// When it was started, in seconds since 1970.
    pub(super) started_at_unix: i64,
}

/// What an instance of the fleet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It starts.
    Starting,
    /// It runs.
    Running,
    /// It stops.
    Stopping,
    /// It is gone.
    Ended {
        /// How.
        end: End,
        /// How many seconds it lived.
        lived_s: u64,
    },
}

impl Observed {
    /// An instance as it is at this moment.
    pub(super) fn of(instance: &Instance) -> Self {
        let (health, started_at) = (instance.health(), instance.started_at());
        let phase = match instance.state() {
            State::Starting => Phase::Starting,
            State::Running => Phase::Running,
            State::Stopping => Phase::Stopping,
            State::Ended { end, at } => {
                Phase::Ended { end, lived_s: at.duration_since(started_at).unwrap_or_default().as_secs() }
            }
        };
        let since = started_at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            server: instance.server().to_string(),
            replica: instance.replica(),
            version: instance.generation(),
            phase,
            is_unhealthy: instance.is_unhealthy(),
            health: health.verdict.as_str(),
            trouble: instance.trouble().or(health.why),
            started_at_unix: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// Whether it is there, and not about to go.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running)
    }

    /// Whether calls go to it.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Running && !self.is_unhealthy
    }

    /// Whether it is gone, and nobody said that it should be.
    pub(super) fn has_crashed(&self) -> bool {
        matches!(&self.phase, Phase::Ended { end, .. } if *end != End::Stopped)
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }
}
