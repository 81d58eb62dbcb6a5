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
mod beside;
mod clock;
mod fenced;
mod meter;
mod once;
mod places;
mod record;
pub(crate) mod redact;
mod refusals;
mod refuse;
mod route;
mod router;
mod routers;
mod run;
mod settings;
mod shape;
mod trace;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hayward_api::principal::PrincipalKind;
use hayward_api::{Ending, Error, Principal, Source, Tier};
use hayward_audit::secrets::{Redaction, Secrets};
use hayward_audit::{Log, Moved};
use hayward_auth::{Credentials, Decision, Policies, Policy, decide};
use hayward_mcp::envelope::RequestId;
use hayward_mcp::era::{Era, Revision};
use hayward_mcp::error::RpcError;
use hayward_mcp::json::Raw;
use hayward_mcp::param_headers::ParamHeaders;
use hayward_mcp::request::List;
use hayward_mcp::result::CacheHint;
use hayward_mcp::state::{SpentStates, StateError};
use hayward_store::Store;
use hayward_telemetry::metrics::Meters;
use hayward_telemetry::otlp::Spans;
use hayward_tool::{
    Abilities, Ability, Call, Caller, Changes, Cx, Outcome, ProgressQueue, Reached, Recorded, Reply, Round,
    ToolError, Toolset, TransferError, Verb, Verdict,
};
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::endpoint::Endpoint;
use crate::limits::{CREDENTIAL_LOOK_INTERVAL, Limits};
use crate::upstreams::{Interest, State, TooMany, Upstreams};
pub(crate) use admit::Permit;
pub(crate) use beside::Beside;
use clock::Clock;
pub use fenced::Fencing;
use once::{HeldKeys, Keyed};
use places::Places;
use record::Recorder;
pub(crate) use refusals::Refused;
use refusals::{Counter, Refusals};
use refuse::Refusal;
pub(crate) use refuse::incapable;
use route::Route;
use router::Router;
use routers::Routers;
pub use settings::RoadSettings;

/// The road, built for the tools that lie at its end, under settings that stay as they are: when they change, there is a
/// new road beside it ([`Road::under`]) with the same traffic.
pub struct Road {
    places: Places,
    routers: Routers,
    /// Where everything that changes is told.
    changes: Changes,
    credentials: Arc<Credentials>,
    /// What rules grant, at this moment.
    policies: Arc<Policies>,
    recorder: Recorder,
    result_bytes_max: usize,
    /// The states of rounds that were used up.
    spent: Arc<Mutex<SpentStates>>,
    secrets: Arc<Secrets>,
    /// Counts what is refused before it comes here.
    refused: Arc<Counter>,
    /// Keeps what came of calls that are made once.
    store: Store,
    held_keys: Arc<HeldKeys>,
    /// How old that is.
    clock: Clock,
    /// What may be held in memory at once.
    budget: Budget,
    overrun: Duration,
    /// What tools take away from whoever calls them.
    fencing: Fencing,
    /// Where calls are counted.
    meters: Arc<Meters>,
    /// Where calls are told as spans, if they are.
    spans: Option<Arc<Spans>>,
}

/// What a road is built with.
pub struct RoadParts<'a> {
    /// Where every call is recorded.
    pub record: Log,
    /// The lowest tier whose calls wait until their records are on the disk; the others wait until theirs are written.
    pub strict_from: Option<Tier>,
    /// The secrets that no reply and no record shows.
    pub secrets: Arc<Secrets>,
    /// Keeps what came of calls that are made once.
    pub store: Store,
    /// Who has which credential, at this moment.
    pub credentials: Arc<Credentials>,
    /// What rules grant, at this moment; whoever follows the store replaces it.
    pub policies: Arc<Policies>,
    /// Servers of others.
    pub upstreams: Arc<Upstreams>,
    /// The limits of the gateway.
    pub limits: &'a Limits,
    /// The limits of the contract with toolsets.
    pub tool_limits: &'a hayward_tool::limits::Limits,
    /// What tools take away from whoever calls them.
    pub fencing: Fencing,
    /// Where everything is counted.
    pub meters: Arc<Meters>,
    /// Where calls are told as spans, if they are.
    pub spans: Option<Arc<Spans>>,
}

/// A call as it arrives at the road: who, what, and where from.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Verified by `identify`.
    pub principal: Arc<Principal>,
    /// Where it comes from.
    pub source: Source,
    /// The id that the record and the answer carry.
    pub request_id: Arc<str>,
    /// The id of the request that began what this one goes on with: its own, if it begins something itself.
    pub(crate) correlation_id: Arc<str>,
    /// The id that the client gave its request, if it is one of the protocol.
    pub(crate) rpc_id: Option<RequestId>,
    /// What the client says it is.
    pub client: Arc<str>,
    /// The trace that it is part of (W3C `traceparent`), as the client says.
    pub trace_parent: Option<String>,
    /// The revision of the protocol that it speaks, if it speaks any.
    pub revision: Option<Revision>,
    /// What the client can do when it is asked.
    pub abilities: Abilities,
    /// Where it came in.
    pub(crate) endpoint: Endpoint,
    /// The session that it is of, where there is one.
    pub(crate) session: Option<Arc<str>>,
    /// The parameters of its request, as they came.
    pub(crate) params: Raw,
    /// What to do; none for a change beside the tools.
    pub verb: Option<Verb>,
    /// The name of the tool or prompt, or the URI of the resource, as the client knows it.
    pub name: String,
    /// The arguments: a checked object.
    pub arguments: Raw,
    /// What the rounds before this one have brought.
    pub round: Round,
    /// The key under which it is made once, if it has an effect; unchecked.
    pub(crate) idempotency_key: Option<String>,
    /// What this round uses up, if it may be done once only.
    pub(crate) spends: Option<Spends>,
    /// What it is, if it is no call.
    pub(crate) beside: Beside,
}

/// A state that is good for one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spends {
    /// What tells it from every other.
    pub(crate) nonce: [u8; 24],
    /// From when on it is refused anyway, in seconds since 1970.
    pub(crate) expires_unix: i64,
}

impl Arrival {
    /// The form in which a refusal is told.
    fn form(&self) -> Verb {
        self.verb.unwrap_or(Verb::CallTool)
    }
}

/// A call that nothing speaks against.
struct Admitted<'a> {
    route: &'a Route,
    permit: Permit,
    /// Its caller, with the fence that holds for this call.
    principal: Arc<Principal>,
    /// Its key, if it is made once.
    keyed: Option<Keyed>,
}

/// What came of a call.
struct Walked {
    outcome: Outcome,
    reached: Option<Reached>,
    /// None if it was refused.
    permit: Option<Permit>,
}

impl Walked {
    /// It was refused, and went nowhere.
    fn nowhere(outcome: Outcome) -> Self {
        Self { outcome, reached: None, permit: None }
    }
}

impl Road {
    /// A road to these toolsets; on a collision of names the first one wins.
    pub fn new(toolsets: Vec<Toolset>, parts: RoadParts<'_>) -> Self {
        let limits = parts.limits;
        let changes = Changes::default();
        for toolset in &toolsets {
            toolset.changes.join(&changes);
        }
        parts.upstreams.changes().join(&changes);
        let clock = Clock::start();
        meter::observe_tokens(&parts.meters, &parts.credentials, &clock);
        Self {
            places: Places::new(limits),
            routers: Routers::new(toolsets, parts.upstreams, Arc::clone(&parts.meters)),
            changes,
            credentials: parts.credentials,
            policies: parts.policies,
            recorder: Recorder::new(
                parts.record,
                Arc::clone(&parts.secrets),
                parts.strict_from,
                Duration::from_millis(limits.record_ms_max),
            )
            .counting(Arc::clone(&parts.meters)),
            secrets: parts.secrets,
            result_bytes_max: count(parts.tool_limits.result_bytes_max),
            budget: Budget::new(count(limits.held_bytes_max)),
            spent: Arc::default(),
            store: parts.store,
            held_keys: Arc::default(),
            clock,
            refused: Arc::default(),
            overrun: Duration::from_millis(limits.overrun_ms),
            fencing: parts.fencing,
            meters: parts.meters,
            spans: parts.spans,
        }
    }

    /// The elements of a list where clients come in by default: what the principal may use, and nothing else.
    pub fn list(&self, list: List, principal: &Principal) -> Raw {
        self.list_at(&Endpoint::Default, list, principal)
    }

    /// The same at any endpoint.
    pub(crate) fn list_at(&self, endpoint: &Endpoint, list: List, principal: &Principal) -> Raw {
        self.at(endpoint).list(list, &self.policy(), principal)
    }

    /// What an endpoint shows; nothing, if there is none.
    pub(crate) fn at(&self, endpoint: &Endpoint) -> Arc<Router> {
        self.routers.at(endpoint).unwrap_or_else(|| Arc::new(Router::new(endpoint.project())))
    }

    /// Whether there is such an endpoint for this principal: one of which it may use nothing isn't there.
    pub(crate) fn has_endpoint(&self, endpoint: &Endpoint, principal: &Principal) -> bool {
        *endpoint == Endpoint::Default
            || self.routers.at(endpoint).is_some_and(|router| router.is_open_to(&self.policy(), principal))
    }

    /// Why an endpoint is not served that this principal could use if it were.
    pub(crate) fn why_not_served(&self, endpoint: &Endpoint, principal: &Principal) -> Option<&'static str> {
        let (router, why) = self.routers.unserved(endpoint)?;
        router.is_open_to(&self.policy(), principal).then_some(why)
    }

    /// Servers of others.
    pub fn upstreams(&self) -> &Arc<Upstreams> {
        self.routers.upstreams()
    }

    /// Where everything that changes is told.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// What lets the server of a resource tell how it changes, for as long as it is kept; none if nobody has to be asked.
    pub(crate) fn interest(&self, endpoint: &Endpoint, uri: &str) -> Result<Option<Interest>, TooMany> {
        let router = self.at(endpoint);
        let server = router.find(Verb::ReadResource, uri).and_then(Route::server);
        server.map(|server| self.upstreams().interest(server, uri)).transpose()
    }

    /// Whether the principal may use this.
    pub(crate) fn is_visible(
        &self,
        endpoint: &Endpoint,
        verb: Verb,
        name: &str,
        principal: &Principal,
    ) -> bool {
        self.at(endpoint).find_visible(verb, name, &self.policy(), principal).is_some()
    }

    /// The headers that repeat the arguments of a tool which the principal may call.
    pub(crate) fn param_headers(
        &self,
        endpoint: &Endpoint,
        tool: &str,
        principal: &Principal,
    ) -> Option<Arc<ParamHeaders>> {
        self.at(endpoint).find_visible(Verb::CallTool, tool, &self.policy(), principal)?.param_headers()
    }

    /// Whether this runs as a task only.
    pub(crate) fn needs_task(
        &self,
        endpoint: &Endpoint,
        verb: Verb,
        name: &str,
        principal: &Principal,
    ) -> bool {
        let router = self.at(endpoint);
        router.find_visible(verb, name, &self.policy(), principal).is_some_and(Route::needs_task)
    }

    /// Whether doing it twice may matter.
    pub(crate) fn has_effect(&self, endpoint: &Endpoint, verb: Verb, name: &str) -> bool {
        self.at(endpoint).find(verb, name).is_some_and(|route| route.tier() > hayward_api::Tier::Read)
    }

    /// How long what this says stays true. Whatever it is, only those who may use it may keep it.
    pub(crate) fn cache(&self, endpoint: &Endpoint, verb: Verb, name: &str) -> CacheHint {
        let hint = self.at(endpoint).find(verb, name).map_or(CacheHint::PRIVATE, Route::cache);
        CacheHint { is_public: false, ..hint }
    }

    /// Whether a principal that was identified earlier would still be the same one now.
    pub(crate) fn is_current(&self, principal: &Principal) -> bool {
        self.credentials.is_current(principal, self.clock.expiry_unix())
    }

    /// Who presents this token, if anybody has it now.
    pub(crate) fn identify(&self, presented: &str) -> Option<Arc<Principal>> {
        self.credentials.identify(presented, self.clock.expiry_unix()).ok()
    }

    /// Seconds since 1970 by the time that has passed since we started: for what we seal and open ourselves.
    pub(crate) fn counted_unix(&self) -> i64 {
        self.clock.counted_unix()
    }

    /// What rules grant, at this moment.
    pub fn policy(&self) -> Arc<Policy> {
        self.policies.current()
    }

    /// What no client is shown.
    pub(crate) fn redaction(&self) -> Arc<Redaction> {
        self.secrets.current()
    }

    /// What may be held in memory at once.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Where everything is counted.
    pub(crate) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Whether anybody could read what is counted.
    pub(crate) fn has_metrics_token(&self) -> bool {
        self.credentials.has_any(PrincipalKind::Metrics, self.clock.expiry_unix())
    }

    /// Whether calls can be recorded; while they can't, every call is refused.
    pub(crate) fn is_recording(&self) -> bool {
        self.recorder.is_open()
    }

    /// Walks one call down the road. Ends soon after `cancel` fires. The permit comes with the reply: it is
    /// held until the reply has left, so that answers which nobody reads count as running calls.
    pub(crate) async fn call(
        &self,
        arrival: &Arrival,
        cancel: &CancellationToken,
        progress: Option<ProgressQueue>,
    ) -> (Reply, Option<Permit>) {
        // What its endpoint shows as it comes is what it sees to its end.
        let mut router = self.at(&arrival.endpoint);
        if router.find(arrival.form(), &arrival.name).is_none() {
            cancel.run_until_cancelled(Box::pin(self.upstreams().settled(&arrival.endpoint))).await;
            router = self.at(&arrival.endpoint);
        }
        let metered = self.begin(arrival, &router);
        let Walked { outcome, reached, permit } = self.walk((arrival, &router), cancel, progress).await;
        metered.ended(&outcome, reached.as_ref());
        (outcome.reply, permit)
    }

    async fn walk(
        &self,
        (arrival, router): (&Arrival, &Router),
        cancel: &CancellationToken,
        progress: Option<ProgressQueue>,
    ) -> Walked {
        let verb = arrival.form();
        let mut admitted = match self.admit(arrival, router) {
            Ok(admitted) => admitted,
            Err(Refusal { route, error }) => {
                let denied = Box::pin(self.recorder.denied(arrival, route, error)).await;
                let reply = redact::reply(&self.secrets.current(), denied.reply);
                let verdict = Verdict { ending: Ending::Denied, ..denied.verdict };
                return Walked::nowhere(Outcome { reply, verdict, ..denied });
            }
        };
        // 7 intent: recorded before anything has an effect, or nothing happens.
        let open = match self.recorder.intent(arrival, &admitted.principal, Some(admitted.route)).await {
            Ok(open) => open,
            Err(error) => return Walked::nowhere(Outcome::failed(verb, error)),
        };
        // 8 run: with a deadline and a cancellation, always.
        let (outcome, reached, is_made) = match self.claim(arrival, admitted.keyed.as_ref()).await {
            Ok(()) => {
                let recorded = Recorded { intent: open.seq(), request_id: Arc::clone(&arrival.request_id) };
                let mut cx = Cx::new(admitted.route.timeout(), cancel.clone()).with_record(recorded);
                if let Some(progress) = progress {
                    cx = cx.with_progress(progress);
                }
                if admitted.route.has_instances() {
                    cx = cx.with_reach();
                }
                (self.run(arrival, &admitted, &cx).await, cx.reached(), true)
            }
            Err(refused) => (refused, None, false),
        };
        // What waits for an answer to a question that isn't told.
        let waits = match &outcome.reply {
            Reply::Ask { state, .. } | Reply::GoOn { state } => state.clone(),
            Reply::Result(_) | Reply::Error { .. } => None,
        };
        // 9 shape: what leaves is bounded.
        let mut held = self.budget.begin(&arrival.principal);
        let outcome = Outcome { reply: redact::reply(&self.secrets.current(), outcome.reply), ..outcome };
        let outcome = shape::shape(verb, outcome, self.result_bytes_max, &mut held);
        admitted.permit.held = Some(held);
        // 10 outcome: recorded before the reply leaves.
        let outcome = self.recorder.outcome(open, verb, outcome, reached.as_ref()).await;
        if matches!(outcome.reply, Reply::Result(_) | Reply::Error { .. }) {
            self.release(waits.as_ref(), arrival).await;
        }
        if let Some(keyed) = admitted.keyed.filter(|_| is_made) {
            Box::pin(keyed.settle((&self.store, &self.held_keys), arrival, &outcome)).await;
        }
        Walked { outcome, reached, permit: Some(admitted.permit) }
    }

    /// Ends what waits at a server for the next round of a call that has none.
    pub(crate) async fn release(&self, state: Option<&Raw>, arrival: &Arrival) {
        if State::read(state).has_begun() {
            self.let_go(&arrival.principal.credential, &arrival.correlation_id).await;
            let router = self.at(&arrival.endpoint);
            let server = router.find(arrival.form(), &arrival.name).and_then(Route::server);
            self.upstreams().release(state, server, &caller(arrival, &arrival.principal));
        }
    }

    /// Ends the call that this round was to go on with, if it is still held, and its key is still kept for it.
    pub(crate) async fn release_held(&self, arrival: &Arrival) {
        let state = arrival.round.state.as_ref();
        if State::read(state).has_begun() {
            self.let_go(&arrival.principal.credential, &arrival.correlation_id).await;
            self.upstreams().release_held(state, &arrival.principal.credential);
        }
    }

    /// Makes a change beside the tools, recorded like a call. Who was revoked while the request was on its
    /// way changes nothing.
    pub(crate) async fn change<T>(
        &self,
        arrival: &Arrival,
        change: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !self.is_current(&arrival.principal) {
            let error = admit::revoked();
            let told = Error::new(error.kind, error.message.clone());
            self.recorder.denied(arrival, None, error).await;
            return Err(told.with_hint("ask another administrator for a new token"));
        }
        self.recorder.around(arrival, async { Ok((change.await?, None)) }).await
    }

    /// Moves bytes under a ticket, as a call of whoever made it. What it is given fires when that credential is revoked; it says
    /// what it has moved.
    pub(crate) async fn transfer<T, F: Future<Output = Result<(T, Moved), TransferError>>>(
        &self,
        arrival: &Arrival,
        bytes: impl FnOnce(CancellationToken) -> F,
    ) -> Result<T, TransferError> {
        // A fence of the tool that made the ticket may have narrowed its maker's.
        let is_current = || {
            let now_unix = self.clock.expiry_unix();
            self.credentials.is_current_within(&arrival.principal, now_unix)
        };
        let entered = self.places.calls.enter(&arrival.principal, is_current);
        let permit = match entered {
            Ok(permit) => permit,
            Err(error) => {
                self.recorder.denied(arrival, None, error.clone()).await;
                return Err(error.into());
            }
        };
        let cancel = permit.pulled.child_token();
        let bytes = bytes(cancel.clone());
        let bytes = async { bytes.await.map(|(made, moved)| (made, Some(moved))) };
        let mut moving = std::pin::pin!(self.recorder.around(arrival, bytes));
        loop {
            tokio::select! {
                moved = &mut moving => return moved,
                () = tokio::time::sleep(CREDENTIAL_LOOK_INTERVAL) => {}
            }
            // It outlives neither its maker's token nor the end of that.
            if !is_current() {
                cancel.cancel();
            }
        }
    }

    /// Records what was refused before it came here, the first of a kind before it is told.
    pub(crate) async fn refuse(&self, refused: Refused) {
        self.record_refusals(self.refused.count(refused)).await;
    }

    /// Records what was refused since, if that is due.
    pub(crate) async fn note_refusals(&self, patience: Duration) {
        self.record_refusals(self.refused.due(patience)).await;
    }

    async fn record_refusals(&self, due: Vec<Refusals>) {
        for refusals in due {
            if self.recorder.refused(&refusals).await.is_err() {
                // Nothing was done, and the log says why it is not recorded.
                self.refused.take_back(refusals);
            }
        }
    }

    /// Steps 3 to 6: everything that can speak against a call before it has an effect.
    fn admit<'a>(&self, arrival: &Arrival, router: &'a Router) -> Result<Admitted<'a>, Refusal<'a>> {
        // 3 admit: spend from the caller's share, so that no caller can starve the others.
        let permit = self
            .places
            .calls
            .enter(&arrival.principal, || self.is_current(&arrival.principal))
            .map_err(|error| Refusal { route: None, error })?;
        // 4 route: a name that the caller may not see is unknown (but for the host's own tools).
        let route =
            router.find(arrival.form(), &arrival.name).ok_or_else(|| self.unknown(arrival, router))?;
        // 5 decide: the same function that lists.
        if let Decision::Deny { reason } = decide(&self.policy(), &arrival.principal, &route.action()) {
            return Err(self.denied(arrival, (router, route), reason));
        }
        if route.tier() > Tier::Read {
            redact::check(&arrival.arguments).map_err(|error| Refusal { route: Some(route), error })?;
        }
        // 6 approve: what needs more than a permission.
        approve::approve(route.tier()).map_err(|error| Refusal { route: Some(route), error })?;
        if route.needs_task() && !arrival.abilities.has(Ability::Tasks) {
            return Err(Refusal { route: Some(route), error: incapable(Ability::Tasks.into()) });
        }
        // What the tool takes away, so that nothing after this asks what its caller may elsewhere.
        let refused = |error| Refusal { route: Some(route), error };
        let principal = self.fencing.caller(arrival, route).map_err(refused)?;
        let keyed = Keyed::of(arrival, &principal.fence, route).map_err(refused)?;
        Ok(Admitted { route, permit, principal, keyed })
    }

    /// Claims what the call may use once: its key, and the state that this round came with. Refused if one of them is
    /// used up.
    async fn claim(&self, arrival: &Arrival, keyed: Option<&Keyed>) -> Result<(), Outcome> {
        let Some(keyed) = keyed else {
            return self.spend(arrival);
        };
        if keyed.is_claimed(arrival, &self.held_keys) {
            return self.spend(arrival);
        }
        Box::pin(async {
            keyed.claim(&self.store, arrival, self.clock.now()).await?;
            let spent = self.spend(arrival);
            if spent.is_err() {
                keyed.release(&self.store).await;
            }
            spent
        })
        .await
    }

    /// Uses up the state that this round came with: whoever waited for its place may try again until here.
    fn spend(&self, arrival: &Arrival) -> Result<(), Outcome> {
        let Some(Spends { nonce, expires_unix }) = arrival.spends else {
            return Ok(());
        };
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.spend(&arrival.principal.credential, nonce, expires_unix, self.clock.counted_unix()) {
            return Ok(());
        }
        let RpcError { code, message, data } = StateError::Refused.to_rpc();
        let verdict = Verdict::failed(Ending::Denied, "StateSpent", "the state was used before");
        Err(Outcome { verdict, reply: Reply::Error { code, message, data }, detail: None })
    }

    async fn run(&self, arrival: &Arrival, admitted: &Admitted<'_>, cx: &Cx) -> Outcome {
        let (route, verb, cancel) = (admitted.route, arrival.form(), cx.cancellation());
        let call = Call {
            id: Arc::clone(&arrival.request_id),
            correlation_id: Arc::clone(&arrival.correlation_id),
            verb,
            // A template stands for many resources: which one is meant, the client has said.
            name: if verb == Verb::ReadResource { arrival.name.as_str() } else { route.name() }.into(),
            arguments: admitted.keyed.as_ref().map_or(&arrival.arguments, |keyed| &keyed.arguments).clone(),
            caller: caller(arrival, &admitted.principal),
            params: arrival.params.clone(),
            timeout_ms: u64::try_from(route.timeout().as_millis()).unwrap_or(u64::MAX),
            is_patient: arrival.revision.is_none_or(|revision| revision.era() == Era::Legacy),
            round: arrival.round.clone(),
        };
        let mut running = std::pin::pin!(run::run((route, self.upstreams()), cx, call, self.overrun));
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

/// Who calls, as servers are told.
fn caller(arrival: &Arrival, principal: &Arc<Principal>) -> Caller {
    Caller {
        principal: Arc::clone(principal),
        client: Arc::clone(&arrival.client),
        abilities: arrival.abilities,
        session: arrival.session.clone(),
    }
}

fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
