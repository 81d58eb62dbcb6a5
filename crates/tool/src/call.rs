//! One call of one tool.

use std::sync::Arc;

use hayward_api::Principal;
use hayward_api::names::ToolName;
use hayward_mcp::json::Raw;
use serde::{Deserialize, Serialize};

/// One call, however it came, as it crosses the seam to what runs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The request id of the record; unique, and ours.
    pub id: Arc<str>,
    /// The tool, by its own name (not the name that a project exposes it under).
    pub tool: ToolName,
    /// The arguments: a checked JSON object.
    pub arguments: Raw,
    /// Who calls.
    pub caller: Caller,
    /// How long it may run, in milliseconds; what runs it may end it sooner.
    pub timeout_ms: u64,
}

/// Who calls, as far as a tool may know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Caller {
    /// Verified by us.
    pub principal: Arc<Principal>,
    /// What the client says it is, e.g. `claude-code 2.1`; claimed, never trusted.
    pub client: Arc<str>,
}
