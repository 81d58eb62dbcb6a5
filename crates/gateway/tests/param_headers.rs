//! Arguments that are repeated in `Mcp-Param-*` headers: both have to say the same, or nothing is done.
#![cfg(test)]

use hayward_api::Tier;
use hayward_testkit::client::post;
use hayward_testkit::fixture;
use hayward_testkit::lines::LineClient;
use hayward_testkit::modern::Modern;
use hayward_testkit::server::Server;
use serde_json::{Value, json};

async fn start() -> (Server, Modern) {
    let server = Server::start(fixture::guarded()).await.unwrap();
    let client = Modern::new(server.address, &server.rw_token);
    (server, client)
}

fn call(arguments: &Value) -> Value {
    json!({"name": "mirrors", "arguments": arguments})
}

fn with_headers(client: &Modern, headers: &[(&str, &str)]) -> Modern {
    headers.iter().fold(client.clone(), |client, (name, value)| client.with_header(name, value))
}

#[tokio::test]
async fn a_call_whose_headers_say_what_its_arguments_say_is_served() {
    let (_server, client) = start().await;
    for (arguments, headers) in [
        (json!({}), &[][..]),
        (json!({"region": null, "more": {"level": null}}), &[]),
        (json!({"other": "x"}), &[]),
        (json!({"region": "us-west1"}), &[("Mcp-Param-Region", "us-west1")]),
        (json!({"region": "us-west1"}), &[("mcp-param-REGION", "  us-west1  ")]),
        (json!({"region": "us-west1"}), &[("mcp-param-region", "=?base64?dXMtd2VzdDE=?=")]),
        (json!({"region": "größe\n"}), &[("mcp-param-region", "=?base64?Z3LDtsOfZQo=?=")]),
        (json!({"region": ""}), &[("mcp-param-region", "")]),
        (
            json!({"more": {"level": 42, "loud": false}}),
            &[("mcp-param-level", "42"), ("mcp-param-loud", "false")],
        ),
        (json!({"more": {"level": 42.0}}), &[("mcp-param-level", "42")]),
        (json!({"more": {"level": 42}}), &[("mcp-param-level", "4.2e1")]),
        // Headers that no argument asks for are of no weight.
        (json!({}), &[("mcp-param-other", "x"), ("mcp-param-level2", "1")]),
    ] {
        let client = with_headers(&client, headers);
        let done = client.result("tools/call", call(&arguments)).await.unwrap();
        assert_eq!(done["content"][0]["text"], arguments.to_string(), "{headers:?}");
    }
}

#[tokio::test]
async fn a_call_whose_headers_say_something_else_is_refused_and_not_run() {
    let (server, client) = start().await;
    let region = json!({"region": "us-west1"});
    for (arguments, headers) in [
        (&region, &[][..]),
        (&region, &[("mcp-param-region", "us-west2")]),
        (&region, &[("mcp-param-region", "US-WEST1")]),
        (&region, &[("mcp-param-region", "")]),
        (&region, &[("mcp-param-region", "us-west1"), ("mcp-param-region", "us-west1")]),
        (&region, &[("mcp-param-region", "us-west1"), ("Mcp-Param-Region", "us-west2")]),
        (&region, &[("mcp-param-region", "=?base64?dXMtd2VzdDE?=")]),
        (&region, &[("mcp-param-region", "=?base64?!!!?=")]),
        (&region, &[("mcp-param-region", "=?base64?/w==?=")]),
        (&region, &[("mcp-param-region", "=?BASE64?dXMtd2VzdDE=?=")]),
        (&region, &[("mcp-param-region", "us-wäst1")]),
        (&json!({}), &[("mcp-param-region", "us-west1")]),
        (&json!({"region": null}), &[("mcp-param-region", "null")]),
        (&json!({"region": 1}), &[("mcp-param-region", "2")]),
        (&json!({"region": ["a"]}), &[("mcp-param-region", "a")]),
        (&json!({"region": "=?base64?YQ==?="}), &[("mcp-param-region", "=?base64?YQ==?=")]),
        (&json!({"more": {"level": 42}}), &[]),
        (&json!({"more": {"level": 42}}), &[("mcp-param-level", "43")]),
        (&json!({"more": {"level": 42}}), &[("mcp-param-level", "042")]),
        (&json!({"more": {"level": 42.5}}), &[("mcp-param-level", "42.5")]),
        (&json!({"more": {"loud": true}}), &[("mcp-param-loud", "True")]),
        (&json!({"more": {"loud": true}}), &[("mcp-param-loud", "1")]),
        (&json!({"level": 42}), &[("mcp-param-level", "42")]),
    ] {
        let client = with_headers(&client, headers);
        let (status, error) = client.refusal("tools/call", call(arguments)).await.unwrap();
        assert_eq!((status, &error["code"]), (400, &json!(-32020)), "{arguments} {headers:?}");
    }
    assert!(server.records().iter().all(|record| record["type"] == "denied"), "{:#?}", server.records());
}

#[tokio::test]
async fn where_there_are_no_such_headers_nothing_has_to_be_repeated() {
    let (server, _) = start().await;
    let region = json!({"region": "us-west1"});
    let bearer = format!("Bearer {}", server.rw_token);
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call(&region)}).to_string();
    // The legacy era knows nothing of them, and what it sends is of no weight.
    for header in [("mcp-param-region", "us-west2"), ("x-nothing", "")] {
        let answer =
            post(server.address, "/mcp", &[("authorization", &bearer), header], &body).await.unwrap();
        assert!(answer.json()["result"].get("isError").is_none(), "{}", answer.body);
    }
    let done = LineClient::connect(&server, Tier::Read).ask("tools/call", call(&region)).await.unwrap();
    assert_eq!(done["result"]["content"][0]["text"], region.to_string());
}

#[tokio::test]
async fn headers_tell_nobody_of_a_tool_that_may_not_be_called() {
    let (server, _) = start().await;
    let reader = Modern::new(server.address, &server.ro_token);
    let params = json!({"name": "mirrors_and_changes", "arguments": {"region": "us-west1"}});
    let mut told = Vec::new();
    for headers in [&[][..], &[("mcp-param-region", "us-west1")], &[("mcp-param-region", "us-west2")]] {
        let answer = with_headers(&reader, headers).ask("tools/call", params.clone()).await.unwrap();
        told.push((answer.status, answer.json()));
    }
    assert!(told.iter().all(|answer| *answer == told[0]), "{told:#?}");
    assert!(told[0].1.to_string().contains("PermissionDenied"), "{told:#?}");
}

#[tokio::test]
async fn annotations_that_make_no_sense_ask_for_nothing() {
    let (_server, client) = start().await;
    let params = json!({"name": "mirrors_badly", "arguments": {"region": "a", "more": "b"}});
    let done = client.result("tools/call", params).await.unwrap();
    assert_eq!(done["content"][0]["text"], r#"{"region":"a","more":"b"}"#);
}

#[tokio::test]
async fn the_headers_of_every_request_say_what_its_body_says() {
    let (server, _) = start().await;
    let bearer = format!("Bearer {}", server.rw_token);
    let send = async |version: Option<&str>, method: Option<&str>, name: Option<&str>| {
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(version.map(|value| ("mcp-protocol-version", value)));
        headers.extend(method.map(|value| ("mcp-method", value)));
        headers.extend(name.map(|value| ("mcp-name", value)));
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({"uri": "guarded://open", "_meta": meta});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": params});
        let answer = post(server.address, "/mcp", &headers, &body.to_string()).await.unwrap();
        (answer.status, answer.json()["error"]["code"].clone())
    };
    let (version, method, name) = (Some("2026-07-28"), Some("resources/read"), Some("guarded://open"));
    assert_eq!(send(version, method, name).await, (200, Value::Null));
    let encoded = Some("=?base64?Z3VhcmRlZDovL29wZW4=?=");
    assert_eq!(send(version, method, encoded).await, (200, Value::Null));
    for (version, method, name) in [
        (None, method, name),
        (version, None, name),
        (version, method, None),
        (Some("2025-11-25"), method, name),
        (version, Some("tools/call"), name),
        (version, Some("Resources/Read"), name),
        (version, method, Some("guarded://secret")),
        (version, method, Some("guarded://OPEN")),
        (version, method, Some("=?base64?Z3VhcmRlZDovL29wZW4?=")),
    ] {
        let told = send(version, method, name).await;
        assert_eq!(told, (400, json!(-32020)), "{version:?} {method:?} {name:?}");
    }
    let (calls, denied): (Vec<_>, Vec<_>) =
        server.records().into_iter().partition(|record| record["type"] != "denied");
    assert_eq!(calls.len(), 4, "two reads, with intent and outcome each");
    assert!(!denied.is_empty());
}
