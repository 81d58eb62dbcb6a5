//! The road: what happens to every call, in this order.
//!
//! ```text
//! 3 admit ─► 4 route ─► 5 decide ─► 6 approve ─► 7 intent ─► 8 run ─► 9 shape ─► 10 outcome
//! ```
//!
//! Steps 1 and 2 (listener, identify) lie before it. Up to step 7 a call can be refused without any
//! effect; from step 7 on the record knows of it, and no reply leaves before its outcome is recorded.

mod admit;
mod approve;
mod route;
mod run;
mod shape;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hayward_api::{Code, Principal};
use hayward_audit::{Intent, Log, Redacted, Seq, redact};
use hayward_auth::{Decision, Reason, decide};
use hayward_mcp::json::Raw;
use hayward_tool::{Call, Caller, Cx, Ending, Listener, Outcome, Reply, ToolError, Toolset, Verdict};
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use admit::{Admit, Permit};
use route::{Route, Router};

/// The road, built once for the tools that lie at its end.
pub struct Road {
    admit: Arc<Admit>,
    router: Router,
    record: Log,
    result_bytes_max: usize,
    overrun: Duration,
}

/// A call as it arrives at the road: who, what, and where from.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Verified by `identify`.
    pub principal: Arc<Principal>,
    /// The address of the peer, as the kernel says; none for a process of this machine.
    pub address: Option<SocketAddr>,
    /// The id that the record and the answer carry.
    pub request_id: String,
    /// What the client says it is.
    pub client: String,
    /// The name of the tool, as the client knows it.
    pub name: String,
    /// The arguments: a checked object.
    pub arguments: Raw,
}

/// A call that nothing speaks against.
struct Admitted<'a> {
    route: &'a Route,
    permit: Permit,
}

impl Road {
    /// A road to these toolsets; on a collision of names the first one wins. When `shutdown` fires,
    /// every running call is cancelled.
    pub fn new(
        toolsets: Vec<Toolset>,
        record: Log,
        (limits, tool_limits): (&Limits, &hayward_tool::limits::Limits),
        shutdown: &CancellationToken,
    ) -> Self {
        let (calls, per_principal) = (count(limits.calls_max), count(limits.calls_per_principal_max));
        Self {
            admit: Admit::new(calls, per_principal, shutdown.clone()),
            router: Router::new(toolsets),
            record,
            result_bytes_max: count(tool_limits.result_bytes_max),
            overrun: Duration::from_millis(limits.overrun_ms),
        }
    }

    /// The elements of `tools/list`: what this principal may call, and nothing else.
    pub fn list(&self, principal: &Principal) -> Raw {
        self.router.list(principal)
    }

    /// Cancels what runs under a credential that was revoked.
    pub fn revoke(&self, credential: &str) {
        self.admit.revoke(credential);
    }

    /// Walks one call down the road. Ends soon after `cancel` fires.
    pub async fn call(
        &self,
        arrival: Arrival,
        cancel: CancellationToken,
        progress: Option<Listener>,
    ) -> Reply {
        let admitted = match self.admit(&arrival) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(&arrival, refusal),
        };
        // 7 intent: recorded before anything has an effect, or nothing happens.
        let arguments = redact::arguments(arrival.arguments.as_str());
        let seq = match self.record.intent(&intent(&arrival, Some(admitted.route), &arguments, "allow")) {
            Ok(seq) => seq,
            Err(error) => return unrecorded(&error, "so nothing was done").reply,
        };
        let started = Instant::now();
        // 8 run: with a deadline and a cancellation, always.
        let outcome = self.run(&arrival, &admitted, cancel, progress).await;
        // 9 shape: what leaves is bounded.
        let outcome = shape::shape(outcome, self.result_bytes_max);
        // 10 outcome: recorded before the reply leaves.
        match self.record_outcome(seq, &outcome.verdict, started.elapsed()) {
            Ok(()) => outcome.reply,
            Err(error) => unrecorded(&error, "although the call has run").reply,
        }
    }

    /// Steps 3 to 6: everything that can speak against a call before it has an effect.
    fn admit(&self, arrival: &Arrival) -> Result<Admitted<'_>, Refusal<'_>> {
        // 3 admit: spend from the caller's share, so that no caller can starve the others.
        let permit = self.admit.enter(&arrival.principal).map_err(|error| Refusal { route: None, error })?;
        // 4 route: a name that the caller may not see is unknown (but for the host's own tools).
        let route = self.router.find(&arrival.name).ok_or_else(|| self.unknown(arrival))?;
        // 5 decide: the same function that lists.
        if let Decision::Deny { reason } = decide(&arrival.principal, &route.action()) {
            return Err(self.denied(arrival, route, reason));
        }
        // 6 approve: what needs more than a permission.
        approve::approve(route.tool.descriptor().tier)
            .map_err(|error| Refusal { route: Some(route), error })?;
        Ok(Admitted { route, permit })
    }

    async fn run(
        &self,
        arrival: &Arrival,
        admitted: &Admitted<'_>,
        cancel: CancellationToken,
        progress: Option<Listener>,
    ) -> Outcome {
        let descriptor = admitted.route.tool.descriptor();
        let mut cx = Cx::new(descriptor.timeout, cancel.clone());
        if let Some(progress) = progress {
            cx = cx.with_progress(progress);
        }
        let call = Call {
            id: arrival.request_id.clone(),
            tool: descriptor.name.clone(),
            arguments: arrival.arguments.clone(),
            caller: Caller { principal: Arc::clone(&arrival.principal), client: arrival.client.clone() },
            timeout_ms: u64::try_from(descriptor.timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let mut running = std::pin::pin!(run::run(&*admitted.route.tool, &cx, call, self.overrun));
        tokio::select! {
            biased;
            outcome = &mut running => return outcome,
            // Its credential was revoked, or we shut down.
            () = admitted.permit.pulled.cancelled() => cancel.cancel(),
        }
        running.await
    }

    fn unknown(&self, arrival: &Arrival) -> Refusal<'_> {
        let error =
            ToolError::new("PermissionDenied", Code::NotFound, format!("Unknown tool: {}", arrival.name));
        let error = match self.router.suggest(&arrival.name, &arrival.principal) {
            Some(meant) => error.suggest(format!("did you mean `{meant}`?")),
            None => error.suggest("call one of the tools that tools/list names"),
        };
        Refusal { route: None, error }
    }

    fn denied<'a>(&'a self, arrival: &Arrival, route: &'a Route, reason: Reason) -> Refusal<'a> {
        match reason {
            Reason::AboveCeiling { needs } => {
                let name = &arrival.name;
                let message = format!("Permission denied: tool '{name}' requires {} role", needs.role());
                let error = ToolError::new("PermissionDenied", Code::Forbidden, message)
                    .suggest("ask the administrator for a token with that role");
                Refusal { route: Some(route), error }
            }
            Reason::NoCredential | Reason::NotAdmin | Reason::ToolsetNotGranted => self.unknown(arrival),
        }
    }

    /// Answers a call that had no effect; the refusal is recorded as well.
    fn refuse(&self, arrival: &Arrival, refusal: Refusal<'_>) -> Reply {
        let reason = refusal.error.message.clone();
        let arguments = redact::arguments(arrival.arguments.as_str());
        match self.record.denied(&intent(arrival, refusal.route, &arguments, "deny"), &reason) {
            Ok(_) => Outcome::from(refusal.error).reply,
            Err(error) => unrecorded(&error, "so nothing was done").reply,
        }
    }

    fn record_outcome(
        &self,
        seq: Seq,
        verdict: &Verdict,
        duration: Duration,
    ) -> Result<(), hayward_audit::AuditError> {
        self.record.outcome(
            seq,
            &hayward_audit::Outcome {
                ending: ending(verdict.ending),
                code: verdict.code.as_deref(),
                message: verdict.message.as_deref(),
                duration_ms: u64::try_from(duration.as_millis()).ok(),
            },
        )
    }
}

/// Why a call goes no further.
struct Refusal<'a> {
    /// Where it would have gone, if it got so far.
    route: Option<&'a Route>,
    error: ToolError,
}

/// What the record is told of a call before it runs, or when it is refused.
fn intent<'a>(
    arrival: &'a Arrival,
    route: Option<&Route>,
    arguments: &'a Redacted,
    decision: &'a str,
) -> Intent<'a> {
    Intent {
        request_id: &arrival.request_id,
        principal: &arrival.principal,
        client_address: arrival.address,
        client_name: Some(arrival.client.as_str()).filter(|client| !client.is_empty()),
        server: route.map_or("", |route| route.toolset),
        tool: &arrival.name,
        tier: route.map(|route| route.tool.descriptor().tier),
        arguments,
        decision,
    }
}

fn ending(ending: Ending) -> hayward_audit::Ending {
    match ending {
        Ending::Ok => hayward_audit::Ending::Ok,
        Ending::Error => hayward_audit::Ending::Error,
        Ending::Denied => hayward_audit::Ending::Denied,
        Ending::Cancelled => hayward_audit::Ending::Cancelled,
        Ending::Timeout => hayward_audit::Ending::Timeout,
        Ending::Unknown => hayward_audit::Ending::Unknown,
    }
}

/// The record can't be written: the caller is told that, and not what else may have come of the call.
fn unrecorded(error: &hayward_audit::AuditError, consequence: &str) -> Outcome {
    tracing::error!(error = error as &dyn std::error::Error, "the record can't be written");
    ToolError::new(
        "AuditUnavailable",
        Code::Unavailable,
        format!("the record of calls can't be written, {consequence}"),
    )
    .suggest("the server's operator has to look at the disk under its data directory")
    .into()
}

fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
