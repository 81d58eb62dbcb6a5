//! How it is, and what was counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::response::Response;
use hayward_auth::Operation;
use hayward_store::{ListScope, Resource};
use http::StatusCode;
use serde_json::{Value, json};

use crate::guarded::Guarded;
use crate::limits::NOT_READY_TOLD;
use crate::refusal::Refusal;
use crate::wire::asked::{Asked, json, json_bytes};
use crate::wire::kind;

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
    let fares = fares(&asked).await?;
    let is_well = plane.guarded.is_well().await
        && secrets.is_none()
        && fares["servers"]["notReady"].as_array().is_none_or(Vec::is_empty)
        && manifests.as_ref().is_none_or(|told| told["status"] == "ok");
    let mut told = json!({ "status": if is_well { "ok" } else { "degraded" }, "version": plane.version });
    if Guarded::known(&asked.caller).is_ok() {
        let counters = &plane.counters;
        let (requests, errors) =
            (counters.requests.load(Ordering::Relaxed), counters.errors.load(Ordering::Relaxed));
        told["uptimeSeconds"] = counters.started.elapsed().as_secs().into();
        told["servers"] = fares["servers"].clone();
        told["instances"] = fares["instances"].clone();
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

/// How the servers and instances fare that the caller may see; nothing to nobody.
async fn fares(asked: &Asked) -> Result<Value, Refusal> {
    if Guarded::known(&asked.caller).is_err() {
        return Ok(Value::Null);
    }
    let guarded = &asked.plane.guarded;
    let servers = guarded.visible(&asked.caller, kind("server")?, ListScope::All).await?;
    let instances = guarded.visible(&asked.caller, kind("instance")?, ListScope::All).await?;
    let seen = |server: &Resource| asked.plane.gateway.seen(server.metadata.name.as_str());
    let waits =
        |server: &&Resource| seen(server).is_some_and(|seen| seen.kept_back.iter().any(|kept| kept.waits));
    let waiting: Vec<&str> =
        servers.iter().filter(waits).map(|server| server.metadata.name.as_str()).collect();
    let mut told = of_servers(&servers, |server| seen(server)?.stale);
    told["toolsWait"] = json!(waiting);
    Ok(json!({ "servers": told, "instances": of_instances(&instances) }))
}

/// How many servers are ready, and what is the matter with the others. One whose instances are, but which doesn't say what it
/// offers (`unlisted` says why), is not.
fn of_servers(servers: &[Resource], unlisted: impl Fn(&Resource) -> Option<String>) -> Value {
    let ready = |server: &Resource| {
        let conditions = server.status.as_ref()?.status.get("conditions")?.as_array()?;
        let mut ready = conditions.iter().find(|it| it["type"] == "Ready").cloned()?;
        if ready["status"] == "True"
            && ready["reason"] == "AllReady"
            && let Some(why) = unlisted(server)
        {
            ready = json!({ "status": "False", "reason": "NotListed", "message": why });
        }
        Some(ready)
    };
    let conditions: Vec<_> =
        servers.iter().filter_map(|server| Some((&server.metadata.name, ready(server)?))).collect();
    let is_ready = |condition: &Value| condition["status"] == "True";
    let others = conditions.iter().filter(|(_, condition)| !is_ready(condition));
    let others =
        others.map(|(name, it)| json!({ "name": name, "reason": it["reason"], "message": it["message"] }));
    json!({
        "total": servers.len(), "ready": conditions.iter().filter(|(_, it)| is_ready(it)).count(),
        "notReady": others.take(NOT_READY_TOLD).collect::<Vec<_>>(),
    })
}

/// How many instances there are, by what they are and by how they are.
fn of_instances(instances: &[Resource]) -> Value {
    let count = |member: &str, unknown: &'static str| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for instance in instances {
            let status = instance.status.as_ref().map(|status| &status.status);
            let word = status.and_then(|status| status.get(member)).and_then(Value::as_str);
            *counts.entry(word.unwrap_or(unknown)).or_default() += 1;
        }
        counts
    };
    json!({ "total": instances.len(), "phases": count("phase", "UNKNOWN"), "health": count("health", "unknown") })
}

/// Thousandths are exact enough.
fn ratio(part: u64, whole: u64) -> Value {
    let thousandths = u32::try_from(part.saturating_mul(1000) / whole.max(1)).unwrap_or(u32::MAX);
    (f64::from(thousandths) / 1000.0).into()
}
