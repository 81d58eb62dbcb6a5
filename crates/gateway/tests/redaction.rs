//! No reply and no record shows a secret that the server holds, and what was read redacted is not written back.
#![cfg(test)]

use hayward_audit::secrets::Secret;
use hayward_testkit::fixture;
use hayward_testkit::lines::LineClient;
use hayward_testkit::modern::Modern;
use hayward_testkit::server::Server;
use hayward_tool::Toolset;
use serde_json::{Value, json};

const SECRET: &str = "Tr0ub4dor&3-\"quoted\"-battery";

async fn start(toolset: Toolset) -> (Server, Modern) {
    let server = Server::start(toolset).await.unwrap();
    server.secrets.hold([Secret::new("db", SECRET.as_bytes()).unwrap()]).unwrap();
    let client = Modern::new(server.address, &server.rw_token);
    (server, client)
}

/// Everything that the record holds.
fn record(server: &Server) -> String {
    server.records().iter().map(Value::to_string).collect()
}

fn tag_of(text: &str) -> &str {
    let start = text.find("[redacted:db:").unwrap_or_else(|| panic!("no tag: {text}"));
    &text[start..=start + text[start..].find(']').unwrap()]
}

#[tokio::test]
async fn a_held_secret_never_leaves_in_a_result_or_in_the_record() {
    let (server, client) = start(fixture::guarded()).await;
    let said = client.call("looks_and_counts", json!({"note": format!("a {SECRET} b")})).await.unwrap();
    let text = said["content"][0]["text"].as_str().unwrap();
    let inner: Value = serde_json::from_str(text.strip_prefix("0 ").unwrap()).unwrap();
    let tag = tag_of(text).to_owned();
    assert_eq!(inner["note"], format!("a {tag} b"), "the rest is as it was");
    // The legacy era, over byte streams, and as a part of longer text.
    let mut local = LineClient::connect(&server, hayward_api::Tier::Read);
    let params = json!({"name": "looks_and_counts", "arguments": {"x": SECRET.repeat(2)}});
    let said = local.ask_legacy("tools/call", params).await.unwrap().to_string();
    assert!(!said.contains("Tr0ub4dor") && said.contains(&tag), "{said}");
    server.outcomes(2).await.unwrap();
    let record = record(&server);
    assert!(!record.contains("Tr0ub4dor") && record.contains(&tag), "{record}");
    // Released, it is a text like any other.
    server.secrets.release(["db"]).unwrap();
    let said = client.call("looks_and_counts", json!({"note": SECRET})).await.unwrap();
    assert!(said.to_string().contains("Tr0ub4dor"), "{said}");
}

#[tokio::test]
async fn neither_refusals_nor_what_is_told_meanwhile_show_it() {
    let (server, client) = start(fixture::conformance()).await;
    let refused = client.call(&format!("x{SECRET}"), json!({})).await;
    assert!(!format!("{refused:?}").contains("Tr0ub4dor"), "{refused:?}");
    server.secrets.hold([Secret::new("log", b"Tool processing data").unwrap()]).unwrap();
    let mut local = LineClient::connect(&server, hayward_api::Tier::Read);
    let mut told = local.ask_legacy("tools/call", json!({"name": "test_tool_with_logging"})).await.unwrap();
    let mut all = String::new();
    while told.get("result").is_none() {
        all += &told.to_string();
        told = local.message().await.unwrap();
    }
    assert!(all.contains("[redacted:log:") && !all.contains("processing"), "{all}");
    assert!(!record(&server).contains("Tr0ub4dor"));
}

#[tokio::test]
async fn what_was_read_redacted_is_not_written_back() {
    let (server, client) = start(fixture::guarded()).await;
    let said = client.call("looks_and_counts", json!({"note": SECRET})).await.unwrap().to_string();
    let tag = tag_of(&said).to_owned();
    let refused = client.call("counts", json!({"content": format!("password = {tag}")})).await.unwrap();
    assert!(refused["isError"] == true && refused.to_string().contains("ContainsRedaction"), "{refused}");
    assert_eq!(server.recorded("denied", 1).await.unwrap()[0]["tool"], "counts");
    // To look for one does no harm, and what only looks like a tag is none.
    let looked = client.call("looks_and_counts", json!({"pattern": tag})).await.unwrap();
    assert_eq!(looked["isError"], Value::Null, "{looked}");
    let written = client.call("counts", json!({"content": "[redacted:db:aaaaaaaa]"})).await.unwrap();
    assert!(written["content"][0]["text"].as_str().unwrap().starts_with("0 "), "it is the first: {written}");
}

#[tokio::test]
async fn what_looks_like_a_secret_is_kept_out_of_the_record_only() {
    let (server, client) = start(fixture::guarded()).await;
    let key = "AKIAIOSFODNN7ZRAMPLE";
    let said = client.call("looks_and_counts", json!({"note": format!("id {key}")})).await.unwrap();
    assert!(said.to_string().contains(key), "only held ones are taken out of results: {said}");
    server.outcomes(1).await.unwrap();
    assert!(!record(&server).contains(key), "{}", record(&server));
}
