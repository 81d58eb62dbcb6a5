//! Steps 7 and 10, intent and outcome: nothing has an effect before its intent is recorded, and no reply
//! leaves before its outcome is.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hayward_api::{Code, Ending, Error};
use hayward_audit::secrets::Secrets;
use hayward_audit::{AuditError, Hash, Intent, Log, Queued, Redacted, Seq, redact};
use hayward_mcp::era::Revision;
use hayward_tool::{Outcome, Reply, ToolError, Verb, Verdict};

use super::Arrival;
use super::redact::{recorded, recorded_json};
use super::refusals::Refusals;
use super::route::Route;

/// How often a call lets others go first while somebody writes the record.
const YIELDS: u32 = 32;

/// Writes the record of what goes down the road.
pub(crate) struct Recorder {
    log: Log,
    secrets: Arc<Secrets>,
}

/// What a client says, as the record may hold it.
struct Said<'a> {
    arguments: Redacted,
    name: Cow<'a, str>,
    client: Cow<'a, str>,
}

/// An intent whose outcome is owed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    seq: Seq,
    since: Instant,
}

impl Recorder {
    pub(crate) fn new(log: Log, secrets: Arc<Secrets>) -> Self {
        Self { log, secrets }
    }

    /// What a client says, as the record may hold it.
    fn said<'a>(&self, arrival: &'a Arrival, route: Option<&Route>) -> Said<'a> {
        let redaction = self.secrets.current();
        // The name of a tool that there is shows nothing but itself.
        let is_ours = route.is_some_and(|route| route.name() == arrival.name);
        Said {
            arguments: redact::arguments(&recorded_json(&redaction, arrival.arguments.as_str())),
            name: if is_ours { Cow::Borrowed(&arrival.name) } else { recorded(&redaction, &arrival.name) },
            client: recorded(&redaction, &arrival.client),
        }
    }

    /// Whether anything can be recorded.
    pub(crate) fn is_open(&self) -> bool {
        self.log.is_open()
    }

    /// Records that this is about to happen. If it fails, it must not happen.
    pub(crate) async fn intent(&self, arrival: &Arrival, route: Option<&Route>) -> Result<Open, ToolError> {
        let said = self.said(arrival, route);
        let queued = self.log.intent(&intent(arrival, route, &said, "allow"));
        let seq = written(queued).await.map_err(|error| unrecorded(&error, "so nothing was done"))?;
        Ok(Open { seq, since: Instant::now() })
    }

    /// Records how it ended, and passes it on; what can't be recorded is not told as done.
    pub(crate) async fn outcome(&self, open: Open, verb: Verb, mut outcome: Outcome) -> Outcome {
        if outcome.verdict.code.is_none() {
            outcome.verdict.code = round_code(&outcome.reply).map(ToOwned::to_owned);
        }
        if let Some(detail) = &outcome.detail {
            tracing::error!(code = outcome.verdict.code, detail, "a call failed");
        }
        let digest = match &outcome.reply {
            Reply::Result(raw) => Some(Hash::blake3(raw.as_bytes())),
            Reply::Ask { .. } | Reply::GoOn { .. } | Reply::Error { .. } => None,
        };
        match self.close(open, &outcome.verdict, digest).await {
            Ok(()) => outcome,
            Err(error) => Outcome::failed(verb, unrecorded(&error, "although the call has run")),
        }
    }

    /// Records that this was asked for and refused, and says so.
    pub(crate) async fn denied(
        &self,
        arrival: &Arrival,
        route: Option<&Route>,
        refusal: ToolError,
    ) -> Outcome {
        let said = self.said(arrival, route);
        let redaction = self.secrets.current();
        let reason = recorded(&redaction, &refusal.message);
        let queued = self.log.denied(&intent(arrival, route, &said, "deny"), &reason);
        let verb = arrival.form();
        match written(queued).await {
            Ok(_) => Outcome::failed(verb, refusal),
            Err(error) => Outcome::failed(verb, unrecorded(&error, "so nothing was done")),
        }
    }

    /// Records what was refused before it came to the road.
    pub(crate) async fn refused(&self, refusals: &Refusals) -> Result<(), AuditError> {
        let Refusals { first, count } = refusals;
        let redaction = self.secrets.current();
        let (name, reason) = (recorded(&redaction, &first.name), recorded(&redaction, &first.reason));
        let intent = Intent {
            request_id: &first.request_id,
            principal: &first.principal,
            client_address: first.address,
            client_name: None,
            traceparent: None,
            protocol: None,
            server: "",
            method: &first.method,
            tool: &name,
            tier: None,
            arguments: &redact::arguments("{}"),
            raw_arguments: None,
            decision: "deny",
        };
        written(self.log.denied_often(&intent, &reason, *count)).await.map(drop)
    }

    /// Records a change that is made beside the tools, around the change itself.
    pub(crate) async fn around<T>(
        &self,
        arrival: &Arrival,
        change: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let unavailable = |error: ToolError| {
            let told = Error::new(Code::Unavailable, error.message);
            error.suggestion.into_iter().fold(told, Error::with_hint)
        };
        let open = self.intent(arrival, None).await.map_err(unavailable)?;
        // A panic must not leave the intent open.
        let changed = AssertUnwindSafe(change).catch_unwind().await.unwrap_or_else(|_panic| {
            let message = "the change was lost, in whole or in part";
            Err(Error::new(Code::Internal, message)
                .with_hint("list what there is, and look into the server's log"))
        });
        let verdict = match &changed {
            Ok(_) => Verdict::ok(),
            Err(error) => Verdict::failed(Ending::Error, error.code.as_str(), error.message.clone()),
        };
        self.close(open, &verdict, None)
            .await
            .map_err(|error| unavailable(unrecorded(&error, "although the change was made")))?;
        changed
    }

    async fn close(
        &self,
        open: Open,
        verdict: &Verdict,
        result_digest: Option<Hash>,
    ) -> Result<(), AuditError> {
        let redaction = self.secrets.current();
        let message = verdict.message.as_deref().map(|message| recorded(&redaction, message));
        let outcome = hayward_audit::Outcome {
            ending: verdict.ending,
            code: verdict.code.as_deref(),
            message: message.as_deref(),
            duration_ms: millis(open.since.elapsed()),
            result_digest,
        };
        written(self.log.outcome(open.seq, &outcome)?).await.map(drop)
    }
}

/// Waits until it is recorded. While somebody else writes, this thread has other calls to serve.
async fn written(queued: Queued<'_>) -> Result<Seq, AuditError> {
    if queued.has_company() {
        // One write for all calls that come this far meanwhile.
        tokio::task::yield_now().await;
    }
    for _ in 0..YIELDS {
        match queued.try_write() {
            Some(told) => return told,
            None => tokio::task::yield_now().await,
        }
    }
    // Whoever writes has been held up: by a new file, a sync, or the scheduler.
    queued.write()
}

/// What the record says of a call that is not over with this round.
fn round_code(reply: &Reply) -> Option<&'static str> {
    match reply {
        Reply::Ask { .. } => Some("InputRequired"),
        Reply::GoOn { .. } => Some("Task"),
        Reply::Result(_) | Reply::Error { .. } => None,
    }
}

fn millis(duration: Duration) -> Option<u64> {
    u64::try_from(duration.as_millis()).ok()
}

/// What the record is told of a call before it runs, or when it is refused.
fn intent<'a>(
    arrival: &'a Arrival,
    route: Option<&Route>,
    said: &'a Said<'a>,
    decision: &'a str,
) -> Intent<'a> {
    Intent {
        request_id: &arrival.request_id,
        principal: &arrival.principal,
        client_address: arrival.address,
        client_name: Some(&*said.client).filter(|client| !client.is_empty()),
        traceparent: arrival.trace_parent.as_deref(),
        protocol: arrival.revision.map(Revision::as_str),
        server: route.map_or("", |route| route.toolset),
        method: arrival.verb.map_or("admin", Verb::method),
        tool: &said.name,
        tier: route.map(Route::tier),
        arguments: &said.arguments,
        raw_arguments: Some(arrival.arguments.as_str()),
        decision,
    }
}

/// The record can't be written: the caller is told that, and not what else may have come of the call.
fn unrecorded(error: &AuditError, consequence: &str) -> ToolError {
    tracing::error!(error = error as &dyn std::error::Error, "a call can't be recorded");
    let message = format!("the record of calls can't be written, {consequence}");
    ToolError::new("AuditUnavailable", Code::Unavailable, message)
        .suggest(format!("the server's operator has to {}", error.hint()))
}
