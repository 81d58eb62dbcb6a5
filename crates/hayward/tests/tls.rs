//! TLS of the real binary: who is served, who isn't, and files that change while it runs.
#![cfg(test)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hayward_testkit::certificates::{Authority, Pair, Times, replace};
use hayward_testkit::client;
use hayward_testkit::curl::{Curled, curl};
use hayward_testkit::daemon::{Daemon, command, text};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

/// A folder with an authority and a pair of its.
struct Rig {
    dir: TempDir,
    authority: Authority,
    ca: PathBuf,
    pair: Pair,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("first").unwrap();
        let ca = dir.path().join("ca.pem");
        authority.write(&ca).unwrap();
        let pair = authority.issue(dir.path(), "server", Times::Now).unwrap();
        Self { dir, authority, ca, pair }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn flags<'a>(&'a self, further: &[&'a str]) -> Vec<&'a str> {
        let pair = ["--tls-cert", utf8(&self.pair.certificate), "--tls-key", utf8(&self.pair.key)];
        [&pair, further].concat()
    }

    fn start(&self, further: &[&str]) -> Daemon {
        Daemon::start(BINARY, &self.path("data"), &self.flags(further)).unwrap()
    }

    /// The same with a log that can be read.
    fn start_logging(&self, further: &[&str]) -> Daemon {
        let log = fs::File::create(self.path("log")).unwrap();
        let data = self.path("data");
        Daemon::start_writing(BINARY, &data, &self.flags(further), [Stdio::null(), log.into()]).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Lists the tools with these arguments of curl.
fn list(daemon: &Daemon, args: &[&str]) -> Curled {
    let bearer = format!("Authorization: Bearer {}", daemon.token("rw"));
    let url = daemon.ready["url"].as_str().unwrap();
    curl(&[args, &["-H", &bearer, "-H", "Content-Type: application/json", "-d", LIST, url]].concat()).unwrap()
}

fn trusting(daemon: &Daemon, ca: &Path) -> Curled {
    list(daemon, &["--cacert", utf8(ca)])
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_client_that_trusts_the_authority_is_served_and_one_that_does_not_hangs_up() {
    let rig = Rig::new();
    let daemon = rig.start(&[]);
    assert!(daemon.ready["url"].as_str().unwrap().starts_with("https://127.0.0.1:"));
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"], &["--http2"]] {
        let listed = list(&daemon, &[&["--cacert", utf8(&rig.ca)], version].concat());
        assert!(listed.status == 200 && listed.body.contains("bash_execute"), "{version:?}: {listed:?}");
    }
    // 60: the peer's certificate can't be authenticated.
    assert_eq!(list(&daemon, &[]).exit_code, 60);
    let old = list(&daemon, &["--cacert", utf8(&rig.ca), "--tls-max", "1.1"]);
    assert_ne!(old.exit_code, 0, "{old:?}");
    let url = daemon.ready["url"].as_str().unwrap();
    assert_eq!(
        curl(&["--cacert", utf8(&rig.ca), "-d", LIST, "-H", "Content-Type: application/json", url])
            .unwrap()
            .status,
        401
    );
}

#[test]
fn calls_streams_and_transfers_go_over_tls() {
    let rig = Rig::new();
    let daemon = rig.start(&["--limit", "gateway.first_byte_ms=0"]);
    let call = |tool: &str, arguments: serde_json::Value| {
        let params = json!({"name": tool, "arguments": arguments});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
        let bearer = format!("Authorization: Bearer {}", daemon.token("rw"));
        let url = daemon.ready["url"].as_str().unwrap();
        let headers = [
            "-H",
            &bearer,
            "-H",
            "Content-Type: application/json",
            "-H",
            "Accept: application/json, text/event-stream",
        ];
        curl(&[&["--cacert", utf8(&rig.ca)], &headers[..], &["-d", &body, url]].concat()).unwrap()
    };
    let slow = call("bash_execute", json!({"command": "sleep 0.2; echo fine"}));
    assert!(slow.body.contains("event: message"), "{slow:?}");
    assert!(slow.body.contains("fine"), "{slow:?}");
    let (from, to) = (rig.path("from"), rig.path("to"));
    fs::write(&from, vec![7; 3_000_000]).unwrap();
    let prepared = call("prepare_upload", json!({"dest_path": to}));
    let url = prepared.body.split('\'').find(|part| part.starts_with("https://")).unwrap();
    let put = curl(&["--cacert", utf8(&rig.ca), "-T", utf8(&from), url]).unwrap();
    assert!((200..300).contains(&put.status), "{prepared:?} {put:?}");
    assert_eq!(fs::read(&to).unwrap(), vec![7; 3_000_000]);
}

#[tokio::test]
async fn http_without_tls_is_told_to_use_it() {
    let rig = Rig::new();
    let daemon = rig.start(&[]);
    let request = client::request("GET", daemon.address, "/health", &[], "");
    let answer = client::send_raw(daemon.address, &request).await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("https://"), "{}", answer.body);
}

#[test]
fn half_a_handshake_ends_in_time_and_holds_no_place_meanwhile() {
    let rig = Rig::new();
    let limits = ["--limit", "gateway.handshake_timeout_ms=1500", "--limit", "gateway.connections_max=2"];
    let daemon = rig.start(&limits);
    let half: Vec<TcpStream> = [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"]
        .into_iter()
        .map(|bytes| {
            let mut stream = TcpStream::connect(daemon.address).unwrap();
            stream.write_all(bytes).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream
        })
        .collect();
    assert_eq!(trusting(&daemon, &rig.ca).status, 200);
    for mut stream in half {
        // An end or a reset, and no wait for our timeout.
        let ended = stream.read(&mut [0; 64]);
        assert!(!matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{ended:?}");
    }
    // What is no handshake at all ends at once.
    let began = Instant::now();
    let mut garbage = TcpStream::connect(daemon.address).unwrap();
    garbage.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    garbage.write_all(&[0x16, 3, 1, 0, 4, 9, 9, 9, 9]).unwrap();
    garbage.read_to_end(&mut Vec::new()).ok();
    assert!(began.elapsed() < Duration::from_millis(1_200), "{:?}", began.elapsed());
    assert_eq!(trusting(&daemon, &rig.ca).status, 200);
}

#[test]
fn with_an_authority_for_clients_only_theirs_are_served() {
    let rig = Rig::new();
    let (clients, others) = (Authority::new("clients").unwrap(), Authority::new("others").unwrap());
    clients.write(&rig.path("clients.pem")).unwrap();
    let client_ca = rig.path("clients.pem");
    let daemon = rig.start(&["--tls-client-ca", utf8(&client_ca)]);
    let with = |pair: &Pair| {
        let files = ["--cert", utf8(&pair.certificate), "--key", utf8(&pair.key)];
        list(&daemon, &[&["--cacert", utf8(&rig.ca)], &files[..]].concat())
    };
    assert_eq!(with(&clients.issue(rig.dir.path(), "good", Times::Now).unwrap()).status, 200);
    assert_ne!(trusting(&daemon, &rig.ca).exit_code, 0);
    for (authority, times) in [
        (&others, Times::Now),
        (&clients, Times::Past),
        (&clients, Times::Future),
        (&rig.authority, Times::Now),
    ] {
        let refused = with(&authority.issue(rig.dir.path(), "bad", times).unwrap());
        assert!(refused.exit_code != 0 && refused.status == 0, "{times:?}: {refused:?}");
    }
}

#[test]
fn every_fault_of_the_files_is_told_at_once_and_nothing_is_bound() {
    let rig = Rig::new();
    let other = rig.authority.issue(rig.dir.path(), "other", Times::Now).unwrap();
    let past = rig.authority.issue(rig.dir.path(), "past", Times::Past).unwrap();
    let empty = rig.path("empty");
    fs::write(&empty, "").unwrap();
    let broken = rig.path("broken");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n").unwrap();
    let hollow = rig.path("hollow");
    fs::write(&hollow, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let locked = rig.path("locked");
    fs::write(&locked, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
        .unwrap();
    let huge = rig.path("huge");
    fs::write(&huge, vec![b'x'; 1_100_000]).unwrap();
    let (cert, dir, gone) = (&rig.pair.certificate, &rig.dir.path().to_owned(), &rig.path("gone"));
    for (cert, key, expect) in [
        (cert, &other.key, &["`--tls-key` ", "not the key of the certificate"][..]),
        (&past.certificate, &past.key, &["`--tls-cert` ", "expired"]),
        (gone, gone, &["`--tls-cert` ", "No such file"]),
        (dir, &empty, &["it is not a file", "no `-----BEGIN PRIVATE KEY-----`"]),
        (&empty, &locked, &["no `-----BEGIN CERTIFICATE-----`", "the key is encrypted"]),
        (&broken, cert, &["it is no PEM", "no `-----BEGIN PRIVATE KEY-----`"]),
        (&hollow, &huge, &["its certificate can't be used", "it is larger than"]),
    ] {
        let flags =
            ["serve", "--port", "0", "--tls-cert", utf8(cert), "--tls-key", utf8(key), "--limit", "x=1"];
        let output = command(BINARY, flags).arg("--data-dir").arg(rig.path("data")).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{told}");
        for part in [expect, &["unknown limit `x`"]].concat() {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    assert!(!rig.path("data").exists());
}

#[test]
fn new_files_are_in_force_soon_and_no_call_fails_meanwhile() {
    let rig = Rig::new();
    let daemon = rig.start_logging(&["--log-level", "info"]);
    let second = Authority::new("second").unwrap();
    let second_ca = rig.path("second-ca.pem");
    second.write(&second_ca).unwrap();
    let (stop, calls) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let called = list(&daemon, &["--insecure"]);
                assert_eq!(called.status, 200, "{called:?}");
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert_ne!(trusting(&daemon, &second_ca).exit_code, 0);
        second.issue(rig.dir.path(), "server", Times::Now).unwrap();
        until("the new certificate is served", || trusting(&daemon, &second_ca).status == 200);
        assert_ne!(trusting(&daemon, &rig.ca).exit_code, 0);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(calls.load(Ordering::Relaxed) > 0);
    assert!(!rig.log().contains("not used"), "{}", rig.log());
}

#[test]
fn a_bad_new_pair_leaves_the_old_one_in_force_and_the_log_says_why() {
    let rig = Rig::new();
    let daemon = rig.start_logging(&[]);
    replace(&rig.pair.certificate, "nothing of use").unwrap();
    until("the log tells of it", || rig.log().contains("the old one stays in force"));
    assert!(rig.log().contains("it has no `-----BEGIN CERTIFICATE-----`"), "{}", rig.log());
    assert_eq!(trusting(&daemon, &rig.ca).status, 200);
    // Asked again by a signal, it says so again; asked with good files, it takes them.
    let told = |log: &str| log.matches("the old one stays in force").count();
    let before = told(&rig.log());
    daemon.signal(Signal::HUP).unwrap();
    until("the log tells of it again", || told(&rig.log()) > before);
    rig.authority.issue(rig.dir.path(), "server", Times::Past).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    until("the log tells that it has expired", || rig.log().contains("has expired"));
    assert_eq!(trusting(&daemon, &rig.ca).status, 200);
    let second = Authority::new("second").unwrap();
    let second_ca = rig.path("second-ca.pem");
    second.write(&second_ca).unwrap();
    second.issue(rig.dir.path(), "server", Times::Now).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    until("the new certificate is served", || trusting(&daemon, &second_ca).status == 200);
}

#[tokio::test]
async fn sighup_without_tls_ends_nothing() {
    let rig = Rig::new();
    let daemon = Daemon::start(BINARY, &rig.path("data"), &[]).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    for _ in 0..10 {
        assert_eq!(daemon.ask(daemon.token("rw"), "ping", json!({})).await.unwrap().status, 200);
    }
}

#[test]
fn no_tool_reads_the_key() {
    let rig = Rig::new();
    let daemon = rig.start(&[]);
    let params = json!({"name": "read_file", "arguments": {"file_path": rig.pair.key}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let bearer = format!("Authorization: Bearer {}", daemon.token("rw"));
    let url = daemon.ready["url"].as_str().unwrap();
    let args = ["--insecure", "-H", &bearer, "-H", "Content-Type: application/json", "-d", &body, url];
    let read = curl(&args).unwrap();
    let answer: serde_json::Value = serde_json::from_str(&read.body).unwrap();
    assert!(answer["result"]["isError"] == true && !text(&answer["result"]).contains("BEGIN"), "{answer}");
}

#[test]
fn files_behind_a_symlink_that_is_exchanged_are_noticed() {
    let rig = Rig::new();
    let second = Authority::new("second").unwrap();
    let second_ca = rig.path("second-ca.pem");
    second.write(&second_ca).unwrap();
    let (old, new, current) = (rig.path("old"), rig.path("new"), rig.path("current"));
    for (folder, authority) in [(&old, &rig.authority), (&new, &second)] {
        fs::create_dir(folder).unwrap();
        authority.issue(folder, "server", Times::Now).unwrap();
    }
    symlink(&old, &current).unwrap();
    let (cert, key) = (current.join("server.pem"), current.join("server.key"));
    let flags = ["--tls-cert", utf8(&cert), "--tls-key", utf8(&key)];
    let daemon = Daemon::start(BINARY, &rig.path("data"), &flags).unwrap();
    assert_eq!(trusting(&daemon, &rig.ca).status, 200);
    symlink(&new, rig.path("next")).unwrap();
    fs::rename(rig.path("next"), &current).unwrap();
    until("the new certificate is served", || trusting(&daemon, &second_ca).status == 200);
}

#[test]
fn a_client_that_reads_nothing_of_a_file_is_hung_up_on() {
    let rig = Rig::new();
    let daemon = rig.start(&["--limit", "gateway.stall_timeout_ms=500"]);
    let large = rig.path("large");
    fs::File::create(&large).unwrap().set_len(256 * 1024 * 1024).unwrap();
    let params = json!({"name": "prepare_download", "arguments": {"src_path": large}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let bearer = format!("Authorization: Bearer {}", daemon.token("rw"));
    let (ca, url) = (utf8(&rig.ca), daemon.ready["url"].as_str().unwrap());
    let prepared =
        curl(&["--cacert", ca, "-H", &bearer, "-H", "Content-Type: application/json", "-d", &body, url])
            .unwrap();
    let url = prepared.body.split('\'').find(|part| part.starts_with("https://")).unwrap();
    // It writes into a pipe that nobody reads from, and so stops reading itself.
    let mut client =
        command("curl", ["--silent", "--cacert", ca, url]).stdout(Stdio::piped()).spawn().unwrap();
    until("the transfer has ended", || {
        let record = fs::read_to_string(rig.path("data/audit/record.jsonl")).unwrap();
        record.contains("\"code\":\"stream_aborted\"")
    });
    client.kill().unwrap();
    client.wait().unwrap();
    assert_eq!(trusting(&daemon, &rig.ca).status, 200);
}
