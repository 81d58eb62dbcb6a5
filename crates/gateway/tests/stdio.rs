//! The stdio listener as a client sees it.
#![cfg(test)]

use hayward_api::Tier;
use hayward_testkit::fixture;
use hayward_testkit::lines::LineClient;
use hayward_testkit::server::Server;
use hayward_tool::Toolset;
use serde_json::json;

async fn connect(toolset: Toolset) -> (Server, LineClient) {
    let server = Server::start(toolset).await.unwrap();
    let client = LineClient::connect(&server, Tier::Danger);
    (server, client)
}

#[tokio::test]
async fn both_eras_are_spoken_on_one_stream() {
    let (_server, mut client) = connect(fixture::conformance()).await;
    let discovered = client.ask("server/discover", json!({})).await.unwrap();
    assert_eq!(discovered["result"]["resultType"], "complete");
    let initialized =
        client.ask_legacy("initialize", json!({"protocolVersion": "2025-03-26"})).await.unwrap();
    assert_eq!(initialized["result"]["protocolVersion"], "2025-03-26");
    let called = client.ask_legacy("tools/call", json!({"name": "test_simple_text"})).await.unwrap();
    assert!(called["result"].get("resultType").is_none());
    let called = client.ask("tools/call", json!({"name": "test_simple_text"})).await.unwrap();
    assert_eq!(called["result"]["resultType"], "complete");
}

#[tokio::test]
async fn what_is_no_message_is_answered_and_the_next_one_is_served() {
    let (_server, mut client) = connect(fixture::conformance()).await;
    for (line, code) in [("{", -32700), ("[]", -32600), ("{\"jsonrpc\":\"2.0\",\"id\":1}", -32600)] {
        client.send_line(line.as_bytes()).await.unwrap();
        assert_eq!(client.message().await.unwrap()["error"]["code"], code, "{line}");
    }
    client.send_line("x".repeat(1 << 19).as_bytes()).await.unwrap();
    assert_eq!(client.message().await.unwrap()["error"]["code"], -32600);
    client.send_line(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}").await.unwrap();
    assert_eq!(client.ask_legacy("ping", json!({})).await.unwrap()["result"], json!({}));
}

#[tokio::test]
async fn what_no_client_should_send_is_refused_and_the_next_message_is_served() {
    let (_server, mut client) = connect(fixture::conformance()).await;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_call = |place: &str| {
        let params = format!(r#"{{"name":"test_simple_text","{place}":{{"x":{deep}}}}}"#);
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
    };
    for (line, code, id) in [
        (&b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"p\xff\xfe\"}"[..], -32700, json!(null)),
        (b"\xff\xfe\x00", -32700, json!(null)),
        (br#"{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}"#, -32600, json!(null)),
        (br#"{"jsonrpc":"2.0","id":-9007199254740993,"method":"ping"}"#, -32600, json!(null)),
        (br#"{"jsonrpc":"2.0","id":1e400,"method":"ping"}"#, -32600, json!(null)),
        (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, json!(null)),
        (br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32700, json!(null)),
        ("[".repeat(100_000).as_bytes(), -32700, json!(null)),
        (deep.as_bytes(), -32700, json!(null)),
        (deep_call("arguments").as_bytes(), -32700, json!(null)),
        (deep_call("_meta").as_bytes(), -32700, json!(null)),
    ] {
        client.send_line(line).await.unwrap();
        let answer = client.message().await.unwrap();
        let told = String::from_utf8_lossy(&line[..line.len().min(70)]);
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{told}: {answer}");
        assert_eq!(client.ask_legacy("ping", json!({})).await.unwrap()["result"], json!({}), "{told}");
    }
    // The largest number that every client can tell from its neighbours is an id like any other.
    client.send_line(br#"{"jsonrpc":"2.0","id":9007199254740991,"method":"ping"}"#).await.unwrap();
    assert_eq!(client.message().await.unwrap()["id"], 9_007_199_254_740_991_u64);
}

#[tokio::test]
async fn log_messages_come_from_the_level_that_was_set() {
    let (_server, mut client) = connect(fixture::conformance()).await;
    let first = client.ask_legacy("tools/call", json!({"name": "test_tool_with_logging"})).await.unwrap();
    assert_eq!(first["method"], "notifications/message");
    while client.message().await.unwrap().get("result").is_none() {}
    assert_eq!(
        client.ask_legacy("logging/setLevel", json!({"level": "error"})).await.unwrap()["result"],
        json!({})
    );
    let quiet = client.ask_legacy("tools/call", json!({"name": "test_tool_with_logging"})).await.unwrap();
    assert!(quiet.get("result").is_some(), "{quiet}");
    assert_eq!(
        client.ask_legacy("logging/setLevel", json!({"level": "loud"})).await.unwrap()["error"]["code"],
        -32602
    );
}

#[tokio::test]
async fn a_running_call_is_cancelled_by_its_id_while_others_are_answered() {
    let (server, mut client) = connect(fixture::unruly()).await;
    client
        .send_line(br#"{"jsonrpc":"2.0","id":"w","method":"tools/call","params":{"name":"waits"}}"#)
        .await
        .unwrap();
    assert_eq!(client.ask_legacy("ping", json!({})).await.unwrap()["id"], 1);
    client
        .send_line(br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"w"}}"#)
        .await
        .unwrap();
    assert_eq!(server.endings(1).await.unwrap(), ["cancelled"]);
    assert_eq!(
        client.ask_legacy("ping", json!({})).await.unwrap()["id"],
        1,
        "what was cancelled is not answered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_before_the_answer_is_sent_before_it_however_soon_the_answer_comes() {
    let (_server, mut client) = connect(fixture::unruly()).await;
    for _ in 0..100 {
        let mut told = client
            .ask_legacy("tools/call", json!({"name": "tells", "_meta": {"progressToken": "p"}}))
            .await
            .unwrap();
        for step in [1.0, 2.0, 3.0] {
            assert_eq!(told["params"]["progress"], step, "{told}");
            told = client.message().await.unwrap();
        }
        assert_eq!(told["result"]["content"][0]["text"], "told");
    }
}

#[tokio::test]
async fn the_end_of_the_input_ends_everything() {
    let (_server, mut client) = connect(fixture::unruly()).await;
    client
        .send_line(br#"{"jsonrpc":"2.0","id":"w","method":"tools/call","params":{"name":"waits"}}"#)
        .await
        .unwrap();
    client.hang_up().await.unwrap();
    client.ended().await.unwrap();
}
