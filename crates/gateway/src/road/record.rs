//! Steps 7 and 10, intent and outcome: nothing has an effect before its intent is recorded, and no reply
//! leaves before its outcome is.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hayward_api::{Code, Ending, Error, Principal, Tier};
use hayward_audit::secrets::Secrets;
use hayward_audit::{AuditError, Hash, Intent, Log, Moved, PartOf, Queued, Redacted, Sent, Seq, redact};
use hayward_mcp::era::Revision;
use hayward_telemetry::metrics::Meters;
use hayward_tool::{Outcome, Reached, Reply, ToolError, TransferError, Verb, Verdict};

use super::Arrival;
use super::redact::{recorded, recorded_json};
use super::refusals::Refusals;
use super::route::Route;
use crate::endpoint::Endpoint;

/// How often a call lets others go first while somebody writes the record, before it waits.
const YIELDS: u32 = 32;
/// How long it waits between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Writes the record of what goes down the road.
pub(crate) struct Recorder {
    log: Arc<Log>,
    secrets: Arc<Secrets>,
    /// The lowest tier whose records wait for the disk.
    strict_from: Option<Tier>,
    /// How long a call waits for the record.
    patience: Duration,
    meters: Arc<Meters>,
}

/// What a client says, as the record may hold it.
struct Said<'a> {
    arguments: Redacted,
    /// What the administrator sets of them.
    set: Option<Redacted>,
    name: Cow<'a, str>,
    client: Cow<'a, str>,
}

/// An intent whose outcome is owed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    seq: Seq,
    since: Instant,
    durability: Durability,
}

impl Open {
    /// The number of the intent.
    pub(crate) fn seq(&self) -> u64 {
        self.seq.get()
    }
}

/// What came of a call beside its verdict.
#[derive(Default)]
struct Brought<'a> {
    /// The BLAKE3 of its result, and how many bytes that has.
    digest: Option<Hash>,
    bytes: Option<u64>,
    moved: Option<Moved>,
    reached: Option<&'a Reached>,
}

/// When a record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// When it is written: it outlives our process.
    Process,
    /// When it is on the disk: it outlives a power loss.
    Strict,
}

impl Recorder {
    pub(crate) fn new(
        log: Log,
        secrets: Arc<Secrets>,
        strict_from: Option<Tier>,
        patience: Duration,
    ) -> Self {
        Self { log: Arc::new(log), secrets, strict_from, patience, meters: Arc::default() }
    }

    /// Writes to the same record, and waits for it from this tier on, and for so long.
    pub(crate) fn under(&self, strict_from: Option<Tier>, patience: Duration) -> Self {
        let (log, secrets, meters) =
            (Arc::clone(&self.log), Arc::clone(&self.secrets), Arc::clone(&self.meters));
        Self { log, secrets, strict_from, patience, meters }
    }

    /// Counts here what can't be recorded.
    pub(crate) fn counting(self, meters: Arc<Meters>) -> Self {
        Self { meters, ..self }
    }

    /// When the records of a call count, or those of a change beside the tools.
    fn durability(&self, tier: Option<Tier>) -> Durability {
        let is_strict = match (self.strict_from, tier) {
            (Some(from), Some(tier)) => tier >= from,
            (from, None) => from.is_some(),
            (None, _) => false,
        };
        if is_strict { Durability::Strict } else { Durability::Process }
    }

    /// What a client says, as the record may hold it.
    fn said<'a>(&self, arrival: &'a Arrival, route: Option<&Route>) -> Said<'a> {
        let redaction = self.secrets.current();
        // The name of a tool that there is shows nothing but itself, nor does that of a route of ours.
        let is_ours = (arrival.verb.is_none() && arrival.beside.is_named_by_us())
            || route.is_some_and(|route| *route.exposed == *arrival.name);
        let set = route.and_then(|route| route.set(&arrival.arguments));
        Said {
            set: set.map(|set| redact::arguments(&recorded_json(&redaction, set.as_str()))),
            arguments: redact::arguments(&recorded_json(&redaction, arrival.arguments.as_str())),
            name: if is_ours { Cow::Borrowed(&arrival.name) } else { recorded(&redaction, &arrival.name) },
            client: recorded(&redaction, &arrival.client),
        }
    }

    /// Whether anything can be recorded.
    pub(crate) fn is_open(&self) -> bool {
        self.log.is_open()
    }

    /// Records that this is about to happen by this caller, with the fence that holds for it. If it fails, it must
    /// not happen.
    pub(crate) async fn intent(
        &self,
        arrival: &Arrival,
        principal: &Principal,
        route: Option<&Route>,
    ) -> Result<Open, ToolError> {
        let said = self.said(arrival, route);
        let durability = self.durability(tier(arrival, route));
        let intent = Intent { principal, ..intent(arrival, route, &said, "allow") };
        let queued = self.log.intent(&intent);
        let recorded = self.recorded(&queued, durability).await;
        let seq = recorded.map_err(|error| {
            self.give_up(&queued);
            unrecorded(&error, "so nothing was done")
        })?;
        Ok(Open { seq, since: Instant::now(), durability })
    }

    /// Records how it ended, and passes it on; what can't be recorded is not told as done.
    pub(crate) async fn outcome(
        &self,
        open: Open,
        verb: Verb,
        mut outcome: Outcome,
        reached: Option<&Reached>,
    ) -> Outcome {
        if outcome.verdict.code.is_none() {
            outcome.verdict.code = round_code(&outcome.reply).map(ToOwned::to_owned);
        }
        if let Some(detail) = &outcome.detail {
            tracing::error!(code = outcome.verdict.code, detail, "a call failed");
        }
        let mut brought = Brought { reached, ..Brought::default() };
        if let Reply::Result(raw) = &outcome.reply {
            brought.digest = Some(Hash::blake3(raw.as_bytes()));
            brought.bytes = u64::try_from(raw.as_bytes().len()).ok();
        }
        match self.close(open, &outcome.verdict, brought).await {
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
        match self.recorded(&queued, Durability::Process).await {
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
            source: first.source,
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
            part_of: PartOf::default(),
            sent: Sent::default(),
        };
        let queued = self.log.denied_often(&intent, &reason, *count);
        self.recorded(&queued, Durability::Process).await.map(drop)
    }

    /// Records a change that is made beside the tools, around the change itself, which says what it has moved, if it is a
    /// transfer.
    pub(crate) async fn around<T, E: Failure>(
        &self,
        arrival: &Arrival,
        change: impl Future<Output = Result<(T, Option<Moved>), E>>,
    ) -> Result<T, E> {
        let open = self.intent(arrival, &arrival.principal, None).await.map_err(E::refused)?;
        // A panic must not leave the intent open.
        let lost = |_panic| {
            let message = "the change was lost, in whole or in part";
            let error = ToolError::new("Internal", Code::Internal, message);
            Err(E::refused(error.suggest("list what there is, and look into the server's log")))
        };
        let changed = AssertUnwindSafe(change).catch_unwind().await.unwrap_or_else(lost);
        let verdict = changed.as_ref().map_or_else(E::verdict, |_| Verdict::ok());
        let moved = changed.as_ref().ok().and_then(|(_, moved)| *moved);
        self.close(open, &verdict, Brought { moved, ..Brought::default() })
            .await
            .map_err(|error| E::refused(unrecorded(&error, "although the change was made")))?;
        changed.map(|(made, _)| made)
    }

    async fn close(&self, open: Open, verdict: &Verdict, brought: Brought<'_>) -> Result<(), AuditError> {
        let redaction = self.secrets.current();
        let message = verdict.message.as_deref().map(|message| recorded(&redaction, message));
        let outcome = hayward_audit::Outcome {
            ending: verdict.ending,
            code: verdict.code.as_deref(),
            message: message.as_deref(),
            duration_ms: millis(open.since.elapsed()),
            result_digest: brought.digest,
            result_bytes: brought.bytes,
            moved: brought.moved,
            reached: brought.reached.map(|reached| hayward_audit::Reached {
                instance: &reached.instance,
                is_bound: reached.is_bound,
            }),
        };
        let queued = self.log.outcome(open.seq, &outcome)?;
        self.recorded(&queued, open.durability).await.map(drop)
    }

    async fn recorded(&self, queued: &Queued<'_>, durability: Durability) -> Result<Seq, AuditError> {
        let told = self.settled(queued, durability).await;
        told.inspect_err(|_| self.meters.audit_write_failed())
    }

    /// Waits until it is recorded, for a bounded time. While somebody else writes, this thread has other calls to serve.
    async fn settled(&self, queued: &Queued<'_>, durability: Durability) -> Result<Seq, AuditError> {
        let told = written_soon(queued).await;
        if let (Some(told), Durability::Process) = (told, durability) {
            return told;
        }
        let recorded = async {
            let seq = written_at_last(queued).await?;
            if durability == Durability::Strict { queued.synced().await } else { Ok(seq) }
        };
        let late = |_elapsed| Err(AuditError::Late { after: self.patience });
        tokio::time::timeout(self.patience, recorded).await.unwrap_or_else(late)
    }

    /// An intent that was not recorded in time may still be written: it gets its outcome then.
    fn give_up(&self, queued: &Queued<'_>) {
        if let Some(Ok(seq)) = queued.told() {
            let outcome = hayward_audit::Outcome {
                code: Some("AuditUnavailable"),
                message: Some("its record was late, so nothing was done"),
                ..hayward_audit::Outcome::bare(Ending::Denied)
            };
            // If it is owed one by now, that one is written as soon as anything can be.
            drop(self.log.outcome(seq, &outcome));
        }
    }
}

/// What a change beside the tools fails with.
pub(crate) trait Failure {
    /// What the record says of it.
    fn verdict(&self) -> Verdict;

    /// The road refused it.
    fn refused(error: ToolError) -> Self;
}

impl Failure for Error {
    fn verdict(&self) -> Verdict {
        Verdict::failed(Ending::Error, self.code.as_str(), self.message.clone())
    }

    fn refused(error: ToolError) -> Self {
        let told = Self::new(error.kind, error.message);
        error.suggestion.into_iter().fold(told, Self::with_hint)
    }
}

impl Failure for TransferError {
    fn verdict(&self) -> Verdict {
        self.verdict()
    }

    fn refused(error: ToolError) -> Self {
        error.into()
    }
}

/// Writes it, or lets whoever writes do it. None while somebody is held up: by a new file, the disk, or the scheduler.
async fn written_soon(queued: &Queued<'_>) -> Option<Result<Seq, AuditError>> {
    if queued.has_company() {
        // One write for all calls that come this far meanwhile.
        tokio::task::yield_now().await;
    }
    for _ in 0..YIELDS {
        match queued.try_write() {
            Some(told) => return Some(told),
            None => tokio::task::yield_now().await,
        }
    }
    None
}

async fn written_at_last(queued: &Queued<'_>) -> Result<Seq, AuditError> {
    loop {
        match queued.try_write() {
            Some(told) => return told,
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
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

fn tier(arrival: &Arrival, route: Option<&Route>) -> Option<Tier> {
    route.map_or(arrival.beside.tier, |route| Some(route.tier()))
}

/// What the record is told of a call before it runs, or when it is refused.
fn intent<'a>(
    arrival: &'a Arrival,
    route: Option<&'a Route>,
    said: &'a Said<'a>,
    decision: &'a str,
) -> Intent<'a> {
    Intent {
        request_id: &arrival.request_id,
        principal: &arrival.principal,
        source: arrival.source,
        client_name: Some(&*said.client).filter(|client| !client.is_empty()),
        traceparent: arrival.trace_parent.as_deref(),
        protocol: arrival.revision.map(Revision::as_str),
        server: route.map_or_else(|| arrival.endpoint.server().unwrap_or_default(), |route| &route.toolset),
        method: arrival.verb.map_or(arrival.beside.method, Verb::method),
        tool: &said.name,
        tier: tier(arrival, route),
        arguments: &said.arguments,
        raw_arguments: Some(arrival.arguments.as_str()),
        decision,
        part_of: PartOf {
            correlation_id: Some(&arrival.correlation_id),
            session: arrival.session.as_deref(),
            project: project(&arrival.endpoint, route),
        },
        sent: Sent {
            name: route
                .filter(|route| route.has_instances())
                .map(Route::name)
                .filter(|own| *own != said.name),
            set: said.set.as_ref(),
        },
    }
}

/// The project whose endpoint it came in at. `/mcp` is one of a project as far as its servers go.
fn project<'a>(endpoint: &'a Endpoint, route: Option<&Route>) -> Option<&'a str> {
    let is_its = match endpoint {
        Endpoint::Default => route.is_some_and(Route::has_instances),
        Endpoint::Server(_) | Endpoint::Project(_) => true,
    };
    endpoint.project().filter(|_| is_its)
}

/// The record can't be written: the caller is told that, and not what else may have come of the call.
fn unrecorded(error: &AuditError, consequence: &str) -> ToolError {
    tracing::error!(error = error as &dyn std::error::Error, "a call can't be recorded");
    let message = format!("the record of calls can't be written, {consequence}");
    ToolError::new("AuditUnavailable", Code::Unavailable, message)
        .suggest(format!("the server's operator has to {}", error.hint()))
}
