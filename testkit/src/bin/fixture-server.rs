//! The fixtures behind the real listener, for the conformance suite and for benchmarks.
//!
//! `fixture-server READY_FILE [TOOLS]`: writes where it listens to that file and serves until SIGTERM or
//! SIGINT; with a number, `echo` and that many further tools, else the fixtures of the suite.

use std::path::PathBuf;

use anyhow::Context;
use hayward_gateway::limits::Limits;
use hayward_testkit::{fixture, server::Server};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let ready: PathBuf = args.next().context("usage: fixture-server READY_FILE [TOOLS]")?.into();
    let server = match args.next() {
        Some(tools) => {
            let tools = fixture::echo(tools.parse().context("TOOLS must be a number")?);
            // The echo measures the road: its record is written, and the disk is left out.
            Server::start_recording(tools, Limits::default(), hayward_audit::Sync::Off).await?
        }
        None => Server::start(fixture::conformance()).await?,
    };
    server.write_ready_file(&ready)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
