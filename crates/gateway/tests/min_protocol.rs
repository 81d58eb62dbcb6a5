//! A credential can insist on the newer revisions: nobody talks its client into an older one (A26).

#![cfg(test)]

use std::sync::Arc;

use hayward_api::principal::{PrincipalKind, ProtocolRevision};
use hayward_api::{Principal, Tier};
use hayward_auth::{CredentialRecord, Token};
use hayward_testkit::client::{Answer, post};
use hayward_testkit::fixture;
use hayward_testkit::server::Server;
use serde_json::{Value, json};

async fn server(min: &str) -> (Server, String) {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let token = Token::mint(hayward_api::kinds::token::Role::Rw);
    let principal = Principal {
        kind: PrincipalKind::Token,
        credential: token.id().to_string(),
        min_protocol: ProtocolRevision::parse(min).ok(),
        ..Principal::local("modern", Tier::Operate)
    };
    server.credentials.insert(CredentialRecord {
        id: token.id(),
        digest: token.digest(),
        principal: Arc::new(principal),
        enabled: true,
        expires_at_unix: None,
        made_with: None,
    });
    (server, token.reveal().to_owned())
}

async fn send(server: &Server, token: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [&[("authorization", bearer.as_str())], headers].concat();
    post(server.address, "/mcp", &headers, &body.to_string()).await.unwrap()
}

fn request(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

fn initialize(revision: &str) -> Value {
    let client = json!({"name": "t", "version": "1"});
    request("initialize", &json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": client}))
}

#[tokio::test]
async fn a_credential_of_the_modern_era_is_refused_in_the_legacy_one() {
    let (server, token) = server("2026-07-28").await;
    let call = request("tools/call", &json!({"name": "test_simple_text", "arguments": {}}));
    let batch = Value::Array(vec![call.clone()]);
    for (headers, body) in [
        (&[][..], initialize("2025-11-25")),
        (&[], initialize("2026-07-28")),
        (&[], call.clone()),
        (&[("mcp-protocol-version", "2025-11-25")], call),
        (&[], batch),
    ] {
        let answer = send(&server, &token, headers, &body).await;
        let told = answer.json();
        let error = if told.is_array() { &told[0]["error"] } else { &told["error"] };
        assert_eq!(error["code"], -32022, "{body}: {told}");
        assert_eq!(error["data"]["supported"], json!(["2026-07-28"]));
        assert!(error["data"]["requested"].is_string(), "{error}");
        assert!(answer.header("mcp-session-id").is_none(), "a session was opened");
    }
    // Nothing was done, and what was tried is recorded.
    assert!(server.records().iter().all(|record| record["type"] != "intent"));
    assert!(!server.recorded("denied", 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn it_is_served_in_the_modern_era_and_the_record_says_which_one_it_was() {
    let (server, token) = server("2026-07-28").await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "test_simple_text"),
    ];
    let body = request("tools/call", &json!({"name": "test_simple_text", "arguments": {}, "_meta": meta}));
    let answer = send(&server, &token, &headers, &body).await;
    assert_eq!(answer.json()["result"]["resultType"], "complete");
    let record = std::fs::read_to_string(server.record().join("record.jsonl")).unwrap();
    assert!(record.contains(r#""protocol":"2026-07-28""#) && record.contains(r#""method":"tools/call""#));
}

#[tokio::test]
async fn a_least_revision_in_the_legacy_era_is_about_what_was_agreed_on() {
    let (server, token) = server("2025-06-18").await;
    for (revision, is_served) in [("2025-11-25", true), ("2025-06-18", true), ("2025-03-26", false)] {
        let answer = send(&server, &token, &[], &initialize(revision)).await;
        assert_eq!(answer.json()["error"].is_null(), is_served, "{revision}");
        let list = request("tools/list", &json!({}));
        let answer = send(&server, &token, &[("mcp-protocol-version", revision)], &list).await;
        assert_eq!(answer.json()["error"].is_null(), is_served, "{revision}");
    }
}

#[tokio::test]
async fn a_refusal_names_all_revisions_that_the_credential_may_speak() {
    let (server, token) = server("2025-11-25").await;
    let refused = send(&server, &token, &[], &initialize("2024-11-05")).await.json();
    let data = json!({"supported": ["2026-07-28", "2025-11-25"], "requested": "2024-11-05"});
    assert_eq!(refused["error"]["data"], data, "{refused}");
    let served = send(&server, &token, &[], &initialize("2025-11-25")).await.json();
    assert_eq!(served["result"]["protocolVersion"], "2025-11-25");
}
