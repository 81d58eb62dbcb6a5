//! The server that the official conformance suite expects, and an echo for benchmarks.
//!
//! Names, texts and notifications are the suite's; what it offers is made of the contract like any other.

mod contents;
mod curious;
mod guarded;
mod load;
mod prompts;
mod resources;
mod rounds;
mod tasks;
mod triggers;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hayward_api::Tier;
use hayward_api::names::ToolName;
use hayward_mcp::json::Raw;
use hayward_tool::{
    Annotations, BoxFuture, Call, Changes, Cx, Descriptor, Outcome, Progress, Tool, ToolError, Toolset,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub use curious::curious;

pub use load::load;

pub use guarded::guarded;

/// A red pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// A WAVE file without a sample.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";

/// What a fixture does when it is called.
type Action = Arc<dyn for<'a> Fn(&'a Cx, Call) -> BoxFuture<'a, Outcome> + Send + Sync>;

struct Fixture {
    descriptor: Descriptor,
    action: Action,
}

impl Fixture {
    fn tool<F>(name: &str, description: &str, action: F) -> Arc<dyn Tool>
    where
        F: for<'a> Fn(&'a Cx, Call) -> BoxFuture<'a, Outcome> + Send + Sync + 'static,
    {
        Self::with_schema(name, description, &json!({"type": "object", "properties": {}}), action)
    }

    fn with_schema<F>(name: &str, description: &str, schema: &Value, action: F) -> Arc<dyn Tool>
    where
        F: for<'a> Fn(&'a Cx, Call) -> BoxFuture<'a, Outcome> + Send + Sync + 'static,
    {
        Arc::new(Self::of(name, description, schema, Arc::new(action)))
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
            needs_task: false,
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
    Outcome::done(Raw::of(result).expect("plain JSON"))
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// The server of the conformance suite. It bears the name of the host's, so that a token reaches it.
pub fn conformance() -> Toolset {
    let changes = Changes::default();
    let tools = [contents::tools(), rounds::tools(), tasks::tools(), triggers::tools(&changes)].concat();
    Toolset {
        name: "host".into(),
        instructions: "Fixtures of the conformance suite.".into(),
        tools,
        resources: resources::all(),
        prompts: prompts::all(),
        has_tasks: true,
        changes,
    }
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
            echoed(&message)
        })
    }
}

fn echoed(text: &str) -> Outcome {
    let content = [Text { r#type: "text", text }];
    let result = Raw::of(&Echoed { content, is_error: false }).expect("plain JSON");
    Outcome::done(result)
}

/// `echo`, the measure of the road itself, and as many further tools as a list should have.
pub fn echo(further_tools: usize) -> Toolset {
    let schema = json!({
        "type": "object",
        "properties": {"message": {"type": "string", "description": "What comes back."}},
        "required": ["message"],
    });
    let never: Action = Arc::new(|_, _| at_once(Value::Null));
    let Fixture { descriptor, .. } = Fixture::of("echo", "Returns what it was given.", &schema, never);
    let mut tools: Vec<Arc<dyn Tool>> = vec![Arc::new(Echo(descriptor))];
    for index in 0..further_tools {
        let description =
            format!("Tool number {index} of a long list, described in a sentence of the usual length.");
        tools.push(Fixture::with_schema(&format!("tool_{index}"), &description, &schema, |_, _| {
            at_once(Value::Null)
        }));
    }
    Toolset::of_tools("host", "Fixtures of the benchmarks.", tools)
}

#[expect(clippy::panic, reason = "this is what the fixture is for")]
fn panic_on_purpose<'a>() -> BoxFuture<'a, Outcome> {
    Box::pin(async { panic!("on purpose") })
}

/// Tools that behave badly: one panics, one never ends, one answers before anybody could hear what it
/// tells, one answers much, one answers more than fits, one ends when another one is called, two go on whatever they
/// are told.
pub fn unruly() -> Toolset {
    let freed = Arc::new(Semaphore::new(0));
    let deaf: Action = Arc::new(|_, _| Box::pin(std::future::pending()));
    let empty = json!({"type": "object"});
    let ignores = Fixture::of("ignores", "Goes on whatever it is told.", &empty, Arc::clone(&deaf));
    let mut overruns = Fixture::of("overruns", "Goes on beyond its deadline.", &empty, deaf);
    overruns.descriptor.timeout = Duration::from_millis(50);
    Toolset::of_tools(
        "host",
        "Tools that behave badly.",
        vec![
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
            holds(&freed),
            Arc::new(ignores),
            Arc::new(overruns),
            Fixture::tool("frees", "Lets one call of `holds` end.", move |_, _| {
                freed.add_permits(1);
                at_once(json!({"content": [text("freed")]}))
            }),
        ],
    )
}

fn holds(freed: &Arc<Semaphore>) -> Arc<dyn Tool> {
    let freed = Arc::clone(freed);
    Fixture::tool(
        "holds",
        "Reports a step, waits until `frees` is called, and reports another one.",
        move |cx, _| {
            let freed = Arc::clone(&freed);
            Box::pin(async move {
                cx.report(Progress::Step { progress: 1.0, total: None, message: None });
                tokio::select! {
                    permit = freed.acquire() => permit.expect("never closed").forget(),
                    stop = cx.stopped() => return ToolError::from(stop).into(),
                }
                cx.report(Progress::Step { progress: 2.0, total: None, message: None });
                done(&json!({"content": [text("held")]}))
            })
        },
    )
}
