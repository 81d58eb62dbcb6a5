//! The client end, against peers that a test writes: whatever they do, each request has one end.
#![cfg(test)]

#[path = "upstream/http.rs"]
mod http;
#[path = "upstream/lines.rs"]
mod lines;
#[path = "upstream/lists.rs"]
mod lists;
#[path = "upstream/peer.rs"]
mod peer;
#[path = "upstream/scripted.rs"]
mod scripted;
#[path = "upstream/sse.rs"]
mod sse;

use hayward_mcp::json::Raw;
use hayward_mcp::upstream::{EraChoice, Options};
use serde_json::{Value, json};

/// Bytes that a message may have here.
const MESSAGE_BYTES_MAX: usize = 4096;

fn options(era: EraChoice) -> Options {
    Options { era, ..Options::new(raw(&json!({"name": "tests", "version": "1"}))) }
}

fn raw(value: &Value) -> Raw {
    Raw::of(value).unwrap()
}

fn value(raw: &Raw) -> Value {
    raw.view().unwrap()
}

/// What a modern server says of itself.
fn discovered() -> Value {
    json!({
        "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
        "instructions": "be kind", "ttlMs": 0, "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "new", "version": "2"}},
    })
}

/// What a legacy server says of itself.
fn initialized(revision: &str) -> Value {
    json!({
        "protocolVersion": revision, "capabilities": {"tools": {}},
        "serverInfo": {"name": "old", "version": "1"}, "instructions": "be kind",
    })
}
