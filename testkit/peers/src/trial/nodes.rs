//! Nodes of one control plane: writers, watches and lists at once, and what must hold meanwhile.
//!
//! | what is counted | what it would mean |
//! |---|---|
//! | `lost_updates` | a change that was acknowledged is not there |
//! | `torn_lists` | a list shows one half of a change of two |
//! | `missed_events` | a watch did not tell of a change that was acknowledged |
//! | `disordered_events` | a watch told of an older change after a newer one |

mod desk;
mod watching;
mod writing;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::latency::{Latencies, milliseconds};
use crate::wire::Target;
pub(super) use desk::Desk;
pub(super) use watching::Watching;
use writing::Written;

/// Nobody waits for longer than this.
const PATIENCE: Duration = Duration::from_mins(2);
/// Servers that all writers change.
const HOT: usize = 20;
/// Servers of one `apply`.
const BATCH: usize = 1_000;
/// Lists that are timed.
const LISTS: usize = 7;
/// Changes that are timed from one node to the other.
const CHANGES: usize = 50;

/// The trial.
pub struct Plan {
    /// The nodes.
    pub nodes: Vec<Target>,
    /// Servers that are declared.
    pub servers: usize,
    /// Writers at once.
    pub writers: usize,
    /// Changes that each of them makes.
    pub changes: usize,
}

/// What was seen; times in milliseconds.
#[derive(Debug, Default, Serialize)]
pub struct Seen {
    /// `apply` of a thousand new servers: the median.
    pub apply_p50: f64,
    /// A list of all servers: the median.
    pub list_p50: f64,
    /// The same through the slowest.
    pub list_longest: f64,
    /// From a change at the first node to its event at the last, all else being quiet: the median.
    pub watch_p50: f64,
    /// The longest.
    pub watch_longest: f64,
    /// Changes that were acknowledged.
    pub writes: usize,
    /// Changes that were refused because another was first, and tried again.
    pub conflicts: usize,
    /// Changes per second.
    pub per_second: f64,
    /// See the table.
    pub lost_updates: usize,
    /// See the table.
    pub torn_lists: usize,
    /// Lists that were looked at.
    pub lists: usize,
    /// See the table.
    pub missed_events: usize,
    /// See the table.
    pub disordered_events: usize,
}

/// Plays it.
pub async fn run(plan: Plan) -> Result<Seen> {
    ensure!(!plan.nodes.is_empty(), "there is no node");
    let mut seen =
        Seen { apply_p50: fill(&plan).await.context("failed to declare servers")?, ..Seen::default() };
    let (list_p50, list_longest) = lists(&plan).await.context("failed to list servers")?;
    (seen.list_p50, seen.list_longest) = (list_p50, list_longest);
    crowd(&plan, &mut seen).await.context("failed beside a crowd")?;
    (seen.watch_p50, seen.watch_longest) = news(&plan).await.context("failed to follow changes")?;
    Ok(seen)
}

/// Declares all servers, a batch at a time; how long a batch takes.
async fn fill(plan: &Plan) -> Result<f64> {
    let mut desk = Desk::open(&plan.nodes[0]).await?;
    let hot = (0..HOT).map(|number| server(&hot_name(number)));
    let pair = writing::PAIR.iter().map(|name| server(name));
    desk.apply(hot.chain(pair).collect()).await?;
    let mut took = Vec::new();
    let all: Vec<_> = (0..plan.servers).map(|number| server(&format!("server-{number:05}"))).collect();
    for batch in all.chunks(BATCH) {
        let asked = Instant::now();
        desk.apply(batch.to_vec()).await?;
        took.push(asked.elapsed());
    }
    Ok(milliseconds(Latencies::of(took).percentile(50)))
}

fn hot_name(number: usize) -> String {
    format!("hot-{number:02}")
}

pub(super) fn server(name: &str) -> serde_json::Value {
    json!({
        "name": name, "transport": "STDIO", "packageName": "@modelcontextprotocol/server-example",
        "labels": {"team": "trial"}, "annotations": {"count": "0"},
        "env": [{"name": "LEVEL", "value": "info"}],
    })
}

async fn lists(plan: &Plan) -> Result<(f64, f64)> {
    let mut took = Vec::new();
    for node in &plan.nodes {
        let mut desk = Desk::open(node).await?;
        desk.list().await?;
        for _ in 0..LISTS {
            let asked = Instant::now();
            let body = desk.bytes("GET", "/api/v1/servers", "").await?;
            took.push(asked.elapsed());
            let listed: Vec<serde_json::Value> = serde_json::from_slice(&body)?;
            ensure!(listed.len() == plan.servers + HOT + writing::PAIR.len(), "a list has {}", listed.len());
        }
    }
    let took = Latencies::of(took);
    Ok((milliseconds(took.percentile(50)), milliseconds(took.longest())))
}

/// All at once: writers on every node, lists, and a watch of each node.
async fn crowd(plan: &Plan, seen: &mut Seen) -> Result<()> {
    let (tell_last, last) = tokio::sync::watch::channel(None);
    let mut watches = JoinSet::new();
    for node in &plan.nodes {
        watches.spawn(Watching::begin(node).await?.follow(last.clone()));
    }
    let begun = Instant::now();
    let written = write(plan, seen).await?;
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let per_second = written.versions.len() as f64 / begun.elapsed().as_secs_f64();
    (seen.writes, seen.conflicts, seen.per_second) = (written.versions.len(), written.conflicts, per_second);
    let wanted: HashSet<u64> = written.versions.iter().copied().collect();
    tell_last.send_replace(Some(wanted.iter().copied().max().unwrap_or_default()));
    while let Some(heard) = timeout(PATIENCE, watches.join_next()).await.context("a watch lags behind")? {
        let heard = heard??;
        seen.missed_events += wanted.iter().filter(|version| !heard.versions.contains(*version)).count();
        seen.disordered_events += heard.disordered;
    }
    let mut desk = Desk::open(&plan.nodes[0]).await?;
    for (number, wanted) in written.per_server.iter().enumerate() {
        let there = desk::count(&desk.get(&hot_name(number)).await?);
        seen.lost_updates += usize::try_from(wanted.abs_diff(there)).unwrap_or(usize::MAX);
    }
    Ok(())
}

async fn write(plan: &Plan, seen: &mut Seen) -> Result<Written> {
    let mut writers = JoinSet::new();
    for number in 0..plan.writers {
        let node = plan.nodes[number % plan.nodes.len()].clone();
        writers.spawn(writing::change_often(node, number, plan.changes));
    }
    let mut lists = JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let pairs = tokio::spawn(writing::change_both(plan.nodes[0].clone(), stopped.clone()));
    for node in &plan.nodes {
        lists.spawn(writing::look_at_both(node.clone(), stopped.clone()));
    }
    let mut all = Written::none(HOT);
    while let Some(written) = writers.join_next().await {
        all.add(written??);
    }
    stop.send_replace(true);
    all.versions.extend(pairs.await??);
    while let Some(looked) = lists.join_next().await {
        let looked = looked??;
        seen.lists += looked.lists;
        seen.torn_lists += looked.torn;
    }
    Ok(all)
}

/// How long a change takes from one node to the watch of another.
async fn news(plan: &Plan) -> Result<(f64, f64)> {
    let mut watch = Watching::begin(plan.nodes.last().context("there is no node")?).await?;
    let mut desk = Desk::open(&plan.nodes[0]).await?;
    let mut took = Vec::new();
    for _ in 0..CHANGES {
        let asked = Instant::now();
        let version = desk.count_up(&hot_name(0)).await?.context("nobody else writes, yet it was refused")?;
        let heard = timeout(PATIENCE, watch.hear(version)).await.context("a change is not told")??;
        took.push(heard.duration_since(asked));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = Latencies::of(took);
    Ok((milliseconds(took.percentile(50)), milliseconds(took.longest())))
}
