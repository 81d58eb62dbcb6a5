//! One address has so many connections, and so many requests that are answered at once; others have their own.

#![cfg(test)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hayward_gateway::limits::Limits;
use hayward_testkit::client::{Answer, read_answer, request};
use hayward_testkit::fixture;
use hayward_testkit::server::Server;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const MAX: usize = 3;
const HERE: &str = "127.0.0.1:0";
const ELSEWHERE: &str = "127.0.0.2:0";

async fn server(limits: Limits) -> Server {
    Server::start_with(fixture::unruly(), limits).await.unwrap()
}

async fn connect(server: &Server, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from.parse::<SocketAddr>().unwrap()).unwrap();
    socket.connect(server.address).await.unwrap()
}

fn call(server: &Server, tool: &str) -> Vec<u8> {
    let params = json!({ "name": tool });
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let bearer = format!("Bearer {}", server.rw_token);
    request("POST", server.address, "/mcp", &[("authorization", &bearer)], &body)
}

/// Asks on a new connection; none if that is closed without an answer.
async fn ask(server: &Server, from: &str) -> Option<Answer> {
    let mut stream = connect(server, from).await;
    stream.write_all(&request("GET", server.address, "/health", &[], "")).await.ok()?;
    read_answer(&mut stream).await.ok()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 1])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

/// Waits until an address is answered again.
async fn answered_at_last(server: &Server, from: &str) {
    let started = Instant::now();
    while ask(server, from).await.is_none_or(|answer| answer.status != 200) {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_keeps_nobody_else_out() {
    let server = server(Limits { connections_per_address_max: MAX as u64, ..Limits::default() }).await;
    let mut open = Vec::new();
    for _ in 0..MAX {
        open.push(connect(&server, HERE).await);
    }
    for _ in 0..5 {
        assert!(is_closed(&mut connect(&server, HERE).await).await, "it is closed at once");
        assert_eq!(ask(&server, ELSEWHERE).await.unwrap().status, 200);
    }
    // Those that are there go on.
    for stream in &mut open {
        stream.write_all(&request("GET", server.address, "/health", &[], "")).await.unwrap();
        assert_eq!(read_answer(stream).await.unwrap().status, 200);
    }
    drop(open);
    answered_at_last(&server, HERE).await;
}

#[tokio::test]
async fn who_is_closed_is_counted() {
    let server = server(Limits { connections_per_address_max: 1, ..Limits::default() }).await;
    let kept = connect(&server, HERE).await;
    for _ in 0..4 {
        assert!(is_closed(&mut connect(&server, HERE).await).await);
    }
    let token = server.add_token(hayward_api::kinds::token::Role::Metrics);
    let bearer = format!("Bearer {token}");
    let mut stream = connect(&server, ELSEWHERE).await;
    let asked = request("GET", server.address, "/metrics", &[("authorization", &bearer)], "");
    stream.write_all(&asked).await.unwrap();
    let told = read_answer(&mut stream).await.unwrap();
    assert!(told.body.contains("\nhayward_connections_refused_total 4\n"), "{}", told.body);
    drop(kept);
}

#[tokio::test]
async fn a_connection_that_is_closed_takes_nobodys_place() {
    let limits = Limits { connections_per_address_max: 1, connections_max: 2, ..Limits::default() };
    let server = server(limits).await;
    let (mut here, mut elsewhere) = (connect(&server, HERE).await, connect(&server, ELSEWHERE).await);
    // Long enough that both would have to make room.
    tokio::time::sleep(Duration::from_millis(400)).await;
    for _ in 0..5 {
        assert!(is_closed(&mut connect(&server, HERE).await).await);
    }
    for stream in [&mut here, &mut elsewhere] {
        stream.write_all(&request("GET", server.address, "/health", &[], "")).await.unwrap();
        assert_eq!(read_answer(stream).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn an_address_has_so_many_requests_that_are_answered_at_once() {
    let server = server(Limits { requests_per_address_max: MAX as u64, ..Limits::default() }).await;
    let mut running = Vec::new();
    for _ in 0..MAX {
        let mut stream = connect(&server, HERE).await;
        stream.write_all(&call(&server, "waits")).await.unwrap();
        running.push(stream);
    }
    server.intents(MAX).await.unwrap();
    let refused = ask(&server, HERE).await.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{refused:?}");
    assert!(refused.header("x-request-id").is_some());
    assert_eq!(ask(&server, ELSEWHERE).await.unwrap().status, 200);
    // Who goes gives it back.
    drop(running);
    answered_at_last(&server, HERE).await;
}

#[tokio::test]
async fn an_answer_that_is_sent_is_given_back_while_its_connection_stays() {
    let server = server(Limits { requests_per_address_max: 1, ..Limits::default() }).await;
    let keep = String::from_utf8(request("GET", server.address, "/health", &[], "")).unwrap();
    let keep = keep.replace("connection: close\r\n", "");
    let mut streams = [connect(&server, HERE).await, connect(&server, HERE).await];
    for _ in 0..10 {
        for stream in &mut streams {
            stream.write_all(keep.as_bytes()).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"}") {
                head.push(stream.read_u8().await.unwrap());
            }
            assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&head));
        }
    }
}
