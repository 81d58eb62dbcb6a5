//! The least that is an MCP server of either era: what gateways are measured in front of.
//!
//! A message goes in, the bytes of its answer come out; `mcp-echo` puts HTTP or a pair of pipes around it. It has as many
//! tools as are wanted: `echo` says back what it is told, `much` returns a mebibyte, and all others do as `echo` does.

use std::borrow::Cow;

use anyhow::{Context, Result};
use memchr::memmem;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

/// Bytes of text that `much` returns.
const MUCH_BYTES: usize = 1 << 20;
/// … in lines of this length.
const LINE_BYTES: usize = 80;

const LEGACY_VERSION: &str = "2025-06-18";
const MODERN_VERSION: &str = "2026-07-28";
/// A message of the modern era says its revision in `_meta`.
const MODERN_SIGN: &[u8] = b"io.modelcontextprotocol/protocolVersion";
const METHOD_NOT_FOUND: i32 = -32601;

/// A server. Everything but an echo is made once.
pub struct Echo {
    listed: InEra,
    much: InEra,
    initialized: Box<RawValue>,
    discovered: Box<RawValue>,
}

/// A result as either era wants it.
struct InEra {
    legacy: Box<RawValue>,
    modern: Box<RawValue>,
}

impl InEra {
    /// `added` is what the modern era wants beside.
    fn of(result: Value, added: Value) -> Result<Self> {
        let legacy = to_raw_value(&result)?;
        let (Value::Object(mut modern), Value::Object(added)) = (result, added) else {
            anyhow::bail!("a result is an object");
        };
        modern.extend(added);
        Ok(Self { legacy, modern: to_raw_value(&modern)? })
    }

    fn raw(&self, is_modern: bool) -> &RawValue {
        if is_modern { &self.modern } else { &self.legacy }
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    arguments: Told<'a>,
}

#[derive(Default, Deserialize)]
struct Told<'a> {
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

#[derive(Serialize)]
struct Reply<'a, T> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    result: T,
}

#[derive(Serialize)]
struct Refusal<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    error: Value,
}

#[derive(Serialize)]
struct Content<'a> {
    content: [Text<'a>; 1],
    #[serde(rename = "resultType", skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
}

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'static str,
    text: &'a str,
}

impl Echo {
    /// A server with this many tools.
    pub fn new(tools: usize) -> Result<Self> {
        let tools: Vec<_> = (0..tools).map(tool).collect();
        let kept = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private"});
        let capabilities = json!({"tools": {}});
        let info = json!({"name": "mcp-echo", "version": "1.0.0"});
        let much = json!({"content": [{"type": "text", "text": lines()}]});
        let discovered = json!({
            "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "supportedVersions": [MODERN_VERSION],
            "capabilities": capabilities, "_meta": {"io.modelcontextprotocol/serverInfo": info},
        });
        let initialized =
            json!({"protocolVersion": LEGACY_VERSION, "capabilities": capabilities, "serverInfo": info});
        Ok(Self {
            listed: InEra::of(json!({ "tools": tools }), kept)?,
            much: InEra::of(much, json!({"resultType": "complete"}))?,
            initialized: to_raw_value(&initialized)?,
            discovered: to_raw_value(&discovered)?,
        })
    }

    /// The answer to a message; none to a notification.
    ///
    /// # Errors
    /// If it is no message.
    pub fn answer(&self, message: &[u8]) -> Result<Option<Vec<u8>>> {
        let message: Message<'_> = serde_json::from_slice(message).context("it is no message")?;
        let Some(id) = message.id else { return Ok(None) };
        let params = message.params.map_or("{}", RawValue::get);
        let is_modern = memmem::find(params.as_bytes(), MODERN_SIGN).is_some();
        let answer = match message.method {
            "tools/call" => self.call(id, &serde_json::from_str(params)?, is_modern),
            "tools/list" => reply(id, self.listed.raw(is_modern)),
            "initialize" => reply(id, &*self.initialized),
            "server/discover" => reply(id, &*self.discovered),
            "ping" => reply(id, json!({})),
            method => refuse(id, method),
        };
        answer.map(Some)
    }

    fn call(&self, id: &RawValue, call: &Call<'_>, is_modern: bool) -> Result<Vec<u8>> {
        if call.name == "much" {
            return reply(id, self.much.raw(is_modern));
        }
        let text = Text { r#type: "text", text: &call.arguments.message };
        reply(id, Content { content: [text], result_type: is_modern.then_some("complete") })
    }
}

fn tool(index: usize) -> Value {
    let name = match index {
        0 => "echo".to_owned(),
        1 => "much".to_owned(),
        _ => format!("echo_{index}"),
    };
    let message = json!({"type": "string", "description": "What is said back."});
    json!({
        "name": name, "description": "Says back what it is told.",
        "inputSchema": {"type": "object", "properties": {"message": message}},
    })
}

/// Text as programs write it: lines, whose ends JSON has to escape.
fn lines() -> String {
    let line = |number: usize| {
        let mut line = format!("{number:>8} the quick brown fox jumps over the lazy dog ");
        line.extend(std::iter::repeat_n('.', LINE_BYTES - 1 - line.len()));
        line.push('\n');
        line
    };
    let mut text: String = (0..=MUCH_BYTES / LINE_BYTES).map(line).collect();
    text.truncate(MUCH_BYTES);
    text
}

fn reply(id: &RawValue, result: impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&Reply { jsonrpc: "2.0", id, result })?)
}

fn refuse(id: &RawValue, method: &str) -> Result<Vec<u8>> {
    let error = json!({"code": METHOD_NOT_FOUND, "message": format!("there is no method `{method}`")});
    Ok(serde_json::to_vec(&Refusal { jsonrpc: "2.0", id, error })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, params: &Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string();
        let answer = Echo::new(3).unwrap().answer(message.as_bytes()).unwrap().unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)));
        answer
    }

    #[test]
    fn a_call_is_answered_as_its_era_wants() {
        let mut params = json!({"name": "echo", "arguments": {"message": "a \"b\""}});
        let legacy = &ask("tools/call", &params)["result"];
        assert_eq!(*legacy, json!({"content": [{"type": "text", "text": "a \"b\""}]}));
        params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": MODERN_VERSION});
        let modern = &ask("tools/call", &params)["result"];
        assert_eq!((&modern["resultType"], &modern["content"]), (&json!("complete"), &legacy["content"]));
    }

    #[test]
    fn it_begins_in_either_era_and_lists_as_many_tools_as_are_wanted() {
        assert_eq!(ask("initialize", &json!({}))["result"]["protocolVersion"], LEGACY_VERSION);
        assert_eq!(ask("server/discover", &json!({}))["result"]["supportedVersions"][0], MODERN_VERSION);
        let listed = &ask("tools/list", &json!({}))["result"];
        let names: Vec<_> =
            listed["tools"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
        assert_eq!((names, listed.get("ttlMs")), (vec!["echo", "much", "echo_2"], None));
    }

    #[test]
    fn much_is_a_mebibyte_of_lines() {
        let much = ask("tools/call", &json!({"name": "much"}));
        let text = much["result"]["content"][0]["text"].as_str().unwrap();
        assert_eq!(text.len(), MUCH_BYTES);
        assert!(text.lines().rev().skip(1).all(|line| line.len() == LINE_BYTES - 1));
    }

    #[test]
    fn what_asks_nothing_gets_nothing_and_what_is_unknown_an_error() {
        let echo = Echo::new(1).unwrap();
        let told = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert!(echo.answer(told).unwrap().is_none());
        assert!(echo.answer(b"nonsense").is_err());
        assert_eq!(ask("resources/list", &json!({}))["error"]["code"], METHOD_NOT_FOUND);
    }
}
