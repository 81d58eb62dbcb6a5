//! A crowd of watches of one node: what they cost, and when all of them have heard of a change.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::memory_mib;
use super::nodes::{Desk, Watching};
use crate::latency::{Latencies, milliseconds};
use crate::wire::Target;

/// Nobody waits for longer than this.
const PATIENCE: Duration = Duration::from_secs(30);
/// A pause between two changes, so that one is over when the next begins.
const PAUSE: Duration = Duration::from_millis(100);
/// The server that changes.
const CHANGED: &str = "followed";

/// The crowd.
pub struct Plan {
    /// The node.
    pub target: Target,
    /// Watches.
    pub watches: usize,
    /// How often something changes.
    pub changes: usize,
    /// The node's process.
    pub pid: u32,
}

/// What was seen.
#[derive(Debug, Serialize)]
pub struct Seen {
    /// From asking for a change to when the last watch has told it, in milliseconds: the median.
    pub all_p50: f64,
    /// The longest.
    pub all_longest: f64,
    /// Memory that the node had more with all watches open, in MiB.
    pub memory_mib: f64,
}

/// Plays it.
pub async fn run(plan: Plan) -> Result<Seen> {
    let mut desk = Desk::open(&plan.target).await?;
    desk.apply(vec![super::nodes::server(CHANGED)]).await?;
    let before = memory_mib(plan.pid)?.0;
    let (sender, mut heard) = mpsc::channel(plan.watches.max(1));
    let mut watches = JoinSet::new();
    for _ in 0..plan.watches {
        let watch = Watching::begin(&plan.target).await.context("failed to open a watch")?;
        watches.spawn(tell(watch, sender.clone()));
    }
    let mut took = Vec::new();
    for _ in 0..plan.changes {
        let asked = Instant::now();
        desk.count_up(CHANGED).await?.context("nobody else writes, yet it was refused")?;
        for _ in 0..plan.watches {
            timeout(PATIENCE, heard.recv())
                .await
                .context("a watch lags behind")?
                .context("a watch has ended")?;
        }
        took.push(asked.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    let after = memory_mib(plan.pid)?.0;
    let took = Latencies::of(took);
    Ok(Seen {
        all_p50: milliseconds(took.percentile(50)),
        all_longest: milliseconds(took.longest()),
        memory_mib: after - before,
    })
}

async fn tell(mut watch: Watching, heard: mpsc::Sender<()>) -> Result<()> {
    loop {
        watch.hear_next().await?;
        if heard.send(()).await.is_err() {
            return Ok(());
        }
    }
}
