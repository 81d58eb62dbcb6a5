//! The fixtures behind the real listener, for the conformance suite and for benchmarks.
//!
//! `fixture-server READY_FILE [TOOLS [KEY=VALUE…]]`: writes where it listens to that file and serves until
//! SIGTERM or SIGINT. TOOLS is a number (`echo` and that many further tools), `strict` (`echo`, and every call waits
//! for the disk), `load` (the tools of the load tests), or left out (the fixtures of the suite); the rest are limits of
//! the gateway.

use std::path::PathBuf;

use anyhow::Context;
use hayward_gateway::limits::Limits;
use hayward_testkit::fixture;
use hayward_testkit::server::{Durability, Server};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let ready: PathBuf = args.next().context("usage: fixture-server READY_FILE [TOOLS]")?.into();
    let server = match args.next() {
        Some(tools) => {
            let usage = "TOOLS must be a number, `strict` or `load`";
            // Most measure the road: its record is written, and the disk is left out.
            let (tools, durability) = match tools.as_str() {
                "strict" => (fixture::echo(0), Durability::STRICT),
                "load" => (fixture::load(), Durability::WRITTEN),
                number => (fixture::echo(number.parse().context(usage)?), Durability::WRITTEN),
            };
            Server::start_recording(tools, limits(args)?, durability).await?
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

/// Limits, each as `KEY=VALUE`.
fn limits(words: impl Iterator<Item = String>) -> anyhow::Result<Limits> {
    let mut limits = Limits::default();
    for word in words {
        let (key, value) = word.split_once('=').context("a limit is KEY=VALUE")?;
        limits.set(key, value.parse().context("the value of a limit is a number")?)?;
    }
    Ok(limits)
}
