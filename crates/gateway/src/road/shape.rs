//! Step 9, shape: what the result becomes on its way to the caller.
//!
//! So far one thing: a result beyond the limit becomes an error that says what to do.

use hayward_api::Code;
use hayward_tool::{Outcome, Reply, ToolError};

/// Bounds a result.
pub(crate) fn shape(outcome: Outcome, result_bytes_max: usize) -> Outcome {
    match &outcome.reply {
        Reply::Result(raw) if raw.as_bytes().len() > result_bytes_max => {
            let message = format!(
                "the result has {} bytes, more than the {result_bytes_max} that fit",
                raw.as_bytes().len()
            );
            ToolError::new("ResultTooLarge", Code::TooLarge, message)
                .suggest("ask for less at once: fewer lines, fewer results, a narrower pattern")
                .into()
        }
        Reply::Result(_) | Reply::Error { .. } => outcome,
    }
}

#[cfg(test)]
mod tests {
    use hayward_tool::{Ending, Verdict};

    use super::*;

    #[test]
    fn a_result_passes_up_to_the_limit_and_not_beyond() {
        let outcome = Outcome::structured(Verdict::ok(), &"x".repeat(100));
        assert_eq!(shape(outcome.clone(), 1000).verdict.ending, Ending::Ok);
        let shaped = shape(outcome, 100);
        assert_eq!(shaped.verdict.code.as_deref(), Some("ResultTooLarge"));
    }
}
