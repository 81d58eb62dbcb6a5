//! The toolset that the official conformance suite expects, and an echo for benchmarks.
//!
//! Names, texts and notifications are the suite's; they are tools like any other, made of the contract.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hayward_api::Tier;
use hayward_api::names::ToolName;
use hayward_mcp::json::Raw;
use hayward_tool::{
    Annotations, BoxFuture, Call, Cx, Descriptor, Outcome, Progress, Reply, Tool, ToolError, Toolset, Verdict,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A red pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// A WAVE file without a sample.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";

/// What a fixture does when it is called.
type Action = for<'a> fn(&'a Cx, Call) -> BoxFuture<'a, Outcome>;

struct Fixture {
    descriptor: Descriptor,
    action: Action,
}

impl Fixture {
    fn tool(name: &str, description: &str, action: Action) -> Arc<dyn Tool> {
        Self::with_schema(name, description, &json!({"type": "object", "properties": {}}), action)
    }

    fn with_schema(name: &str, description: &str, schema: &Value, action: Action) -> Arc<dyn Tool> {
        Arc::new(Self::of(name, description, schema, action))
    }

    fn of(name: &str, description: &str, schema: &Value, action: Action) -> Self {
        let descriptor = Descriptor {
            name: ToolName::parse(name).expect("fixtures have good names"),
            title: name.to_owned(),
            description: description.to_owned(),
            tier: Tier::Read,
            annotations: Annotations::READS,
            input_schema: Raw::of(schema).expect("plain JSON"),
            output_schema: None,
            timeout: Duration::from_secs(30),
        };
        Self { descriptor, action }
    }
}

impl Tool for Fixture {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn call<'a>(&'a self, cx: &'a Cx, call: Call) -> BoxFuture<'a, Outcome> {
        (self.action)(cx, call)
    }
}

/// Answers at once.
fn at_once<'a>(result: Value) -> BoxFuture<'a, Outcome> {
    Box::pin(async move { done(&result) })
}

/// It did what was asked.
fn done(result: &Value) -> Outcome {
    let reply = Reply::Result(Raw::of(result).expect("plain JSON"));
    Outcome { verdict: Verdict::ok(), reply, detail: None }
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// The toolset of the conformance suite. It bears the name of the host's, so that a token reaches it.
pub fn conformance() -> Toolset {
    Toolset {
        name: "host",
        instructions: "Fixtures of the conformance suite.",
        tools: vec![
            Fixture::tool("test_simple_text", "Returns a text.", |_, _| {
                at_once(json!({"content": [text("This is a simple text response for testing.")]}))
            }),
            Fixture::tool("test_image_content", "Returns an image.", |_, _| {
                at_once(json!({"content": [{"type": "image", "data": PNG, "mimeType": "image/png"}]}))
            }),
            Fixture::tool("test_audio_content", "Returns a sound.", |_, _| {
                at_once(json!({"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]}))
            }),
            Fixture::tool("test_embedded_resource", "Returns a resource.", |_, _| {
                at_once(json!({"content": [{"type": "resource", "resource": {
                    "uri": "test://embedded-resource",
                    "mimeType": "text/plain",
                    "text": "This is an embedded resource content.",
                }}]}))
            }),
            Fixture::tool("test_multiple_content_types", "Returns a mix.", |_, _| {
                at_once(json!({"content": [
                    text("Multiple content types test:"),
                    {"type": "image", "data": PNG, "mimeType": "image/png"},
                    {"type": "resource", "resource": {
                        "uri": "test://mixed-content-resource",
                        "mimeType": "application/json",
                        "text": "{\"test\":\"data\",\"value\":123}",
                    }},
                ]}))
            }),
            Fixture::tool("test_error_handling", "Returns an error.", |_, _| {
                at_once(json!({
                    "isError": true,
                    "content": [text("This tool intentionally returns an error for testing")],
                }))
            }),
            Fixture::tool("test_tool_with_logging", "Logs while it runs.", |cx, _| {
                Box::pin(async move {
                    for line in ["Tool execution started", "Tool processing data", "Tool execution completed"]
                    {
                        let data = Raw::of(line).expect("a string");
                        cx.report(Progress::Log { level: "info".into(), logger: None, data });
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    done(&json!({"content": [text("logged")]}))
                })
            }),
            Fixture::tool("test_tool_with_progress", "Reports progress while it runs.", |cx, _| {
                Box::pin(async move {
                    for progress in [0.0, 50.0, 100.0] {
                        cx.report(Progress::Step { progress, total: Some(100.0), message: None });
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    done(&json!({"content": [text("done")]}))
                })
            }),
            Fixture::with_schema(
                "json_schema_2020_12_tool",
                "Tool with JSON Schema 2020-12 features",
                &rich_schema(),
                |_, _| at_once(json!({"content": [text("ok")]})),
            ),
        ],
    }
}

/// Every family of keywords that a relay tends to lose.
fn rich_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }},
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false,
    })
}

/// The least that a tool can do, as typed as the echoes that it is compared with, so that what is
/// measured is the road.
struct Echo(Descriptor);

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

#[derive(Serialize)]
struct Echoed<'a> {
    content: [Text<'a>; 1],
    #[serde(rename = "isError")]
    is_error: bool,
}

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'static str,
    text: &'a str,
}

impl Tool for Echo {
    fn descriptor(&self) -> &Descriptor {
        &self.0
    }

    fn call<'a>(&'a self, _cx: &'a Cx, call: Call) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let Ok(Message { message }) = serde_json::from_slice(call.arguments.as_bytes()) else {
                return Outcome::invalid_arguments("`message` must be a string");
            };
            let content = [Text { r#type: "text", text: &message }];
            let result = Raw::of(&Echoed { content, is_error: false }).expect("plain JSON");
            Outcome { verdict: Verdict::ok(), reply: Reply::Result(result), detail: None }
        })
    }
}

/// `echo`, the measure of the road itself, and as many further tools as a list should have.
pub fn echo(further_tools: usize) -> Toolset {
    let schema = json!({
        "type": "object",
        "properties": {"message": {"type": "string", "description": "What comes back."}},
        "required": ["message"],
    });
    let never: Action = |_, _| at_once(Value::Null);
    let Fixture { descriptor, .. } = Fixture::of("echo", "Returns what it was given.", &schema, never);
    let mut tools: Vec<Arc<dyn Tool>> = vec![Arc::new(Echo(descriptor))];
    for index in 0..further_tools {
        let description =
            format!("Tool number {index} of a long list, described in a sentence of the usual length.");
        tools.push(Fixture::with_schema(&format!("tool_{index}"), &description, &schema, never));
    }
    Toolset { name: "host", instructions: "Fixtures of the benchmarks.", tools }
}

#[expect(clippy::panic, reason = "this is what the fixture is for")]
fn panic_on_purpose<'a>() -> BoxFuture<'a, Outcome> {
    Box::pin(async { panic!("on purpose") })
}

/// Tools that behave badly: one panics, one never ends, one answers before anybody could hear what it
/// tells, one answers much, one answers more than fits.
pub fn unruly() -> Toolset {
    Toolset {
        name: "host",
        instructions: "Tools that behave badly.",
        tools: vec![
            Fixture::tool("panics", "Panics.", |_, _| panic_on_purpose()),
            Fixture::tool("waits", "Waits until it is stopped.", |cx, _| {
                Box::pin(async move {
                    cx.report(Progress::Step { progress: 0.0, total: None, message: None });
                    ToolError::from(cx.stopped().await).into()
                })
            }),
            Fixture::tool("tells", "Reports three steps and answers, without a pause.", |cx, _| {
                Box::pin(async move {
                    for progress in [1.0, 2.0, 3.0] {
                        cx.report(Progress::Step { progress, total: None, message: None });
                    }
                    done(&json!({"content": [text("told")]}))
                })
            }),
            Fixture::tool("pours", "Reports a step, then answers as much as a client can take.", |cx, _| {
                Box::pin(async move {
                    cx.report(Progress::Step { progress: 0.0, total: None, message: None });
                    tokio::task::yield_now().await;
                    done(&json!({"content": [text(&"x".repeat(8 << 20))]}))
                })
            }),
            Fixture::tool("floods", "Answers more than fits.", |_, _| {
                at_once(json!({"content": [text(&"x".repeat(40 << 20))]}))
            }),
        ],
    }
}
