//! Step 8, run: what lies at the end gets its deadline and its cancellation, and the road gets an outcome,
//! whatever happens there.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hayward_mcp::era::Era;
use hayward_tool::{Call, Cx, Outcome, ToolError, Verb};
use tokio::time::{Instant, timeout_at};

use super::admit::Admitted;
use super::route::Route;
use super::{Arrival, Road};
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

impl Road {
    /// Runs an admitted call, until it ends or has to.
    pub(super) async fn run(&self, arrival: &Arrival, admitted: &Admitted<'_>, cx: &Cx) -> Outcome {
        let (route, verb, cancel) = (admitted.route, arrival.form(), cx.cancellation());
        let call = Call {
            id: Arc::clone(&arrival.request_id),
            correlation_id: Arc::clone(&arrival.correlation_id),
            verb,
            // A template stands for many resources: which one is meant, the client has said.
            name: if verb == Verb::ReadResource { arrival.name.as_str() } else { route.name() }.into(),
            arguments: admitted.keyed.as_ref().map_or(&arrival.arguments, |keyed| &keyed.arguments).clone(),
            caller: arrival.caller(&admitted.principal),
            params: arrival.params.clone(),
            timeout_ms: u64::try_from(route.timeout().as_millis()).unwrap_or(u64::MAX),
            is_patient: arrival.revision.is_none_or(|revision| revision.era() == Era::Legacy),
            round: arrival.round.clone(),
        };
        let mut running = std::pin::pin!(run((route, self.upstreams()), cx, call, self.overrun));
        tokio::select! {
            biased;
            outcome = &mut running => return outcome,
            // Its credential was revoked, or we shut down.
            () = admitted.permit.pulled.cancelled() => cancel.cancel(),
            // Its client wants it no more.
            () = cancel.cancelled() => {}
        }
        // It ends soon by itself, as the contract says, or it is dropped.
        let dropped = || ToolError::cancelled();
        tokio::time::timeout(self.overrun, running)
            .await
            .unwrap_or_else(|_elapsed| Outcome::failed(verb, dropped()))
    }
}
