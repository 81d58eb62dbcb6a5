//! Whoever is bound to certain tools is shown these, and nobody else is shown less for it.

#![cfg(test)]

use std::sync::Arc;

use hayward_api::fence::tools::ToolPattern;
use hayward_api::kinds::token::Role;
use hayward_api::principal::PrincipalKind;
use hayward_api::{Bounds, Principal, Tier};
use hayward_auth::{CredentialRecord, Token};
use hayward_testkit::client::post;
use hayward_testkit::fixture;
use hayward_testkit::server::Server;
use serde_json::{Value, json};

fn add(server: &Server, tools: &[&str]) -> String {
    let token = Token::mint(Role::Rw);
    let tools = tools.iter().map(|name| ToolPattern::parse(name).unwrap()).collect();
    let principal = Principal {
        kind: PrincipalKind::Token,
        credential: token.id().to_string(),
        bounds: Bounds { tools, ..Bounds::default() },
        ..Principal::local("x", Tier::Operate)
    };
    server.credentials.insert(CredentialRecord {
        id: token.id(),
        digest: token.digest(),
        principal: Arc::new(principal),
        enabled: true,
        expires_at_unix: None,
        made_with: None,
    });
    token.reveal().to_owned()
}

async fn tools(server: &Server, token: &str) -> Vec<String> {
    let bearer = format!("Bearer {token}");
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}});
    let headers = [
        ("authorization", bearer.as_str()),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/list"),
    ];
    let answer = post(server.address, "/mcp", &headers, &body.to_string()).await.unwrap();
    let answer: Value = answer.json();
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_bound_token_has_a_list_of_its_own_whoever_asks_first() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let free = add(&server, &[]);
    let name = tools(&server, &add(&server, &["*"])).await.pop().unwrap();
    let bound = add(&server, &[&name]);
    assert_eq!(tools(&server, &bound).await, std::slice::from_ref(&name));
    let all = tools(&server, &free).await;
    assert!(all.len() > 1 && all.contains(&name));
    assert_eq!(tools(&server, &bound).await, [name]);
}
