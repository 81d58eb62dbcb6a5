//! What a server answers, read as data: nothing in it changes where anything goes.

use std::time::Duration;

use hayward_api::Ending;
use hayward_mcp::error::{HEADER_MISMATCH, INTERNAL_ERROR, RpcError, UNSUPPORTED_PROTOCOL_VERSION};
use hayward_mcp::input::{InputMethod, InputRequest};
use hayward_mcp::json::{Object, Raw};
use hayward_mcp::limits::STATE_CONTENT_BYTES_MAX;
use hayward_tool::{Outcome, Reply, Verb, Verdict};

use super::admission::is_hidden;
use super::questions;
use super::state::State;
use crate::limits::{UPSTREAM_TASK_POLL, UPSTREAM_TASK_POLL_MIN, UPSTREAM_TOLD_CHARS_MAX};

/// What a response comes to.
#[derive(Debug)]
pub(crate) enum Answered {
    /// The call is over, or asks its client.
    Outcome(Outcome),
    /// It goes on at the server, as a task.
    Task {
        /// Its id there.
        id: String,
        /// How often to ask.
        poll: Duration,
    },
    /// It is not what the protocol says.
    Broken(String),
}

/// Reads the response to a request of this kind.
pub(crate) fn read(verb: Verb, response: Result<Raw, Raw>) -> Answered {
    let result = match response {
        Ok(result) => result,
        Err(error) => return Answered::Outcome(failed(&error)),
    };
    let Some(object) = Object::of(&result) else {
        return Answered::Broken("its result is no object".to_owned());
    };
    let kind = object.get_str("resultType").map(std::borrow::Cow::into_owned);
    match kind.as_deref() {
        None | Some("complete") => complete(verb, &object, result),
        Some("input_required") => match asked(&object) {
            Some(requests) => {
                let state = object.get_str("requestState").map(std::borrow::Cow::into_owned);
                let state = State::Theirs(state.unwrap_or_default()).write();
                // It is carried by the client, sealed.
                if state.as_bytes().len() > STATE_CONTENT_BYTES_MAX {
                    let told = format!(
                        "its state has more than {STATE_CONTENT_BYTES_MAX} bytes, which is more than is carried"
                    );
                    return Answered::Broken(told);
                }
                Answered::Outcome(Outcome::ask(requests, Some(state)))
            }
            None => Answered::Broken("it asks for something that this gateway doesn't know".to_owned()),
        },
        Some("task") => match object.get_str("taskId") {
            Some(id) => Answered::Task { id: id.into_owned(), poll: poll(&object) },
            None => Answered::Broken("its task has no id".to_owned()),
        },
        Some(other) => Answered::Broken(format!("its result is of the kind `{}`", cleaned(other))),
    }
}

/// Reads how far a task is; none while it goes on. `poll_every` becomes what the server wants.
pub(crate) fn task(
    response: Result<Raw, Raw>,
    (id, instance): (&str, &str),
    poll_every: &mut Duration,
) -> Option<Answered> {
    let result = match response {
        Ok(result) => result,
        Err(error) => return Some(Answered::Outcome(failed(&error))),
    };
    let Some(object) = Object::of(&result) else {
        return Some(Answered::Broken("its result is no object".to_owned()));
    };
    *poll_every = poll(&object);
    let status = object.get_str("status").map(std::borrow::Cow::into_owned).unwrap_or_default();
    Some(match status.as_str() {
        "working" => return None,
        "completed" => match object.get("result") {
            Some(result) => read(Verb::CallTool, Ok(result)),
            None => Answered::Broken("its task is over without a result".to_owned()),
        },
        "failed" => Answered::Outcome(failed(&object.get("error").unwrap_or_else(Raw::empty_object))),
        "input_required" => match asked(&object) {
            Some(requests) => {
                let (id, instance) = (id.to_owned(), instance.to_owned());
                let state = State::Task { id, instance, poll: *poll_every };
                Answered::Outcome(Outcome::ask(requests, Some(state.write())))
            }
            // It may not have put its questions together yet.
            None if object.get_object("inputRequests").is_none_or(|asked| asked.is_empty()) => return None,
            None => Answered::Broken("its task asks for something that nobody is asked".to_owned()),
        },
        "cancelled" => Answered::Outcome(rpc(
            Ending::Cancelled,
            &RpcError::new(INTERNAL_ERROR, "the server cancelled the task"),
        )),
        other => Answered::Broken(format!("its task is `{}`", cleaned(other))),
    })
}

fn complete(verb: Verb, object: &Object, result: Raw) -> Answered {
    let has = |key: &str| object.get(key).is_some_and(|raw| raw.as_bytes().first() == Some(&b'['));
    let is_whole = match verb {
        Verb::CallTool => has("content") || object.has("structuredContent"),
        Verb::ReadResource => has("contents"),
        Verb::GetPrompt => has("messages"),
        Verb::CompletePrompt | Verb::CompleteTemplate => object.has("completion"),
    };
    if !is_whole {
        return Answered::Broken(format!("its answer to `{}` lacks what the protocol says", verb.method()));
    }
    let is_error = object.get("isError").is_some_and(|raw| raw.as_str() == "true");
    let verdict = if is_error {
        Verdict::failed(Ending::Error, "ToolError", "the tool says that it failed")
    } else {
        Verdict::ok()
    };
    Answered::Outcome(Outcome { verdict, reply: Reply::Result(result), detail: None })
}

fn asked(object: &Object) -> Option<Vec<InputRequest>> {
    let requests = object.get_object("inputRequests")?;
    let one = |(key, request): (String, Raw)| {
        let request = Object::of(&request)?;
        let name = request.get_str("method")?;
        let method = [InputMethod::Elicit, InputMethod::Sample, InputMethod::ListRoots]
            .into_iter()
            .find(|method| method.as_str() == name)?;
        let params = request.get("params").filter(Raw::is_object).unwrap_or_else(Raw::empty_object);
        let request = InputRequest { key, method, params };
        questions::objection(&request).is_none().then_some(request)
    };
    requests.iter().map(|member| one((member.key().into_owned(), member.value()))).collect()
}

fn poll(object: &Object) -> Duration {
    let said = object.get("pollIntervalMs").and_then(|raw| raw.view::<u64>().ok()).map(Duration::from_millis);
    said.unwrap_or(UPSTREAM_TASK_POLL).clamp(UPSTREAM_TASK_POLL_MIN, UPSTREAM_TASK_POLL * 30)
}

/// An error of the server's, in its own words; a code that speaks of the connection between it and us means nothing to a
/// client.
pub(crate) fn failed(error: &Raw) -> Outcome {
    let error = RpcError::of(error);
    let code = match error.code {
        HEADER_MISMATCH | UNSUPPORTED_PROTOCOL_VERSION => INTERNAL_ERROR,
        code => code,
    };
    rpc(Ending::Error, &RpcError { code, message: cleaned(&error.message), ..error })
}

fn rpc(ending: Ending, error: &RpcError) -> Outcome {
    let verdict = Verdict::failed(ending, format!("RpcError:{}", error.code), error.message.clone());
    let reply = Reply::Error { code: error.code, message: error.message.clone(), data: error.data.clone() };
    Outcome { verdict, reply, detail: None }
}

/// What a server says, as an error of ours may repeat it: bounded, and without characters that people don't see.
pub(crate) fn cleaned(text: &str) -> String {
    let shown = text.chars().take(UPSTREAM_TOLD_CHARS_MAX);
    shown.fold(String::with_capacity(text.len().min(256)), |mut out, c| {
        if is_hidden(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn raw(value: &Value) -> Raw {
        Raw::of(value).unwrap()
    }

    fn answered(verb: Verb, result: &Value) -> Answered {
        read(verb, Ok(raw(result)))
    }

    #[test]
    fn a_result_passes_to_the_letter() {
        let result = raw(&json!({"content": [], "_meta": {"x": 1}, "future": [null]}));
        let Answered::Outcome(outcome) = read(Verb::CallTool, Ok(result.clone())) else {
            panic!("no outcome")
        };
        assert!(matches!(&outcome.reply, Reply::Result(told) if *told == result));
        assert_eq!(outcome.verdict, Verdict::ok());
        let failed = answered(Verb::CallTool, &json!({"content": [], "isError": true}));
        assert!(matches!(failed, Answered::Outcome(outcome) if outcome.verdict.ending == Ending::Error));
    }

    #[test]
    fn what_is_no_answer_is_broken_and_never_a_result() {
        for (verb, bad) in [
            (Verb::CallTool, json!({})),
            (Verb::CallTool, json!({"content": "x"})),
            (Verb::ReadResource, json!({"content": []})),
            (Verb::GetPrompt, json!({"messages": {}})),
            (Verb::CompletePrompt, json!({})),
            (Verb::CallTool, json!({"resultType": "redirect", "content": []})),
            (Verb::CallTool, json!({"resultType": "task"})),
            (
                Verb::CallTool,
                json!({"resultType": "input_required", "inputRequests": {"a": {"method": "tools/call"}}}),
            ),
            (Verb::CallTool, json!([])),
            (
                Verb::CallTool,
                json!({"resultType": "input_required", "inputRequests": {}, "requestState": "x".repeat(STATE_CONTENT_BYTES_MAX)}),
            ),
        ] {
            assert!(matches!(answered(verb, &bad), Answered::Broken(_)), "{bad}");
        }
    }

    #[test]
    fn questions_of_a_modern_server_become_a_round() {
        let result = json!({"resultType": "input_required", "requestState": "s", "inputRequests": {
            "a": {"method": "elicitation/create", "params": {"message": "?"}}, "b": {"method": "roots/list"}}});
        let Answered::Outcome(Outcome { reply: Reply::Ask { requests, state }, .. }) =
            answered(Verb::CallTool, &result)
        else {
            panic!("no question")
        };
        assert_eq!(requests.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(State::read(state.as_ref()), State::Theirs("s".to_owned()));
    }

    #[test]
    fn a_modern_server_sends_nobody_to_what_is_no_page() {
        let ask = |url: &str| {
            json!({"resultType": "input_required", "inputRequests": {
            "a": {"method": "elicitation/create", "params": {"mode": "url", "message": "?", "url": url}}}})
        };
        let asked = |url: &str| answered(Verb::CallTool, &ask(url));
        assert!(matches!(
            asked("https://x.org"),
            Answered::Outcome(Outcome { reply: Reply::Ask { .. }, .. })
        ));
        assert!(matches!(asked("javascript:alert(1)"), Answered::Broken(_)));
    }

    #[test]
    fn an_error_is_told_in_the_words_of_its_server_without_what_nobody_sees() {
        let error = raw(&json!({"code": -32602, "message": "Unknown\u{1b}[2J tool", "data": {"x": 1}}));
        let Answered::Outcome(outcome) = read(Verb::CallTool, Err(error)) else { panic!("no outcome") };
        let Reply::Error { code, message, data } = outcome.reply else { panic!("no error") };
        assert_eq!((code, message.as_str()), (-32602, "Unknown\\u{1b}[2J tool"));
        assert_eq!(data.unwrap().as_str(), r#"{"x":1}"#);
        let ours = raw(&json!({"code": UNSUPPORTED_PROTOCOL_VERSION, "message": "x"}));
        let Answered::Outcome(outcome) = read(Verb::CallTool, Err(ours)) else { panic!("no outcome") };
        assert!(matches!(outcome.reply, Reply::Error { code: INTERNAL_ERROR, .. }));
    }

    #[test]
    fn a_task_goes_on_until_it_says_how_it_ended() {
        let told = |result: Value| task(Ok(raw(&result)), ("t", "s-0"), &mut Duration::default());
        assert!(told(json!({"status": "working"})).is_none());
        let done = told(json!({"status": "completed", "result": {"content": []}}));
        assert!(matches!(done, Some(Answered::Outcome(outcome)) if outcome.verdict == Verdict::ok()));
        let asks = |params: Value| {
            told(
                json!({"status": "input_required", "inputRequests": {"a": {"method": "elicitation/create", "params": params}}}),
            )
        };
        assert!(matches!(
            asks(json!({"message": "?"})),
            Some(Answered::Outcome(Outcome { reply: Reply::Ask { .. }, .. }))
        ));
        assert!(matches!(asks(json!({"mode": "url", "url": "javascript:1"})), Some(Answered::Broken(_))));
        assert!(told(json!({"status": "input_required"})).is_none());
        let failed = told(json!({"status": "failed", "error": {"code": -1, "message": "m"}}));
        assert!(
            matches!(failed, Some(Answered::Outcome(outcome)) if outcome.verdict.ending == Ending::Error)
        );
        for broken in [json!({"status": "completed"}), json!({"status": "lost"}), json!({})] {
            assert!(matches!(told(broken), Some(Answered::Broken(_))));
        }
        let mut poll = Duration::default();
        task(Ok(raw(&json!({"status": "working", "pollIntervalMs": 0}))), ("t", "s-0"), &mut poll);
        assert_eq!(poll, UPSTREAM_TASK_POLL_MIN, "no server makes us ask without a pause");
    }
}
