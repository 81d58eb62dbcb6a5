//! What calls leave behind: the memory of a daemon before and after very many of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::Gateways;
use crate::bench::rig::Rig;
use crate::bench::subject::Subject;
use crate::output;

/// As many as it takes.
pub(crate) const CALLS: u64 = 100_000;
/// … and in a short run.
const CALLS_QUICK: u64 = 10_000;
/// How many make a daemon warm: pools, caches and buffers are as large as they get.
const WARM: u64 = CALLS / 2;
const CONNECTIONS: usize = 16;
/// How long a part of them takes.
const SAMPLE: Duration = Duration::from_secs(2);

/// The figures.
pub(crate) struct Lasting {
    /// How many calls there were.
    pub(crate) calls: u64,
    /// Resident memory when it was warm, in MiB.
    pub(crate) before_mib: f64,
    /// … and after the calls.
    pub(crate) after_mib: f64,
}

impl Lasting {
    /// By which part of it the memory has grown.
    pub(crate) fn growth(&self) -> f64 {
        self.after_mib / self.before_mib - 1.0
    }
}

/// Measures them.
pub(crate) fn measure(rig: &Rig, running: &Gateways, is_quick: bool) -> Result<Lasting> {
    output::step("memory over many calls");
    let server = &running.lasting;
    let arguments = json!({"message": "The quick brown fox jumps over the lazy dog"}).to_string();
    let words = ["--tool", "echo", "--arguments", &arguments];
    let endpoint = server.endpoint.at("/servers/legacy/mcp");
    let load = Subject::load(rig.binary("load"), "Hayward", &endpoint, &words);
    let (warm, wanted) = if is_quick { (CALLS_QUICK, CALLS_QUICK) } else { (WARM, CALLS) };
    call(&load, warm)?;
    let before_mib = server.rss_mib()?;
    let calls = call(&load, wanted)?;
    Ok(Lasting { calls, before_mib, after_mib: server.rss_mib()? })
}

/// Calls at least so often, and says how often.
fn call(load: &Subject, wanted: u64) -> Result<u64> {
    let mut made = 0;
    while made < wanted {
        let sample = load.sample(CONNECTIONS, SAMPLE).context("failed to call")?;
        ensure!(sample.errors == 0, "a call failed: {:?}", sample.first_error);
        ensure!(sample.requests > 0, "no call was answered");
        made += sample.requests;
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_a_part_of_what_was_there() {
        let lasting = |after_mib| Lasting { calls: CALLS, before_mib: 20.0, after_mib };
        assert!((lasting(21.0).growth() - 0.05).abs() < 1e-9);
        assert!(lasting(19.0).growth() < 0.0);
    }
}
