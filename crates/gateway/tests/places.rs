//! Connections are bounded in number; who keeps the server waiting makes room for who doesn't.

#![cfg(test)]

use std::time::{Duration, Instant};

use hayward_gateway::limits::Limits;
use hayward_testkit::client::{request, send_raw};
use hayward_testkit::fixture;
use hayward_testkit::server::Server;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PLACES: usize = 4;

async fn server() -> Server {
    let limits = Limits { connections_max: PLACES as u64, ..Limits::default() };
    Server::start_with(fixture::unruly(), limits).await.unwrap()
}

fn call(server: &Server, tool: &str) -> Vec<u8> {
    let params = json!({ "name": tool });
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let bearer = format!("Bearer {}", server.rw_token);
    request("POST", server.address, "/mcp", &[("authorization", &bearer)], &body)
}

async fn open(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut [0; 1])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn slow_heads_slow_bodies_and_idle_connections_make_room_for_a_request() {
    let sent: [fn(&str) -> String; 4] = [
        |_| String::new(),
        |_| "POST /mcp HTT".to_owned(),
        |whole| whole[..whole.len() - 1].to_owned(),
        |whole| whole.replace("connection: close\r\n", ""),
    ];
    for sent in sent {
        let server = server().await;
        let whole = call(&server, "tells");
        let sent = sent(std::str::from_utf8(&whole).unwrap());
        let mut waiting = Vec::new();
        for _ in 0..3 * PLACES {
            waiting.push(open(&server, sent.as_bytes()).await);
        }
        let started = Instant::now();
        for _ in 0..PLACES {
            let answer = send_raw(server.address, &whole).await.unwrap();
            assert_eq!(answer.status, 200);
        }
        // Far sooner than any of the time limits would make room.
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_running_call_keeps_its_place() {
    let server = server().await;
    let mut running = Vec::new();
    for _ in 0..PLACES - 1 {
        running.push(open(&server, &call(&server, "waits")).await);
    }
    for _ in 0..3 {
        let mut idle = Vec::new();
        for _ in 0..PLACES {
            idle.push(open(&server, b"").await);
        }
        let answer = send_raw(server.address, &call(&server, "tells")).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    for stream in &mut running {
        assert!(!is_closed(stream).await, "a call lost its place");
    }
}
