//! Step 9, shape: what the result becomes on its way to the caller.
//!
//! So far one thing: a result beyond the limit becomes an error that says what to do.

use hayward_api::Code;
use hayward_tool::{Outcome, Reply, ToolError, Verb};

/// Bounds a result.
pub(crate) fn shape(verb: Verb, outcome: Outcome, result_bytes_max: usize) -> Outcome {
    let bytes = size(&outcome.reply);
    if bytes <= result_bytes_max {
        return outcome;
    }
    let message = format!("the result has {bytes} bytes, more than the {result_bytes_max} that fit");
    let error = ToolError::new("ResultTooLarge", Code::TooLarge, message)
        .suggest("ask for less at once: fewer lines, fewer results, a narrower pattern");
    Outcome::failed(verb, error)
}

fn size(reply: &Reply) -> usize {
    match reply {
        Reply::Result(raw) => raw.as_bytes().len(),
        Reply::Ask { requests, state } => {
            let asked: usize =
                requests.iter().map(|request| request.key.len() + request.params.as_bytes().len()).sum();
            asked + state.as_ref().map_or(0, |state| state.as_bytes().len())
        }
        Reply::GoOn { state } => state.as_ref().map_or(0, |state| state.as_bytes().len()),
        Reply::Error { message, data, .. } => {
            message.len() + data.as_ref().map_or(0, |data| data.as_bytes().len())
        }
    }
}

#[cfg(test)]
mod tests {
    use hayward_mcp::json::Raw;
    use hayward_tool::{Ending, InputMethod, InputRequest, Verdict};

    use super::*;

    #[test]
    fn a_result_passes_up_to_the_limit_and_not_beyond() {
        let outcome = Outcome::structured(Verdict::ok(), &"x".repeat(100));
        assert_eq!(shape(Verb::CallTool, outcome.clone(), 1000).verdict, Verdict::ok());
        let shaped = shape(Verb::CallTool, outcome, 100);
        assert_eq!(shaped.verdict.ending, Ending::Error);
        assert_eq!(shaped.verdict.code.as_deref(), Some("ResultTooLarge"));
    }

    #[test]
    fn questions_and_errors_are_bounded_too() {
        let params = Raw::of(&"x".repeat(100)).unwrap();
        let request = InputRequest { key: "k".into(), method: InputMethod::Elicit, params };
        let asks = Outcome::ask(vec![request.clone(), request], None);
        let goes_on = Outcome::go_on(Some(Raw::of(&"x".repeat(200)).unwrap()));
        let reply = Reply::Error { code: 1, message: "x".repeat(200), data: None };
        let fails = Outcome { reply, ..Outcome::go_on(None) };
        for outcome in [asks, goes_on, fails] {
            let shaped = shape(Verb::GetPrompt, outcome, 190);
            assert!(matches!(shaped.reply, Reply::Error { code: 413, .. }), "{shaped:?}");
        }
    }
}
