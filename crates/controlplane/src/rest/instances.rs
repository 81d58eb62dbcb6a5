//! What this node knows of the instances that it runs: how they are, and what they say beside their protocol.

mod follow;

use std::sync::Arc;
use std::time::SystemTime;

use axum::response::Response;
use hayward_api::Code;
use hayward_auth::{Operation, Verb};
use hayward_runtime::fleet::{Instance, State};
use hayward_runtime::log::{Line, Log};
use hayward_runtime::placement::End;
use hayward_store::Resource;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::plane::Plane;
use crate::ports::Record;
use crate::refusal::Refusal;
use crate::wire::asked::{Asked, json};
use crate::wire::show::shown;

/// An instance that this node runs.
fn here(plane: &Plane, instance: &Resource) -> Option<Arc<Instance>> {
    plane.fleet.as_ref()?.instance(instance.metadata.name.as_str())
}

/// That an instance isn't run by this node, and by which it is.
fn elsewhere(instance: &Resource) -> Refusal {
    let name = &instance.metadata.name;
    let status = instance.status.as_ref().map(|status| &status.status);
    let node = status.and_then(|status| status.get("node")).and_then(Value::as_str);
    match node {
        Some(node) => {
            let message = format!("instance `{name}` is not here: node `{node}` runs it");
            Refusal::new(Code::Unavailable, message).hint(format!("ask `{node}`: `--url` says which server"))
        }
        None => {
            Refusal::new(Code::Unavailable, format!("instance `{name}` is not here, and nobody runs it yet"))
                .hint("ask again in a moment")
        }
    }
}

/// `GET /health/instances/{id}`.
pub(crate) async fn health(asked: Asked) -> Result<Response, Refusal> {
    let (_, instance) = asked.may_this(Verb::View).await?;
    let (kind, plane) = (asked.kind()?, Arc::clone(&asked.plane));
    asked
        .look(async move {
            let document = shown(kind, &instance);
            let mut told = json!({
                "id": instance.metadata.uid, "name": instance.metadata.name, "since": instance.metadata.created_at,
                "status": document.get("status").cloned().unwrap_or_else(|| json!({ "phase": "UNKNOWN" })),
            });
            // Another node tells no more than its status.
            if let Some(here) = here(&plane, &instance) {
                told["status"]["phase"] = word(&here.state()).into();
                told["uptimeSeconds"] = uptime_seconds(&here).into();
                told["health"] = probed(&here);
            }
            json(StatusCode::OK, &told)
        })
        .await
}

/// `GET /instances/{id}/inspect`.
pub(crate) async fn inspect(asked: Asked) -> Result<Response, Refusal> {
    let (_, resource) = asked.may_this(Verb::View).await?;
    let plane = Arc::clone(&asked.plane);
    asked
        .look(async move {
            let instance = here(&plane, &resource).ok_or_else(|| elsewhere(&resource))?;
            json(StatusCode::OK, &inspected(&plane, &resource, &instance))
        })
        .await
}

/// What is known of an instance.
fn inspected(plane: &Plane, resource: &Resource, instance: &Instance) -> Value {
    let node = resource.status.as_ref().and_then(|status| status.status.get("node").cloned());
    let mut told = json!({
        "id": resource.metadata.uid, "name": instance.name(), "server": **instance.server(),
        "replica": instance.replica(), "node": node,
        "placement": plane.fleet.as_ref().map(|fleet| fleet.placement_of(instance)),
        "serverGeneration": resource.spec.get("serverGeneration"),
        "startedAt": moment(instance.started_at()), "state": word(&instance.state()),
        "trouble": trouble(instance), "health": probed(instance), "callsInFlight": instance.calls(),
    });
    if let State::Ended { at, .. } = instance.state() {
        told["endedAt"] = moment(at);
    }
    if let Some(upstream) = instance.upstream() {
        told["protocol"] = upstream.declared().revision.as_str().into();
    }
    told
}

/// How an instance is, as it was last asked.
fn probed(instance: &Instance) -> Value {
    let health = instance.health();
    json!({
        "verdict": health.verdict.as_str(), "failures": health.failures,
        "latencyMs": health.latency.map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
        "lastCheckAt": instance.checked_at().map(moment), "why": health.why,
    })
}

/// Seconds since it was started, or that it lived.
fn uptime_seconds(instance: &Instance) -> u64 {
    let until = match instance.state() {
        State::Ended { at, .. } => at,
        State::Starting | State::Running | State::Stopping => SystemTime::now(),
    };
    until.duration_since(instance.started_at()).unwrap_or_default().as_secs()
}

/// The word of a state, as statuses have it.
fn word(state: &State) -> &'static str {
    match state {
        State::Starting => "STARTING",
        State::Running => "RUNNING",
        State::Stopping => "STOPPING",
        State::Ended { end: End::Stopped, .. } => "STOPPED",
        State::Ended { .. } => "ERROR",
    }
}

/// What is the matter with an instance, if something is.
fn trouble(instance: &Instance) -> Option<String> {
    match instance.state() {
        State::Ended { end, .. } => match end {
            End::Exited { code } => Some(format!("it exited with {code}")),
            End::Signaled { signal } => Some(format!("signal {signal} ended it")),
            End::OutOfMemory => Some("it used more memory than it may".to_owned()),
            End::Failed { why } => Some(why),
            End::Stopped => None,
        },
        State::Starting | State::Running | State::Stopping => instance.trouble(),
    }
}

fn moment(at: SystemTime) -> Value {
    Timestamp::try_from(at).map_or(Value::Null, |at| at.to_string().into())
}

/// `GET /instances/{id}/logs`. What instances print may hold anything that they were called with: to see an instance is not
/// enough.
pub(crate) async fn logs(asked: Asked) -> Result<Response, Refusal> {
    asked.may_operate(Operation::Logs).await?;
    let (_, resource) = asked.may_this(Verb::View).await?;
    let tail =
        asked.query.number("tail")?.map_or(usize::MAX, |tail| usize::try_from(tail).unwrap_or(usize::MAX));
    let (is_followed, is_previous) = (asked.query.is_on("follow")?, asked.query.is_on("previous")?);
    if is_followed && !is_previous {
        return follow::follow(asked, resource, tail).await;
    }
    let plane = Arc::clone(&asked.plane);
    asked
        .look(async move {
            let instance = here(&plane, &resource).ok_or_else(|| elsewhere(&resource))?;
            let log = if is_previous { previous(&plane, &instance)? } else { instance.log() };
            let lines: Vec<Value> = log.tail(tail).iter().map(|line| told(&*plane.record, line)).collect();
            json(StatusCode::OK, &json!({ "lines": lines }))
        })
        .await
}

/// The log of the instance that this one took the place of.
fn previous(plane: &Plane, instance: &Instance) -> Result<Log, Refusal> {
    let known =
        plane.fleet.as_ref().and_then(|fleet| fleet.logs(instance.server(), Some(instance.replica()), true));
    known.ok_or_else(|| {
        let message = format!("no log of an instance before `{}` is kept", instance.name());
        Refusal::new(Code::NotFound, message)
            .hint("leave out `previous`: it is the first one since this server started")
    })
}

/// A line as it is answered.
fn told(record: &dyn Record, line: &Line) -> Value {
    let at = i64::try_from(line.at_unix_ms).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    json!({ "number": line.number, "at": at.map(|at| at.to_string()), "text": record.cleaned(&line.text) })
}

#[cfg(test)]
mod tests {
    use hayward_api::kinds::{instance, server};
    use hayward_store::{Actor, Desired, ListScope, Store, StoreConfig};

    use super::*;

    #[tokio::test]
    async fn what_another_node_runs_is_said_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreConfig::default()).await.unwrap();
        let make = async |kind, name: &str, spec: Value| {
            store.create(&Desired::new(kind, None, name, spec), &Actor::system()).await.unwrap()
        };
        make(&server::DESCRIPTOR, "s", json!({"command": ["x"], "transport": "STDIO", "replicas": 1})).await;
        let made = make(&instance::DESCRIPTOR, "s-0", json!({"server": "s", "replica": 0})).await;
        let refusal = elsewhere(&made);
        assert!(refusal.error.message.contains("nobody runs it yet"), "{refusal:?}");
        store
            .put_status(&made.metadata.uid, 1, &json!({"phase": "RUNNING", "node": "attic-1"}))
            .await
            .unwrap();
        let told = store.list(&instance::DESCRIPTOR, ListScope::All).await.unwrap().items;
        let refusal = elsewhere(&told[0]);
        assert_eq!(refusal.error.code, Code::Unavailable);
        assert!(refusal.error.message.contains("node `attic-1` runs it"), "{refusal:?}");
        assert!(refusal.error.hint.unwrap().contains("--url"));
    }
}
