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
mod arrival;
mod beside;
mod claim;
mod clock;
mod fenced;
mod meter;
mod once;
mod parts;
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
mod shown;
mod trace;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hayward_api::principal::PrincipalKind;
use hayward_api::{Ending, Principal};
use hayward_audit::secrets::{Redaction, Secrets};
use hayward_auth::{Credentials, Policies, Policy};
use hayward_mcp::json::Raw;
use hayward_mcp::state::SpentStates;
use hayward_store::Store;
use hayward_telemetry::metrics::Meters;
use hayward_telemetry::otlp::Spans;
use hayward_tool::{Changes, Cx, Outcome, ProgressQueue, Reached, Recorded, Reply, Verdict};
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::upstreams::{State, Upstreams};
pub(crate) use admit::Permit;
pub use arrival::Arrival;
pub(crate) use arrival::Spends;
pub(crate) use beside::Beside;
use clock::Clock;
pub use fenced::Fencing;
use once::HeldKeys;
pub use parts::RoadParts;
use parts::count;
use places::Places;
use record::Recorder;
use refusals::Counter;
pub(crate) use refusals::Refused;
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
    /// Servers of others.
    pub fn upstreams(&self) -> &Arc<Upstreams> {
        self.routers.upstreams()
    }

    /// Where everything that changes is told.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
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
        // It waits before it is admitted, as where it leads says what is decided: but nobody who may use nothing there.
        let is_unknown = router.find(arrival.form(), &arrival.name).is_none();
        if is_unknown && router.is_open_to(&self.policy(), &arrival.principal) {
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
            self.upstreams().release(state, server, &arrival.caller(&arrival.principal));
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
}
