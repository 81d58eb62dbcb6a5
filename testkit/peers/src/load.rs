//! Load in a closed loop: N connections, each with one request in flight, fixed bytes, no SDK.
//!
//! The generator counts what goes wrong (status, `isError`, a JSON-RPC error, a closed
//! connection): a server must not win by failing quickly.

mod connection;
mod process;
mod request;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;

use connection::Connection;
use process::Usage;

pub use request::{Era, Plan};

/// What to put on a server.
pub struct Load {
    /// Host and port.
    pub authority: String,
    /// The requests.
    pub plan: Plan,
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
    /// Answers within the measured time.
    pub requests: usize,
    /// Those that were not what was asked for, plus broken connections.
    pub errors: usize,
    /// The first of them.
    pub first_error: Option<String>,
    /// Answers per second.
    pub rps: f64,
    /// Latency that half of the requests kept, in microseconds.
    pub p50_us: f64,
    /// … nine of ten.
    pub p90_us: f64,
    /// … 99 of a hundred.
    pub p99_us: f64,
    /// Processor time of the server per answer, in microseconds.
    pub server_cpu_us: Option<f64>,
    /// Resident memory of the server at the end, in KiB.
    pub server_rss_kib: Option<u64>,
}

/// What one connection saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    errors: usize,
    first_error: Option<String>,
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
    let mut seen = Vec::new();
    while let Some(worker) = workers.join_next().await {
        seen.push(worker.context("a connection's task failed")??);
    }
    Ok(summarise(seen, load.duration, before.zip(after)))
}

async fn work(load: Arc<Load>, clock: Clock) -> Result<Seen> {
    let mut connection = Connection::open(&load).await?;
    let mut seen = Seen::default();
    loop {
        let sent = Instant::now();
        if sent >= clock.end {
            return Ok(seen);
        }
        let fault = connection.exchange().await;
        let now = Instant::now();
        if now < clock.measure_from || now > clock.end {
            continue;
        }
        match fault {
            Ok(()) => seen.latencies.push(now - sent),
            Err(error) => {
                seen.errors += 1;
                seen.first_error.get_or_insert(format!("{error:#}"));
                connection = Connection::open(&load).await?;
            }
        }
    }
}

fn summarise(seen: Vec<Seen>, duration: Duration, usage: Option<(Usage, Usage)>) -> Measured {
    let errors = seen.iter().map(|it| it.errors).sum();
    let first_error = seen.iter().find_map(|it| it.first_error.clone());
    let mut latencies: Vec<_> = seen.into_iter().flat_map(|it| it.latencies).collect();
    latencies.sort_unstable();
    let requests = latencies.len();
    let calls = u32::try_from(requests.max(1)).unwrap_or(u32::MAX);
    Measured {
        requests,
        errors,
        first_error,
        rps: f64::from(calls) / duration.as_secs_f64(),
        p50_us: percentile(&latencies, 50),
        p90_us: percentile(&latencies, 90),
        p99_us: percentile(&latencies, 99),
        server_cpu_us: usage.map(|(from, to)| micros(to.cpu.saturating_sub(from.cpu) / calls)),
        server_rss_kib: usage.map(|(_, to)| to.rss_kib),
    }
}

/// The latency at or below which `percent` of the sorted ones lie, in microseconds.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().map_or(0.0, micros)
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
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
    fn errors_are_counted_apart_from_answers() {
        let good = Seen { latencies: vec![Duration::from_micros(10); 3], ..Seen::default() };
        let bad = Seen { errors: 2, first_error: Some("status 500".into()), ..Seen::default() };
        let measured = summarise(vec![good, bad], Duration::from_secs(1), None);
        assert_eq!((measured.requests, measured.errors), (3, 2));
        assert_eq!(measured.first_error.as_deref(), Some("status 500"));
        assert!((measured.rps - 3.0).abs() < 1e-9);
    }

    #[test]
    fn percentiles_are_of_the_sorted_list() {
        let list: Vec<_> = (1..=100).map(Duration::from_micros).collect();
        let close = |percent, wanted: f64| (percentile(&list, percent) - wanted).abs() < 1e-6;
        assert!(close(50, 50.0) && close(90, 90.0) && close(99, 99.0));
        assert!(percentile(&[], 50).abs() < 1e-9);
    }
}
