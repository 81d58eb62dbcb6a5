//! Ordinary callers in an open loop: every call is due at a fixed moment and its latency counts from
//! there, so that a server can't hide a hold-up by being asked less.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::latency::{Latencies, Seen, milliseconds};
use crate::wire::{Ask, Connection, Era, Target};

/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who calls how often. Every other caller is of the modern era.
#[derive(Clone)]
pub(super) struct Callers {
    pub(super) target: Target,
    /// How many there are.
    pub(super) count: u32,
    /// Calls per second, all of them together.
    pub(super) per_second: u32,
    /// When they stop.
    pub(super) until: Instant,
}

/// What the callers got.
#[derive(Debug, Default, Serialize)]
pub struct Heard {
    /// Good answers.
    pub calls: usize,
    /// What was not a good answer.
    pub errors: usize,
    /// The first of those.
    pub first_error: Option<String>,
    /// Latency that half of the calls kept, in milliseconds.
    pub p50_ms: f64,
    /// … 99 of a hundred.
    pub p99_ms: f64,
    /// The longest one.
    pub longest_ms: f64,
}

/// A connection and the bytes of the call on it.
type Line = (Connection, Vec<u8>);

impl Callers {
    /// Each calls on its own connection and keeps it.
    pub(super) async fn keep_calling(self) -> Result<Heard> {
        let start = Instant::now();
        let mut callers = JoinSet::new();
        for number in 0..self.count {
            callers.spawn(self.clone().caller(number, start));
        }
        gather(callers).await
    }

    /// Each call comes on a connection of its own.
    pub(super) async fn keep_connecting(self) -> Result<Heard> {
        let (start, mut calls) = (Instant::now(), JoinSet::new());
        for (number, due) in self.moments(start, 0, 1) {
            tokio::time::sleep_until(due.into()).await;
            let target = self.target_of(number);
            calls.spawn(async move {
                let mut seen = Seen::default();
                let outcome = call_on(&mut None, &target).await;
                seen.note(outcome, due.elapsed());
                seen
            });
        }
        gather(calls).await
    }

    async fn caller(self, number: u32, start: Instant) -> Seen {
        let (target, mut line, mut seen) = (self.target_of(number), None, Seen::default());
        for (_, due) in self.moments(start, number, self.count) {
            tokio::time::sleep_until(due.into()).await;
            let outcome = call_on(&mut line, &target).await;
            if outcome.is_err() {
                line = None;
            }
            seen.note(outcome, due.elapsed());
        }
        seen
    }

    /// Every `step`th moment at which a call is due, from the `first` on.
    fn moments(&self, start: Instant, first: u32, step: u32) -> impl Iterator<Item = (u32, Instant)> {
        let (every, until) = (Duration::from_secs(1) / self.per_second.max(1), self.until);
        let numbers = (first..).step_by(usize::try_from(step).unwrap_or(1).max(1));
        numbers.map(move |number| (number, start + every * number)).take_while(move |(_, due)| *due < until)
    }

    fn target_of(&self, number: u32) -> Target {
        self.target.in_era(if number.is_multiple_of(2) { Era::Legacy } else { Era::Modern })
    }
}

async fn call_on(line: &mut Option<Line>, target: &Target) -> Result<()> {
    let called = async {
        let mut open = match line.take() {
            Some(open) => open,
            None => connect(target).await?,
        };
        open.0.exchange(&open.1).await?.judge()?;
        *line = Some(open);
        Ok(())
    };
    timeout(PATIENCE, called).await.context("no answer in time")?
}

async fn connect(target: &Target) -> Result<Line> {
    let mut connection = Connection::open(target).await?;
    let session = target.shake_hands(&mut connection).await?;
    let ask = Ask::call("echo", r#"{"message":"The quick brown fox jumps over the lazy dog"}"#.to_owned());
    Ok((connection, target.request(session.as_deref(), &ask, 2)))
}

async fn gather(mut tasks: JoinSet<Seen>) -> Result<Heard> {
    let mut seen = Seen::default();
    while let Some(task) = tasks.join_next().await {
        seen = seen.and(task.context("a caller's task failed")?);
    }
    let latencies = Latencies::of(seen.latencies);
    Ok(Heard {
        calls: latencies.count(),
        errors: seen.errors,
        first_error: seen.first_error,
        p50_ms: milliseconds(latencies.percentile(50)),
        p99_ms: milliseconds(latencies.percentile(99)),
        longest_ms: milliseconds(latencies.longest()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_due_in_turn_and_at_the_wanted_rate() {
        let start = Instant::now();
        let target = Target::parse("http://a:1/mcp", None).unwrap();
        let callers = Callers { target, count: 2, per_second: 10, until: start + Duration::from_secs(1) };
        let due: Vec<_> = callers.moments(start, 1, 2).map(|(number, due)| (number, due - start)).collect();
        let tenths = |count: u32| Duration::from_millis(100) * count;
        assert_eq!(due, [1, 3, 5, 7, 9].map(|number| (number, tenths(number))));
        assert_eq!((callers.target_of(0).era, callers.target_of(1).era), (Era::Legacy, Era::Modern));
    }
}
