//! The HTTP listener as a client sees it: both eras, refusals, streams, cancellation.
#![cfg(test)]

use std::time::Duration;

use hayward_gateway::limits::Limits;
use hayward_gateway::listener::ROUTES;
use hayward_testkit::client::{Answer, post, request, send_raw};
use hayward_testkit::fixture;
use hayward_testkit::modern::with_meta;
use hayward_testkit::server::Server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");

fn body(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

fn modern(params: Value) -> Value {
    with_meta(params, &json!({}))
}

async fn legacy(server: &Server, headers: &[(&str, &str)], body: &str) -> Answer {
    let bearer = format!("Bearer {}", server.rw_token);
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend_from_slice(headers);
    post(server.address, "/mcp", &all, body).await.unwrap()
}

async fn modern_call(server: &Server, method: &str, name: Option<&str>, params: Value) -> Answer {
    let mut headers = vec![BOTH, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
    headers.extend(name.map(|name| ("mcp-name", name)));
    legacy(server, &headers, &body(method, &modern(params))).await
}

#[tokio::test]
async fn a_legacy_client_initializes_lists_and_calls() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let answer = legacy(&server, &[BOTH], &body("initialize", &params)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["result"]["protocolVersion"], "2025-06-18");
    let session = answer.header("mcp-session-id").unwrap().to_owned();

    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    let answer = legacy(&server, &[("mcp-session-id", &session)], &initialized).await;
    assert_eq!((answer.status, answer.body.as_str()), (202, ""));

    let answer = legacy(&server, &[("mcp-session-id", &session)], &body("tools/list", &json!({}))).await;
    let listed = answer.json();
    assert_eq!(listed["result"]["tools"][0]["name"], "test_simple_text");
    assert!(listed["result"].get("resultType").is_none(), "legacy clients choke on modern members");

    let call = body("tools/call", &json!({"name": "test_simple_text"}));
    let answer = legacy(&server, &[("mcp-session-id", &session)], &call).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["result"]["content"][0]["type"], "text");
}

#[tokio::test]
async fn a_modern_client_needs_no_session() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let answer = modern_call(&server, "server/discover", None, json!({})).await;
    let result = &answer.json()["result"];
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(result["cacheScope"], "private");
    assert!(answer.header("mcp-session-id").is_none());

    let answer = modern_call(&server, "tools/list", None, json!({})).await;
    assert_eq!(answer.json()["result"]["resultType"], "complete");
    assert_eq!(answer.json()["result"]["ttlMs"], 0);

    let params = json!({"name": "test_simple_text", "arguments": {}});
    let answer = modern_call(&server, "tools/call", Some("test_simple_text"), params).await;
    assert_eq!(answer.json()["result"]["resultType"], "complete");
}

#[tokio::test]
async fn each_era_refuses_in_its_own_way() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let unknown = legacy(&server, &[], &body("nope", &json!({}))).await;
    assert_eq!((unknown.status, unknown.json()["error"]["code"].clone()), (200, json!(-32601)));
    let unknown = modern_call(&server, "nope", None, json!({})).await;
    assert_eq!((unknown.status, unknown.json()["error"]["code"].clone()), (404, json!(-32601)));
    for method in ["initialize", "ping", "logging/setLevel"] {
        assert_eq!(modern_call(&server, method, None, json!({})).await.status, 404, "{method}");
    }
    let mismatch =
        modern_call(&server, "tools/call", Some("other"), json!({"name": "test_simple_text"})).await;
    assert_eq!((mismatch.status, mismatch.json()["error"]["code"].clone()), (400, json!(-32020)));
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
    let without_meta = legacy(&server, &headers, &body("tools/list", &json!({}))).await;
    assert_eq!((without_meta.status, without_meta.json()["error"]["code"].clone()), (400, json!(-32602)));
    let future =
        legacy(&server, &[("mcp-protocol-version", "2031-01-01")], &body("tools/list", &json!({}))).await;
    assert_eq!((future.status, future.json()["error"]["code"].clone()), (400, json!(-32022)));
}

#[tokio::test]
async fn a_session_of_another_life_strands_nobody_and_an_ended_one_begins_anew() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let list = body("tools/list", &json!({}));
    let answer = legacy(&server, &[("mcp-session-id", "0123456789abcdef")], &list).await;
    assert_eq!(answer.status, 200);

    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    let opened = legacy(&server, &[], &body("initialize", &params)).await;
    let session = opened.header("mcp-session-id").unwrap().to_owned();
    let bearer = format!("Bearer {}", server.rw_token);
    let end = |headers: &[(&str, &str)]| request("DELETE", server.address, "/mcp", headers, "");
    let foreign = format!("Bearer {}", server.ro_token);
    let refused = end(&[("authorization", &foreign), ("mcp-session-id", &session)]);
    assert_eq!(send_raw(server.address, &refused).await.unwrap().status, 404);
    let ended = end(&[("authorization", &bearer), ("mcp-session-id", &session)]);
    assert_eq!(send_raw(server.address, &ended).await.unwrap().status, 204);
    assert_eq!(legacy(&server, &[("mcp-session-id", &session)], &list).await.status, 404);
    let nameless = end(&[("authorization", &bearer)]);
    assert_eq!(send_raw(server.address, &nameless).await.unwrap().status, 405);
}

#[tokio::test]
async fn every_route_checks_host_origin_type_and_token() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let bearer = format!("Bearer {}", server.rw_token);
    let good = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let served = ROUTES.iter().flat_map(|route| {
        let path = route.path.replace("{token}", "x");
        route.methods.iter().map(move |method| (*method, path.clone(), route.is_public))
    });
    for (method, path, is_public) in served.chain([("GET", "/nowhere".to_owned(), true)]) {
        let path = path.as_str();
        for bad in [
            ("host", "evil.com"),
            ("origin", "http://evil.com"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let headers = [&good[..], &[bad]].concat();
            let bytes = request(method, server.address, path, &headers, "{}");
            let answer = send_raw(server.address, &bytes).await.unwrap();
            assert_eq!(answer.status, 403, "{method} {path} {bad:?}");
            assert!(answer.header("x-request-id").is_some());
        }
        let anonymous =
            send_raw(server.address, &request(method, server.address, path, &[], "{}")).await.unwrap();
        assert_eq!(anonymous.status == 401, !is_public, "{method} {path}: {}", anonymous.status);
    }
    for route in &ROUTES {
        let path = route.path.replace("{token}", "x");
        for method in
            ["GET", "POST", "PUT", "PATCH", "DELETE"].iter().filter(|it| !route.methods.contains(it))
        {
            let bytes = request(method, server.address, &path, &good, "{}");
            assert_eq!(send_raw(server.address, &bytes).await.unwrap().status, 405, "{method} {path}");
        }
    }
    for path in ["/mcp", "/admin/tokens"] {
        let headers = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
        let answer = post(server.address, path, &headers, "{}").await.unwrap();
        assert_eq!(answer.status, 415, "{path}");
    }
    for token in
        ["x", "", &server.admin_token, &server.metrics_token, &server.rw_token[..server.rw_token.len() - 1]]
    {
        let headers = [("authorization", &*format!("Bearer {token}"))];
        let answer = post(server.address, "/mcp", &headers, &body("tools/list", &json!({}))).await.unwrap();
        assert_eq!(answer.status, 401, "{token}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for token in [&server.rw_token, &server.ro_token, &server.metrics_token] {
        let headers = [("authorization", &*format!("Bearer {token}"))];
        let bytes = request("GET", server.address, "/admin/tokens", &headers, "");
        let answer = send_raw(server.address, &bytes).await.unwrap();
        assert_eq!((answer.status, answer.json()["detail"].clone()), (403, json!("Admin token required")));
    }
}

#[tokio::test]
async fn bodies_that_are_no_message_are_refused_and_the_server_goes_on() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let deep = "[".repeat(100_000);
    let balanced = format!("{deep}{}", "]".repeat(100_000));
    let deep_call = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"test_simple_text","arguments":{{"x":{balanced}}}}}}}"#
    );
    for (text, status) in [
        ("", 415),
        ("{", 400),
        ("[]", 400),
        (deep.as_str(), 400),
        (balanced.as_str(), 400),
        (deep_call.as_str(), 400),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, 400),
        (r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}"#, 400),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, 400),
    ] {
        assert_eq!(legacy(&server, &[], text).await.status, status, "{text:.60}");
    }
    let bearer = format!("Bearer {}", server.rw_token);
    let mut invalid = request(
        "POST",
        server.address,
        "/mcp",
        &[("authorization", &bearer), ("content-length", "3")],
        "\"x\"",
    );
    let at = invalid.len() - 2;
    invalid[at] = 0xFF;
    assert_eq!(send_raw(server.address, &invalid).await.unwrap().status, 400);
    let huge = [("authorization", bearer.as_str()), ("content-length", "104857600")];
    let answer =
        send_raw(server.address, &request("POST", server.address, "/mcp", &huge, "{")).await.unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(legacy(&server, &[], &body("ping", &json!({}))).await.status, 200);
}

#[tokio::test]
async fn a_body_without_a_declared_length_is_bounded_too() {
    let limits = Limits { body_bytes_max: 65_536, ..Limits::default() };
    let server = Server::start_with(fixture::conformance(), limits).await.unwrap();
    let bearer = format!("Bearer {}", server.rw_token);
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let headers = [
        ("authorization", bearer.as_str()),
        ("transfer-encoding", "chunked"),
        ("content-type", "application/json"),
    ];
    let mut bytes = request("POST", server.address, "/mcp", &headers, "");
    bytes.extend_from_slice(chunk.repeat(4).as_bytes());
    assert_eq!(send_raw(server.address, &bytes).await.unwrap().status, 413);
}

#[tokio::test]
async fn progress_comes_before_the_answer_and_only_if_it_is_wanted() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let wanted = json!({"name": "test_tool_with_progress", "_meta": {"progressToken": "p"}});
    let answer = legacy(&server, &[BOTH], &body("tools/call", &wanted)).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let events: Vec<Value> =
        answer.events().iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!(events.len(), 4);
    assert_eq!(events[1]["params"], json!({"progressToken": "p", "progress": 50.0, "total": 100.0}));
    assert!(events[3]["result"].is_object());
    let plain =
        legacy(&server, &[BOTH], &body("tools/call", &json!({"name": "test_tool_with_progress"}))).await;
    assert_eq!(plain.header("content-type"), Some("application/json"));
    let json_only = legacy(&server, &[("accept", "*/*")], &body("tools/call", &wanted)).await;
    assert_eq!(json_only.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn what_was_told_before_the_answer_is_sent_before_it_however_soon_the_answer_comes() {
    let server = Server::start(fixture::unruly()).await.unwrap();
    let params = json!({"name": "tells", "_meta": {"progressToken": "p"}});
    for accept in [BOTH, ("accept", "text/event-stream")] {
        let old = legacy(&server, &[accept], &body("tools/call", &params)).await;
        let headers = [accept, MODERN_CALL[0], MODERN_CALL[1], ("mcp-name", "tells")];
        let new = legacy(&server, &headers, &body("tools/call", &modern(params.clone()))).await;
        for answer in [old, new] {
            let events: Vec<Value> =
                answer.events().iter().map(|event| serde_json::from_str(event).unwrap()).collect();
            let steps: Vec<&Value> = events
                .iter()
                .map(|event| &event["params"]["progress"])
                .filter(|step| !step.is_null())
                .collect();
            assert_eq!(steps, [1.0, 2.0, 3.0], "{accept:?}: {}", answer.body);
            assert_eq!(events.last().unwrap()["result"]["content"][0]["text"], "told", "{accept:?}");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Era {
    Legacy,
    Modern,
}

/// Sends a call of `waits` with these headers, and leaves its answer to be read.
async fn start_waiting(server: &Server, era: Era, headers: &[(&str, &str)]) -> TcpStream {
    let bearer = format!("Bearer {}", server.rw_token);
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend_from_slice(headers);
    let mut params = json!({"name": "waits"});
    if era == Era::Modern {
        all.extend(MODERN_CALL);
        all.push(("mcp-name", "waits"));
        params = modern(params);
    }
    let call = request("POST", server.address, "/mcp", &all, &body("tools/call", &params));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&call).await.unwrap();
    stream
}

const MODERN_CALL: [(&str, &str); 2] = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call")];

#[tokio::test]
async fn a_long_call_shows_life_early() {
    let limits = Limits { first_byte_ms: 20, keep_alive_ms: 100, ..Limits::default() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    let mut stream = start_waiting(&server, Era::Legacy, &[BOTH]).await;
    shows_life(&mut stream, 3).await;
}

/// Waits until this many signs of life have come, which only a running call gives.
async fn shows_life(stream: &mut TcpStream, signs: usize) {
    let mut seen = Vec::new();
    while seen.windows(12).filter(|window| window == b": keep-alive").count() < signs {
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut seen)).await;
        assert_ne!(read.expect("signs of life").unwrap(), 0);
    }
}

fn record(server: &Server) -> String {
    std::fs::read_to_string(server.record().join("record.jsonl")).unwrap_or_default()
}

#[tokio::test]
async fn a_client_that_goes_cancels_its_call_and_the_outcome_is_recorded() {
    const JSON: (&str, &str) = ("accept", "application/json");
    const EVENTS: (&str, &str) = ("accept", "text/event-stream");
    for (era, accept) in [
        (Era::Legacy, JSON),
        (Era::Legacy, BOTH),
        (Era::Modern, JSON),
        (Era::Modern, EVENTS),
        (Era::Modern, BOTH),
    ] {
        let limits = Limits { first_byte_ms: 20, ..Limits::default() };
        let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
        let mut stream = start_waiting(&server, era, &[accept]).await;
        if accept == JSON {
            // The intent in the record tells that the call runs.
            while !record(&server).contains("\"intent\"") {
                tokio::task::yield_now().await;
            }
        } else {
            stream.read_u8().await.unwrap();
        }
        drop(stream);
        assert_eq!(server.endings(1).await.unwrap(), ["cancelled"], "{era:?} {accept:?}");
    }
}

fn cancelled_notification(params: &Value) -> String {
    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}).to_string()
}

#[tokio::test]
async fn a_cancelled_notification_ends_a_call_of_its_own_session_only() {
    let limits = Limits { first_byte_ms: 10, keep_alive_ms: 100, ..Limits::default() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    let initialize = body("initialize", &json!({"protocolVersion": "2025-11-25"}));
    let mine = legacy(&server, &[], &initialize).await.header("mcp-session-id").unwrap().to_owned();
    let other = legacy(&server, &[], &initialize).await.header("mcp-session-id").unwrap().to_owned();
    let mut stream = start_waiting(&server, Era::Legacy, &[BOTH, ("mcp-session-id", &mine)]).await;
    shows_life(&mut stream, 1).await;
    let cancelled = cancelled_notification(&json!({"requestId": 1}));
    assert_eq!(legacy(&server, &[("mcp-session-id", &other)], &cancelled).await.status, 202);
    shows_life(&mut stream, 2).await;
    assert!(server.recorded("outcome", 0).await.unwrap().is_empty(), "another session's call was cancelled");
    assert_eq!(legacy(&server, &[("mcp-session-id", &mine)], &cancelled).await.status, 202);
    assert_eq!(server.endings(1).await.unwrap(), ["cancelled"]);
}

#[tokio::test]
async fn a_modern_call_is_cancelled_by_its_closed_stream_and_by_no_notification() {
    let limits = Limits { first_byte_ms: 10, keep_alive_ms: 100, ..Limits::default() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    let mut stream = start_waiting(&server, Era::Modern, &[BOTH]).await;
    shows_life(&mut stream, 1).await;
    // Without a session there is nothing that says whose request an id is.
    let cancelled = cancelled_notification(&modern(json!({"requestId": 1})));
    let headers = [BOTH, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", "notifications/cancelled")];
    assert_eq!(legacy(&server, &headers, &cancelled).await.status, 202);
    shows_life(&mut stream, 2).await;
    assert!(
        server.recorded("outcome", 0).await.unwrap().is_empty(),
        "somebody's notification cancelled a call"
    );
    drop(stream);
    assert_eq!(server.endings(1).await.unwrap(), ["cancelled"]);
}

#[tokio::test]
async fn a_revoked_credential_ends_what_runs_under_it() {
    for era in [Era::Legacy, Era::Modern] {
        let limits = Limits { first_byte_ms: 10, ..Limits::default() };
        let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
        let mut stream = start_waiting(&server, era, &[BOTH]).await;
        stream.read_u8().await.unwrap();
        let principal = server.credentials.identify(&server.rw_token, 0).unwrap();
        server.protocol.road().revoke(&principal.credential);
        assert_eq!(server.endings(1).await.unwrap(), ["cancelled"], "{era:?}");
    }
}

#[tokio::test]
async fn a_tool_that_misbehaves_costs_its_own_call_only() {
    let server = Server::start(fixture::unruly()).await.unwrap();
    let panicked = legacy(&server, &[], &body("tools/call", &json!({"name": "panics"}))).await.json();
    assert_eq!(panicked["result"]["isError"], true);
    assert!(panicked["result"]["content"][0]["text"].as_str().unwrap().contains("InternalError"));
    let flooded = legacy(&server, &[], &body("tools/call", &json!({"name": "floods"}))).await.json();
    assert!(flooded["result"]["content"][0]["text"].as_str().unwrap().contains("ResultTooLarge"));
    let endings: Vec<Value> =
        server.recorded("outcome", 2).await.unwrap().iter().map(|record| record["code"].clone()).collect();
    assert_eq!(endings, [json!("InternalError"), json!("ResultTooLarge")]);
}

#[tokio::test]
async fn an_unknown_tool_is_refused_with_the_name_that_was_meant_and_recorded() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let unknown = legacy(&server, &[], &body("tools/call", &json!({"name": "test_simple_txt"}))).await.json();
    let text = unknown["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("Unknown tool: test_simple_txt") && text.contains("did you mean `test_simple_text`?"),
        "{text}"
    );
    let record = record(&server);
    assert!(record.contains("\"denied\"") && record.contains("test_simple_txt"), "{record}");
}

#[tokio::test]
async fn slow_heads_and_bodies_are_cut_off() {
    let limits = Limits { head_timeout_ms: 100, body_timeout_ms: 100, ..Limits::default() };
    let server = Server::start_with(fixture::conformance(), limits).await.unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"POST /mcp HTTP/1.1\r\nhost: loc").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.expect("cut off").ok();
    let bearer = format!("Bearer {}", server.rw_token);
    let headers = [("authorization", bearer.as_str()), ("content-length", "1000")];
    let answer =
        send_raw(server.address, &request("POST", server.address, "/mcp", &headers, "{")).await.unwrap();
    assert_eq!(answer.status, 408);
}

#[tokio::test]
async fn a_head_of_more_bytes_than_fit_is_refused_and_one_of_as_many_is_served() {
    let limits = Limits { head_bytes_max: 8_192, ..Limits::default() };
    let server = Server::start_with(fixture::conformance(), limits).await.unwrap();
    let bearer = format!("Bearer {}", server.rw_token);
    let with = |filler: usize| {
        let filler = "x".repeat(filler);
        let headers = [("authorization", bearer.as_str()), ("x-filler", filler.as_str())];
        request("POST", server.address, "/mcp", &headers, &body("ping", &json!({})))
    };
    let rest = with(0).windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    for (bytes, status) in [(8_191, 200), (8_193, 431)] {
        let answer = send_raw(server.address, &with(bytes - rest)).await.unwrap();
        assert_eq!(answer.status, status, "{bytes}: {answer:?}");
    }
}

#[tokio::test]
async fn the_modern_era_knows_no_session_to_listen_in_or_to_end() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    let opened = legacy(&server, &[], &body("initialize", &params)).await;
    let bearer = format!("Bearer {}", server.rw_token);
    let mut headers = vec![
        ("authorization", bearer.as_str()),
        ("accept", "text/event-stream"),
        ("mcp-session-id", opened.header("mcp-session-id").unwrap()),
        ("mcp-protocol-version", "2026-07-28"),
    ];
    for method in ["GET", "DELETE"] {
        let answer =
            send_raw(server.address, &request(method, server.address, "/mcp", &headers, "")).await.unwrap();
        assert_eq!((answer.status, answer.header("allow").is_some()), (405, true), "{method}: {answer:?}");
    }
    headers[3].1 = "2025-11-25";
    let ended =
        send_raw(server.address, &request("DELETE", server.address, "/mcp", &headers, "")).await.unwrap();
    assert_eq!(ended.status, 204, "it was there all the while");
}

#[tokio::test]
async fn a_tool_that_goes_on_whatever_it_is_told_is_dropped() {
    let limits = Limits { overrun_ms: 50, ..Limits::default() };
    let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
    // Beyond its deadline.
    let answer = legacy(&server, &[], &body("tools/call", &json!({"name": "overruns"}))).await;
    assert!(answer.body.contains("Timeout"), "{answer:?}");
    // Whose client goes.
    let bearer = format!("Bearer {}", server.rw_token);
    let ignores = request(
        "POST",
        server.address,
        "/mcp",
        &[("authorization", &bearer)],
        &body("tools/call", &json!({"name": "ignores"})),
    );
    for intents in [2, 3] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&ignores).await.unwrap();
        server.intents(intents).await.unwrap();
        if intents == 3 {
            // Whose credential is revoked.
            server.revoke(&server.rw_token).unwrap();
        } else {
            drop(stream);
        }
        let ended = tokio::time::timeout(Duration::from_secs(2), server.endings(intents)).await;
        assert_eq!(ended.expect("it goes on").unwrap().last().unwrap(), "cancelled");
    }
}

#[tokio::test]
async fn a_name_that_is_a_novel_is_refused_at_once() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let name = "test_simple_txt".repeat(200_000);
    let refused = legacy(&server, &[], &body("tools/call", &json!({"name": name}))).await;
    assert_eq!(refused.json()["error"]["code"], -32602);
    assert!(refused.body.len() < 1000, "the novel is not told back");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_hung_up_on_and_holds_its_place_until_then() {
    let silent = json!({"name": "pours"});
    let told = json!({"name": "pours", "_meta": {"progressToken": "p"}});
    for (accept, params) in [
        ("*/*", &silent),
        ("application/json", &silent),
        ("application/json, text/event-stream", &silent),
        ("text/event-stream", &silent),
        // Its stream has begun when the answer comes.
        ("text/event-stream", &told),
        ("application/json, text/event-stream", &told),
    ] {
        let limits = Limits { stall_timeout_ms: 1_000, calls_per_principal_max: 1, ..Limits::default() };
        let server = Server::start_with(fixture::unruly(), limits).await.unwrap();
        let bearer = format!("Bearer {}", server.rw_token);
        let headers = [("authorization", bearer.as_str()), ("accept", accept)];
        let call = request("POST", server.address, "/mcp", &headers, &body("tools/call", params));
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&call).await.unwrap();
        assert_eq!(server.recorded("outcome", 1).await.unwrap().len(), 1);
        let small = body("tools/call", &json!({"name": "tells"}));
        let busy = legacy(&server, &[], &small).await.json();
        let text = busy["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("RateLimited"), "{accept} {params}: {text}");
        let started = std::time::Instant::now();
        while legacy(&server, &[], &small).await.json()["result"]["isError"] == true {
            assert!(started.elapsed() < Duration::from_secs(10), "{accept}: the place is never given up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(stream);
    }
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_client_that_does_not_read() {
    let limits = Limits { drain_ms: 50, ..Limits::default() };
    let server = Server::start_with(fixture::echo(0), limits).await.unwrap();
    let bearer = format!("Bearer {}", server.rw_token);
    let call = body("tools/call", &json!({"name": "echo", "arguments": {"message": "x".repeat(8 << 20)}}));
    let bytes = request("POST", server.address, "/mcp", &[("authorization", &bearer)], &call);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(server.recorded("outcome", 1).await.unwrap().len(), 1);
    server.shut_down();
    tokio::time::timeout(Duration::from_secs(20), server.ended()).await.expect("it ends");
}
