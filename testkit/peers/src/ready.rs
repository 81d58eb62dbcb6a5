//! How a server peer says where it listens.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

#[derive(Serialize)]
struct Ready {
    url: String,
    pid: u32,
}

/// Writes the ready file atomically: who sees it sees all of it.
pub fn announce(file: &Path, address: SocketAddr) -> Result<()> {
    let ready = Ready { url: format!("http://{address}/mcp"), pid: std::process::id() };
    let partial = file.with_extension("partial");
    std::fs::write(&partial, serde_json::to_vec(&ready)?).context("failed to write ready file")?;
    std::fs::rename(&partial, file).context("failed to publish ready file")
}
