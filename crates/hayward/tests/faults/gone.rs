//! F10: clients that go while a server works for them.

use std::time::{Duration, Instant};

use hayward_testkit::chaos::Elsewhere;
use hayward_testkit::client::{request, send_raw};
use hayward_testkit::modern::{everything, with_meta};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::PATIENCE;
use crate::yard::Yard;

/// Within this, a server hears that nobody waits any more; and as much again for a busy machine.
const SOON: Duration = Duration::from_secs(2);

/// Bytes of an event stream that a client reads before it goes: of its head, and of signs of life.
const OFFSETS: std::ops::Range<usize> = 0..200;

/// Calls as a modern client, reads so many bytes of the answer, and goes.
async fn call_and_go(
    yard: &Yard,
    (server, elsewhere): (&str, &Elsewhere),
    mark: &str,
    bytes: usize,
) -> Instant {
    let bearer = format!("Bearer {}", yard.token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "act"),
    ];
    let params =
        with_meta(json!({"name": "act", "arguments": {"fault": "waits", "mark": mark}}), &everything());
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let address = yard.rig.daemon.address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let path = format!("/servers/{server}/mcp");
    stream.write_all(&request("POST", address, &path, &headers, &body)).await.unwrap();
    let mut read = Vec::new();
    (&mut stream).take(bytes as u64).read_to_end(&mut read).await.unwrap();
    // The call has to be there before it can be given up.
    let started = Instant::now();
    while !told(elsewhere, "waiting", mark).await {
        assert!(started.elapsed() < PATIENCE, "{mark} was never called");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    Instant::now()
}

/// Whether a server says this of a call: that it waits, or was given up.
async fn told(elsewhere: &Elsewhere, what: &str, mark: &str) -> bool {
    let address = ([127, 0, 0, 1], elsewhere.port).into();
    let asked = request("GET", address, "/told", &[], "");
    let answer = tokio::time::timeout(PATIENCE, send_raw(address, &asked)).await.unwrap().unwrap();
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    told[what].as_array().unwrap().iter().any(|it| it == mark)
}

#[tokio::test]
async fn f10_a_server_hears_within_a_second_that_its_client_has_gone_at_whatever_byte() {
    let yard = Yard::with(&["old", "new"], &["gateway.first_byte_ms=0", "gateway.keep_alive_ms=100"]).await;
    for (server, args) in [("old", &[][..]), ("new", &["--modern"][..])] {
        // Longer than any of this takes: it isn't the silence that ends them.
        let elsewhere = yard.http_within(server, args, 60).await;
        yard.answers(server).await;
        for bytes in OFFSETS.step_by(40) {
            let mark = format!("{server}{bytes}");
            let gone = call_and_go(&yard, (server, &elsewhere), &mark, bytes).await;
            while !told(&elsewhere, "cancelled", &mark).await {
                assert!(gone.elapsed() < SOON, "{mark} goes on: {:?}", yard.endings()[&mark]);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            while yard.endings()[&mark] != ["cancelled"] {
                assert!(gone.elapsed() < SOON, "{mark}: {:?}", yard.endings()[&mark]);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        yard.answers(server).await;
    }
}
