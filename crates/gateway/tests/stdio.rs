//! The stdio listener as a client sees it.
#![cfg(test)]

use std::time::Duration;

use hayward_testkit::{fixture, peer::serve_local, server::Server};
use hayward_tool::Toolset;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};

struct Client {
    input: WriteHalf<DuplexStream>,
    output: Lines<BufReader<ReadHalf<DuplexStream>>>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
    _server: Server,
}

impl Client {
    async fn connect(toolset: Toolset) -> Self {
        let server = Server::start(toolset).await.unwrap();
        let (near, served) = serve_local(&server);
        let (output, input) = tokio::io::split(near);
        Self { input, output: BufReader::new(output).lines(), served, _server: server }
    }

    async fn send(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn receive(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(10), self.output.next_line()).await;
        serde_json::from_str(&line.expect("an answer").unwrap().expect("no end")).unwrap()
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()).await;
        self.receive().await
    }
}

fn modern(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    params
}

#[tokio::test]
async fn both_eras_are_spoken_on_one_stream() {
    let mut client = Client::connect(fixture::conformance()).await;
    let discovered = client.ask("server/discover", modern(json!({}))).await;
    assert_eq!(discovered["result"]["resultType"], "complete");
    let initialized = client.ask("initialize", json!({"protocolVersion": "2025-03-26"})).await;
    assert_eq!(initialized["result"]["protocolVersion"], "2025-03-26");
    let called = client.ask("tools/call", json!({"name": "test_simple_text"})).await;
    assert!(called["result"].get("resultType").is_none());
    let called = client.ask("tools/call", modern(json!({"name": "test_simple_text"}))).await;
    assert_eq!(called["result"]["resultType"], "complete");
}

#[tokio::test]
async fn what_is_no_message_is_answered_and_the_next_one_is_served() {
    let mut client = Client::connect(fixture::conformance()).await;
    for (line, code) in [("{", -32700), ("[]", -32600), ("{\"jsonrpc\":\"2.0\",\"id\":1}", -32600)] {
        client.send(line).await;
        assert_eq!(client.receive().await["error"]["code"], code, "{line}");
    }
    client.send(&"x".repeat(1 << 19)).await;
    assert_eq!(client.receive().await["error"]["code"], -32600);
    client.send("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}").await;
    assert_eq!(client.ask("ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn what_no_client_should_send_is_refused_and_the_next_message_is_served() {
    let mut client = Client::connect(fixture::conformance()).await;
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
        client.input.write_all(&[line, b"\n"].concat()).await.unwrap();
        let answer = client.receive().await;
        let told = String::from_utf8_lossy(&line[..line.len().min(70)]);
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{told}: {answer}");
        assert_eq!(client.ask("ping", json!({})).await["result"], json!({}), "{told}");
    }
    // The largest number that every client can tell from its neighbours is an id like any other.
    client.send(r#"{"jsonrpc":"2.0","id":9007199254740991,"method":"ping"}"#).await;
    assert_eq!(client.receive().await["id"], 9_007_199_254_740_991_u64);
}

#[tokio::test]
async fn log_messages_come_from_the_level_that_was_set() {
    let mut client = Client::connect(fixture::conformance()).await;
    let first = client.ask("tools/call", json!({"name": "test_tool_with_logging"})).await;
    assert_eq!(first["method"], "notifications/message");
    while client.receive().await.get("result").is_none() {}
    assert_eq!(client.ask("logging/setLevel", json!({"level": "error"})).await["result"], json!({}));
    let quiet = client.ask("tools/call", json!({"name": "test_tool_with_logging"})).await;
    assert!(quiet.get("result").is_some(), "{quiet}");
    assert_eq!(client.ask("logging/setLevel", json!({"level": "loud"})).await["error"]["code"], -32602);
}

#[tokio::test]
async fn a_client_that_begins_twice_is_told_of_a_change_once() {
    let mut client = Client::connect(fixture::conformance()).await;
    for _ in 0..2 {
        client.ask("initialize", json!({"protocolVersion": "2025-11-25"})).await;
    }
    client
        .send(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"test_trigger_tool_change"}}"#,
        )
        .await;
    let (first, second) = (client.receive().await, client.receive().await);
    let told = [&first, &second].map(|message| message["method"] == "notifications/tools/list_changed");
    assert_ne!(told[0], told[1], "{first} {second}");
    assert_eq!(client.ask("ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn a_running_call_is_cancelled_by_its_id_while_others_are_answered() {
    let mut client = Client::connect(fixture::unruly()).await;
    client.send(r#"{"jsonrpc":"2.0","id":"w","method":"tools/call","params":{"name":"waits"}}"#).await;
    assert_eq!(client.ask("ping", json!({})).await["id"], 1);
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"w"}}"#).await;
    let ended = client.receive().await;
    assert_eq!(ended["id"], "w");
    assert!(ended["result"]["content"][0]["text"].as_str().unwrap().contains("\"Cancelled\""), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_before_the_answer_is_sent_before_it_however_soon_the_answer_comes() {
    let mut client = Client::connect(fixture::unruly()).await;
    for _ in 0..100 {
        let mut told =
            client.ask("tools/call", json!({"name": "tells", "_meta": {"progressToken": "p"}})).await;
        for step in [1.0, 2.0, 3.0] {
            assert_eq!(told["params"]["progress"], step, "{told}");
            told = client.receive().await;
        }
        assert_eq!(told["result"]["content"][0]["text"], "told");
    }
}

#[tokio::test]
async fn the_end_of_the_input_ends_everything() {
    let mut client = Client::connect(fixture::unruly()).await;
    client.send(r#"{"jsonrpc":"2.0","id":"w","method":"tools/call","params":{"name":"waits"}}"#).await;
    client.input.shutdown().await.unwrap();
    let served = tokio::time::timeout(Duration::from_secs(10), client.served).await;
    served.expect("it ends").unwrap().unwrap();
}
