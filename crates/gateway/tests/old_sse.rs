//! HTTP+SSE (2024-11-05), the transport of old clients: one stream out, posts in.
#![cfg(test)]

use std::time::{Duration, Instant};

use hayward_gateway::limits::Limits;
use hayward_testkit::client::{Answer, post, request, send_raw};
use hayward_testkit::events::{Event, Events};
use hayward_testkit::fixture;
use hayward_testkit::peer::{Peer, Transport};
use hayward_testkit::server::Server;
use hayward_tool::Toolset;
use serde_json::{Value, json};
use tokio::time::timeout;

const REVISION: &str = "2024-11-05";
const WATCHED: &str = "test://watched-resource";

/// A stream, and where to post to.
struct Old<'a> {
    server: &'a Server,
    bearer: String,
    events: Events,
    endpoint: String,
}

impl<'a> Old<'a> {
    async fn open(server: &'a Server) -> Self {
        Self::open_as(server, &server.rw_token).await
    }

    async fn open_as(server: &'a Server, token: &str) -> Self {
        let mut events = get(server, token, "text/event-stream").await;
        let head = &events.head;
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        let first = events.next().await.unwrap().unwrap();
        assert_eq!(first.name.as_deref(), Some("endpoint"));
        Self { server, bearer: format!("Bearer {token}"), events, endpoint: first.data.unwrap() }
    }

    async fn post_raw(&self, body: &str) -> Answer {
        let headers = [("authorization", self.bearer.as_str())];
        post(self.server.address, &self.endpoint, &headers, body).await.unwrap()
    }

    async fn send(&self, message: Value) {
        let answer = self.post_raw(&message.to_string()).await;
        assert_eq!((answer.status, answer.body.as_str()), (202, ""), "the answer comes on the stream");
    }

    async fn call(&self, id: &str, tool: &str) {
        let params = json!({"name": tool, "_meta": {"progressToken": id}});
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})).await;
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.send(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).await;
        self.events.message().await.unwrap()
    }

    async fn initialize(&mut self) -> Value {
        self.ask("initialize", json!({"protocolVersion": REVISION, "capabilities": {}})).await
    }
}

async fn get(server: &Server, token: &str, accept: &str) -> Events {
    let headers = [("authorization", &*format!("Bearer {token}")), ("accept", accept)];
    Events::open(server.address, &request("GET", server.address, "/sse", &headers, "")).await.unwrap()
}

async fn start(toolset: Toolset, limits: Limits) -> Server {
    Server::start_with(toolset, limits).await.unwrap()
}

async fn trigger(server: &Server, what: &str) {
    let mut other = Old::open_as(server, &server.ro_token).await;
    let params = json!({"name": format!("test_trigger_{what}_change")});
    assert!(other.ask("tools/call", params).await["result"]["content"].is_array());
}

#[tokio::test]
async fn a_whole_conversation() {
    let server = start(fixture::conformance(), Limits::default()).await;
    let mut old = Old::open(&server).await;
    let initialized = old.initialize().await;
    assert_eq!(initialized["result"]["protocolVersion"], REVISION);
    assert!(initialized["result"].get("resultType").is_none());
    old.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    assert_eq!(old.ask("ping", json!({})).await["result"], json!({}));
    assert_eq!(old.ask("tools/list", json!({})).await["result"]["tools"][0]["name"], "test_simple_text");
    old.call("p", "test_tool_with_progress").await;
    for progress in [0.0, 50.0, 100.0] {
        let step = old.events.message().await.unwrap();
        assert_eq!(step["params"], json!({"progressToken": "p", "progress": progress, "total": 100.0}));
    }
    let answer = old.events.message().await.unwrap();
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!("p"), &json!("done")));
    let read = old.ask("resources/read", json!({"uri": "test://static-text"})).await;
    assert_eq!(read["result"]["contents"][0]["mimeType"], "text/plain");
    let prompt = old.ask("prompts/get", json!({"name": "test_simple_prompt"})).await;
    assert!(prompt["result"]["messages"].is_array(), "{prompt}");
    assert_eq!(old.ask("nope", json!({})).await["error"]["code"], -32601);
}

#[tokio::test]
async fn what_is_no_message_is_answered_on_the_stream_and_the_next_one_is_served() {
    let server = start(fixture::conformance(), Limits::default()).await;
    let mut old = Old::open(&server).await;
    for (body, code) in [("{", -32700), ("7", -32600), (r#"{"jsonrpc":"2.0","id":1}"#, -32600)] {
        assert_eq!(old.post_raw(body).await.status, 202);
        assert_eq!(old.events.message().await.unwrap()["error"]["code"], code, "{body}");
    }
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let modern = old.ask("tools/list", json!({"_meta": meta})).await;
    assert_eq!(modern["error"]["code"], -32600, "{modern}");
    assert_eq!(old.ask("ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn the_stream_is_for_clients_that_take_events() {
    let server = start(fixture::conformance(), Limits::default()).await;
    assert_eq!(get(&server, &server.rw_token, "application/json").await.head.status, 406);
    assert_eq!(get(&server, &server.admin_token, "text/event-stream").await.head.status, 401);
    assert_eq!(get(&server, "x", "text/event-stream").await.head.status, 401);
}

#[tokio::test]
async fn only_who_opened_a_stream_can_post_to_it() {
    let server = start(fixture::conformance(), Limits::default()).await;
    let mut old = Old::open(&server).await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let (own, foreign) = (format!("Bearer {}", server.rw_token), format!("Bearer {}", server.ro_token));
    let mut refusals = Vec::new();
    for (bearer, endpoint) in [
        (&foreign, old.endpoint.as_str()),
        (&own, "/messages?sessionId=0123456789abcdef0123456789abcdef"),
        (&own, "/messages?sessionId="),
        (&own, "/messages?other=x"),
        (&own, "/messages"),
    ] {
        let headers = [("authorization", bearer.as_str())];
        let answer = post(server.address, endpoint, &headers, ping).await.unwrap();
        refusals.push((answer.status, answer.body));
    }
    assert_eq!(refusals[0].0, 404);
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "one can tell them apart: {refusals:?}");
    let anonymous = post(server.address, &old.endpoint, &[], ping).await.unwrap();
    assert_eq!(anonymous.status, 401);
    assert_eq!(old.ask("ping", json!({})).await["result"], json!({}), "its owner is served");
}

#[tokio::test]
async fn two_clients_with_the_same_ids_get_their_own_answers() {
    let server = start(fixture::conformance(), Limits::default()).await;
    let (mut one, mut two) = (Old::open(&server).await, Old::open(&server).await);
    assert_ne!(one.endpoint, two.endpoint);
    one.send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    two.send(json!({"jsonrpc": "2.0", "id": 1, "method": "prompts/list"})).await;
    assert!(two.events.message().await.unwrap()["result"]["prompts"].is_array());
    assert!(one.events.message().await.unwrap()["result"]["tools"].is_array());
    // What one cancels is its own.
    one.call("c", "test_tool_with_progress").await;
    two.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "c"}}))
        .await;
    assert_eq!(two.ask("ping", json!({})).await["result"], json!({}));
    while one.events.message().await.unwrap().get("result").is_none() {}
    assert_eq!(server.endings(1).await.unwrap(), ["ok"]);
}

#[tokio::test]
async fn a_running_call_is_cancelled_by_its_id() {
    let server = start(fixture::unruly(), Limits::default()).await;
    let mut old = Old::open(&server).await;
    old.call("w", "waits").await;
    assert_eq!(old.events.message().await.unwrap()["params"]["progress"], 0.0);
    let twice = json!({"jsonrpc": "2.0", "id": "w", "method": "tools/call", "params": {"name": "waits"}});
    old.send(twice).await;
    assert_eq!(old.events.message().await.unwrap()["error"]["code"], -32600, "its id is in use");
    old.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "w"}}))
        .await;
    assert_eq!(server.endings(1).await.unwrap(), ["cancelled"]);
    assert_eq!(old.ask("ping", json!({})).await["result"], json!({}), "what was cancelled is not answered");
}

#[tokio::test]
async fn the_end_of_the_stream_cancels_what_runs_and_closes_the_endpoint() {
    let server = start(fixture::unruly(), Limits::default()).await;
    let mut old = Old::open(&server).await;
    for id in ["a", "b"] {
        old.call(id, "waits").await;
        old.events.message().await.unwrap();
    }
    let Old { events, endpoint, bearer, .. } = old;
    drop(events);
    let ended = timeout(Duration::from_secs(1), server.endings(2)).await.expect("at once").unwrap();
    assert_eq!(ended, ["cancelled", "cancelled"]);
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let late = post(server.address, &endpoint, &[("authorization", &bearer)], ping).await.unwrap();
    assert_eq!(late.status, 404);
    server.idle().await.unwrap();
}

#[tokio::test]
async fn a_revoked_token_ends_its_stream_and_its_calls_within_a_second() {
    let server = start(fixture::unruly(), Limits::default()).await;
    let (mut old, mut other) = (Old::open(&server).await, Old::open_as(&server, &server.ro_token).await);
    old.call("w", "waits").await;
    old.events.message().await.unwrap();
    server.revoke(&server.rw_token).unwrap();
    timeout(Duration::from_secs(1), old.events.messages()).await.expect("it ends").unwrap();
    assert_eq!(server.endings(1).await.unwrap(), ["cancelled"]);
    assert_eq!(old.post_raw(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await.status, 401);
    assert_eq!(other.ask("ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn changes_are_told_from_the_beginning_on_and_once() {
    let server = start(fixture::conformance(), Limits::default()).await;
    let mut old = Old::open(&server).await;
    trigger(&server, "tool").await;
    // A client that begins twice is still one.
    old.initialize().await;
    old.initialize().await;
    trigger(&server, "watched").await;
    old.ask("resources/subscribe", json!({"uri": WATCHED})).await;
    for (what, expected) in [
        ("prompt", "notifications/prompts/list_changed"),
        ("watched", "notifications/resources/updated"),
        ("tool", "notifications/tools/list_changed"),
    ] {
        trigger(&server, what).await;
        assert_eq!(old.events.message().await.unwrap()["method"], expected);
    }
    old.ask("resources/unsubscribe", json!({"uri": WATCHED})).await;
    trigger(&server, "watched").await;
    assert_eq!(old.ask("ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn streams_are_counted_for_each_credential_and_together_with_those_of_sessions() {
    let limits = Limits { streams_per_principal_max: 2, ..Limits::default() };
    let server = start(fixture::conformance(), limits).await;
    let one = Old::open(&server).await;
    let session = Peer::connect(&server, Transport::Http, "2025-11-25", json!({})).await.unwrap();
    let bearer = format!("Bearer {}", server.rw_token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("accept", "text/event-stream"),
        ("mcp-session-id", session.session().unwrap()),
    ];
    let listening = request("GET", server.address, "/mcp", &headers, "");
    let listening = Events::open(server.address, &listening).await.unwrap();
    assert_eq!(listening.head.status, 200);
    let refused = get(&server, &server.rw_token, "text/event-stream").await;
    assert_eq!(refused.head.status, 429);
    assert!(refused.whole().await.unwrap().body.contains("2 streams open"));
    Old::open_as(&server, &server.ro_token).await;
    drop(one);
    let started = Instant::now();
    while get(&server, &server.rw_token, "text/event-stream").await.head.status != 200 {
        assert!(started.elapsed() < Duration::from_secs(5), "its place is never given up");
    }
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let limits = Limits { body_bytes_max: 65_536, body_timeout_ms: 100, ..Limits::default() };
    let server = start(fixture::conformance(), limits).await;
    let mut old = Old::open(&server).await;
    assert_eq!(old.post_raw(&format!("\"{}\"", "x".repeat(65_536))).await.status, 413);
    let with = |name: &'static str, value: &'static str| {
        [
            ("authorization", old.bearer.clone()),
            ("content-type", "application/json".to_owned()),
            (name, value.to_owned()),
        ]
    };
    let send = async |headers: &[(&str, String)], tail: &[u8]| {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut bytes = request("POST", server.address, &old.endpoint, &headers, "");
        bytes.extend_from_slice(tail);
        send_raw(server.address, &bytes).await.unwrap().status
    };
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    assert_eq!(send(&with("transfer-encoding", "chunked"), chunk.repeat(3).as_bytes()).await, 413);
    assert_eq!(send(&with("content-length", "1000"), b"{").await, 408);
    assert_eq!(send(&with("content-type", "text/plain"), b"").await, 415);
    // Of a stranger nothing is read at all.
    let headers = [("authorization", old.bearer.as_str()), ("content-length", "1000000")];
    let stranger = request("POST", server.address, "/messages?sessionId=x", &headers, "{");
    assert_eq!(send_raw(server.address, &stranger).await.unwrap().status, 404);
    assert_eq!(old.ask("ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn a_client_has_a_bounded_number_of_requests_running() {
    let limits = Limits { calls_per_principal_max: 100, ..Limits::default() };
    let server = start(fixture::unruly(), limits).await;
    let mut old = Old::open(&server).await;
    for number in 0..64 {
        old.call(&number.to_string(), "waits").await;
        assert_eq!(old.events.message().await.unwrap()["params"]["progress"], 0.0);
    }
    old.call("further", "waits").await;
    let refused = old.events.message().await.unwrap();
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("further"), &json!(429)));
    old.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "7"}}))
        .await;
    assert_eq!(server.endings(1).await.unwrap(), ["cancelled"]);
    old.call("t", "tells").await;
    while old.events.message().await.unwrap()["id"] != "t" {}
}

#[tokio::test]
async fn signs_of_life_come_on_a_silent_stream() {
    let limits = Limits { keep_alive_ms: 100, ..Limits::default() };
    let server = start(fixture::conformance(), limits).await;
    let mut old = Old::open(&server).await;
    for _ in 0..2 {
        assert_eq!(old.events.next().await.unwrap(), Some(Event::default()));
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_hung_up_on_and_what_runs_for_it_ends() {
    let limits = Limits { stall_timeout_ms: 200, ..Limits::default() };
    let server = start(fixture::unruly(), limits).await;
    let mut old = Old::open(&server).await;
    old.call("w", "waits").await;
    assert_eq!(old.events.message().await.unwrap()["params"]["progress"], 0.0);
    old.call("p", "pours").await;
    assert_eq!(server.endings(2).await.unwrap(), ["ok", "cancelled"]);
    server.idle().await.unwrap();
    assert_eq!(old.post_raw(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await.status, 404);
}

#[tokio::test]
async fn a_shutdown_ends_a_stream_once_what_runs_for_it_is_answered() {
    let server = start(fixture::unruly(), Limits::default()).await;
    let mut idle = Old::open(&server).await;
    idle.initialize().await;
    let mut busy = Old::open(&server).await;
    busy.call("h", "holds").await;
    busy.events.message().await.unwrap();
    let mut local = Peer::connect(&server, Transport::Stdio, REVISION, json!({})).await.unwrap();
    server.shut_down();
    let ended = timeout(Duration::from_secs(1), idle.events.messages()).await.expect("at once");
    assert_eq!(ended.unwrap(), [Value::Null; 0]);
    local.call("f", "frees", json!({})).await.unwrap();
    let answered = timeout(Duration::from_secs(1), busy.events.messages()).await.expect("at once").unwrap();
    assert_eq!(answered.last().unwrap()["result"]["content"][0]["text"], "held", "{answered:?}");
    timeout(Duration::from_secs(1), server.ended()).await.expect("at once");
}
