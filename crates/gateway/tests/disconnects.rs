//! Clients that go, at whatever byte of an answer: what was done for them ends within a second, and its place is free.
#![cfg(test)]

use std::time::{Duration, Instant};

use hayward_gateway::limits::Limits;
use hayward_testkit::client::request;
use hayward_testkit::fixture;
use hayward_testkit::modern::{Modern, everything, with_meta};
use hayward_testkit::server::Server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Within this, what nobody waits for any more has ended.
const SOON: Duration = Duration::from_secs(1);

/// As many bytes as the beginning of an event stream surely has: its head and more.
const OFFSETS: std::ops::Range<usize> = 0..300;

async fn start() -> Server {
    let limits = Limits {
        calls_per_principal_max: 1,
        streams_per_principal_max: 1,
        first_byte_ms: 0,
        keep_alive_ms: 100,
        ..Limits::default()
    };
    Server::start_with(fixture::guarded(), limits).await.unwrap()
}

/// Asks, reads so many bytes of the answer, and goes. If whoever went before is still there, asks again.
async fn ask_and_go(server: &Server, method: &str, params: &Value, bytes: usize) {
    let started = Instant::now();
    while ask_once(server, method, params.clone(), bytes).await.starts_with(b"HTTP/1.1 429") {
        assert!(started.elapsed() < SOON, "the place is not given up");
    }
}

async fn ask_once(server: &Server, method: &str, params: Value, bytes: usize) -> Vec<u8> {
    let bearer = format!("Bearer {}", server.rw_token);
    let name = params["name"].as_str().unwrap_or_default().to_owned();
    let mut headers = vec![
        ("authorization", bearer.as_str()),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
    ];
    if !name.is_empty() {
        headers.push(("mcp-name", &name));
    }
    let params = with_meta(params, &everything());
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&request("POST", server.address, "/mcp", &headers, &body)).await.unwrap();
    let mut read = Vec::new();
    stream.take(bytes as u64).read_to_end(&mut read).await.unwrap();
    read
}

/// Waits until there is a place for a subscription.
async fn is_free(client: &Modern, since: Instant) {
    loop {
        let mut events = client.listen(json!(2), json!({})).await.unwrap();
        if events.message().await.is_ok() {
            return;
        }
        assert!(since.elapsed() < SOON, "the place is not given up");
    }
}

#[tokio::test]
async fn a_subscription_ends_with_its_connection() {
    let server = start().await;
    let client = Modern::new(server.address, &server.rw_token);
    let listen = json!({"notifications": {"toolsListChanged": true}});
    for bytes in OFFSETS.step_by(7) {
        ask_and_go(&server, "subscriptions/listen", &listen, bytes).await;
        let gone = Instant::now();
        is_free(&client, gone).await;
    }
}

#[tokio::test]
async fn a_call_ends_with_its_connection_and_is_recorded_as_cancelled() {
    let server = start().await;
    let client = Modern::new(server.address, &server.rw_token);
    for (at, bytes) in OFFSETS.step_by(7).enumerate() {
        ask_and_go(&server, "tools/call", &json!({"name": "waits"}), bytes).await;
        let gone = Instant::now();
        while client.call("mirrors", json!({})).await.unwrap()["isError"] == true {
            assert!(gone.elapsed() < SOON, "{bytes} bytes: the place is not given up");
        }
        let cancelled = server.records().iter().filter(|record| record["ending"] == "cancelled").count();
        // One that was gone before anything of it was read may never have begun.
        assert!(cancelled >= at, "{bytes} bytes: {cancelled} of {at}");
    }
}
