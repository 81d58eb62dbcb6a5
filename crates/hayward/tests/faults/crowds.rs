//! F11 and F12: many who are slow, and many who are idle. `cargo xtask load` does the same with thousands.

use std::time::{Duration, Instant};

use hayward_testkit::chaos::Fault;
use hayward_testkit::client::request;
use hayward_testkit::events::Events;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::PATIENCE;
use crate::yard::Yard;

/// How many of them.
const SLOW: usize = 400;
const IDLE: usize = 1_000;

/// What each of them may cost, in a build for tests.
const SLOW_KIB_MAX: u64 = 64;
const IDLE_KIB_MAX: u64 = 30;

/// What a call beside them may take on a busy machine.
const USUAL: Duration = Duration::from_millis(500);

/// When who hasn't said what it wants is hung up on: `gateway.head_timeout_ms`, and half of that for a busy machine.
const HEAD_MAX: Duration = Duration::from_secs(15);

async fn usual(yard: &Yard, count: usize) {
    let mut times = Vec::new();
    for n in 0..count {
        let mark = format!("usual{n}");
        let called = yard.call("near", Fault::None, &mark).await;
        assert!(called.is_answer(&mark), "{called:?}");
        times.push(called.took);
    }
    times.sort();
    println!(
        "of {count} calls beside them half took {:?}, the longest {:?}",
        times[count / 2],
        times[count - 1]
    );
    assert!(times[count / 2] < USUAL, "{times:?}");
}

#[tokio::test]
async fn f11_who_sends_a_byte_now_and_then_costs_little_and_is_hung_up_on() {
    let yard = Yard::new(&["near"]).await;
    yard.stdio("near", &[]).await;
    yard.answers("near").await;
    usual(&yard, 20).await;
    let (before, began) = (yard.resident_kib(), Instant::now());
    let head = request("POST", yard.rig.daemon.address, "/servers/near/mcp", &[], "{}");
    let mut slow = Vec::new();
    for n in 0..SLOW {
        let mut stream = TcpStream::connect(yard.rig.daemon.address).await.unwrap();
        stream.write_all(&head[..=(n % 40)]).await.unwrap();
        slow.push(stream);
    }
    usual(&yard, 30).await;
    let each = yard.resident_kib().saturating_sub(before) / SLOW as u64;
    println!("{each} KiB for each who is slow");
    assert!(each <= SLOW_KIB_MAX, "{each} KiB");
    let mut drops = slow.into_iter().enumerate().map(|(n, mut stream)| async move {
        let byte = [b'x'];
        loop {
            let mut read = [0; 256];
            match tokio::time::timeout(Duration::from_millis(500), stream.read(&mut read)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => {}
                // A byte more, as if it went on.
                Err(_) => drop(stream.write_all(&byte).await),
            }
            assert!(began.elapsed() < HEAD_MAX + Duration::from_secs(5), "{n} is waited for");
        }
    });
    futures_util::future::join_all(&mut drops).await;
    usual(&yard, 10).await;
}

#[tokio::test]
async fn f12_who_only_listens_costs_little_and_slows_nobody() {
    let yard = Yard::new(&["near"]).await;
    yard.stdio("near", &[]).await;
    yard.answers("near").await;
    usual(&yard, 20).await;
    let path = "/servers/near/mcp";
    let address = yard.rig.daemon.address;
    let bearer = format!("Bearer {}", yard.token);
    let before = yard.resident_kib();
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "idle", "version": "1"}}});
        let headers = [("authorization", bearer.as_str())];
        let begun = hayward_testkit::client::post(address, path, &headers, &hello.to_string()).await.unwrap();
        let session = begun.header("mcp-session-id").unwrap().to_owned();
        let headers = [
            ("authorization", bearer.as_str()),
            ("accept", "text/event-stream"),
            ("mcp-session-id", &session),
        ];
        let listening = request("GET", address, path, &headers, "");
        let stream =
            tokio::time::timeout(PATIENCE, Events::open(address, &listening)).await.unwrap().unwrap();
        assert_eq!(stream.head.status, 200);
        idle.push(stream);
    }
    let each = yard.resident_kib().saturating_sub(before) / IDLE as u64;
    println!("{each} KiB for each who listens");
    assert!(each <= IDLE_KIB_MAX, "{each} KiB");
    usual(&yard, 50).await;
    // All of them are there, and hear what there is to hear.
    assert!(yard.call("near", Fault::Changes, "changed").await.is_answer("changed"));
    let heard = idle.iter_mut().map(|stream| async move {
        let message = stream.message().await.unwrap();
        assert_eq!(message["method"], "notifications/tools/list_changed");
    });
    futures_util::future::join_all(heard).await;
}
