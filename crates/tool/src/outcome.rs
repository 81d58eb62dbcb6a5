//! How a call ended.

use hayward_api::{Code, Ending};
use hayward_mcp::json::{ObjectWriter, Raw};
use serde::{Deserialize, Serialize};

use crate::text::python_style_into;

/// How a call ended, for the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The word.
    pub ending: Ending,
    /// The code of the failure, e.g. `ProtectedPath` or `ExitCode:3`.
    pub code: Option<String>,
    /// The message of the failure.
    pub message: Option<String>,
}

impl Verdict {
    /// It did what was asked.
    pub fn ok() -> Self {
        Self { ending: Ending::Ok, code: None, message: None }
    }

    /// It ended otherwise.
    pub fn failed(ending: Ending, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { ending, code: Some(code.into()), message: Some(message.into()) }
    }
}

/// What the caller gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// A `CallToolResult` object, without the members that only one era has.
    Result(Raw),
    /// A JSON-RPC error.
    Error {
        /// JSON-RPC code.
        code: i64,
        /// What happened.
        message: String,
        /// More of it.
        data: Option<Raw>,
    },
}

/// How a call ended: for the record, and for the caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// For the record.
    pub verdict: Verdict,
    /// For the caller.
    pub reply: Reply,
    /// For the log, and for it alone: what the caller must not see.
    pub detail: Option<String>,
}

impl Outcome {
    /// The outcome of a result that was produced as a typed value: one text block that holds the
    /// value as JSON, and the value itself as `structuredContent`.
    pub fn structured<T: Serialize>(verdict: Verdict, value: &T) -> Self {
        match write_structured(value) {
            Ok(result) => Self { verdict, reply: Reply::Result(result), detail: None },
            Err(error) => ToolError::internal(format!("result can't be written: {error}")).into(),
        }
    }

    /// The outcome of a call whose arguments break the schema.
    pub fn invalid_arguments(message: &str) -> Self {
        let text = format!("Input validation error: {message}");
        let mut escaped = Vec::with_capacity(text.len() + 8);
        hayward_mcp::json::escape_into(text.as_bytes(), &mut escaped);
        Self {
            verdict: Verdict::failed(Ending::Error, "InvalidArguments", message),
            reply: Reply::Result(error_result(&escaped)),
            detail: None,
        }
    }
}

/// The code of a defect of ours.
const INTERNAL: &str = "InternalError";

/// A failure of a tool that its caller is told: an error result with JSON in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolError {
    /// The code that clients branch on, e.g. `FileNotFoundError`.
    pub code: &'static str,
    /// What kind of failure it is, in our closed set.
    pub kind: Code,
    /// What happened, naming the object.
    pub message: String,
    /// What to do about it.
    pub suggestion: Option<String>,
    /// What only the log is told.
    pub detail: Option<String>,
}

impl ToolError {
    /// A failure without a suggestion.
    pub fn new(code: &'static str, kind: Code, message: impl Into<String>) -> Self {
        Self { code, kind, message: message.into(), suggestion: None, detail: None }
    }

    /// The same failure with the way out.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// A defect of ours; the caller is told no detail.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::new(INTERNAL, Code::Internal, "the tool failed with an unexpected error")
                .suggest("retry once; if it fails again, look into the server's log")
        }
    }

    /// The same failure, a defect naming the tool that has it.
    pub(crate) fn of_tool(mut self, name: &str) -> Self {
        if self.code == INTERNAL {
            self.message = format!("Tool '{name}' failed with an unexpected error");
        }
        self
    }

    /// The call was cancelled.
    pub fn cancelled() -> Self {
        Self::new("Cancelled", Code::Unavailable, "the call was cancelled")
            .suggest("part of it may have been done: look before you call again")
    }

    /// The time was over.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new("TimeoutError", Code::Timeout, message)
    }

    fn ending(&self) -> Ending {
        match (self.code, self.kind) {
            ("Cancelled", _) => Ending::Cancelled,
            (_, Code::Timeout) => Ending::Timeout,
            (_, Code::Forbidden) => Ending::Denied,
            _ => Ending::Error,
        }
    }
}

#[derive(Serialize)]
struct ErrorText<'a> {
    success: bool,
    error: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<&'a str>,
}

impl From<ToolError> for Outcome {
    fn from(error: ToolError) -> Self {
        let text = ErrorText {
            success: false,
            error: error.code,
            message: &error.message,
            suggestion: error.suggestion.as_deref(),
        };
        let text = serde_json::to_vec(&text).expect("strings and a bool serialise");
        let mut escaped = Vec::with_capacity(text.len() * 2);
        python_style_into(&text, &mut escaped);
        let verdict = Verdict::failed(error.ending(), error.code, error.message.clone());
        Self { verdict, reply: Reply::Result(error_result(&escaped)), detail: error.detail }
    }
}

/// A result with a value as text and as structure, written into one buffer: results are long.
fn write_structured<T: Serialize>(value: &T) -> Result<Raw, serde_json::Error> {
    let structured = serde_json::to_vec(value)?;
    let mut out = Vec::with_capacity(structured.len() * 2 + structured.len() / 8 + 128);
    out.extend_from_slice(br#"{"content":[{"type":"text","text":""#);
    python_style_into(&structured, &mut out);
    out.extend_from_slice(br#""}],"structuredContent":"#);
    out.extend_from_slice(&structured);
    out.extend_from_slice(br#","isError":false}"#);
    Ok(hayward_mcp::json::from_written(out))
}

fn error_result(escaped: &[u8]) -> Raw {
    ObjectWriter::new(escaped.len() + 64).raw("content", &text_block(escaped)).bool("isError", true).end()
}

/// `[{"type":"text","text":"…"}]` around text that is escaped already.
fn text_block(escaped: &[u8]) -> Raw {
    let mut quoted = Vec::with_capacity(escaped.len() + 32);
    quoted.extend_from_slice(br#"[{"type":"text","text":""#);
    quoted.extend_from_slice(escaped);
    quoted.extend_from_slice(br#""}]"#);
    hayward_mcp::json::from_written(quoted)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn result(outcome: &Outcome) -> Value {
        match &outcome.reply {
            Reply::Result(raw) => raw.view().unwrap(),
            Reply::Error { .. } => panic!("an error reply"),
        }
    }

    #[test]
    fn a_value_stands_as_text_and_as_structure() {
        let outcome = Outcome::structured(Verdict::ok(), &json!({"a": "x\"\n", "n": 1}));
        let result = result(&outcome);
        assert_eq!(result["structuredContent"], json!({"a": "x\"\n", "n": 1}));
        assert_eq!(result["content"][0]["text"], r#"{"a": "x\"\n", "n": 1}"#);
        assert_eq!(result["isError"], false);
    }

    #[test]
    fn an_error_says_success_false_and_sets_is_error() {
        let error = ToolError::new("FileNotFoundError", Code::NotFound, "File not found: /x");
        let outcome = Outcome::from(error.suggest("Check the file path"));
        let result = result(&outcome);
        let text = r#"{"success": false, "error": "FileNotFoundError", "message": "File not found: /x", "suggestion": "Check the file path"}"#;
        assert_eq!(result["content"][0]["text"], text);
        assert_eq!(result["isError"], true);
        assert_eq!(outcome.verdict.ending, Ending::Error);
    }

    #[test]
    fn a_cancelled_call_is_told_what_to_do_next() {
        let outcome = Outcome::from(ToolError::cancelled());
        assert_eq!(outcome.verdict.ending, Ending::Cancelled);
        assert!(result(&outcome).to_string().contains("look before you call again"));
    }

    #[test]
    fn the_detail_of_a_defect_is_for_the_log_only() {
        let outcome = Outcome::from(ToolError::internal("/secret/place"));
        assert!(!result(&outcome).to_string().contains("secret"));
        assert_eq!(outcome.detail.as_deref(), Some("/secret/place"));
        assert!(!outcome.verdict.message.unwrap().contains("secret"));
    }
}
