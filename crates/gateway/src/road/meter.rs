//! Counts calls, and tells them as spans: beside the road, at a cost that no call feels.

use std::sync::Arc;
use std::time::Instant;

use hayward_api::Ending;
use hayward_auth::Credentials;
use hayward_telemetry::metrics::{CallResult, Kind, Meters, Observed};
use hayward_telemetry::otlp::{Spans, Started};
use hayward_tool::{Outcome, Reached, Verb};

use super::clock::Clock;
use super::route::Route;
use super::router::Router;
use super::{Arrival, Road, trace};

/// A call that will be counted when it has ended. One that is dropped before it had an outcome is not.
pub(super) struct Metered<'a> {
    road: &'a Road,
    arrival: &'a Arrival,
    router: &'a Router,
    since: Instant,
    span: Option<(&'a Spans, Started)>,
}

impl Road {
    pub(super) fn begin<'a>(&'a self, arrival: &'a Arrival, router: &'a Router) -> Metered<'a> {
        let span = self.spans.as_deref();
        let span = span.and_then(|spans| Some((spans, spans.begin(arrival.trace_parent.as_deref())?)));
        Metered { road: self, arrival, router, since: Instant::now(), span }
    }
}

impl Metered<'_> {
    /// Counts it, and tells it.
    pub(super) fn ended(self, outcome: &Outcome, reached: Option<&Reached>) {
        let (took, verb) = (self.since.elapsed(), self.arrival.form());
        if verb == Verb::CallTool {
            let (role, result) = (self.arrival.principal.role(), result(outcome.verdict.ending));
            match self.router.find(verb, &self.arrival.name).and_then(Route::meter) {
                Some(meter) => meter.count(role, result, took),
                None => self.road.meters.other_tools().count(role, result, took),
            }
        } else if let Some(histogram) = self.road.meters.method(verb.method()) {
            histogram.count(took);
        }
        if let Some(span) = self.span {
            let target = self.router.find(verb, &self.arrival.name).map(Route::name);
            trace::tell(span, took, (self.arrival, target), (outcome, reached));
        }
    }
}

/// The word of dashboards: what was cancelled or took too long has failed.
fn result(ending: Ending) -> CallResult {
    match ending {
        Ending::Ok => CallResult::Ok,
        Ending::Denied => CallResult::Denied,
        Ending::Error | Ending::Cancelled | Ending::Timeout | Ending::Unknown => CallResult::Error,
    }
}

/// Tells how many tokens are accepted.
pub(super) fn observe_tokens(meters: &Meters, credentials: &Arc<Credentials>, clock: &Clock) {
    let (credentials, clock) = (Arc::clone(credentials), *clock);
    meters.observe(Observed {
        name: "tokens_count",
        help: "Tokens that are accepted, by role.",
        kind: Kind::Gauge,
        label: Some("role"),
        read: Box::new(move || credentials.count_by_role(clock.expiry_unix())),
    });
}
