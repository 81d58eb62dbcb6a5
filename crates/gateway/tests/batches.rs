//! Batches: of one revision (2025-03-26), on every transport, refused everywhere else.
#![cfg(test)]

use std::time::{Duration, Instant};

use hayward_gateway::limits::Limits;
use hayward_testkit::client::{Answer, request, send_raw};
use hayward_testkit::fixture;
use hayward_testkit::peer::{Peer, Transport};
use hayward_testkit::server::Server;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

const WITH_BATCHES: &str = "2025-03-26";
const OTHERS: [&str; 3] = ["2024-11-05", "2025-06-18", "2025-11-25"];
const TRANSPORTS: [Transport; 3] = [Transport::Http, Transport::OldHttp, Transport::Stdio];

async fn start(limits: Limits) -> Server {
    Server::start_with(fixture::unruly(), limits).await.unwrap()
}

async fn connect(server: &Server, transport: Transport) -> Peer {
    Peer::connect(server, transport, WITH_BATCHES, json!({"sampling": {}})).await.unwrap()
}

fn ask(id: impl Into<Value>, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params})
}

fn call(id: impl Into<Value>, tool: &str) -> Value {
    ask(id, "tools/call", &json!({"name": tool}))
}

fn ping(id: impl Into<Value>) -> Value {
    ask(id, "ping", &json!({}))
}

/// A post without a session.
fn bytes(server: &Server, headers: &[(&str, &str)], batch: &Value) -> Vec<u8> {
    let bearer = format!("Bearer {}", server.rw_token);
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend_from_slice(headers);
    request("POST", server.address, "/mcp", &all, &batch.to_string())
}

async fn post(server: &Server, headers: &[(&str, &str)], batch: &Value) -> Answer {
    send_raw(server.address, &bytes(server, headers, batch)).await.unwrap()
}

fn codes(answers: &Value) -> Vec<(Value, Value)> {
    let answers = answers.as_array().unwrap_or_else(|| panic!("no batch: {answers}"));
    answers.iter().map(|answer| (answer["id"].clone(), answer["error"]["code"].clone())).collect()
}

#[tokio::test]
async fn every_message_of_a_batch_is_served_for_itself_and_all_answers_come_together() {
    let server = start(Limits::default()).await;
    let batch = json!([
        ping(1),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        call("t", "tells"),
        7,
        {"jsonrpc": "2.0", "id": 3},
        [],
        ask(4, "nope", &json!({})),
        {"jsonrpc": "2.0", "id": "hayward-9", "result": {}},
        ask(5, "tools/list", &json!({})),
    ]);
    for transport in TRANSPORTS {
        let mut peer = connect(&server, transport).await;
        peer.send(&batch).await.unwrap();
        let answers = peer.receive().await.unwrap();
        let expected = [
            (json!(1), json!(null)),
            (json!("t"), json!(null)),
            (json!(null), json!(-32600)),
            (json!(3), json!(-32600)),
            (json!(null), json!(-32600)),
            (json!(4), json!(-32601)),
            (json!(5), json!(null)),
        ];
        assert_eq!(codes(&answers), expected, "{transport:?}");
        assert_eq!(answers[1]["result"]["content"][0]["text"], "told");
        assert!(answers[6]["result"]["tools"].is_array());
        peer.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_that_asks_nothing_is_answered_with_nothing() {
    let server = start(Limits::default()).await;
    let batch = json!([
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 9, "result": {}},
    ]);
    let answer = post(&server, &[], &batch).await;
    assert_eq!((answer.status, answer.body.as_str()), (202, ""));
    for transport in TRANSPORTS {
        let mut peer = connect(&server, transport).await;
        peer.send(&batch).await.unwrap();
        peer.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_holds_one_to_sixty_four_messages() {
    let server = start(Limits::default()).await;
    let of = |count: i64| Value::from((0..count).map(ping).collect::<Vec<_>>());
    for transport in TRANSPORTS {
        let mut peer = connect(&server, transport).await;
        peer.send(&of(64)).await.unwrap();
        assert_eq!(peer.receive().await.unwrap().as_array().unwrap().len(), 64);
        for refused in [of(65), of(0)] {
            peer.send(&refused).await.unwrap();
            let answer = peer.receive().await.unwrap();
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(null), &json!(-32600)));
        }
    }
}

#[tokio::test]
async fn other_revisions_have_no_batches() {
    let server = start(Limits::default()).await;
    let batch = json!([ping(1)]);
    for transport in TRANSPORTS {
        for revision in OTHERS {
            let mut peer = Peer::connect(&server, transport, revision, json!({})).await.unwrap();
            peer.send(&batch).await.unwrap();
            let answer = peer.receive().await.unwrap();
            assert_eq!(answer["error"]["code"], -32600, "{transport:?} {revision}: {answer}");
            peer.ping().await.unwrap();
        }
    }
    for revision in OTHERS.into_iter().chain(["2026-07-28", "2031-01-01"]) {
        let answer = post(&server, &[("mcp-protocol-version", revision)], &batch).await;
        let is_known = revision != "2031-01-01";
        assert!(!is_known || answer.status == 400, "{revision}: {answer:?}");
    }
    // Who names no revision in a session speaks the one that was agreed on.
    let peer = Peer::connect(&server, Transport::Http, "2025-11-25", json!({})).await.unwrap();
    let session = [("mcp-session-id", peer.session().unwrap())];
    assert_eq!(post(&server, &session, &batch).await.status, 400);
    assert_eq!(post(&server, &[], &batch).await.status, 200, "who says nothing at all speaks 2025-03-26");
}

#[tokio::test]
async fn what_has_to_stand_alone_is_refused_in_a_batch() {
    let server = start(Limits::default()).await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let batch = json!([
        ask(1, "initialize", &json!({"protocolVersion": "2025-11-25"})),
        ask(2, "tools/list", &json!({"_meta": meta})),
        ask(3, "subscriptions/listen", &json!({"_meta": meta, "notifications": {}})),
        ping(4),
    ]);
    for transport in TRANSPORTS {
        let mut peer = connect(&server, transport).await;
        peer.send(&batch).await.unwrap();
        let refused = [1, 2, 3].map(|id| (json!(id), json!(-32600)));
        let expected = [&refused[..], &[(json!(4), json!(null))]].concat();
        assert_eq!(codes(&peer.receive().await.unwrap()), expected, "{transport:?}");
        // Nothing was agreed on anew.
        peer.send(&json!([ping(1)])).await.unwrap();
        assert!(peer.receive().await.unwrap().is_array());
    }
    let answer = post(&server, &[], &batch).await;
    assert_eq!(answer.header("mcp-session-id"), None);
}

#[tokio::test]
async fn an_answer_in_a_batch_reaches_who_asked() {
    let server = Server::start(fixture::curious()).await.unwrap();
    for transport in TRANSPORTS {
        let mut peer = connect(&server, transport).await;
        peer.call("c", "asks", json!({"k": {"method": "sampling/createMessage"}})).await.unwrap();
        let id = peer.receive().await.unwrap()["id"].clone();
        peer.send(&json!([ping(1), {"jsonrpc": "2.0", "id": id, "result": {"model": "m"}}])).await.unwrap();
        let (first, second) = (peer.receive().await.unwrap(), peer.receive().await.unwrap());
        let answer = if first.is_array() { second } else { first };
        assert_eq!(answer["result"]["content"][0]["text"], r#"{"k":{"model":"m"}}"#, "{transport:?}");
    }
}

#[tokio::test]
async fn a_client_subscribes_to_a_bounded_number_of_resources() {
    let server = Server::start(fixture::conformance()).await.unwrap();
    let subscribe = |number: usize| {
        ask(number, "resources/subscribe", &json!({"uri": format!("test://template/{number}/data")}))
    };
    for transport in TRANSPORTS {
        let mut peer = connect(&server, transport).await;
        for batch in 0..20 {
            let batch: Vec<Value> = (batch * 50..batch * 50 + 50).map(subscribe).collect();
            peer.send(&batch.into()).await.unwrap();
            let answers = peer.receive().await.unwrap();
            assert!(codes(&answers).iter().all(|(_, code)| code.is_null()), "{answers}");
        }
        for (message, code) in [
            (subscribe(1000), json!(-32602)),
            (subscribe(7), json!(null)),
            (ask(1, "resources/unsubscribe", &json!({"uri": "test://template/7/data"})), json!(null)),
            (subscribe(1000), json!(null)),
        ] {
            peer.send(&message).await.unwrap();
            let answer = peer.receive().await.unwrap();
            assert_eq!(answer["error"]["code"], code, "{transport:?}: {message}");
        }
    }
}

#[tokio::test]
async fn each_call_of_a_batch_is_recorded_under_an_id_of_its_own() {
    let server = start(Limits::default()).await;
    let answer = post(&server, &[], &json!([call(1, "tells"), call(2, "tells"), call(3, "nope")])).await;
    assert_eq!(answer.json().as_array().unwrap().len(), 3);
    let mut ids: Vec<String> = server
        .recorded("intent", 2)
        .await
        .unwrap()
        .iter()
        .map(|record| record["request_id"].as_str().unwrap().to_owned())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert_eq!(server.recorded("denied", 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn calls_of_a_batch_are_counted_like_any_others() {
    for transport in [Transport::Http, Transport::OldHttp] {
        let server = start(Limits { calls_per_principal_max: 2, ..Limits::default() }).await;
        let mut peer = connect(&server, transport).await;
        let batch = json!([call("a", "holds"), call("b", "holds"), call("c", "tells")]);
        peer.send(&batch).await.unwrap();
        server.recorded("intent", 2).await.unwrap();
        for id in ["a", "b"] {
            peer.notify("notifications/cancelled", json!({"requestId": id})).await.unwrap();
        }
        let answers = peer.receive().await.unwrap();
        let last = answers.as_array().unwrap().last().unwrap();
        let text = last["result"]["content"][0]["text"].as_str().unwrap();
        assert!(last["id"] == "c" && text.contains("RateLimited"), "{transport:?}: {answers}");
        // A cancelled request is answered only where something has to be.
        let answered = if transport == Transport::Http { 3 } else { 1 };
        assert_eq!(answers.as_array().unwrap().len(), answered, "{transport:?}: {answers}");
    }
}

#[tokio::test]
async fn an_id_stands_for_one_running_request_within_a_batch_too() {
    for transport in TRANSPORTS {
        let server = start(Limits::default()).await;
        let mut peer = connect(&server, transport).await;
        peer.send(&json!([call("a", "holds"), call("a", "holds")])).await.unwrap();
        server.recorded("intent", 1).await.unwrap();
        peer.notify("notifications/cancelled", json!({"requestId": "a"})).await.unwrap();
        let answers = peer.receive().await.unwrap();
        let (refused, cancelled) = answers.as_array().unwrap().split_last().unwrap();
        assert_eq!(refused["error"]["code"], -32600, "{transport:?}");
        assert!(cancelled.iter().all(|answer| answer["result"]["isError"] == true), "{transport:?}");
    }
}

#[tokio::test]
async fn a_batch_may_hold_as_many_calls_as_a_client_may_have_running() {
    let limits = Limits { calls_per_principal_max: 100, ..Limits::default() };
    for transport in TRANSPORTS {
        let server = start(limits.clone()).await;
        let mut peer = connect(&server, transport).await;
        let batch: Vec<Value> = (0..64).map(|id| call(id, "holds")).collect();
        peer.send(&json!(batch)).await.unwrap();
        server.recorded("intent", 64).await.unwrap();
        for _ in 0..64 {
            post(&server, &[], &call(1, "frees")).await;
        }
        let answers = peer.receive().await.unwrap();
        let all = answers.as_array().unwrap_or_else(|| panic!("{transport:?}: {answers}"));
        assert!(
            all.len() == 64 && all.iter().all(|answer| answer["result"]["content"][0]["text"] == "held"),
            "{transport:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_goes_cancels_its_whole_batch() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let batch = json!([call(1, "waits"), call(2, "waits")]);
    stream.write_all(&bytes(&server, &[], &batch)).await.unwrap();
    server.recorded("intent", 2).await.unwrap();
    drop(stream);
    let ended = timeout(Duration::from_secs(1), server.endings(2)).await.expect("at once").unwrap();
    assert_eq!(ended, ["cancelled", "cancelled"]);
}

#[tokio::test]
async fn a_batch_holds_its_places_until_its_answers_have_left() {
    let limits = Limits { stall_timeout_ms: 200, calls_per_principal_max: 2, ..Limits::default() };
    for accept in ["application/json", "text/event-stream"] {
        let server = start(limits.clone()).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let batch = json!([call(1, "pours"), call(2, "pours")]);
        stream.write_all(&bytes(&server, &[("accept", accept)], &batch)).await.unwrap();
        server.recorded("outcome", 2).await.unwrap();
        let busy = post(&server, &[], &call(3, "tells")).await;
        assert!(busy.body.contains("RateLimited"), "{accept}: {}", busy.body);
        let started = Instant::now();
        while post(&server, &[], &call(3, "tells")).await.body.contains("RateLimited") {
            assert!(started.elapsed() < Duration::from_secs(5), "{accept}: the places are never given up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(stream);
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_a_form_that_its_client_takes() {
    let server = start(Limits::default()).await;
    let batch = json!([ping(1), call(2, "tells")]);
    for (accept, media) in [
        ("application/json", "application/json"),
        ("application/json, text/event-stream", "application/json"),
        ("text/event-stream", "text/event-stream"),
    ] {
        let answer = post(&server, &[("accept", accept)], &batch).await;
        assert_eq!(answer.header("content-type"), Some(media));
        assert_eq!(codes(&answer.json()), [(json!(1), json!(null)), (json!(2), json!(null))]);
    }
}
