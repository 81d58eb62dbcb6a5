//! What each era adds to results, and what the modern era does without.
#![cfg(test)]

use hayward_api::Tier;
use hayward_gateway::limits::Limits;
use hayward_testkit::client::{post, request, send_raw};
use hayward_testkit::fixture;
use hayward_testkit::lines::LineClient;
use hayward_testkit::modern::Modern;
use hayward_testkit::server::Server;
use serde_json::{Value, json};

/// Every method that is answered with a result in both eras, and whether a modern client may keep that.
fn methods() -> [(&'static str, Value, bool); 7] {
    let complete = json!({
        "ref": {"type": "ref/prompt", "name": "open_prompt"}, "argument": {"name": "topic", "value": ""},
    });
    [
        ("tools/list", json!({}), true),
        ("resources/list", json!({}), true),
        ("resources/templates/list", json!({}), true),
        ("prompts/list", json!({}), true),
        ("resources/read", json!({"uri": "guarded://open"}), true),
        ("prompts/get", json!({"name": "open_prompt", "arguments": {"topic": "t"}}), false),
        ("completion/complete", complete, false),
    ]
}

/// Checks a modern result: complete, and private if it may be kept.
fn is_modern(method: &str, result: &Value, is_kept: bool) {
    assert_eq!(result["resultType"], "complete", "{method}: {result}");
    let hints = [&result["ttlMs"], &result["cacheScope"]];
    let expected = if is_kept { [&json!(0), &json!("private")] } else { [&Value::Null, &Value::Null] };
    assert_eq!(hints, expected, "{method}: {result}");
}

fn is_legacy(method: &str, result: &Value) {
    assert!(result.is_object(), "{method}");
    for key in ["resultType", "ttlMs", "cacheScope", "requestState", "inputRequests"] {
        assert!(result.get(key).is_none(), "{method}: {result}");
    }
}

async fn legacy(server: &Server, headers: &[(&str, &str)], method: &str, params: &Value) -> Value {
    let bearer = format!("Bearer {}", server.rw_token);
    let headers = [&[("authorization", bearer.as_str())], headers].concat();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    post(server.address, "/mcp", &headers, &body).await.unwrap().json()
}

#[tokio::test]
async fn every_result_has_what_its_era_adds_and_nothing_of_the_other() {
    let server = Server::start(fixture::guarded()).await.unwrap();
    let client = Modern::new(server.address, &server.rw_token);
    let mut lines = LineClient::connect(&server, Tier::Operate);
    let discovered = client.result("server/discover", json!({})).await.unwrap();
    is_modern("server/discover", &discovered, true);
    let call = ("tools/call", json!({"name": "mirrors", "arguments": {}}), false);
    for (method, params, is_kept) in methods().into_iter().chain([call]) {
        is_modern(method, &client.result(method, params.clone()).await.unwrap(), is_kept);
        is_legacy(method, &legacy(&server, &[], method, &params).await["result"]);
        is_modern(method, &lines.ask(method, params.clone()).await.unwrap()["result"], is_kept);
        is_legacy(method, &lines.ask_legacy(method, params).await.unwrap()["result"]);
    }
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"] {
        let params = json!({"protocolVersion": "2025-11-25", "level": "info", "uri": "guarded://open"});
        is_legacy(method, &lines.ask_legacy(method, params.clone()).await.unwrap()["result"]);
        let (status, error) = client.refusal(method, params).await.unwrap();
        assert_eq!((status, &error["code"]), (404, &json!(-32601)), "{method}");
    }
}

#[tokio::test]
async fn a_resource_knows_how_long_it_stays_true_and_the_server_who_may_keep_it() {
    let server = Server::start(fixture::guarded()).await.unwrap();
    let client = Modern::new(server.address, &server.rw_token);
    // Both claim that everybody may; but only those with a credential may read them.
    for (uri, ttl_ms) in [("guarded://cached", 60_000), ("guarded://boasting", 5_000)] {
        let answer = client.ask("resources/read", json!({ "uri": uri })).await.unwrap();
        for key in ["ttlMs", "cacheScope", "resultType"] {
            assert_eq!(answer.body.matches(&format!("\"{key}\"")).count(), 1, "{}", answer.body);
        }
        let result = &answer.json()["result"];
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(ttl_ms), &json!("private")), "{uri}");
        is_legacy(uri, &legacy(&server, &[], "resources/read", &json!({ "uri": uri })).await["result"]);
    }
}

#[tokio::test]
async fn the_modern_era_has_no_sessions_whatever_a_request_names() {
    let server = Server::start(fixture::guarded()).await.unwrap();
    let bearer = format!("Bearer {}", server.rw_token);
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"},
    });
    let opened =
        post(server.address, "/mcp", &[("authorization", &bearer)], &initialize.to_string()).await.unwrap();
    let session = opened.header("mcp-session-id").unwrap().to_owned();
    let client = Modern::new(server.address, &server.rw_token).with_header("mcp-session-id", &session);
    let ask = async || {
        let answer = client.ask("tools/list", json!({})).await.unwrap();
        assert!(answer.header("mcp-session-id").is_none());
        answer.status
    };
    assert_eq!(ask().await, 200);
    let end = [("authorization", bearer.as_str()), ("mcp-session-id", session.as_str())];
    let ended = request("DELETE", server.address, "/mcp", &end, "");
    assert_eq!(send_raw(server.address, &ended).await.unwrap().status, 204);
    assert_eq!(ask().await, 200, "that it was ended is of no weight");
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    assert_eq!(post(server.address, "/mcp", &end, &list).await.unwrap().status, 404, "but in the legacy era");
}

#[tokio::test]
async fn what_is_too_much_is_told_in_the_status_where_that_is_no_sign_of_something_else() {
    let limits = Limits { calls_per_principal_max: 1, ..Limits::default() };
    let server = Server::start_with(fixture::guarded(), limits).await.unwrap();
    let client = Modern::new(server.address, &server.rw_token);
    let task = client.call("waits_as_task", json!({})).await.unwrap();
    server.intents(2).await.unwrap();
    let read = json!({"uri": "guarded://open"});
    let (status, error) = client.refusal("resources/read", read.clone()).await.unwrap();
    assert_eq!((status, &error["code"]), (429, &json!(429)), "{error}");
    let old = legacy(&server, &[], "resources/read", &read).await;
    assert_eq!(old["error"]["code"], 429);
    // A model is told in a result, which it sees.
    let told = client.call("mirrors", json!({})).await.unwrap();
    assert!(told.to_string().contains("RateLimited"), "{told}");
    client.result("tasks/cancel", json!({"taskId": task["taskId"]})).await.unwrap();
    server.outcomes(2).await.unwrap();
    client.result("resources/read", read).await.unwrap();
}

#[tokio::test]
async fn a_message_that_says_too_little_of_itself_is_refused() {
    let server = Server::start(fixture::guarded()).await.unwrap();
    let mut lines = LineClient::connect(&server, Tier::Read);
    let version = "io.modelcontextprotocol/protocolVersion";
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    for (meta, code) in [
        (json!({version: "2026-07-28"}), -32602),
        (json!({version: "2026-07-28", capabilities: []}), -32602),
        (json!({version: "2026-07-28", capabilities: null}), -32602),
        (json!({version: "2025-11-25", capabilities: {}}), -32022),
        (json!({version: "2031-01-01", capabilities: {}}), -32022),
        (json!({version: 1, capabilities: {}}), -32602),
    ] {
        let params = json!({"_meta": meta});
        lines
            .send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}))
            .await
            .unwrap();
        let told = lines.message().await.unwrap();
        assert_eq!(told["error"]["code"], code, "{meta}");
        if code == -32022 {
            assert_eq!(told["error"]["data"]["supported"], json!(["2026-07-28"]));
            assert_eq!(told["error"]["data"]["requested"], meta[version]);
        }
    }
}
