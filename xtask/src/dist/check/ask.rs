//! Calls of tools, by `curl`.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::step;

/// How to reach a server.
pub(super) struct Asked<'a> {
    /// Its endpoint.
    pub(super) url: &'a str,
    pub(super) token: &'a str,
}

/// Calls a tool by `curl`, which may be anywhere; returns its structured result.
pub(super) fn call(mut curl: Command, asked: &Asked<'_>, tool: &str, arguments: &Value) -> Result<Value> {
    let params = json!({ "name": tool, "arguments": arguments });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
    curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "20", "--noproxy", "*"]);
    curl.args(["--header", &format!("Authorization: Bearer {}", asked.token)]);
    curl.args(["--header", "Content-Type: application/json", "--data", &body, asked.url]);
    let answer = step::capture(&mut curl)?;
    let answer: Value = serde_json::from_str(&answer).with_context(|| format!("no JSON: {answer}"))?;
    let result = &answer["result"];
    ensure!(result.is_object() && result["isError"] != true, "`{tool}` failed: {answer}");
    Ok(result["structuredContent"].clone())
}
