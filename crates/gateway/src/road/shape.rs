//! Step 9, shape: what the result becomes on its way to the caller.
//!
//! A result beyond the limit, or beyond what all clients together may have held in memory, becomes an error that says
//! what to do, and questions that no client could answer become a defect of whoever asks.

use std::collections::HashSet;

use hayward_api::Code;
use hayward_mcp::limits::{ANSWERS_MAX, STATE_CONTENT_BYTES_MAX};
use hayward_tool::{Outcome, Reply, ToolError, Verb};

use crate::budget::Reserved;
use crate::limits::UNCOUNTED_RESULT_BYTES;

/// Bounds a result, and holds its place until it has left.
pub(crate) fn shape(verb: Verb, outcome: Outcome, result_bytes_max: usize, held: &mut Reserved) -> Outcome {
    if let Some(defect) = defect(verb, &outcome.reply) {
        return Outcome::failed(verb, ToolError::internal(defect));
    }
    let bytes = size(&outcome.reply);
    if bytes <= result_bytes_max {
        if bytes <= UNCOUNTED_RESULT_BYTES || held.grow(bytes).is_ok() {
            return outcome;
        }
        let message = "the call has run, and its result does not fit beside those of others";
        let error = ToolError::new("Overloaded", Code::Unavailable, message)
            .suggest("look before you call again, or ask for less at once");
        return Outcome::failed(verb, error);
    }
    let message = format!("the result has {bytes} bytes, more than the {result_bytes_max} that fit");
    let error = ToolError::new("ResultTooLarge", Code::TooLarge, message)
        .suggest("ask for less at once: fewer lines, fewer results, a narrower pattern");
    Outcome::failed(verb, error)
}

/// What is wrong with a reply that only a defect can cause.
fn defect(verb: Verb, reply: &Reply) -> Option<&'static str> {
    match (verb, reply) {
        (Verb::CompletePrompt | Verb::CompleteTemplate, Reply::Ask { .. }) => Some("a completion asks"),
        (_, Reply::Ask { requests, .. }) if requests.len() > ANSWERS_MAX => Some("it asks too much at once"),
        (_, Reply::Ask { requests, state: None }) if requests.is_empty() => Some("it asks nothing"),
        // A client carries it.
        (_, Reply::Ask { state: Some(state), .. }) if state.as_bytes().len() > STATE_CONTENT_BYTES_MAX => {
            Some("it asks with too large a state")
        }
        (_, Reply::Ask { requests, .. }) => {
            let keys: HashSet<&str> = requests.iter().map(|request| request.key.as_str()).collect();
            (keys.len() < requests.len()).then_some("it asks twice under one key")
        }
        (Verb::CallTool, Reply::GoOn { .. }) | (_, Reply::Result(_) | Reply::Error { .. }) => None,
        (_, Reply::GoOn { .. }) => Some("only a tool goes on as a task"),
    }
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
    use crate::budget::Budget;

    #[test]
    fn a_result_passes_up_to_the_limit_and_not_beyond() {
        let outcome = Outcome::structured(Verdict::ok(), &"x".repeat(100));
        assert_eq!(
            shape(Verb::CallTool, outcome.clone(), 1000, &mut Budget::new(0).begin_for_test()).verdict,
            Verdict::ok()
        );
        let shaped = shape(Verb::CallTool, outcome, 100, &mut Budget::new(0).begin_for_test());
        assert_eq!(shaped.verdict.ending, Ending::Error);
        assert_eq!(shaped.verdict.code.as_deref(), Some("ResultTooLarge"));
    }

    #[test]
    fn large_results_share_what_may_be_held() {
        let budget = Budget::new(60_000);
        let large = || Outcome::structured(Verdict::ok(), &"x".repeat(20_000));
        let (mut first, mut second) = (budget.begin_for_test(), budget.begin_for_test());
        assert_eq!(shape(Verb::CallTool, large(), 100_000, &mut first).verdict, Verdict::ok());
        let refused = shape(Verb::CallTool, large(), 100_000, &mut second);
        assert_eq!(refused.verdict.code.as_deref(), Some("Overloaded"));
        drop(first);
        assert_eq!(shape(Verb::CallTool, large(), 100_000, &mut second).verdict, Verdict::ok());
    }

    #[test]
    fn questions_and_errors_are_bounded_too() {
        let params = Raw::of(&"x".repeat(100)).unwrap();
        let request =
            |key: &str| InputRequest { key: key.into(), method: InputMethod::Elicit, params: params.clone() };
        let asks = Outcome::ask(vec![request("a"), request("b")], None);
        let goes_on = Outcome::go_on(Some(Raw::of(&"x".repeat(200)).unwrap()));
        let reply = Reply::Error { code: 1, message: "x".repeat(200), data: None };
        let fails = Outcome { reply, ..Outcome::go_on(None) };
        for outcome in [asks, goes_on, fails] {
            let shaped = shape(Verb::CallTool, outcome, 190, &mut Budget::new(0).begin_for_test());
            assert_eq!(shaped.verdict.code.as_deref(), Some("ResultTooLarge"), "{shaped:?}");
        }
    }

    #[test]
    fn questions_that_no_client_could_answer_are_a_defect() {
        let request = |key: usize| InputRequest {
            key: key.to_string(),
            method: InputMethod::ListRoots,
            params: Raw::empty_object(),
        };
        let ask = |keys: &mut dyn Iterator<Item = usize>| Outcome::ask(keys.map(request).collect(), None);
        let state = Some(Raw::null());
        for good in [ask(&mut (0..ANSWERS_MAX)), Outcome::ask(Vec::new(), state.clone())] {
            let shaped = shape(Verb::GetPrompt, good, 10_000, &mut Budget::new(0).begin_for_test());
            assert!(matches!(shaped.reply, Reply::Ask { .. }), "{shaped:?}");
        }
        let largest = Raw::of(&"x".repeat(STATE_CONTENT_BYTES_MAX - 2)).ok();
        let shaped = shape(
            Verb::CallTool,
            Outcome::ask(Vec::new(), largest),
            1 << 20,
            &mut Budget::new(1 << 20).begin_for_test(),
        );
        assert!(matches!(shaped.reply, Reply::Ask { .. }), "{:?}", shaped.verdict);
        for (verb, bad) in [
            (Verb::CallTool, ask(&mut (0..=ANSWERS_MAX))),
            (Verb::CallTool, ask(&mut [1, 1].into_iter())),
            (Verb::ReadResource, ask(&mut (0..0))),
            (Verb::CompletePrompt, ask(&mut (0..1))),
            (Verb::CompleteTemplate, ask(&mut (0..1))),
            (Verb::GetPrompt, Outcome::go_on(state)),
            (Verb::CallTool, Outcome::ask(Vec::new(), Raw::of(&"x".repeat(STATE_CONTENT_BYTES_MAX)).ok())),
        ] {
            let shaped = shape(verb, bad, 10_000, &mut Budget::new(0).begin_for_test());
            assert_eq!(shaped.verdict.code.as_deref(), Some("InternalError"), "{verb:?} {shaped:?}");
        }
        assert!(matches!(
            shape(Verb::CallTool, Outcome::go_on(None), 9, &mut Budget::new(0).begin_for_test()).reply,
            Reply::GoOn { .. }
        ));
    }
}
