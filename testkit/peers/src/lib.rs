//! Independent peers: what Hayward is compared with and driven by, written without any of its
//! crates, so that a shared mistake can't hide.
//!
//! | program | what it is |
//! |---|---|
//! | `rmcp-client` | plays the interoperability scenario through the official Rust SDK |
//! | `rmcp-echo` | an echo server on the official Rust SDK |
//! | `axum-echo` | the least that answers `tools/call`: the ceiling of any server on this stack |
//! | `mcp-echo` | an MCP server of either era, over HTTP or lines: what gateways are measured in front of |
//! | `load` | raw load over keep-alive connections of HTTP/1.1, or lines of a process, without any SDK |
//! | `trial` | what a server must stand beside being fast: crowds, slow peers, equal request ids |

pub mod echo;
mod latency;
pub mod load;
mod process;
pub mod ready;
pub mod scenario;
pub mod trial;
pub mod wire;

use std::io::Write;

/// Prints one line of JSON: the answer of a peer.
pub fn answer(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    std::io::stdout().write_all(&line)?;
    Ok(())
}
