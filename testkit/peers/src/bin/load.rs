//! `load`: raw HTTP/1.1 load; prints one line of JSON.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use hayward_peers::load::{self, Era, Load, Plan};

/// Puts a closed-loop load on a server. The bearer token comes from `LOAD_TOKEN`.
#[derive(Parser)]
struct Arguments {
    /// Where to send it, e.g. `http://127.0.0.1:8765/mcp`.
    url: String,
    /// The bearer token.
    #[arg(long, env = "LOAD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// How to speak.
    #[arg(long, value_enum, default_value = "legacy")]
    era: Era,
    /// The method.
    #[arg(long, default_value = "tools/call")]
    method: String,
    /// The tool, for `tools/call`.
    #[arg(long)]
    tool: Option<String>,
    /// Its arguments as JSON, or `@FILE`.
    #[arg(long = "arguments", default_value = "{}")]
    input: String,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Milliseconds before the measurement.
    #[arg(long, default_value_t = 300)]
    warmup_ms: u64,
    /// Milliseconds of the measurement.
    #[arg(long, default_value_t = 2000)]
    duration_ms: u64,
    /// The server's process, for its processor time and memory.
    #[arg(long)]
    pid: Option<u32>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let rest = arguments.url.strip_prefix("http://").context("the URL is not plain HTTP")?;
    let (authority, path) = rest.split_once('/').context("the URL has no path")?;
    let plan = Plan {
        era: arguments.era,
        path: format!("/{path}"),
        authority: authority.to_owned(),
        token: arguments.token,
        method: arguments.method,
        tool: arguments.tool,
        arguments: load::json_or_file(&arguments.input)?,
    };
    let measured = load::run(Load {
        authority: authority.to_owned(),
        plan,
        connections: arguments.connections,
        warmup: Duration::from_millis(arguments.warmup_ms),
        duration: Duration::from_millis(arguments.duration_ms),
        process: arguments.pid,
    })
    .await?;
    hayward_peers::answer(&measured)
}
