//! Tokens that are bound: to an end, to networks, to tools, to a pace. And whoever is none of them, slowed.
#![cfg(test)]

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use hayward_testkit::client::post;
use hayward_testkit::daemon::{Daemon, command, text};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

fn token(data: &Path, args: &[&str]) -> Output {
    let mut words = vec!["token"];
    words.extend(args);
    command(BINARY, words).env("HAYWARD_DATA_DIR", data).output().unwrap()
}

fn add(data: &Path, args: &[&str]) -> String {
    let output = token(data, &[&["add"], args].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn status(daemon: &Daemon, token: &str) -> u16 {
    daemon.ask(token, "ping", json!({})).await.unwrap().status
}

#[tokio::test]
async fn a_token_is_accepted_until_its_end_and_from_its_networks_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let bound = |name: &str, args: &[&str]| add(&data, &[&["--name", name], args].concat());
    let here = bound("here", &["--source", "127.0.0.0/8", "--source", "10.0.0.7", "--expires", "1h"]);
    let elsewhere = bound("elsewhere", &["--source", "10.0.0.0/8"]);
    let over = bound("over", &["--expires", "2s"]);
    let listed: Value = serde_json::from_slice(&token(&data, &["list", "-o", "json"]).stdout).unwrap();
    let of =
        |name: &str| listed.as_array().unwrap().iter().find(|token| token["name"] == name).unwrap().clone();
    assert_eq!(of("here")["bounds"]["sources"], json!(["127.0.0.0/8", "10.0.0.7"]));
    assert!(of("over")["expires_at"].is_string() && of("elsewhere")["expires_at"].is_null());
    let table = String::from_utf8(token(&data, &["list"]).stdout).unwrap();
    assert!(table.contains("from 127.0.0.0/8, 10.0.0.7"), "{table}");
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    assert_eq!(status(&daemon, &here).await, 200);
    while status(&daemon, &over).await != 401 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for refused in [&elsewhere, &over] {
        let answer = daemon.ask(refused, "ping", json!({})).await.unwrap();
        assert_eq!((answer.status, &answer.json()["detail"]), (401, &json!("Invalid or disabled token")));
    }
    let query =
        command(BINARY, ["audit", "query", "-o", "json"]).env("HAYWARD_DATA_DIR", &data).output().unwrap();
    let calls: Vec<Value> = serde_json::from_slice(&query.stdout).unwrap();
    assert!(
        calls.iter().any(|call| call["principal"]["name"] == "elsewhere" && call["ending"] == "denied"),
        "{calls:?}"
    );
}

#[tokio::test]
async fn a_token_sees_and_calls_the_tools_that_it_is_bound_to() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let bound =
        add(&data, &["--name", "b", "--role", "rw", "--allow-tool", "read_file", "--allow-tool", "g*"]);
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    let listed = daemon.ask(&bound, "tools/list", json!({})).await.unwrap().json();
    let names: Vec<_> =
        listed["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, [json!("read_file"), json!("glob"), json!("grep")]);
    let call = async |tool: &str, arguments: Value| {
        let params = json!({"name": tool, "arguments": arguments});
        daemon.ask(&bound, "tools/call", params).await.unwrap().json()["result"].clone()
    };
    assert_eq!(call("glob", json!({"pattern": "*", "path": dir.path()})).await["isError"], false);
    let marker = dir.path().join("must-not-be");
    let refused = call("bash_execute", json!({"command": format!("touch {}", marker.display())})).await;
    let told: Value = serde_json::from_str(text(&refused)).unwrap();
    assert_eq!((&told["error"], &refused["isError"]), (&json!("PermissionDenied"), &json!(true)));
    assert!(!marker.exists());
}

#[tokio::test]
async fn a_token_that_is_too_fast_is_told_when_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let slow = add(&data, &["--name", "slow", "--requests-per-minute", "8"]);
    let other = add(&data, &["--name", "other"]);
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    assert_eq!([status(&daemon, &slow).await, status(&daemon, &slow).await], [200, 200]);
    let answer = daemon.ask(&slow, "ping", json!({})).await.unwrap();
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=8).contains(&wait), "{wait}");
    for _ in 0..20 {
        assert_eq!(status(&daemon, &other).await, 200);
    }
}

#[tokio::test]
async fn every_message_of_a_batch_is_a_request() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let slow = add(&data, &["--name", "slow", "--requests-per-minute", "8"]);
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    let batch: Vec<Value> = (0..10).map(|id| json!({"jsonrpc": "2.0", "id": id, "method": "ping"})).collect();
    let bearer = format!("Bearer {slow}");
    let headers = [("authorization", &*bearer), ("mcp-protocol-version", "2025-03-26")];
    let answer = post(daemon.address, "/mcp", &headers, &json!(batch).to_string()).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (429, true), "{answer:?}");
}

#[tokio::test]
async fn what_a_web_page_sends_costs_nobody_elses_pace() {
    let dir = tempfile::tempdir().unwrap();
    let limit = ["--limit", "gateway.address_requests_per_minute=8"];
    let daemon = Daemon::start(BINARY, &dir.path().join("data"), &limit).unwrap();
    for _ in 0..10 {
        let foreign = post(daemon.address, "/mcp", &[("origin", "http://evil.example")], "{}").await.unwrap();
        assert_eq!(foreign.status, 403);
    }
    assert_eq!(daemon.send("GET", "/health", "", "").await.unwrap().status, 200);
}

#[tokio::test]
async fn an_address_that_is_too_fast_is_told_when_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let limit = ["--limit", "gateway.address_requests_per_minute=8"];
    let daemon = Daemon::start(BINARY, &dir.path().join("data"), &limit).unwrap();
    let health = async || daemon.send("GET", "/health", "", "").await.unwrap();
    assert_eq!([health().await.status, health().await.status], [200, 200]);
    let answer = health().await;
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (429, true));
    assert!(answer.header("x-request-id").is_some());
}

#[tokio::test]
async fn guessing_becomes_slow_and_whoever_has_a_token_is_not_held_up() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(BINARY, &dir.path().join("data"), &[]).unwrap();
    let guess = async || {
        let started = Instant::now();
        assert_eq!(status(&daemon, "wrong").await, 401);
        started.elapsed()
    };
    for _ in 0..23 {
        guess().await;
    }
    // 50 ms, 100 ms, 200 ms, and the longest.
    assert!(guess().await >= Duration::from_millis(240));
    let token = daemon.token("rw").to_owned();
    let started = Instant::now();
    assert_eq!(status(&daemon, &token).await, 200);
    assert!(started.elapsed() < Duration::from_millis(240));
}

#[tokio::test]
async fn an_administrator_of_the_network_is_refused_what_cannot_be_meant_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(BINARY, &dir.path().join("data"), &[]).unwrap();
    let make = async |more: Value| {
        let mut body = json!({"name": "x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        daemon.send("POST", "/admin/tokens", daemon.token("admin"), &body.to_string()).await.unwrap()
    };
    for (more, expect) in [
        (json!({"bounds": {"tools": ["read_file", "bash_exec"]}}), "did you mean `bash_execute`?"),
        (json!({"bounds": {"tools": ["file_*"]}}), "unknown tool `file_*`"),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), "hint: name a time to come"),
        (json!({"bounds": {"sources": ["::ffff:10.0.0.0/90"]}}), "invalid network"),
    ] {
        let answer = make(more).await;
        assert!(answer.status == 400 && answer.body.contains(expect), "{expect}: {answer:?}");
    }
    let bounds = json!({"bounds": {"tools": ["read_*", "grep"], "sources": ["::ffff:127.0.0.0/104"]}});
    let made = make(bounds).await.json();
    assert_eq!(status(&daemon, made["token"].as_str().unwrap()).await, 200);
}

#[test]
fn what_cannot_be_meant_is_refused_before_a_token_is_made() {
    let dir = tempfile::tempdir().unwrap();
    for (args, expect) in [
        (&["--source", "nas"][..], "192.168.1.0/24"),
        (&["--source", "10.0.0.1/24"], "10.0.0.0/24"),
        (&["--allow-tool", "bash_exec"], "bash_execute"),
        (&["--allow-tool", "a b"], "invalid name"),
        (&["--expires", "soon"], "30d"),
        (&["--expires=-3d"], "30d"),
        (&["--expires", "0h"], "hint: name a time to come"),
        (&["--expires", "2020-01-01T00:00:00Z"], "hint: name a time to come"),
        (&["--source", "::ffff:10.0.0.0/90"], "first 96 bits"),
        (&["--expires", "9999999999999d"], "30d"),
        (&["--requests-per-minute", "0"], "requests-per-minute"),
    ] {
        let output = token(dir.path(), &[&["add", "--name", "x"], args].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(expect), "{args:?}: {told}");
    }
    let listed = token(dir.path(), &["list", "-o", "json"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout).trim(), "[]");
}
