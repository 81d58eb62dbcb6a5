//! `/metrics`: what is counted, for whoever shows the token for it. Changes nothing, so it isn't recorded.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::extract::{Extension, State};
use axum::response::Response;
use hayward_auth::{Action, Decision, decide};
use hayward_telemetry::metrics::CONTENT_TYPE;

use super::answer;
use super::http::{App, Arrived, authenticate, unauthenticated};

/// `GET`: everything in the text format of Prometheus.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Extension(arrived): Extension<Arrived>,
    headers: HeaderMap,
) -> Response {
    let road = app.protocol.road();
    if !road.has_metrics_token() {
        let message = "Metrics are off: no metrics token is configured";
        return answer::detail(StatusCode::SERVICE_UNAVAILABLE, message);
    }
    // Whatever speaks against it, the answer is the same.
    let shown = authenticate(&app, &arrived, &headers).ok().flatten();
    let may = shown
        .is_some_and(|principal| decide(&road.policy(), &principal, &Action::ReadMetrics) == Decision::Allow);
    if !may {
        return unauthenticated("Unauthorized");
    }
    let mut response = Response::new(road.meters().text().into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
