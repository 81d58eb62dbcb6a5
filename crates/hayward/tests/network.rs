//! The real binary on a network: where it listens, under which names, and whom it believes.
#![cfg(test)]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use hayward_testkit::client::{Answer, request, send_raw};
use hayward_testkit::daemon::{Daemon, command};
use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

fn scratch() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    (dir, data)
}

fn records(data: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(data.join("audit/record.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Calls a tool with these headers.
async fn call(daemon: &Daemon, headers: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {}", daemon.token("rw"));
    let headers = [&[("authorization", &*bearer)], headers].concat();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"glob","arguments":{"pattern":"*","path":"/proc/self/fdinfo"}}}"#;
    send_raw(daemon.address, &request("POST", daemon.address, "/mcp", &headers, body)).await.unwrap()
}

async fn health(address: SocketAddr, headers: &[(&str, &str)]) -> u16 {
    send_raw(address, &request("GET", address, "/health", headers, "")).await.unwrap().status
}

/// What the record says of who made the last call, and of who told so.
fn told(data: &Path) -> (String, Option<String>) {
    let records = records(data);
    let last =
        records.iter().rfind(|record| ["intent", "denied"].contains(&record["type"].as_str().unwrap()));
    let text = |name: &str| last.unwrap()[name].as_str().map(str::to_owned);
    (text("client_address").unwrap(), text("proxy"))
}

/// An address of this machine that isn't loopback, if it has any.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("203.0.113.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip())
}

#[tokio::test]
async fn who_a_proxy_speaks_for_is_recorded_and_so_is_the_proxy() {
    let (dir, data) = scratch();
    let logs = dir.path().join("logs");
    let flags = ["--behind-proxy", "127.0.0.0/8,10.0.0.0/8", "--log-dir", logs.to_str().unwrap()];
    let daemon = Daemon::start(BINARY, &data, &flags).unwrap();
    for (headers, expect) in [
        (&[("X-Forwarded-For", "203.0.113.9")][..], "203.0.113.9:0"),
        (&[("X-Forwarded-For", "1.1.1.1, 203.0.113.10"), ("X-Forwarded-For", "10.0.0.2")], "203.0.113.10:0"),
        (&[("X-Forwarded-For", "203.0.113.11"), ("CF-Connecting-IP", "1.1.1.1")], "203.0.113.11:0"),
        (&[("CF-Connecting-IP", "2001:db8::5")], "[2001:db8::5]:0"),
    ] {
        assert_eq!(call(&daemon, headers).await.status, 200);
        let (client, proxy) = told(&data);
        assert!(client == expect && proxy.unwrap().starts_with("127.0.0.1:"), "{client}");
    }
    for unreadable in ["", "unknown", "203.0.113.9, <script>"] {
        assert_eq!(call(&daemon, &[("X-Forwarded-For", unreadable)]).await.status, 200);
        let (client, proxy) = told(&data);
        assert!(client.starts_with("127.0.0.1:") && proxy.is_none(), "{client}");
    }
    // Who is refused is recorded as who they are, too.
    let headers = [("authorization", "Bearer no"), ("X-Forwarded-For", "203.0.113.66")];
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let refused = request("POST", daemon.address, "/mcp", &headers, body);
    assert_eq!(send_raw(daemon.address, &refused).await.unwrap().status, 401);
    assert_eq!(told(&data).0, "203.0.113.66:0");
    drop(daemon);
    let copy = std::fs::read_to_string(logs.join("audit.log")).unwrap();
    assert!(copy.contains("\"203.0.113.9\""), "{copy}");
}

#[tokio::test]
async fn what_anybody_else_says_of_clients_is_ignored() {
    for flags in [&[][..], &["--behind-proxy", "192.0.2.99", "unix"]] {
        let (_dir, data) = scratch();
        let daemon = Daemon::start(BINARY, &data, flags).unwrap();
        let spoofed = [
            ("X-Forwarded-For", "203.0.113.9"),
            ("CF-Connecting-IP", "203.0.113.9"),
            ("X-Forwarded-Host", "evil.com"),
            ("X-Forwarded-Proto", "https"),
        ];
        assert_eq!(call(&daemon, &spoofed).await.status, 200);
        let (client, proxy) = told(&data);
        assert!(client.starts_with("127.0.0.1:") && proxy.is_none(), "{client}");
        let page = [("Origin", "https://localhost"), ("X-Forwarded-Proto", "https"), ("Host", "localhost")];
        assert_eq!(health(daemon.address, &page).await, 403);
    }
}

#[tokio::test]
async fn the_name_that_a_proxy_tells_must_be_ours_and_its_pages_pass() {
    let (_dir, data) = scratch();
    let flags = ["--behind-proxy", "127.0.0.1", "--public-url", "https://mcp.example.org/base"];
    let daemon = Daemon::start(BINARY, &data, &flags).unwrap();
    let https = ("X-Forwarded-Proto", "https");
    for (headers, status) in [
        (&[("Host", "mcp.example.org")][..], 200),
        (&[("X-Forwarded-Host", "mcp.example.org")], 200),
        (&[("X-Forwarded-Host", "evil.com")], 403),
        (&[("X-Forwarded-Host", "mcp.example.org, evil.com")], 403),
        (&[("Host", "evil.com"), ("X-Forwarded-Host", "mcp.example.org")], 403),
        (&[("Host", "mcp.example.org"), ("Origin", "https://mcp.example.org")], 200),
        (&[("Host", "localhost"), ("Origin", "https://localhost"), https], 200),
        (&[("Host", "localhost"), ("Origin", "https://evil.com"), https], 403),
    ] {
        assert_eq!(health(daemon.address, headers).await, status, "{headers:?}");
    }
}

#[tokio::test]
async fn a_server_on_every_address_is_reached_under_the_names_of_its_machine() {
    let (_dir, data) = scratch();
    let daemon = Daemon::start(BINARY, &data, &["--host", "0.0.0.0", "--insecure-http"]).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], daemon.address.port()));
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut good =
        vec!["localhost".to_owned(), name.trim().to_owned(), format!("{}:1", name.trim().to_uppercase())];
    good.extend(own_address().map(|own| own.to_string()));
    for host in good {
        assert_eq!(health(address, &[("Host", &host)]).await, 200, "{host}");
    }
    for host in ["0.0.0.0", "203.0.113.1", "evil.com"] {
        assert_eq!(health(address, &[("Host", host)]).await, 403, "{host}");
    }
    // A list of its own takes the place of these.
    let (_dir, data) = scratch();
    let flags = ["--host", "0.0.0.0", "--insecure-http", "--allowed-host", "nas.lan"];
    let daemon = Daemon::start(BINARY, &data, &flags).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], daemon.address.port()));
    assert_eq!(health(address, &[("Host", "nas.lan")]).await, 200);
    assert_eq!(
        health(address, &[("Host", name.trim())]).await,
        if name.trim() == "localhost" { 200 } else { 403 }
    );
}

#[tokio::test]
async fn under_every_name_requests_are_served_and_pages_of_others_are_not() {
    let (_dir, data) = scratch();
    let daemon = Daemon::start(BINARY, &data, &["--allowed-host", "*"]).unwrap();
    for host in ["nas.lan", "what.ever:1", "203.0.113.1"] {
        assert_eq!(health(daemon.address, &[("Host", host)]).await, 200, "{host}");
        let page = format!("http://{}:{}", host.split(':').next().unwrap(), daemon.address.port());
        let headers = [("Host", host), ("Origin", page.as_str())];
        assert_eq!(health(daemon.address, &headers).await, 403, "{page}");
    }
    assert_eq!(health(daemon.address, &[("Host", "a b")]).await, 403);
}

#[tokio::test]
async fn beyond_loopback_it_takes_a_proxy_or_an_explicit_word_and_every_fault_is_told() {
    let (_dir, data) = scratch();
    let serve = |flags: &[&str]| {
        let args = [&["serve", "--port", "0", "--host", "0.0.0.0"], flags].concat();
        let output = command(BINARY, args).arg("--data-dir").arg(&data).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = serve(&[]);
    assert!(code == Some(78) && told.contains("refusing to listen on `0.0.0.0`"), "{told}");
    let wrong = [
        "--behind-proxy",
        "10.0.0.0/40",
        "0.0.0.0/0",
        "--allowed-host",
        "*.lan",
        "--tls-cert",
        "/x",
        "--limit",
        "y=1",
    ];
    let (code, told) = serve(&wrong);
    assert_eq!(code, Some(78), "{told}");
    for part in [
        "`10.0.0.0/40`",
        "`0.0.0.0/0`",
        "`--allowed-host` `*.lan`",
        "without `--tls-key`",
        "unknown limit `y`",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let daemon =
        Daemon::start(BINARY, &data, &["--host", "0.0.0.0", "--behind-proxy", "192.0.2.99"]).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], daemon.address.port()));
    assert_eq!(health(address, &[("Host", "localhost")]).await, 200);
}
