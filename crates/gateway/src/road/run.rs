//! Step 8, run: what lies at the end gets its deadline and its cancellation, and the road gets an outcome,
//! whatever happens there.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use hayward_tool::{Call, Cx, Outcome, ToolError};
use tokio::time::{Instant, timeout_at};

use super::route::Route;
use crate::upstreams::Upstreams;

/// Runs one call. A tool that panics or overruns its deadline by `overrun` costs its own call only.
pub(crate) async fn run(
    (route, upstreams): (&Route, &Upstreams),
    cx: &Cx,
    call: Call,
    overrun: Duration,
) -> Outcome {
    let verb = call.verb;
    let latest = Instant::from_std(cx.deadline()) + overrun;
    let running = AssertUnwindSafe(route.run(upstreams, cx, call)).catch_unwind();
    match timeout_at(latest, running).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_panic)) => {
            tracing::error!(tool = route.name(), "a tool panicked");
            Outcome::failed(verb, ToolError::internal("the tool panicked"))
        }
        Err(_elapsed) => {
            tracing::error!(tool = route.name(), "a tool overran its deadline and was dropped");
            let error = ToolError::timeout("the tool did not end at its deadline and was dropped");
            Outcome::failed(verb, error)
        }
    }
}
