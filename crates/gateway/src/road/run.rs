//! Step 8, run: the tool gets its deadline and its cancellation, and the road gets an outcome,
//! whatever the tool does.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use hayward_tool::{Call, Cx, Outcome, Tool, ToolError};
use tokio::time::{Instant, timeout_at};

/// Runs one call. A tool that panics or overruns its deadline by `overrun` costs its own call only.
pub(crate) async fn run(tool: &dyn Tool, cx: &Cx, call: Call, overrun: Duration) -> Outcome {
    let name = call.tool.clone();
    let latest = Instant::from_std(cx.deadline()) + overrun;
    let running = AssertUnwindSafe(tool.call(cx, call)).catch_unwind();
    match timeout_at(latest, running).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_panic)) => {
            tracing::error!(tool = %name, "a tool panicked");
            ToolError::internal("the tool panicked").into()
        }
        Err(_elapsed) => {
            tracing::error!(tool = %name, "a tool overran its deadline and was dropped");
            ToolError::timeout("the tool did not end at its deadline and was dropped").into()
        }
    }
}
