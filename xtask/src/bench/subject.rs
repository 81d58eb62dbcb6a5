//! Who is measured: a server under load, or a process that is started over and over.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::server::Endpoint;
use crate::step;

/// One contender of a case.
#[derive(Clone)]
pub(crate) struct Subject {
    /// What the report calls it.
    pub(crate) name: String,
    work: Work,
}

#[derive(Clone)]
enum Work {
    /// The load generator and its arguments.
    Load { program: PathBuf, endpoint: Endpoint, words: Vec<String> },
    /// A command, run to its end.
    Process { words: Vec<String> },
}

/// What one sample says. The names are those that the load generator prints.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) rps: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) server_cpu_us: Option<f64>,
    pub(crate) server_rss_kib: Option<u64>,
}

impl Subject {
    /// A server under load; `words` are further arguments of the load generator.
    pub(crate) fn load(program: PathBuf, name: &str, endpoint: &Endpoint, words: &[&str]) -> Self {
        let words = words.iter().map(ToString::to_string).collect();
        let work = Work::Load { program, endpoint: endpoint.clone(), words };
        Self { name: name.to_owned(), work }
    }

    /// A process, started one after the other.
    pub(crate) fn process(name: &str, words: &[&str]) -> Self {
        let words = words.iter().map(ToString::to_string).collect();
        Self { name: name.to_owned(), work: Work::Process { words } }
    }

    /// The same, which is under load for so long before it is measured.
    pub(crate) fn after(mut self, warmup_ms: u32) -> Self {
        if let Work::Load { words, .. } = &mut self.work {
            words.extend(["--warmup-ms".to_owned(), warmup_ms.to_string()]);
        }
        self
    }

    /// Takes one sample.
    pub(crate) fn sample(&self, connections: usize, duration: Duration) -> Result<Sample> {
        match &self.work {
            Work::Load { program, endpoint, words } => {
                // Its own session: the kernel shares processor time by session.
                let mut load = step::command("setsid");
                load.arg("--wait").arg(program).arg(&endpoint.url).args(words);
                load.args(["--connections", &connections.to_string()]);
                load.args(["--duration-ms", &duration.as_millis().to_string()]);
                if endpoint.pid != 0 {
                    load.args(["--pid", &endpoint.pid.to_string()]);
                }
                if let Some(certificate) = &endpoint.certificate {
                    load.arg("--ca").arg(certificate);
                }
                load.env("LOAD_TOKEN", &endpoint.token);
                let answer = step::capture(&mut load)?;
                serde_json::from_str(&answer).context("the load generator printed no JSON")
            }
            Work::Process { words } => run_over_and_over(words, duration),
        }
    }
}

fn run_over_and_over(words: &[String], duration: Duration) -> Result<Sample> {
    let (program, arguments) = words.split_first().context("no program")?;
    let (start, mut latencies) = (Instant::now(), Vec::new());
    while start.elapsed() < duration {
        let begun = Instant::now();
        let mut command = step::command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        if !command.status().context("failed to start")?.success() {
            bail!("{} failed", step::shown(&command));
        }
        latencies.push(begun.elapsed());
    }
    Ok(summarise(latencies, start.elapsed()))
}

fn summarise(mut latencies: Vec<Duration>, elapsed: Duration) -> Sample {
    latencies.sort_unstable();
    let at = |percent: usize| {
        let rank = (latencies.len() * percent).div_ceil(100).max(1);
        latencies.get(rank - 1).map_or(0.0, |it| it.as_secs_f64() * 1e6)
    };
    let count = u32::try_from(latencies.len()).unwrap_or(u32::MAX);
    let rps = f64::from(count) / elapsed.as_secs_f64();
    Sample { requests: u64::from(count), rps, p50_us: at(50), p99_us: at(99), ..Sample::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured_from_start_to_end() {
        let sample = Subject::process("true", &["true"]);
        let sample = sample.sample(1, Duration::from_millis(50)).unwrap();
        assert!(sample.rps > 1.0 && sample.p50_us > 10.0 && sample.p50_us <= sample.p99_us);
    }

    #[test]
    fn a_process_that_fails_is_no_sample() {
        let sample = Subject::process("false", &["false"]);
        assert!(sample.sample(1, Duration::from_millis(50)).is_err());
    }
}
