//! What crashed, how often in a row, and when it may be tried again.

use std::collections::HashMap;
use std::time::Duration;

use hayward_runtime::backoff::Backoff;
use hayward_runtime::placement::End;
use tokio::time::Instant;

use super::status::how;
use super::world::{Observed, Phase, Server};
use crate::limits::{CRASH_PAUSE_MAX, CRASH_PAUSE_MIN, STEADY};

const PAUSES: Backoff = Backoff { first: CRASH_PAUSE_MIN, longest: CRASH_PAUSE_MAX };

/// The crashes of all replicas, by the uid of their server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Crashes(HashMap<(String, u32), Crash>);

/// The last crash of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Crash {
    /// The instance.
    pub(super) instance: String,
    /// The version of its server.
    pub(super) version: u64,
    /// How many there were in a row.
    pub(super) in_a_row: u32,
    /// How many there were.
    pub(super) all: u32,
    /// From when on it may be tried again.
    pub(super) retry_at: Instant,
    /// How it ended, in words.
    pub(super) why: String,
    /// Whether it ran before, so that what it printed may say more.
    pub(super) has_run: bool,
}

impl Crashes {
    /// The last crash of a replica.
    pub(super) fn of(&self, uid: &str, replica: u32) -> Option<&Crash> {
        self.0.get(&(uid.to_owned(), replica))
    }

    /// Notes that an instance of a server crashed, unless it is noted already. What ran for long begins anew, and so does
    /// another version.
    pub(super) fn note(
        &mut self,
        server: &Server,
        (name, observed): (&str, &Observed),
        (now, chance): (Instant, u8),
    ) {
        let Phase::Ended { lived_s, end } = &observed.phase else { return };
        if !observed.has_crashed() {
            return;
        }
        let key = (server.uid.clone(), observed.replica);
        let before = self.0.get(&key);
        if before.is_some_and(|crash| crash.instance == name) {
            return;
        }
        let in_a_row = before
            .filter(|crash| crash.version == observed.version && Duration::from_secs(*lived_s) < STEADY)
            .map_or(1, |crash| crash.in_a_row.saturating_add(1));
        let crash = Crash {
            instance: name.to_owned(),
            version: observed.version,
            in_a_row,
            all: before.map_or(1, |crash| crash.all.saturating_add(1)),
            retry_at: now + PAUSES.after(in_a_row, chance),
            why: how(end).unwrap_or_default(),
            has_run: !matches!(end, End::Failed { .. }),
        };
        self.0.insert(key, crash);
    }

    /// Forgets servers that are gone.
    pub(super) fn keep(&mut self, servers: &[Server]) {
        self.0.retain(|(uid, _), _| servers.iter().any(|server| server.uid == *uid));
    }

    /// The last crash of the replica of a server that crashed most often in a row.
    pub(super) fn worst(&self, server: &Server) -> Option<&Crash> {
        let of_server =
            self.0.iter().filter(|((uid, replica), _)| *uid == server.uid && *replica < server.replicas);
        of_server.map(|(_, crash)| crash).max_by_key(|crash| crash.in_a_row)
    }
}
