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
mod record;
mod route;
mod run;
mod shape;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hayward_api::{Code, Error, Principal};
use hayward_audit::Log;
use hayward_auth::{Credentials, Decision, Reason, decide};
use hayward_mcp::json::Raw;
use hayward_tool::{Call, Caller, Cx, Listener, Outcome, Reply, ToolError, Toolset};
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use admit::Admit;
pub(crate) use admit::Permit;
use record::Recorder;
use route::{Route, Router};

/// The road, built once for the tools that lie at its end.
pub struct Road {
    admit: Arc<Admit>,
    router: Router,
    credentials: Arc<Credentials>,
    recorder: Recorder,
    result_bytes_max: usize,
    overrun: Duration,
}

/// What a road is built with.
pub struct RoadParts<'a> {
    /// Where every call is recorded.
    pub record: Log,
    /// Who has which credential, at this moment.
    pub credentials: Arc<Credentials>,
    /// The limits of the gateway.
    pub limits: &'a Limits,
    /// The limits of the contract with toolsets.
    pub tool_limits: &'a hayward_tool::limits::Limits,
}

/// A call as it arrives at the road: who, what, and where from.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Verified by `identify`.
    pub principal: Arc<Principal>,
    /// The address of the peer, as the kernel says; none for a process of this machine.
    pub address: Option<SocketAddr>,
    /// The id that the record and the answer carry.
    pub request_id: Arc<str>,
    /// What the client says it is.
    pub client: Arc<str>,
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
    /// A road to these toolsets; on a collision of names the first one wins.
    pub fn new(toolsets: Vec<Toolset>, parts: RoadParts<'_>) -> Self {
        let limits = parts.limits;
        let (calls, per_principal) = (count(limits.calls_max), count(limits.calls_per_principal_max));
        Self {
            admit: Admit::new(calls, per_principal),
            router: Router::new(toolsets),
            credentials: parts.credentials,
            recorder: Recorder::new(parts.record),
            result_bytes_max: count(parts.tool_limits.result_bytes_max),
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

    /// Whether calls can be recorded; while they can't, every call is refused.
    pub(crate) fn is_recording(&self) -> bool {
        self.recorder.is_open()
    }

    /// Cancels every running call.
    pub fn cancel_all(&self) {
        self.admit.cancel_all();
    }

    /// Walks one call down the road. Ends soon after `cancel` fires. The permit comes with the reply: it is
    /// held until the reply has left, so that answers which nobody reads count as running calls.
    pub(crate) async fn call(
        &self,
        arrival: Arrival,
        cancel: CancellationToken,
        progress: Option<Listener>,
    ) -> (Reply, Option<Permit>) {
        let admitted = match self.admit(&arrival) {
            Ok(admitted) => admitted,
            Err(Refusal { route, error }) => {
                return (self.recorder.denied(&arrival, route, error).await.reply, None);
            }
        };
        // 7 intent: recorded before anything has an effect, or nothing happens.
        let open = match self.recorder.intent(&arrival, Some(admitted.route)).await {
            Ok(open) => open,
            Err(error) => return (Outcome::from(error).reply, None),
        };
        // 8 run: with a deadline and a cancellation, always.
        let outcome = self.run(&arrival, &admitted, cancel, progress).await;
        // 9 shape: what leaves is bounded.
        let outcome = shape::shape(outcome, self.result_bytes_max);
        // 10 outcome: recorded before the reply leaves.
        (self.recorder.outcome(open, outcome).await.reply, Some(admitted.permit))
    }

    /// Makes a change beside the tools, recorded like a call. Who was revoked while the request was on its
    /// way changes nothing.
    pub(crate) async fn change<T>(
        &self,
        arrival: &Arrival,
        change: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !self.credentials.is_current(&arrival.principal, now_unix()) {
            let error = admit::revoked();
            let told = Error::new(error.kind, error.message.clone());
            self.recorder.denied(arrival, None, error).await;
            return Err(told.with_hint("ask another administrator for a new token"));
        }
        self.recorder.around(arrival, change).await
    }

    /// Steps 3 to 6: everything that can speak against a call before it has an effect.
    fn admit(&self, arrival: &Arrival) -> Result<Admitted<'_>, Refusal<'_>> {
        // 3 admit: spend from the caller's share, so that no caller can starve the others.
        let is_current = || self.credentials.is_current(&arrival.principal, now_unix());
        let permit = self
            .admit
            .enter(&arrival.principal, is_current)
            .map_err(|error| Refusal { route: None, error })?;
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
            id: Arc::clone(&arrival.request_id),
            tool: descriptor.name.clone(),
            arguments: arrival.arguments.clone(),
            caller: Caller { principal: Arc::clone(&arrival.principal), client: Arc::clone(&arrival.client) },
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
}

/// Why a call goes no further.
struct Refusal<'a> {
    /// Where it would have gone, if it got so far.
    route: Option<&'a Route>,
    error: ToolError,
}

/// Seconds since 1970, for expiry.
pub(crate) fn now_unix() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
