//! `hayward token` through a running daemon, and without one: the same words, the same codes, the same record.
#![cfg(test)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hayward_testkit::client::{request, send_raw};
use hayward_testkit::daemon::{Daemon, command};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

/// A user that has nothing.
const NOBODY: u32 = 65534;

fn scratch() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    (dir, data)
}

fn hayward(data: &Path, args: &[&str]) -> Command {
    let mut command = command(BINARY, args);
    command.env("HAYWARD_DATA_DIR", data);
    command
}

fn token(data: &Path, args: &[&str]) -> Output {
    hayward(data, &[&["token"], args].concat()).output().unwrap()
}

/// What it printed; it went well.
fn told(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn add(data: &Path, args: &[&str]) -> String {
    told(token(data, &[&["add"], args].concat())).trim().to_owned()
}

/// Long words of digits and capitals (ids, times, tokens) are other ones each time.
fn steady(text: &[u8]) -> String {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let words = text.split_inclusive(|c: char| !(c.is_alphanumeric() || "_-:.".contains(c)));
    words
        .map(|word| {
            if word.len() > 8 && word.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase()) {
                "…"
            } else {
                word
            }
        })
        .collect()
}

/// A walk through every action, right and wrong: what is printed, and with which codes.
fn walk(data: &Path) -> Vec<(Option<i32>, String, String)> {
    let file = data.with_extension("token");
    std::fs::write(&file, add(data, &["--name", "filed", "--role", "rw", "--expires", "30d"])).unwrap();
    let filed = format!("@{}", file.display());
    let all: &[&[&str]] = &[
        &["add", "--name", "ci", "--source", "10.0.0.0/8", "--allow-tool", "read_*", "-o", "json"],
        &["add", "--name", "ci"],
        &["add", "--name", "temporary-ro"],
        &["add", "--name", "../x"],
        &["add", "--name", "x", "--allow-tool", "raed_file"],
        &["add", "--name", "x", "--role", "boss"],
        &["rotate-admin"],
        &["rotate-metrics"],
        &["list"],
        &["list", "-o", "yaml"],
        &["revoke", &filed],
        &["revoke", "ci"],
        &["revoke", "ci"],
        &["disable-metrics"],
        &["disable-metrics"],
        &["list"],
    ];
    let run = |args: &&[&str]| {
        let output = token(data, args);
        (output.status.code(), steady(&output.stdout), steady(&output.stderr))
    };
    all.iter().map(run).collect()
}

/// What the record says of changes: who, what, with which arguments, how it ended.
fn recorded(data: &Path) -> Vec<(Value, Value, String, Value)> {
    let output = told(hayward(data, &["audit", "query", "-o", "json", "--limit", "1000"]).output().unwrap());
    let calls: Vec<Value> = serde_json::from_str(&output).unwrap();
    let changes = calls.into_iter().filter(|call| call["method"] == "admin");
    changes
        .map(|call| {
            // An id may look like a secret, and is masked then.
            let mut arguments = call["arguments"].clone();
            if let Some(token) = arguments.get_mut("token").filter(|token| *token != "ci") {
                *token = json!("…");
            }
            let arguments = steady(arguments.to_string().as_bytes());
            (call["principal"]["name"].clone(), call["tool"].clone(), arguments, call["ending"].clone())
        })
        .collect()
}

#[tokio::test]
async fn a_command_says_and_records_the_same_with_a_daemon_and_without() {
    let ((_one, alone), (_other, joined)) = (scratch(), scratch());
    // With a stored admin, so that no temporary token is counted.
    add(&joined, &["--name", "first", "--role", "admin"]);
    add(&alone, &["--name", "first", "--role", "admin"]);
    let expected = walk(&alone);
    let daemon = Daemon::start(BINARY, &joined, &[]).unwrap();
    for (index, (found, expected)) in walk(&joined).into_iter().zip(&expected).enumerate() {
        assert_eq!(found, *expected, "step {index}");
    }
    drop(daemon);
    let codes: Vec<_> = expected.iter().filter_map(|(code, ..)| *code).collect();
    assert_eq!(codes, [0, 1, 1, 1, 1, 2, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
    assert!(expected[13].1.starts_with("revoked 1 metrics token(s)"), "{expected:?}");
    assert!(expected[14].1.starts_with("there is no metrics token"), "{expected:?}");

    let changes = recorded(&alone);
    assert_eq!(changes, recorded(&joined));
    let names: Vec<_> = changes.iter().map(|(_, tool, ..)| tool.as_str().unwrap()).collect();
    for change in ["tokens.create", "tokens.revoke", "tokens.rotate", "tokens.revoke_role"] {
        assert!(names.contains(&change), "{names:?}");
    }
    assert!(changes.iter().all(|(who, ..)| who == "cli"), "{changes:?}");
    assert!(changes.iter().any(|(.., ending)| ending == "error"), "{changes:?}");
    for data in [&alone, &joined] {
        let verified = hayward(data, &["audit", "verify"]).output().unwrap();
        assert!(verified.status.success(), "{verified:?}");
    }
}

#[tokio::test]
async fn a_change_is_in_force_in_the_daemon_when_the_command_ends() {
    let (_dir, data) = scratch();
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    let status = async |token: &str| daemon.ask(token, "ping", json!({})).await.unwrap().status;
    let made = add(&data, &["--name", "ci", "--role", "rw"]);
    assert_eq!(status(&made).await, 200);

    // Its standing stream ends with it.
    let mut stream = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    let bearer = format!("Bearer {made}");
    stream
        .write_all(&request(
            "GET",
            daemon.address,
            "/sse",
            &[("authorization", &bearer), ("accept", "text/event-stream")],
            "",
        ))
        .await
        .unwrap();
    let mut begun = [0; 15];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200 OK");
    told(token(&data, &["revoke", "ci"]));
    assert_eq!(status(&made).await, 401);
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.unwrap().ok();

    // Temporary tokens go by their names, and with the others of their role.
    assert_eq!(status(daemon.token("rw")).await, 200);
    told(token(&data, &["revoke", "temporary-rw"]));
    assert_eq!(status(daemon.token("rw")).await, 401);
    let list = async |token: &str| daemon.send("GET", "/admin/tokens", token, "").await.unwrap().status;
    let rotated = told(token(&data, &["rotate-admin"]));
    assert_eq!((list(daemon.token("admin")).await, list(rotated.trim()).await), (403, 200));
    let again = told(token(&data, &["rotate-admin"]));
    assert_eq!((list(rotated.trim()).await, list(again.trim()).await), (403, 200));
    let metrics = async |token: &str| daemon.send("GET", "/metrics", token, "").await.unwrap().status;
    assert_eq!(metrics(daemon.token("metrics")).await, 200);
    assert!(told(token(&data, &["disable-metrics"])).starts_with("revoked 1 metrics"));
    assert_ne!(metrics(daemon.token("metrics")).await, 200);
}

#[test]
fn two_commands_at_once_without_a_daemon_are_both_done() {
    let (_dir, data) = scratch();
    let start = |name: &str| {
        hayward(&data, &["token", "add", "--name", name]).stdout(Stdio::piped()).spawn().unwrap()
    };
    let all = ["a", "b", "c"].map(start);
    for child in all {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let listed: Value = serde_json::from_str(&told(token(&data, &["list", "-o", "json"]))).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn no_listener_of_the_network_leads_to_the_desk() {
    let (dir, data) = scratch();
    let socket = dir.path().join("http.sock");
    let daemon = Daemon::start(BINARY, &data, &["--unix-socket", socket.to_str().unwrap()]).unwrap();
    let asked = b"hayward/1 tokens\n\"list\"\n";
    let mut answers = Vec::new();
    let mut tcp = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    tcp.write_all(asked).await.unwrap();
    tcp.shutdown().await.unwrap();
    tcp.read_to_end(&mut answers).await.ok();
    let mut unix = tokio::net::UnixStream::connect(&socket).await.unwrap();
    unix.write_all(asked).await.unwrap();
    unix.shutdown().await.unwrap();
    unix.read_to_end(&mut answers).await.ok();
    let answers = String::from_utf8(answers).unwrap();
    assert!(!answers.contains("listed") && !answers.contains("\"ok\""), "{answers}");
    for role in ["ro", "rw", "metrics"] {
        for body in [r#"{"rotate":{"role":"admin"}}"#, r#"{"name":"x"}"#] {
            let answer = daemon.send("POST", "/admin/tokens", daemon.token(role), body).await.unwrap();
            assert_eq!(answer.status, 403, "{role}");
        }
    }
    // What only a local command may ask is no question for an administrator of the network.
    let rotate =
        daemon.send("POST", "/admin/tokens", daemon.token("admin"), r#"{"rotate":{"role":"admin"}}"#);
    assert_eq!(rotate.await.unwrap().status, 400);
    let bare = request("GET", daemon.address, "/admin/tokens", &[], "");
    assert_eq!(send_raw(daemon.address, &bare).await.unwrap().status, 401);
}

#[test]
fn another_user_is_hung_up_on_and_changes_nothing() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let (dir, data) = scratch();
    let _daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    // Even where the file system lets them in, the daemon doesn't.
    for (path, mode) in [(dir.path(), 0o755), (&data, 0o755), (&data.join("hayward.sock"), 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let foreign = dir.path().join("hayward");
    std::fs::copy(BINARY, &foreign).unwrap();
    for args in [&["list"][..], &["add", "--name", "x", "--role", "admin"], &["rotate-admin"]] {
        let mut command = command(foreign.to_str().unwrap(), ["token"]);
        let output =
            command.args(args).env("HAYWARD_DATA_DIR", &data).uid(NOBODY).gid(NOBODY).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(5), &b""[..]), "{args:?}: {told}");
        assert!(told.contains("the connection to the daemon broke"), "{args:?}: {told}");
    }
    let listed: Value = serde_json::from_str(&told(token(&data, &["list", "-o", "json"]))).unwrap();
    assert_eq!(listed, json!([]));
}

#[test]
fn root_is_let_in_by_the_daemon_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let (dir, data) = scratch();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    let foreign = dir.path().join("hayward");
    std::fs::copy(BINARY, &foreign).unwrap();
    let without = token(&data, &["list"]);
    assert_eq!(without.status.code(), Some(5), "root owns no directory of others: {without:?}");
    let mut command = command(foreign.to_str().unwrap(), ["stdio", "--containment", "subreaper"]);
    command.env("HAYWARD_DATA_DIR", &data).uid(NOBODY).gid(NOBODY);
    let mut daemon =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !data.join("hayward.sock").exists() && started.elapsed() < Duration::from_secs(20) {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let made = token(&data, &["add", "--name", "x"]);
    drop(daemon.stdin.take());
    assert!(daemon.wait().unwrap().success());
    let mut log = String::new();
    daemon.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(told(made).starts_with("hwd_"), "{log}");
}

#[test]
fn a_daemon_does_not_steer_the_terminal_of_who_asks_it() {
    let (_dir, data) = scratch();
    let _held = hayward_store::DataDir::acquire(&data).unwrap();
    let daemon = UnixListener::bind(data.join("hayward.sock")).unwrap();
    for (answer, args) in [
        (json!({"ok": {"made": "\u{1b}]0;evil"}}), &["rotate-admin"][..]),
        (json!({"ok": {"made": "\u{1b}]0;evil"}}), &["add", "--name", "a"]),
        (json!({"ok": {"made": "\u{1b}]0;evil"}}), &["add", "--name", "a", "-o", "json"]),
        (json!({"ok": {"revoked": [{"id": "x", "name": "\u{1b}]0;evil"}]}}), &["revoke", "a"]),
        (json!({"error": {"code": "invalid", "message": "\u{1b}]0;evil"}}), &["revoke", "a"]),
        (json!({"error": {"code": "invalid", "message": "m", "hint": "\u{1b}]0;evil"}}), &["revoke", "a"]),
    ] {
        let asking = hayward(&data, &[&["token"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut asked = BufReader::new(daemon.accept().unwrap().0);
        for _line in 0..2 {
            asked.read_line(&mut String::new()).unwrap();
        }
        asked.get_mut().write_all(format!("{answer}\n").as_bytes()).unwrap();
        let output = asking.wait_with_output().unwrap();
        let all = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(all.contains("evil") && !all.contains('\u{1b}'), "{answer}: {all:?}");
    }
}
