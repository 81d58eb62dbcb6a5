//! The official suite for servers, run through the gateway: clients of either era, a server of either era.

use hayward_testkit::conformance::{Suite, judge};
use hayward_testkit::fixture;
use hayward_testkit::server::Server;
use serde_json::json;

use crate::rig::Rig;

/// What a legacy server can't do, whatever stands before it; docs/concepts/bridge.md says why.
const NOT_OF_A_LEGACY_SERVER: [&str; 12] = [
    // It was told what its client can do when the session began, and refuses in its own words what needs more.
    "server-stateless",
    // Its questions have no names, and come one by one.
    "input-required-result-basic-elicitation",
    "input-required-result-multiple-input-requests",
    // It knows no tasks.
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
];

/// Runs the suite of a client's era against a server that is spoken to in an era, behind the gateway.
async fn check(suite: Suite, era: &str, cannot: &[&str]) {
    let upstream = Server::start(fixture::conformance()).await.unwrap();
    let rig = Rig::start();
    let authorization = format!("Bearer {}", upstream.rw_token);
    let spec = json!({
        "externalUrl": upstream.url(), "era": era, "trust": "follow",
        "headers": [{"name": "Authorization", "value": authorization}]});
    rig.declare("servers", "up", spec).await;
    let token = rig.token("rw", &["up"], &[]).await;
    rig.until("servers/up", |server| {
        let conditions = server["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|it| it["type"] == "Ready" && it["status"] == "True")
    })
    .await;
    let url = format!("http://{}/servers/up/mcp", rig.daemon.address);
    let report = tokio::task::spawn_blocking(move || judge(suite, &url, &token)).await.unwrap().unwrap();
    let Some(report) = report else {
        println!("skipped: the suite is not installed; run `cargo xtask test`");
        return;
    };
    report.check_but(suite, cannot).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_client_sees_a_legacy_server_as_it_is() {
    check(Suite::Legacy, "legacy", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_client_sees_a_modern_server_as_a_legacy_one() {
    check(Suite::Legacy, "modern", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_client_sees_a_legacy_server_as_a_modern_one() {
    check(Suite::Modern, "legacy", &NOT_OF_A_LEGACY_SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_client_sees_a_modern_server_as_it_is() {
    check(Suite::Modern, "modern", &[]).await;
}
