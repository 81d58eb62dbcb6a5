//! What it costs to be there: time from exec to the first answer, memory at rest, size on disk.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::figures::median;
use super::rig::Rig;
use super::server::Server;
use crate::{output, step};

/// How long a server rests before its memory is read.
const REST: Duration = Duration::from_secs(1);
/// Starts per round: one start takes milliseconds.
const STARTS_PER_ROUND: u32 = 4;

/// The figures.
pub(crate) struct Footprint {
    /// Milliseconds until the first answer, on a data folder that exists.
    pub(crate) ready_ms: f64,
    /// … on one that doesn't.
    pub(crate) fresh_ms: f64,
    /// … of mymcp 3.1.0.
    pub(crate) native_ms: f64,
    /// Memory at rest, in MiB.
    pub(crate) idle_mib: f64,
    /// … of mymcp 3.1.0.
    pub(crate) native_idle_mib: f64,
    /// The stripped binary, in MiB.
    pub(crate) binary_mib: f64,
}

/// Measures all of it, round by round.
pub(crate) fn measure(rig: &Rig, rounds: u32) -> Result<Footprint> {
    output::step("start and rest");
    let folder = tempfile::tempdir().context("failed to make a scratch folder")?;
    let (ready, kept) = (folder.path().join("ready"), folder.path().join("kept"));
    let hayward = |data: &Path| {
        ensure!(!ready.exists() || std::fs::remove_file(&ready).is_ok(), "a ready file stays");
        let server = rig.hayward(data, &ready)?;
        let tools = server.endpoint.list_tools().context("no first answer")?;
        ensure!(tools.contains("read_file"), "the first answer lists no tools: {tools}");
        Ok(server)
    };
    let (mut existing, mut fresh, mut native) = (Vec::new(), Vec::new(), Vec::new());
    drop(hayward(&kept)?);
    for start in 0..rounds * STARTS_PER_ROUND {
        let new = folder.path().join(format!("fresh-{start}"));
        existing.push(milliseconds(|| hayward(&kept))?);
        fresh.push(milliseconds(|| hayward(&new))?);
        // Its first answer is the one that makes a token.
        native.push(milliseconds(|| rig.mymcp_native())?);
    }
    let binary = std::fs::metadata(rig.binary("hayward")).context("there is no binary")?;
    #[expect(clippy::cast_precision_loss, reason = "a size of megabytes")]
    let binary_mib = binary.len() as f64 / f64::from(1 << 20);
    Ok(Footprint {
        ready_ms: middle(existing),
        fresh_ms: middle(fresh),
        native_ms: middle(native),
        idle_mib: at_rest(&hayward(&kept)?)?,
        native_idle_mib: at_rest(&rig.mymcp_native()?)?,
        binary_mib,
    })
}

/// How long it takes to start a server, which is stopped after the clock was.
fn milliseconds(start: impl Fn() -> Result<Server>) -> Result<f64> {
    let begun = Instant::now();
    let server = start()?;
    let elapsed = begun.elapsed();
    drop(server);
    Ok(elapsed.as_secs_f64() * 1000.0)
}

fn at_rest(server: &Server) -> Result<f64> {
    step::run(step::command("sleep").arg(REST.as_secs().to_string()))?;
    server.rss_mib()
}

fn middle(values: Vec<f64>) -> f64 {
    median(values.into_iter()).unwrap_or_default()
}
