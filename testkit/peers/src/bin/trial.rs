//! `trial`: puts a server on trial; prints one line of JSON.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use hayward_peers::trial::{followers, listeners, markers, nodes, sessions, slow};
use hayward_peers::wire::Target;

/// Puts a server on trial. The bearer token of ordinary callers comes from `LOAD_TOKEN`.
#[derive(Parser)]
struct Arguments {
    /// Where it listens, e.g. `http://127.0.0.1:8765/mcp`.
    url: String,
    /// The bearer token.
    #[arg(long, env = "LOAD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(subcommand)]
    trial: Trial,
}

#[derive(Subcommand)]
enum Trial {
    /// A crowd of idle sessions.
    Sessions(IdleCrowd),
    /// A crowd of slow peers.
    Slow(SlowCrowd),
    /// Many clients with the same request ids.
    Markers(Clients),
    /// A crowd of subscriptions.
    Listeners(Crowd),
    /// Nodes of one control plane.
    Nodes(Nodes),
    /// A crowd of watches of one node.
    Followers(Followers),
}

#[derive(clap::Args)]
struct Nodes {
    /// Where a further node listens.
    #[arg(long)]
    other: Option<String>,
    /// Servers that are declared.
    #[arg(long, default_value_t = 10_000)]
    servers: usize,
    /// Writers at once.
    #[arg(long, default_value_t = 200)]
    writers: usize,
    /// Changes that each of them makes.
    #[arg(long, default_value_t = 20)]
    changes: usize,
}

#[derive(clap::Args)]
struct Followers {
    /// Watches.
    #[arg(long, default_value_t = 1_000)]
    watches: usize,
    /// How often something changes.
    #[arg(long, default_value_t = 30)]
    changes: usize,
    /// The node's process.
    #[arg(long)]
    pid: u32,
}

#[derive(clap::Args)]
struct Crowd {
    /// Subscriptions.
    #[arg(long, default_value_t = 1_000)]
    listeners: usize,
    /// How often something changes.
    #[arg(long, default_value_t = 50)]
    changes: usize,
}

#[derive(clap::Args)]
struct IdleCrowd {
    /// Sessions that are opened and left alone.
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// Give each a standing stream.
    #[arg(long)]
    streams: bool,
    #[command(flatten)]
    callers: Callers,
}

#[derive(clap::Args)]
struct SlowCrowd {
    /// In what they are slow.
    #[arg(long, value_enum, default_value = "heads")]
    kind: slow::Kind,
    /// Slow peers.
    #[arg(long, default_value_t = 5_000)]
    connections: usize,
    /// Their bearer token; that of ordinary callers if nothing is said.
    #[arg(long, env = "SLOW_TOKEN", hide_env_values = true)]
    slow_token: Option<String>,
    #[command(flatten)]
    callers: Callers,
}

#[derive(clap::Args)]
struct Clients {
    /// Clients.
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// Calls, all of them together.
    #[arg(long, default_value_t = 1_000_000)]
    calls: usize,
}

/// Ordinary callers beside a crowd.
#[derive(clap::Args)]
struct Callers {
    /// Their calls per second.
    #[arg(long, default_value_t = 500)]
    per_second: u32,
    /// For how many seconds they call.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// The server's process.
    #[arg(long)]
    pid: u32,
}

/// Ordinary callers beside a crowd of sessions.
const CALLERS: u32 = 50;

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { url, token, trial } = Arguments::parse();
    let target = Target::parse(&url, token.clone())?;
    match trial {
        Trial::Sessions(arguments) => {
            hayward_peers::answer(&sessions::run(arguments.plan(target)).await.context("trial `sessions`")?)
        }
        Trial::Slow(arguments) => {
            hayward_peers::answer(&slow::run(arguments.plan(target)).await.context("trial `slow`")?)
        }
        Trial::Listeners(Crowd { listeners, changes }) => {
            let plan = listeners::Plan { target, listeners, changes };
            hayward_peers::answer(&listeners::run(plan).await.context("trial `listeners`")?)
        }
        Trial::Nodes(Nodes { other, servers, writers, changes }) => {
            let other = other.map(|url| Target::parse(&url, token)).transpose()?;
            let nodes = std::iter::once(target).chain(other).collect();
            let plan = nodes::Plan { nodes, servers, writers, changes };
            hayward_peers::answer(&nodes::run(plan).await.context("trial `nodes`")?)
        }
        Trial::Followers(Followers { watches, changes, pid }) => {
            let plan = followers::Plan { target, watches, changes, pid };
            hayward_peers::answer(&followers::run(plan).await.context("trial `followers`")?)
        }
        Trial::Markers(Clients { clients, calls }) => {
            let plan = markers::Plan { target, clients, calls };
            hayward_peers::answer(&markers::run(plan).await.context("trial `markers`")?)
        }
    }
}

impl IdleCrowd {
    fn plan(self, target: Target) -> sessions::Plan {
        sessions::Plan {
            target,
            sessions: self.sessions,
            has_streams: self.streams,
            callers: CALLERS,
            per_second: self.callers.per_second,
            duration: Duration::from_secs(self.callers.seconds),
            process: self.callers.pid,
        }
    }
}

impl SlowCrowd {
    fn plan(self, target: Target) -> slow::Plan {
        let token = self.slow_token.or_else(|| target.token.clone());
        slow::Plan {
            slow: Target { token, ..target.clone() },
            target,
            kind: self.kind,
            connections: self.connections,
            per_second: self.callers.per_second,
            duration: Duration::from_secs(self.callers.seconds),
            process: self.callers.pid,
        }
    }
}
