//! Load in a closed loop: N connections, each with one request in flight, fixed bytes, no SDK. Of a process that is spoken to
//! over lines there is one, with N requests in flight ([`lines`]).
//!
//! The generator counts what goes wrong (status, `isError`, a JSON-RPC error, a closed
//! connection): a server must not win by failing quickly.

pub mod lines;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::latency::{Latencies, Seen, milliseconds};
use crate::process::Usage;
use crate::wire::{Ask, Media, Target};
use worker::Worker;

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// The question, within one session.
    Calls,
    /// A session from `initialize` to its end, with the question in between.
    Sessions,
    /// The same, and the session is left open.
    LeftSessions,
}

/// What to put on a server.
pub struct Load {
    /// Whom to ask, and how.
    pub target: Target,
    /// The question.
    pub ask: Ask,
    /// What is done with it.
    pub work: Work,
    /// The form that answers must have; either if nothing is said.
    pub answers: Option<Media>,
    /// How many connections.
    pub connections: usize,
    /// How long to run before measuring.
    pub warmup: Duration,
    /// How long to measure.
    pub duration: Duration,
    /// Whose processor time and memory to read.
    pub process: Option<u32>,
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Answers (or sessions) within the measured time.
    pub requests: usize,
    /// Those that were not what was asked for, plus broken connections.
    pub errors: usize,
    /// The first of them.
    pub first_error: Option<String>,
    /// Answers (or sessions) per second.
    pub rps: f64,
    /// Latency that half of them kept, in microseconds.
    pub p50_us: f64,
    /// … nine of ten.
    pub p90_us: f64,
    /// … 99 of a hundred.
    pub p99_us: f64,
    /// Processor time of the server for each, in microseconds.
    pub server_cpu_us: Option<f64>,
    /// Resident memory of the server at the end, in KiB.
    pub server_rss_kib: Option<u64>,
}

/// The moments of a run.
#[derive(Clone, Copy)]
struct Clock {
    measure_from: Instant,
    end: Instant,
}

/// Runs the load to its end.
pub async fn run(load: Load) -> Result<Measured> {
    let load = Arc::new(load);
    let start = Instant::now() + load.warmup;
    let clock = Clock { measure_from: start, end: start + load.duration };
    let mut workers = JoinSet::new();
    for _ in 0..load.connections {
        workers.spawn(work(Arc::clone(&load), clock));
    }
    tokio::time::sleep_until(clock.measure_from.into()).await;
    let before = load.process.map(Usage::of).transpose()?;
    tokio::time::sleep_until(clock.end.into()).await;
    let after = load.process.map(Usage::of).transpose()?;
    let mut seen = Seen::default();
    while let Some(worker) = workers.join_next().await {
        seen = seen.and(worker.context("a connection's task failed")??);
    }
    Ok(summarise(seen, load.duration, before.zip(after)))
}

async fn work(load: Arc<Load>, clock: Clock) -> Result<Seen> {
    let mut worker = Worker::start(&load).await?;
    let mut seen = Seen::default();
    loop {
        let sent = Instant::now();
        if sent >= clock.end {
            return Ok(seen);
        }
        let outcome = worker.once().await;
        let now = Instant::now();
        if now < clock.measure_from || now > clock.end {
            continue;
        }
        let is_broken = outcome.is_err();
        seen.note(outcome, now - sent);
        if is_broken {
            worker = Worker::start(&load).await?;
        }
    }
}

fn summarise(seen: Seen, duration: Duration, usage: Option<(Usage, Usage)>) -> Measured {
    let Seen { latencies, errors, first_error } = seen;
    let latencies = Latencies::of(latencies);
    let requests = latencies.count();
    let calls = u32::try_from(requests.max(1)).unwrap_or(u32::MAX);
    let percentile_us = |percent| micros(latencies.percentile(percent));
    Measured {
        requests,
        errors,
        first_error,
        rps: f64::from(calls) / duration.as_secs_f64(),
        p50_us: percentile_us(50),
        p90_us: percentile_us(90),
        p99_us: percentile_us(99),
        server_cpu_us: usage.map(|(from, to)| micros(to.cpu.saturating_sub(from.cpu) / calls)),
        server_rss_kib: usage.map(|(_, to)| to.rss_kib),
    }
}

fn micros(duration: Duration) -> f64 {
    milliseconds(duration) * 1e3
}

/// Reads a file of arguments or a method's parameters from the command line.
pub fn json_or_file(text: &str) -> Result<String> {
    match text.strip_prefix('@') {
        Some(path) => {
            std::fs::read_to_string(PathBuf::from(path)).with_context(|| format!("failed to read `{path}`"))
        }
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_good_answers_in_the_measured_time() {
        let latencies = vec![Duration::from_micros(10); 3];
        let seen = Seen { latencies, errors: 2, first_error: Some("status 500".into()) };
        let measured = summarise(seen, Duration::from_secs(1), None);
        assert_eq!((measured.requests, measured.errors), (3, 2));
        assert_eq!(measured.first_error.as_deref(), Some("status 500"));
        assert!((measured.rps - 3.0).abs() < 1e-9 && (measured.p99_us - 10.0).abs() < 1e-6);
    }
}
