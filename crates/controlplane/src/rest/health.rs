//! How it is, and what was counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::response::Response;
use hayward_auth::{Operation, Verb};
use hayward_store::ListScope;
use http::StatusCode;
use serde_json::{Value, json};

use crate::guarded::Guarded;
use crate::refusal::Refusal;
use crate::wire::asked::{Asked, json, json_bytes};
use crate::wire::kind;
use crate::wire::show::shown;

/// `GET /healthz`: recorded by nobody, as it says nothing.
pub(crate) fn healthz(_asked: &Asked) -> Result<Response, Refusal> {
    json(StatusCode::OK, &json!({ "status": "ok" }))
}

/// `GET /openapi.json`.
pub(crate) fn openapi() -> Response {
    json_bytes(StatusCode::OK, crate::openapi::text().as_bytes().to_vec())
}

/// `GET /metrics`, apart from those for Prometheus.
pub(crate) async fn metrics(asked: Asked) -> Result<Response, Refusal> {
    asked.known().await?;
    let plane = Arc::clone(&asked.plane);
    asked
        .look(async move {
            let counters = &plane.counters;
            let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            let told = json!({
                "requests": count(&counters.requests), "refused": count(&counters.refused),
                "errors": count(&counters.errors), "panics": count(&counters.panics), "watches": plane.watches(),
                "lastRequestAt": counters.last().map(|time| time.to_string()),
                "uptimeSeconds": counters.started.elapsed().as_secs(),
            });
            json(StatusCode::OK, &told)
        })
        .await
}

/// `GET /health/overview`.
pub(crate) async fn overview(asked: Asked) -> Result<Response, Refusal> {
    let plane = Arc::clone(&asked.plane);
    let manifests = plane.manifests.shown();
    // Files, and what they name, are for whoever may read the log, which says the same.
    let sees_files = plane.guarded.operation(&asked.caller, Operation::Logs).is_ok();
    let secrets = plane.snapshots.condition();
    let is_well = plane.guarded.is_well().await
        && secrets.is_none()
        && manifests.as_ref().is_none_or(|told| told["status"] == "ok");
    let mut told = json!({ "status": if is_well { "ok" } else { "degraded" }, "version": plane.version });
    if Guarded::known(&asked.caller).is_ok() {
        let counters = &plane.counters;
        let (requests, errors) =
            (counters.requests.load(Ordering::Relaxed), counters.errors.load(Ordering::Relaxed));
        let instances = plane.guarded.visible(&asked.caller, kind("instance")?, ListScope::All).await?;
        told["uptimeSeconds"] = counters.started.elapsed().as_secs().into();
        told["instances"] = json!({ "total": instances.len() });
        told["requests"] = requests.into();
        told["errors"] = errors.into();
        told["errorRate"] = if requests == 0 { json!(0.0) } else { ratio(errors, requests) };
        let manifests = manifests.filter(|_| sees_files);
        let of_manifests = manifests.as_ref().and_then(|told| told["conditions"].as_array().cloned());
        let of_secrets = secrets.map(|condition| json!(condition));
        let conditions = of_manifests.unwrap_or_default().into_iter().chain(of_secrets);
        told["conditions"] = conditions.collect();
        told["manifests"] = manifests.unwrap_or(Value::Null);
    }
    asked.look(async move { json(StatusCode::OK, &told) }).await
}

/// Thousandths are exact enough.
fn ratio(part: u64, whole: u64) -> Value {
    let thousandths = u32::try_from(part.saturating_mul(1000) / whole.max(1)).unwrap_or(u32::MAX);
    (f64::from(thousandths) / 1000.0).into()
}

/// `GET /health/instances/{id}`.
pub(crate) async fn instance(asked: Asked) -> Result<Response, Refusal> {
    let (_, instance) = asked.may_this(Verb::View).await?;
    let kind = asked.kind()?;
    asked
        .look(async move {
            let document = shown(kind, &instance);
            let told = json!({
                "id": instance.metadata.uid, "name": instance.metadata.name, "since": instance.metadata.created_at,
                "status": document.get("status").cloned().unwrap_or_else(|| json!({ "phase": "UNKNOWN" })),
            });
            json(StatusCode::OK, &told)
        })
        .await
}
