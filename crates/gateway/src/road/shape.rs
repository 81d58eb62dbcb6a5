//! Step 9, shape: what the result becomes on its way to the caller.
//!
//! So far one thing: a result beyond the limit, or beyond what all clients together may have held in memory, becomes
//! an error that says what to do.

use hayward_api::Code;
use hayward_tool::{Outcome, Reply, ToolError, Verb};

use crate::budget::Reserved;

/// Results up to this size are bounded by the number of calls alone.
const SMALL: usize = 16 * 1024;

/// Bounds a result, and holds its place until it has left.
pub(crate) fn shape(verb: Verb, outcome: Outcome, result_bytes_max: usize, held: &mut Reserved) -> Outcome {
    let bytes = size(&outcome.reply);
    if bytes <= result_bytes_max {
        if bytes <= SMALL || held.grow(bytes).is_ok() {
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
            shape(Verb::CallTool, outcome.clone(), 1000, &mut Budget::new(0).begin()).verdict,
            Verdict::ok()
        );
        let shaped = shape(Verb::CallTool, outcome, 100, &mut Budget::new(0).begin());
        assert_eq!(shaped.verdict.ending, Ending::Error);
        assert_eq!(shaped.verdict.code.as_deref(), Some("ResultTooLarge"));
    }

    #[test]
    fn large_results_share_what_may_be_held() {
        let budget = Budget::new(60_000);
        let large = || Outcome::structured(Verdict::ok(), &"x".repeat(20_000));
        let (mut first, mut second) = (budget.begin(), budget.begin());
        assert_eq!(shape(Verb::CallTool, large(), 100_000, &mut first).verdict, Verdict::ok());
        let refused = shape(Verb::CallTool, large(), 100_000, &mut second);
        assert_eq!(refused.verdict.code.as_deref(), Some("Overloaded"));
        drop(first);
        assert_eq!(shape(Verb::CallTool, large(), 100_000, &mut second).verdict, Verdict::ok());
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
            let shaped = shape(Verb::GetPrompt, outcome, 190, &mut Budget::new(0).begin());
            assert!(matches!(shaped.reply, Reply::Error { code: 413, .. }), "{shaped:?}");
        }
    }
}
