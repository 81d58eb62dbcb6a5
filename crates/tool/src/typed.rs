//! Tools written as typed functions: what is common comes from the types.
//!
//! The doc comment of `Args` is the description that a model reads, the doc comments of its fields are
//! the descriptions of the arguments; schemas and checks follow from the types.

use std::future::Future;
use std::time::Duration;

use hayward_api::Tier;
use hayward_api::names::ToolName;
use hayward_mcp::json::Raw;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arguments;
use crate::call::{Call, Caller};
use crate::cx::{Cx, Stop};
use crate::descriptor::{Annotations, Descriptor};
use crate::outcome::{Outcome, ToolError, Verdict};
use crate::tool::{BoxFuture, Tool};

/// A tool as a typed function.
pub trait TypedTool: Send + Sync + 'static {
    /// The name that it is called by.
    const NAME: &'static str;
    /// A name for people.
    const TITLE: &'static str;
    /// How risky it is.
    const TIER: Tier;
    /// The hints of the protocol.
    const ANNOTATIONS: Annotations;
    /// Its arguments. The doc comment is the tool's description.
    type Args: DeserializeOwned + JsonSchema + Send;
    /// Its result when nothing fails.
    type Output: Serialize + JsonSchema + Send + Sync;

    /// How long a call may run at most.
    fn timeout(&self) -> Duration {
        Duration::from_mins(1)
    }

    /// What the record says of a result.
    fn verdict(&self, output: &Self::Output) -> Verdict {
        let _ = output;
        Verdict::ok()
    }

    /// Runs one call. Dropping the future must leave nothing half done or running.
    fn run(
        &self,
        cx: &Cx,
        caller: &Caller,
        args: Self::Args,
    ) -> impl Future<Output = Result<Self::Output, ToolError>> + Send;
}

/// A [`TypedTool`] as a [`Tool`].
pub struct Typed<T> {
    tool: T,
    descriptor: Descriptor,
}

impl<T: TypedTool> Typed<T> {
    /// Derives the descriptor of a tool.
    pub fn new(tool: T) -> Self {
        let mut input = schema_of::<T::Args>();
        let description = take_description(&mut input);
        let mut output = schema_of::<T::Output>();
        take_description(&mut output);
        let descriptor = Descriptor {
            name: ToolName::parse(T::NAME).expect("the names of our tools keep the rule"),
            title: T::TITLE.to_owned(),
            description,
            tier: T::TIER,
            annotations: T::ANNOTATIONS,
            input_schema: Raw::of(&input).expect("a schema is plain JSON"),
            output_schema: Some(Raw::of(&output).expect("a schema is plain JSON")),
            timeout: tool.timeout(),
            needs_task: false,
        };
        Self { tool, descriptor }
    }
}

impl<T: TypedTool> Tool for Typed<T> {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn call<'a>(&'a self, cx: &'a Cx, call: Call) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let args = match arguments::parse::<T::Args>(&self.descriptor.input_schema, &call.arguments) {
                Ok(args) => args,
                Err(error) => return Outcome::invalid_arguments(&error.to_string()),
            };
            match self.tool.run(cx, &call.caller, args).await {
                Ok(output) => Outcome::structured(self.tool.verdict(&output), &output),
                Err(error) => error.of_tool(T::NAME).into(),
            }
        })
    }
}

impl From<Stop> for ToolError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Cancelled => Self::cancelled(),
            Stop::Deadline => Self::timeout("the call ran out of time")
                .suggest("ask for less at once: a smaller directory, a narrower pattern, fewer lines"),
        }
    }
}

/// The JSON Schema of a type, without what clients stumble over or pay for in vain.
fn schema_of<T: JsonSchema>() -> schemars::Schema {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    RecursiveTransform(Plain).transform(&mut schema);
    schema.remove("title");
    schema
}

/// Unwraps descriptions, drops `format` of integers (`int64` is no format of JSON Schema) and folds `[T, "null"]` of
/// optional arguments to `T`.
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut schemars::Schema) {
        if schema.get("format").and_then(|format| format.as_str()).is_some_and(is_number_format) {
            schema.remove("format");
        }
        let folded = match schema.get("type").and_then(|kind| kind.as_array()) {
            Some(kinds) if kinds.len() == 2 && kinds[1] == "null" => Some(kinds[0].clone()),
            _ => None,
        };
        if let Some(kind) = folded {
            schema.insert("type".to_owned(), kind);
        }
        if let Some(serde_json::Value::String(text)) = schema.get("description") {
            let unwrapped = unwrap_lines(text);
            schema.insert("description".to_owned(), unwrapped.into());
        }
        if schema.get("default").is_some_and(serde_json::Value::is_null) {
            schema.remove("default");
        }
    }
}

/// The line breaks of a doc comment are the editor's; only paragraphs are meant.
fn unwrap_lines(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

fn is_number_format(format: &str) -> bool {
    format.starts_with("int") || format.starts_with("uint") || matches!(format, "double" | "float")
}

fn take_description(schema: &mut schemars::Schema) -> String {
    match schema.remove("description") {
        Some(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hayward_api::Principal;
    use serde::Deserialize;
    use serde_json::{Value, json};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::Ending;
    use crate::outcome::Reply;

    struct Double;

    /// Doubles a number.
    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct DoubleArgs {
        /// The number.
        number: i64,
        /// How often.
        #[serde(default = "once")]
        times: i64,
        /// What to say.
        #[serde(default)]
        note: Option<String>,
    }

    fn once() -> i64 {
        1
    }

    #[derive(Serialize, JsonSchema)]
    struct Doubled {
        number: i64,
        note: Option<String>,
    }

    impl TypedTool for Double {
        const NAME: &'static str = "double";
        const TITLE: &'static str = "Double";
        const TIER: Tier = Tier::Read;
        const ANNOTATIONS: Annotations = Annotations::READS;
        type Args = DoubleArgs;
        type Output = Doubled;

        async fn run(&self, _cx: &Cx, _caller: &Caller, args: DoubleArgs) -> Result<Doubled, ToolError> {
            if args.number < 0 {
                return Err(ToolError::new("Negative", hayward_api::Code::Invalid, "negative"));
            }
            Ok(Doubled { number: args.number * (1 << args.times), note: args.note })
        }
    }

    async fn call(arguments: Value) -> (Value, Ending) {
        let tool = Typed::new(Double);
        let cx = Cx::new(Duration::from_secs(1), CancellationToken::new());
        let call = Call::of_tool(
            Double::NAME,
            Raw::of(&arguments).unwrap(),
            Principal::anonymous(),
            Duration::from_secs(1),
        );
        let outcome = tool.call(&cx, call).await;
        match outcome.reply {
            Reply::Result(raw) => (raw.view().unwrap(), outcome.verdict.ending),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_typed_tool_answers_text_and_structure() {
        let (result, ending) = call(json!({"number": 4, "times": null})).await;
        assert_eq!(result["structuredContent"]["number"], 8);
        assert_eq!(result["content"][0]["text"], r#"{"number": 8, "note": null}"#);
        assert_eq!(ending, Ending::Ok);
    }

    #[tokio::test]
    async fn bad_arguments_are_refused_with_the_way_out() {
        for (arguments, expect) in [
            (json!({}), "'number' is a required property"),
            (json!({"number": "x"}), "number: 'x' is not of type 'integer'"),
            (json!({"number": 1, "nunber": 2}), "did you mean 'number'?"),
            (json!({"number": null}), "number: None is not of type 'integer'"),
        ] {
            let (result, ending) = call(arguments.clone()).await;
            let text = result["content"][0]["text"].as_str().unwrap();
            assert!(text.starts_with("Input validation error: "), "{text}");
            assert!(text.contains(expect), "{arguments}: {text}");
            assert_eq!((result["isError"].clone(), ending), (json!(true), Ending::Error));
        }
    }

    #[test]
    fn the_schema_is_plain() {
        let tool = Typed::new(Double);
        let schema: Value = tool.descriptor().input_schema.view().unwrap();
        let expect = json!({
            "type": "object",
            "properties": {
                "number": {"description": "The number.", "type": "integer"},
                "times": {"description": "How often.", "type": "integer", "default": 1},
                "note": {"description": "What to say.", "type": "string"},
            },
            "required": ["number"],
            "additionalProperties": false,
        });
        assert_eq!(schema, expect);
        assert_eq!(tool.descriptor().description, "Doubles a number.");
    }
}
