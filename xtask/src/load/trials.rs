//! The trials, their sizes and what is wanted.

mod control;
mod listeners;
mod markers;
mod sessions;
mod slow;

use anyhow::Result;
use serde::Deserialize;

use super::page::Line;
use super::rig::Rig;

/// One trial.
pub(super) struct Trial {
    /// Its name.
    pub(super) name: &'static str,
    /// Plays it on a server of its own.
    pub(super) play: fn(&Rig, &Size) -> Result<Vec<Line>>,
}

/// All of them.
pub(super) const ALL: [Trial; 13] = [
    Trial { name: "idle sessions", play: sessions::alone },
    Trial { name: "idle sessions with streams", play: sessions::with_streams },
    Trial { name: "slow heads", play: |rig, size| slow::beyond_places(rig, size, "heads") },
    Trial { name: "slow bodies", play: |rig, size| slow::beyond_places(rig, size, "bodies") },
    Trial { name: "slow readers", play: |rig, size| slow::beyond_places(rig, size, "readers") },
    Trial { name: "slow heads, a place for each", play: |rig, size| slow::with_places(rig, size, "heads") },
    Trial { name: "slow bodies, a place for each", play: |rig, size| slow::with_places(rig, size, "bodies") },
    Trial {
        name: "slow readers, a place for each",
        play: |rig, size| slow::with_places(rig, size, "readers"),
    },
    Trial { name: "subscriptions", play: listeners::play },
    Trial { name: "equal request ids", play: markers::play },
    Trial { name: "control plane, one node", play: control::one_node },
    Trial { name: "control plane, two nodes", play: control::two_nodes },
    Trial { name: "control plane, watches", play: control::watches },
];

/// How large a crowd is.
pub(super) struct Size {
    sessions: usize,
    slow: usize,
    clients: usize,
    calls: usize,
    /// Seconds beside idle sessions.
    session_seconds: usize,
    /// Seconds beside slow peers: longer than any deadline of the server's.
    slow_seconds: usize,
}

impl Size {
    /// What is wanted.
    pub(super) fn full() -> Self {
        Self {
            sessions: 10_000,
            slow: 5_000,
            clients: 1_000,
            calls: 1_000_000,
            session_seconds: 20,
            slow_seconds: 45,
        }
    }

    /// A tenth of it.
    pub(super) fn tenth() -> Self {
        let Self { sessions, slow, clients, calls, .. } = Self::full();
        Self {
            sessions: sessions / 10,
            slow: slow / 10,
            clients: clients / 10,
            calls: calls / 10,
            session_seconds: 3,
            slow_seconds: 15,
        }
    }

    /// Descriptors that one process needs at most.
    pub(super) fn descriptors(&self) -> u64 {
        self.sessions.max(self.slow) as u64 + 2_000
    }
}

/// What ordinary callers got. The names are those that the trial prints.
#[derive(Debug, Default, Deserialize)]
struct Heard {
    calls: u64,
    errors: u64,
    first_error: Option<String>,
    p50_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
}

impl Heard {
    /// Its latency, of which the 99th percentile has to be below `most_ms`, and its errors, of which there
    /// must be none.
    fn lines(&self, who: &str, most_ms: f64) -> [Line; 2] {
        let Self { calls, errors, p50_ms, p99_ms, longest_ms, .. } = self;
        let figure = format!("{p50_ms:.1} / {p99_ms:.1} / {longest_ms:.1} ms");
        let is_quick = *calls > 0 && *p99_ms < most_ms;
        let what = format!("{who}: p50 / p99 / longest");
        let latency = Line::goal(what, figure, &format!("p99 < {most_ms:.0} ms"), is_quick);
        let said = self.first_error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        let figure = format!("{errors} of {}{said}", calls + errors);
        [latency, Line::goal(format!("{who}: errors"), figure, "0", *errors == 0)]
    }
}

/// A number as people write it: 10,000.
fn count(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::page::Mark;
    use super::*;

    #[test]
    fn numbers_are_written_in_groups() {
        let all = [0, 999, 1_000, 10_000, 1_000_000].map(count);
        assert_eq!(all, ["0", "999", "1,000", "10,000", "1,000,000"]);
    }

    #[test]
    fn latency_and_errors_are_judged() {
        let marks = |heard: &Heard| heard.lines("callers", 50.0).map(|line| line.mark);
        let good = Heard { calls: 9, p99_ms: 49.0, ..Heard::default() };
        assert_eq!(marks(&good), [Mark::Met, Mark::Met]);
        assert_eq!(marks(&Heard { p99_ms: 50.0, errors: 1, ..good }), [Mark::Missed, Mark::Missed]);
        assert_eq!(
            marks(&Heard::default()),
            [Mark::Missed, Mark::Met],
            "who never got an answer was not quick"
        );
    }
}
