//! What clients hold in memory together is bounded, and half of it is the most for one credential: beyond it they are
//! told to come back, and nothing breaks.

#![cfg(test)]

use std::time::{Duration, Instant};

use hayward_gateway::limits::Limits;
use hayward_testkit::client::{Answer, request, send_raw};
use hayward_testkit::fixture;
use hayward_testkit::server::Server;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;

async fn server(held: usize) -> Server {
    let limits = Limits { held_bytes_max: held as u64, ..Limits::default() };
    Server::start_with(fixture::unruly(), limits).await.unwrap()
}

fn call(server: &Server, tool: &str, filler: usize) -> Vec<u8> {
    let arguments = json!({ "filler": "x".repeat(filler) });
    let params = json!({"name": tool, "arguments": arguments});
    let body: Value = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let bearer = format!("Bearer {}", server.rw_token);
    request("POST", server.address, "/mcp", &[("authorization", &bearer)], &body.to_string())
}

async fn ask(server: &Server, tool: &str, filler: usize) -> Answer {
    send_raw(server.address, &call(server, tool, filler)).await.unwrap()
}

/// Asks until it is served, or for too long.
async fn served_at_last(server: &Server, tool: &str, filler: usize) {
    let started = Instant::now();
    loop {
        let answer = ask(server, tool, filler).await;
        if answer.status == 200 && answer.json()["result"]["isError"] != true {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_body_that_does_not_fit_beside_those_of_others_is_answered_with_503() {
    let server = server(4 * MIB).await;
    // One client sends nearly all of a body, and stops; it may itself be the one that is refused at first.
    let whole = call(&server, "tells", MIB + MIB / 2);
    let begin = async || {
        let mut slow = TcpStream::connect(server.address).await.unwrap();
        slow.write_all(&whole[..whole.len() - 1]).await.unwrap();
        slow
    };
    let mut slow = begin().await;
    let started = Instant::now();
    let refused = loop {
        let answer = ask(&server, "tells", MIB).await;
        if answer.status != 200 {
            break answer;
        }
        if slow.try_read(&mut [0; 100]).is_ok() {
            slow = begin().await;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "it is never refused");
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("retry"), "{refused:?}");
    // A small one is served all the while, and the large one once the other is gone.
    served_at_last(&server, "tells", 10).await;
    drop(slow);
    served_at_last(&server, "tells", MIB).await;
}

#[tokio::test]
async fn a_result_that_does_not_fit_beside_those_of_others_becomes_an_error() {
    let server = server(24 * MIB).await;
    // Its 8 MiB wait for a client that does not read; it may itself be the one that is refused at first.
    let begin = async || {
        let mut deaf = TcpStream::connect(server.address).await.unwrap();
        deaf.write_all(&call(&server, "pours", 0)).await.unwrap();
        deaf
    };
    let mut deaf = begin().await;
    let started = Instant::now();
    loop {
        let answer = ask(&server, "pours", 0).await;
        let text = answer.json()["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        if text.contains("Overloaded") {
            break;
        }
        deaf = begin().await;
        assert!(started.elapsed() < Duration::from_secs(10), "it is never refused");
    }
    served_at_last(&server, "tells", 10).await;
    drop(deaf);
    served_at_last(&server, "pours", 0).await;
}
