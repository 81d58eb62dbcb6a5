//! How a call ended.

use hayward_api::{Code, Ending};
use hayward_mcp::error::{INTERNAL_ERROR, INVALID_PARAMS, RESOURCE_NOT_FOUND};
use hayward_mcp::input::InputRequest;
use hayward_mcp::json::{ArrayWriter, ObjectWriter, Raw};
use hayward_mcp::request::Verb;
use serde::{Deserialize, Serialize};

use crate::limits::COMPLETIONS_MAX;
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
    /// Whether it is certain that nothing was done, so that the same call may be made again.
    #[serde(default)]
    pub is_unmade: bool,
}

impl Verdict {
    /// It did what was asked.
    pub fn ok() -> Self {
        Self { ending: Ending::Ok, code: None, message: None, is_unmade: false }
    }

    /// It ended otherwise.
    pub fn failed(ending: Ending, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { ending, code: Some(code.into()), message: Some(message.into()), is_unmade: false }
    }
}

/// What the caller gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The result object of the method (e.g. `CallToolResult`), without the members that only one era has.
    Result(Raw),
    /// Questions: the call is made again when the client has answered them.
    Ask {
        /// What is asked; keys are unique.
        requests: Vec<InputRequest>,
        /// What the next round is given back.
        state: Option<Raw>,
    },
    /// It goes on as a task: the call is made again as one, with this state.
    GoOn {
        /// What the next round is given back.
        state: Option<Raw>,
    },
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

impl Outcome {
    /// It did what was asked, and this is the result object.
    pub fn done(result: Raw) -> Self {
        Self { verdict: Verdict::ok(), reply: Reply::Result(result), detail: None }
    }

    /// It has to ask first; the call is made again with the answers and this state, which a client may have to carry:
    /// at most [`hayward_mcp::limits::STATE_CONTENT_BYTES_MAX`] bytes.
    pub fn ask(requests: Vec<InputRequest>, state: Option<Raw>) -> Self {
        Self { verdict: Verdict::ok(), reply: Reply::Ask { requests, state }, detail: None }
    }

    /// It takes long: the call is made again as a task, with this state.
    pub fn go_on(state: Option<Raw>) -> Self {
        Self { verdict: Verdict::ok(), reply: Reply::GoOn { state }, detail: None }
    }

    /// The result of a completion: the best suggestions first, at most [`COMPLETIONS_MAX`] of them.
    pub fn completion(values: &[&str]) -> Self {
        let mut array = ArrayWriter::new(64);
        values.iter().take(COMPLETIONS_MAX).for_each(|value| array.push_str(value));
        let total = i64::try_from(values.len()).unwrap_or(i64::MAX);
        let completion = ObjectWriter::new(96)
            .raw("values", &array.end())
            .int("total", total)
            .bool("hasMore", values.len() > COMPLETIONS_MAX)
            .end();
        Self::done(ObjectWriter::new(112).raw("completion", &completion).end())
    }

    /// A failure in the form that callers of this verb read: tools put it into a result, so that a model
    /// sees it; everything else has JSON-RPC errors.
    pub fn failed(verb: Verb, error: ToolError) -> Self {
        if verb == Verb::CallTool {
            return error.into();
        }
        let mut data = ObjectWriter::new(96).str("error", error.code);
        if let Some(suggestion) = &error.suggestion {
            data = data.str("suggestion", suggestion);
        }
        let reply = Reply::Error {
            code: error.rpc_code(verb),
            message: error.message.clone(),
            data: Some(error.data.iter().fold(data, ObjectWriter::splice).end()),
        };
        Self { verdict: error.verdict(), reply, detail: error.detail }
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
    /// What programs are told beside: an object.
    pub data: Option<Raw>,
    /// Whether it is certain that nothing was done, so that the same call may be made again.
    pub is_unmade: bool,
}

impl ToolError {
    /// A failure without a suggestion.
    pub fn new(code: &'static str, kind: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            kind,
            message: message.into(),
            suggestion: None,
            detail: None,
            data: None,
            is_unmade: false,
        }
    }

    /// The same failure of a call with which nothing was done.
    #[must_use]
    pub fn unmade(self) -> Self {
        Self { is_unmade: true, ..self }
    }

    fn verdict(&self) -> Verdict {
        let verdict = Verdict::failed(self.ending(), self.code, self.message.clone());
        Verdict { is_unmade: self.is_unmade, ..verdict }
    }

    /// The same failure with the way out.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// The same failure with something for programs: an object.
    #[must_use]
    pub fn with_data(mut self, data: Raw) -> Self {
        self.data = Some(data);
        self
    }

    /// The code of the JSON-RPC error. Ours lie beyond the range that is reserved, and are those of HTTP.
    fn rpc_code(&self, verb: Verb) -> i64 {
        match (self.kind, verb) {
            (Code::NotFound, Verb::ReadResource) => RESOURCE_NOT_FOUND,
            (Code::NotFound | Code::Invalid, _) => INVALID_PARAMS,
            (Code::Internal, _) => INTERNAL_ERROR,
            (kind, _) => i64::from(kind.http_status()),
        }
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
        let verdict = error.verdict();
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
            other => panic!("{other:?}"),
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

    #[test]
    fn a_failure_takes_the_form_of_its_method() {
        let error = || ToolError::new("Gone", Code::NotFound, "no such thing").suggest("list them");
        let Reply::Result(result) = Outcome::failed(Verb::CallTool, error()).reply else {
            panic!("no result")
        };
        assert!(result.as_str().contains(r#""isError":true"#));
        for (verb, kind, expected) in [
            (Verb::ReadResource, Code::NotFound, RESOURCE_NOT_FOUND),
            (Verb::GetPrompt, Code::NotFound, INVALID_PARAMS),
            (Verb::GetPrompt, Code::Internal, INTERNAL_ERROR),
            (Verb::ReadResource, Code::Forbidden, 403),
            (Verb::CompletePrompt, Code::RateLimited, 429),
        ] {
            let error = ToolError { kind, ..error() }.with_data(Raw::of(&json!({"uri": "a"})).unwrap());
            let Reply::Error { code, data, .. } = Outcome::failed(verb, error).reply else {
                panic!("no error")
            };
            assert_eq!(code, expected, "{verb:?} {kind:?}");
            let data: Value = data.unwrap().view().unwrap();
            assert_eq!(data, json!({"error": "Gone", "suggestion": "list them", "uri": "a"}));
        }
    }

    #[test]
    fn a_completion_says_how_much_it_leaves_out() {
        let many: Vec<String> = (0..=COMPLETIONS_MAX).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (values, has_more) in [(&many[..3], false), (&many[..], true)] {
            let completion = &result(&Outcome::completion(values))["completion"];
            assert_eq!(completion["values"].as_array().unwrap().len(), values.len().min(COMPLETIONS_MAX));
            assert_eq!(
                (&completion["total"], &completion["hasMore"]),
                (&json!(values.len()), &json!(has_more))
            );
        }
    }
}
