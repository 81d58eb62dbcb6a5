//! What is refused before it comes to the road is recorded all the same, and a flood of it is counted exactly.
#![cfg(test)]

use hayward_gateway::limits::Limits;
use hayward_testkit::client::{Answer, post, request, send_raw};
use hayward_testkit::fixture;
use hayward_testkit::lines::LineClient;
use hayward_testkit::server::Server;
use serde_json::{Value, json};

async fn start() -> Server {
    // A flood is not slowed here: what it costs to count it is another matter.
    let limits = Limits { failure_delay_ms_max: 0, ..Limits::default() };
    Server::start_with(fixture::conformance(), limits).await.unwrap()
}

async fn send(server: &Server, headers: &[(&str, &str)], method: &str) -> Answer {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "t"}});
    post(server.address, "/mcp", headers, &body.to_string()).await.unwrap()
}

/// The refusals that are recorded, once all that were counted are.
async fn refusals(server: &Server) -> Vec<Value> {
    server.protocol.close().await;
    server.records().into_iter().filter(|record| record["type"] == "denied").collect()
}

fn sum<'a>(refusals: impl IntoIterator<Item = &'a Value>) -> u64 {
    refusals.into_iter().map(|refusal| refusal["count"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn attempts_without_a_credential_are_recorded_and_a_flood_is_counted() {
    let server = start().await;
    let first = send(&server, &[("authorization", "Bearer hwd_rw_nobody")], "tools/call").await;
    assert_eq!(first.status, 401);
    // The first one is recorded before it is told.
    let recorded = server.recorded("denied", 1).await.unwrap();
    assert_eq!(
        (&recorded[0]["principal"]["kind"], &recorded[0]["method"], &recorded[0]["tool"]),
        (&json!("anonymous"), &json!("http POST"), &json!("/mcp"))
    );
    assert_eq!((&recorded[0]["count"], &recorded[0]["decision"]), (&json!(1), &json!("deny")));
    assert!(recorded[0]["client_address"].as_str().unwrap().starts_with("127.0.0.1:"));
    for headers in [&[][..], &[("authorization", "Bearer x")], &[("authorization", "Basic x")]] {
        for _ in 0..50 {
            assert_eq!(send(&server, headers, "ping").await.status, 401);
        }
    }
    let all = refusals(&server).await;
    assert_eq!(sum(&all), 151);
    assert!(all.len() <= 3, "a flood does not fill the record: {} records", all.len());
}

#[tokio::test]
async fn every_route_records_whom_it_turned_away() {
    let server = start().await;
    for (method, path) in [
        ("GET", "/mcp"),
        ("DELETE", "/mcp"),
        ("GET", "/sse"),
        ("POST", "/messages"),
        ("GET", "/admin/tokens"),
    ] {
        let answer =
            send_raw(server.address, &request(method, server.address, path, &[], "{}")).await.unwrap();
        assert_eq!(answer.status, 401, "{method} {path}");
    }
    // What everybody may ask is no attempt, and what is not there tells nobody anything.
    for path in ["/health", "/version", "/nope"] {
        send_raw(server.address, &request("GET", server.address, path, &[], "")).await.unwrap();
    }
    assert_eq!(sum(&refusals(&server).await), 5);
}

#[tokio::test]
async fn a_page_of_another_origin_is_recorded_as_refused() {
    let server = start().await;
    let bearer = format!("Bearer {}", server.rw_token);
    let headers = [("authorization", bearer.as_str()), ("origin", "https://evil.example")];
    assert_eq!(send(&server, &headers, "tools/call").await.status, 403);
    let all = refusals(&server).await;
    assert_eq!((sum(&all), &all[0]["reason"]), (1, &json!("403 Forbidden")));
}

#[tokio::test]
async fn a_token_that_is_none_of_an_administrator_is_recorded_by_its_name() {
    let server = start().await;
    let bearer = format!("Bearer {}", server.rw_token);
    let list = request("GET", server.address, "/admin/tokens", &[("authorization", &bearer)], "");
    assert_eq!(send_raw(server.address, &list).await.unwrap().status, 403);
    let all = refusals(&server).await;
    assert_eq!((&all[0]["principal"]["name"], &all[0]["tool"]), (&json!("rw"), &json!("/admin/tokens")));
}

#[tokio::test]
async fn requests_that_are_refused_for_what_they_say_are_recorded_with_who_sent_them() {
    let server = start().await;
    let bearer = format!("Bearer {}", server.rw_token);
    let modern = [
        ("authorization", bearer.as_str()),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/list"),
        ("mcp-name", "other"),
    ];
    // Headers that say something else than the body, and a method that there is not, three times.
    assert_eq!(send(&server, &modern, "tools/call").await.json()["error"]["code"], -32020);
    for _ in 0..3 {
        assert_eq!(send(&server, &modern[..1], "nope").await.json()["error"]["code"], -32601);
    }
    let mut local = LineClient::connect(&server, hayward_api::Tier::Read);
    assert_eq!(local.ask_legacy("nope", json!({})).await.unwrap()["error"]["code"], -32601);
    let all = refusals(&server).await;
    assert_eq!(sum(&all), 5);
    let mismatch = all.iter().find(|refusal| refusal["method"] == "tools/call").unwrap();
    assert_eq!((&mismatch["principal"]["name"], &mismatch["tool"]), (&json!("rw"), &json!("t")));
    assert_eq!(sum(all.iter().filter(|refusal| refusal["method"] == "nope")), 4);
    assert!(all.iter().any(|refusal| refusal["principal"]["kind"] == "local"), "{all:?}");
}
