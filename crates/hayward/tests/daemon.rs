//! The real binary: starts, tokens, roles, its record, its end.
#![cfg(test)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hayward_testkit::daemon::{Daemon, command, run_with_input, text};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

fn scratch() -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    (dir, data)
}

fn start(data: &Path) -> Daemon {
    Daemon::start(BINARY, data, &[]).unwrap()
}

fn records(data: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(data.join("audit/record.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn is_running(marker: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(marker))
}

/// Waits until a process with this marker in its command line runs.
async fn runs(marker: &str) {
    while !is_running(marker) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_ready_file_is_private_and_names_tokens_that_die_with_the_process() {
    let (_dir, data) = scratch();
    let mut daemon = start(&data);
    let ready_file = format!("{}.ready", data.display());
    assert_eq!(std::fs::metadata(&ready_file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(daemon.ready["pid"], daemon.pid());
    let token = daemon.token("rw").to_owned();
    assert_eq!(daemon.ask(&token, "ping", json!({})).await.unwrap().status, 200);
    daemon.signal(Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    assert!(!Path::new(&ready_file).exists() && !data.join("hayward.sock").exists());
    let again = start(&data);
    assert_eq!(again.ask(&token, "ping", json!({})).await.unwrap().status, 401);
}

#[tokio::test]
async fn each_role_sees_and_calls_its_own_tools() {
    let (_dir, data) = scratch();
    let daemon = start(&data);
    let rw = [
        "bash_execute",
        "read_file",
        "write_file",
        "edit_file",
        "glob",
        "prepare_upload",
        "prepare_download",
        "grep",
    ];
    let ro = ["read_file", "glob", "prepare_download", "grep"];
    for (role, expect) in [("rw", &rw[..]), ("ro", &ro)] {
        let listed = daemon.ask(daemon.token(role), "tools/list", json!({})).await.unwrap().json();
        let names: Vec<&str> = listed["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|tool| tool["name"].as_str())
            .collect();
        assert_eq!(names, expect, "{role}");
    }
    let marker = data.join("must-not-be");
    let writes = [
        ("bash_execute", json!({"command": format!("touch {}", marker.display())})),
        ("write_file", json!({"file_path": marker, "content": ""})),
        ("prepare_upload", json!({"dest_path": marker})),
        ("edit_file", json!({"file_path": "/etc/hostname", "old_string": "a", "new_string": "b"})),
    ];
    for (tool, arguments) in writes {
        let result = daemon.call("ro", tool, arguments).await.unwrap();
        let expect = format!("Permission denied: tool '{tool}' requires rw role");
        assert!(text(&result).contains(&expect) && result["isError"] == true, "{result}");
    }
    assert!(!marker.exists());
    let denied = records(&data).into_iter().filter(|record| record["type"] == "denied").count();
    assert_eq!(denied, 4);
    assert_eq!(daemon.ask(daemon.token("admin"), "tools/list", json!({})).await.unwrap().status, 401);
}

#[tokio::test]
async fn every_call_has_an_intent_and_an_outcome_and_the_record_holds_no_content() {
    let (dir, data) = scratch();
    let daemon = start(&data);
    let path = dir.path().join("file");
    daemon.call("rw", "write_file", json!({"file_path": path, "content": "sesame"})).await.unwrap();
    daemon.call("rw", "bash_execute", json!({"command": "exit 3"})).await.unwrap();
    let records: Vec<Value> = records(&data).into_iter().filter(|record| record["type"] != "mark").collect();
    let kinds: Vec<&str> = records.iter().filter_map(|record| record["type"].as_str()).collect();
    assert_eq!(kinds, ["intent", "outcome", "intent", "outcome"]);
    assert_eq!(records[0]["arguments"]["content"], "<6 chars>");
    assert_eq!(records[3]["intent"], records[2]["seq"]);
    assert_eq!(
        (records[3]["ending"].clone(), records[3]["code"].clone()),
        (json!("error"), json!("ExitCode:3"))
    );
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_revoked_at_once() {
    let (_dir, data) = scratch();
    let daemon = start(&data);
    let admin = daemon.token("admin").to_owned();
    let made = daemon.send("POST", "/admin/tokens", &admin, r#"{"name":"ci-bot"}"#).await.unwrap().json();
    assert_eq!((made["name"].clone(), made["role"].clone()), (json!("ci-bot"), json!("ro")));
    let token = made["token"].as_str().unwrap().to_owned();
    assert_eq!(daemon.ask(&token, "tools/list", json!({})).await.unwrap().status, 200);
    let listed = daemon.send("GET", "/admin/tokens", &admin, "").await.unwrap();
    assert!(!listed.body.contains(&token), "a token is shown once");
    let id = listed.json().as_object().unwrap().keys().next().unwrap().clone();
    assert!(listed.json()[&id]["last_used"].is_string(), "{}", listed.body);
    assert!(token.contains(&id));
    for bad in
        [r#"{"name":"x","role":"zz"}"#, r#"{"name":"x","role":"admin"}"#, "{}", "[]", r#"{"name":"../x"}"#]
    {
        assert_eq!(daemon.send("POST", "/admin/tokens", &admin, bad).await.unwrap().status, 400, "{bad}");
    }
    let twice = daemon.send("POST", "/admin/tokens", &admin, r#"{"name":"ci-bot"}"#).await.unwrap();
    assert_eq!(twice.status, 409);
    let revoked = daemon.send("DELETE", &format!("/admin/tokens/{token}"), &admin, "").await.unwrap();
    assert_eq!((revoked.status, revoked.json()["revoked"].clone()), (200, json!(id)));
    assert_eq!(daemon.ask(&token, "tools/list", json!({})).await.unwrap().status, 401);
    assert_eq!(daemon.send("DELETE", "/admin/tokens/nothing", &admin, "").await.unwrap().status, 404);
}

#[tokio::test]
async fn stored_tokens_outlive_the_process_and_end_the_temporary_ones() {
    let (_dir, data) = scratch();
    let path = data.to_str().unwrap();
    let token = |args: &[&str]| {
        let args = [&["token"], args, &["--data-dir", path]].concat();
        command(BINARY, args).output().unwrap()
    };
    assert!(token(&["add", "--name", "root", "--role", "admin"]).status.success());
    let made = token(&["add", "--name", "claude", "--role", "rw"]);
    let secret = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let listed = String::from_utf8(token(&["list"]).stdout).unwrap();
    assert!(listed.contains("claude") && listed.contains("admin") && !listed.contains(&secret), "{listed}");
    let database = std::fs::read(data.join("hayward.db")).unwrap();
    assert!(!database.windows(32).any(|window| window == &secret.as_bytes()[20..52]), "only a hash is kept");

    let daemon = start(&data);
    assert!(daemon.ready.get("rw_token").is_none() && daemon.ready.get("admin_token").is_none());
    assert_eq!(daemon.ask(&secret, "ping", json!({})).await.unwrap().status, 200);
    drop(daemon);
    assert!(token(&["revoke", "claude"]).status.success());
    assert_eq!(token(&["revoke", "claude"]).status.code(), Some(3));
    assert_eq!(start(&data).ask(&secret, "ping", json!({})).await.unwrap().status, 401);
}

#[test]
fn exit_codes_and_hints_tell_what_is_wrong() {
    let (_dir, data) = scratch();
    let path = data.to_str().unwrap();
    for (args, code, expect) in [
        (&["serve", "--host", "0.0.0.0"][..], 78, "--insecure-http"),
        (&["serve", "--limit", "gateway.calls_mx=1"], 78, "did you mean `gateway.calls_max`"),
        (&["serve", "--limit", "gateway.calls_max"], 78, "KEY=VALUE"),
        (&["serve", "--log-level", "loud=x=y"], 78, "hint: use error, warn,"),
        (&["serve", "--nope"], 2, "--nope"),
        (&["serve", "--port", "65536"], 2, "--port"),
        (&["stdio", "--role", "admin"], 2, "--role"),
        (&["token", "add"], 2, "--name"),
        (&["srve"], 2, "serve"),
        (&["token", "revoke", "nothing"], 3, "nothing"),
        (&["token", "add", "--name", "temporary-ro"], 1, "hint: choose another name"),
        (&["serve", "--port", "0", "--ready-file", "/nonexist/x"], 5, "hint: name a file in a directory"),
    ] {
        let output = command(BINARY, args).env("HAYWARD_DATA_DIR", path).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(told.contains(expect), "{args:?}: {told}");
    }
}

#[test]
fn without_a_place_for_data_the_way_out_is_told() {
    let output = command(BINARY, ["token", "list"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("hint: name one with `--data-dir` or `HAYWARD_DATA_DIR`"), "{told}");
}

#[test]
fn a_wrong_port_in_the_environment_is_bad_configuration() {
    let (_dir, data) = scratch();
    let mut command = command(BINARY, ["serve", "--data-dir", data.to_str().unwrap()]);
    let output = command.env("HAYWARD_PORT", "x").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("HAYWARD_PORT: `port` is `x`"), "{told}");
}

#[test]
fn a_limit_of_the_environment_that_is_none_is_bad_configuration() {
    let (_dir, data) = scratch();
    let mut command = command(BINARY, ["serve", "--data-dir", data.to_str().unwrap()]);
    let output = command.env("HAYWARD_GATEWAY_CALLS_MAX", "many").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("`gateway.calls_max` is `many`"), "{told}");
    assert!(!data.exists(), "nothing is made before everything is checked");
}

#[test]
fn the_port_is_8765_unless_something_else_is_said() {
    let help = command(BINARY, ["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let port = help.split("--port").nth(1).unwrap();
    let port = port.split("  --").next().unwrap();
    assert!(port.contains("[default: 8765]"), "{help}");
}

fn stdio(data: &Path, args: &[&str], input: &str) -> Vec<Value> {
    let all = [&["stdio", "--data-dir", data.to_str().unwrap()], args].concat();
    let output = run_with_input(BINARY, &all, input).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"bash_execute","arguments":{"command":"echo $PPID"}}}
"#;

#[tokio::test]
async fn stdio_serves_alone_or_joins_the_daemon_and_one_record_holds_everything() {
    let (_dir, data) = scratch();
    assert_eq!(stdio(&data, &[], CALL)[0]["result"]["isError"], false);
    let refused = stdio(&data, &["--role", "ro"], CALL);
    assert!(text(&refused[0]["result"]).contains("requires rw role"));
    let daemon = start(&data);
    assert_eq!(stdio(&data, &[], CALL)[0]["result"]["isError"], false);
    let refused = stdio(&data, &["--role", "ro"], CALL);
    assert!(text(&refused[0]["result"]).contains("requires rw role"));
    drop(daemon);
    let kinds: Vec<Value> = records(&data).iter().map(|record| record["type"].clone()).collect();
    let count = |kind: &str| kinds.iter().filter(|other| *other == kind).count();
    assert_eq!((count("intent"), count("outcome"), count("denied")), (2, 2, 2));
}

/// What `stdio` tells on standard error, from its start to the end of its empty input.
fn told(data: &Path, args: &[&str]) -> String {
    let all = [&["stdio", "--data-dir", data.to_str().unwrap()], args].concat();
    String::from_utf8(run_with_input(BINARY, &all, "").unwrap().stderr).unwrap()
}

#[test]
fn an_operator_is_told_of_weaker_containment_and_of_nothing_else() {
    let (_dir, data) = scratch();
    let weaker = told(&data, &["--containment", "subreaper"]);
    assert!(weaker.contains("WARN") && weaker.contains("weaker than by cgroup"), "{weaker}");
    assert_eq!(weaker.lines().count(), 1, "{weaker}");
    let verbose = told(&data, &["--log-level", "info"]);
    if verbose.contains("weaker than by cgroup") {
        println!("skipped: no cgroup can be made here: {verbose}");
        return;
    }
    assert!(verbose.contains("held by cgroups"), "{verbose}");
    assert_eq!(told(&data, &[]), "");
}

#[tokio::test]
async fn a_killed_daemon_leaves_no_process_and_its_open_intent_ends_unknown() {
    let (_dir, data) = scratch();
    let mut daemon = start(&data);
    let marker = format!("31{:05}", std::process::id());
    let token = daemon.token("rw").to_owned();
    let script = format!("echo begun; setsid sleep {marker} & sleep {marker}");
    let arguments = json!({"name": "bash_execute", "arguments": {"command": script, "timeout": 600}});
    let spool = data.join("spool");
    {
        let mut ask = std::pin::pin!(daemon.ask(&token, "tools/call", arguments));
        tokio::select! {
            _ = &mut ask => panic!("it ended"),
            () = runs(&marker) => {}
        }
        until("its output is not spooled", || fs::read_dir(&spool).unwrap().count() == 2);
        daemon.signal(Signal::KILL).unwrap();
        assert!(ask.await.is_err());
    }
    daemon.wait().unwrap();
    let again = start(&data);
    assert!(!is_running(&marker), "the command outlived the daemon");
    let last = records(&data).into_iter().rfind(|record| record["type"] == "outcome").unwrap();
    assert_eq!((&last["ending"], &last["code"]), (&json!("unknown"), &json!("LeftOpen")));
    let message = "the daemon ended before the outcome was recorded; its command was killed then";
    assert_eq!(last["message"], message);
    let show = || {
        command(BINARY, ["audit", "show", &last["intent"].to_string(), "-o", "json"])
            .env("HAYWARD_DATA_DIR", &data)
            .output()
            .unwrap()
            .stdout
    };
    let shown: Value = serde_json::from_slice(&show()).unwrap();
    let outputs: Vec<PathBuf> = serde_json::from_value(shown["outputs"].clone()).unwrap();
    let texts: Vec<_> = outputs.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert_eq!(texts, ["begun\n", ""]);
    drop(again);
    // What is told is told once; the output stays for a while.
    let _third = start(&data);
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 2);
}

#[tokio::test]
async fn a_client_that_goes_ends_its_command_and_whatever_that_started() {
    let (_dir, data) = scratch();
    let daemon = start(&data);
    let marker = format!("32{:05}", std::process::id());
    let token = daemon.token("rw").to_owned();
    let command = format!("(setsid sleep {marker} &) ; sleep {marker}");
    let arguments = json!({"name": "bash_execute", "arguments": {"command": command, "timeout": 600}});
    let ask = daemon.ask(&token, "tools/call", arguments);
    tokio::select! {
        _ = ask => panic!("it ended"),
        () = runs(&marker) => {}
    }
    until("the command outlived its client", || !is_running(&marker));
    until("its outcome is not recorded", || {
        records(&data).iter().any(|record| record["ending"] == "cancelled")
    });
}

#[tokio::test]
async fn our_own_data_is_out_of_reach_by_whatever_name() {
    let (dir, data) = scratch();
    let daemon = start(&data);
    let database = data.join("hayward.db");
    let link = dir.path().join("link");
    symlink(&database, &link).unwrap();
    let hard = dir.path().join("hard");
    std::fs::hard_link(data.join("audit/record.jsonl"), &hard).unwrap();
    let directory_link = dir.path().join("directory");
    symlink(&data, &directory_link).unwrap();
    let through_root = format!("/proc/self/root{}", database.display());
    let through_pid = format!("/proc/{}/root{}", daemon.pid(), database.display());
    let dotted = format!("{}/../data/hayward.db", data.display());
    let names = [
        database.display().to_string(),
        link.display().to_string(),
        hard.display().to_string(),
        directory_link.join("hayward.lock").display().to_string(),
        through_root,
        through_pid,
        dotted,
        format!("{}.ready", data.display()),
        format!("/proc/{}/environ", daemon.pid()),
        "/proc/self/environ".to_owned(),
        "/proc/self/mem".to_owned(),
    ];
    let before = std::fs::read(&hard).unwrap().len();
    for name in &names {
        for (tool, arguments) in [
            ("read_file", json!({"file_path": name})),
            ("write_file", json!({"file_path": name, "content": ""})),
            ("edit_file", json!({"file_path": name, "old_string": "a", "new_string": "b"})),
            ("grep", json!({"pattern": ".", "path": name})),
        ] {
            let result = daemon.call("rw", tool, arguments).await.unwrap();
            assert!(text(&result).contains("ProtectedPath"), "{tool} {name}: {result}");
        }
    }
    assert!(std::fs::read(&hard).unwrap().len() > before, "the record only grew");
    let found = daemon.call("ro", "glob", json!({"pattern": "**/*", "path": dir.path()})).await.unwrap();
    assert!(!text(&found).contains("hayward.db") && !text(&found).contains("record.jsonl"), "{found}");
    let found = daemon.call("ro", "grep", json!({"pattern": "boot_id", "path": dir.path()})).await.unwrap();
    assert_eq!(found["structuredContent"]["match_count"], 0, "{found}");
}

#[tokio::test]
async fn no_answer_shows_a_temporary_token_and_none_that_was_shown_redacted_is_written_back() {
    let (dir, data) = scratch();
    let daemon = start(&data);
    let token = daemon.token("rw").to_owned();
    let command = format!("echo {token}; printf %s {token} | base64 -w0");
    let said = daemon.call("rw", "bash_execute", json!({"command": command})).await.unwrap().to_string();
    assert!(!said.contains(&token) && said.matches("[redacted:temporary-rw:").count() >= 2, "{said}");
    let start = said.find("[redacted:").unwrap();
    let tag = &said[start..=start + said[start..].find(']').unwrap()];
    let file = dir.path().join("written");
    let arguments = json!({"file_path": file, "content": format!("token = {tag}")});
    let refused = daemon.call("rw", "write_file", arguments).await.unwrap();
    assert!(text(&refused).contains("ContainsRedaction") && !file.exists(), "{refused}");
    // The record shows neither, whole or in part.
    let record = std::fs::read_to_string(data.join("audit/record.jsonl")).unwrap();
    assert!(!record.contains(&token[20..]), "{record}");
}

#[tokio::test]
async fn a_daemon_that_is_told_to_stop_ends_what_runs_and_records_it() {
    let (_dir, data) = scratch();
    let mut daemon = Daemon::start(BINARY, &data, &["--limit", "gateway.drain_ms=100"]).unwrap();
    let marker = format!("33{:05}", std::process::id());
    let token = daemon.token("rw").to_owned();
    let command = format!("sleep {marker}");
    {
        let arguments = json!({"name": "bash_execute", "arguments": {"command": command, "timeout": 600}});
        let mut ask = std::pin::pin!(daemon.ask(&token, "tools/call", arguments));
        tokio::select! {
            _ = &mut ask => panic!("it ended"),
            () = runs(&marker) => {}
        }
        daemon.signal(Signal::TERM).unwrap();
        assert!(text(&ask.await.unwrap().json()["result"]).contains("cancelled"));
    }
    assert!(daemon.wait().unwrap().success());
    assert!(!is_running(&marker));
    assert!(records(&data).iter().any(|record| record["ending"] == "cancelled"));
}

#[tokio::test]
async fn a_revoked_token_runs_nothing_even_if_its_request_was_on_the_way() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (dir, data) = scratch();
    let daemon = start(&data);
    let admin = daemon.token("admin").to_owned();
    let made =
        daemon.send("POST", "/admin/tokens", &admin, r#"{"name":"late","role":"rw"}"#).await.unwrap().json();
    let token = made["token"].as_str().unwrap();
    let marker = dir.path().join("ran");
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "bash_execute", "arguments": {"command": format!("touch {}", marker.display())},
    }})
    .to_string();
    let bearer = format!("Bearer {token}");
    let bytes = hayward_testkit::client::request(
        "POST",
        daemon.address,
        "/mcp",
        &[("authorization", &bearer)],
        &body,
    );
    let mut stream = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    stream.write_all(&bytes[..bytes.len() - 20]).await.unwrap();
    // An answer on another connection tells that the head was read by now.
    daemon.ask(token, "ping", json!({})).await.unwrap();
    assert_eq!(daemon.send("DELETE", "/admin/tokens/late", &admin, "").await.unwrap().status, 200);
    stream.write_all(&bytes[bytes.len() - 20..]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("the credential was revoked") && !marker.exists(), "{answer}");
}

/// Sends the head of a request and then as much of this body as is taken; returns what was answered, which
/// is nothing where the connection was closed before it could be read.
async fn send_body(daemon: &Daemon, head: &[(&str, &str)], pieces: impl Iterator<Item = Vec<u8>>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bearer = format!("Bearer {}", daemon.token("rw"));
    let headers =
        [&[("authorization", bearer.as_str()), ("content-type", "application/json")], head].concat();
    let head = hayward_testkit::client::request("POST", daemon.address, "/mcp", &headers, "");
    let stream = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    let (mut input, mut output) = stream.into_split();
    let sending = async {
        for piece in std::iter::once(head).chain(pieces) {
            if output.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    let mut answer = Vec::new();
    let ((), read) = tokio::join!(sending, input.read_to_end(&mut answer));
    // A reset behind the answer is a server that didn't wait for the rest.
    read.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

fn peak_kib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test]
async fn a_body_of_100_mb_is_refused_and_the_server_goes_on_as_small_as_it_was() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 100;
    let (_dir, data) = scratch();
    let daemon = start(&data);
    let length = (PIECE * PIECES).to_string();
    let plain = || std::iter::repeat_n(vec![b'x'; PIECE], PIECES);
    let chunked = || {
        let chunk = [format!("{PIECE:x}\r\n").as_bytes(), &vec![b'x'; PIECE], b"\r\n"].concat();
        std::iter::repeat_n(chunk, PIECES).chain([b"0\r\n\r\n".to_vec()])
    };
    let before = peak_kib(&daemon);
    for _ in 0..2 {
        let declared = send_body(&daemon, &[("content-length", &length)], plain()).await;
        let undeclared = send_body(&daemon, &[("transfer-encoding", "chunked")], chunked()).await;
        for answer in [declared, undeclared] {
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
        }
        assert_eq!(daemon.ask(daemon.token("rw"), "ping", json!({})).await.unwrap().status, 200);
    }
    // What may come is kept until it is too much: 32 MiB by default.
    let grown = peak_kib(&daemon) - before;
    assert!(grown < 64 << 10, "grown by {grown} KiB");
    assert!(!records(&data).iter().any(|record| record["type"] == "intent"), "none of it was a call");
}

#[test]
fn a_line_of_100_mb_is_refused_and_the_next_one_is_served() {
    let (_dir, data) = scratch();
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let answers = stdio(&data, &[], &format!("{}\n{ping}\n", "x".repeat(100 << 20)));
    assert_eq!(answers[0]["error"]["code"], -32600, "{}", answers[0]);
    assert_eq!((&answers[1]["result"], answers.len()), (&json!({}), 2));
}

#[tokio::test]
async fn a_temporary_token_is_revoked_with_what_runs_under_it() {
    let (_dir, data) = scratch();
    let daemon = start(&data);
    let admin = daemon.token("admin").to_owned();
    let delete = async |word: &str| {
        daemon.send("DELETE", &format!("/admin/tokens/{word}"), &admin, "").await.unwrap().status
    };
    let marker = format!("34{:05}", std::process::id());
    let rw = daemon.token("rw").to_owned();
    let arguments =
        json!({"name": "bash_execute", "arguments": {"command": format!("sleep {marker}"), "timeout": 600}});
    let mut ask = std::pin::pin!(daemon.ask(&rw, "tools/call", arguments));
    tokio::select! {
        _ = &mut ask => panic!("it ended"),
        () = runs(&marker) => {}
    }
    assert_eq!(delete("temporary-rw").await, 200);
    assert!(ask.await.unwrap().body.contains("Cancelled"));
    until("the command outlived its token", || !is_running(&marker));
    assert_eq!(daemon.ask(&rw, "ping", json!({})).await.unwrap().status, 401);
    assert_eq!(delete("temporary-rw").await, 404);
    assert_eq!(delete(&rw).await, 404);

    let ro = daemon.token("ro").to_owned();
    assert_eq!(daemon.ask(&ro, "ping", json!({})).await.unwrap().status, 200);
    assert_eq!(delete(&ro).await, 200);
    assert_eq!(daemon.ask(&ro, "ping", json!({})).await.unwrap().status, 401);
    let reserved = daemon.send("POST", "/admin/tokens", &admin, r#"{"name":"temporary-rw"}"#).await.unwrap();
    assert!(reserved.status == 400 && reserved.body.contains("hint: choose another name"), "{reserved:?}");
}

#[tokio::test]
async fn a_revoked_administrator_makes_no_token_even_if_the_request_was_on_the_way() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (_dir, data) = scratch();
    let admin = |name: &str| {
        let args = ["token", "add", "--name", name, "--role", "admin", "--data-dir", data.to_str().unwrap()];
        let made = command(BINARY, args).output().unwrap();
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let (leaving, staying) = (admin("leaving"), admin("staying"));
    let daemon = start(&data);
    let bearer = format!("Bearer {leaving}");
    let headers = [("authorization", bearer.as_str())];
    let body = r#"{"name":"backdoor","role":"rw"}"#;
    let bytes = hayward_testkit::client::request("POST", daemon.address, "/admin/tokens", &headers, body);
    let (first, last) = bytes.split_at(bytes.len() - 5);
    let mut stream = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    stream.write_all(first).await.unwrap();
    // An answer on another connection tells that the head was read by now.
    assert_eq!(daemon.send("GET", "/admin/tokens", &leaving, "").await.unwrap().status, 200);
    assert_eq!(daemon.send("DELETE", "/admin/tokens/leaving", &staying, "").await.unwrap().status, 200);
    stream.write_all(last).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("hwd_"), "{answer}");
    let listed = daemon.send("GET", "/admin/tokens", &staying, "").await.unwrap();
    assert!(!listed.body.contains("backdoor"), "{}", listed.body);
}

#[tokio::test]
async fn making_and_revoking_tokens_is_recorded_without_the_token() {
    let (_dir, data) = scratch();
    let daemon = start(&data);
    let admin = daemon.token("admin").to_owned();
    let made = daemon.send("POST", "/admin/tokens", &admin, r#"{"name":"bot"}"#).await.unwrap().json();
    let token = made["token"].as_str().unwrap();
    daemon.send("DELETE", &format!("/admin/tokens/{token}"), &admin, "").await.unwrap();
    let records = records(&data);
    let tools: Vec<&str> = records.iter().filter_map(|record| record["tool"].as_str()).collect();
    assert_eq!(tools, ["tokens.create", "tokens.revoke"]);
    assert_eq!(records.iter().filter(|record| record["ending"] == "ok").count(), 2);
    let text = std::fs::read_to_string(data.join("audit/record.jsonl")).unwrap();
    assert!(!text.contains(&token[25..]), "the secret half is not in the record");
}

/// The banner has what the ready file has, and the line that connects a client.
fn assert_banner(banner: &str, ready: &Value) {
    let [url, admin, rw, ro, metrics] = ["url", "admin_token", "rw_token", "ro_token", "metrics_token"]
        .map(|member| ready[member].as_str().unwrap());
    let add =
        format!("claude mcp add --transport http hayward {url} --header \"Authorization: Bearer {rw}\"\n");
    for expect in [&format!("listens on {url}\n"), admin, rw, ro, metrics, &add] {
        assert!(banner.contains(expect), "{expect}: {banner}");
    }
}

#[tokio::test]
async fn tokens_that_the_banner_wrote_to_a_file_are_out_of_reach() {
    let (dir, data) = scratch();
    let log = dir.path().join("log");
    let mut command = command(BINARY, ["serve", "--port", "0", "--data-dir", data.to_str().unwrap()]);
    let ready = dir.path().join("ready");
    let mut child =
        command.arg("--ready-file").arg(&ready).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    until("it does not listen", || std::fs::read_to_string(&log).unwrap().contains("Stop with Ctrl-C"));
    let told: Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    assert_banner(&std::fs::read_to_string(&log).unwrap(), &told);
    let address =
        told["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches("/mcp").parse().unwrap();
    let bearer = format!("Bearer {}", told["ro_token"].as_str().unwrap());
    for path in
        ["/proc/self/fd/2".to_owned(), format!("/proc/{}/fd/2", child.id()), log.display().to_string()]
    {
        for (tool, arguments) in
            [("read_file", json!({"file_path": path})), ("grep", json!({"pattern": "hwd_", "path": path}))]
        {
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
            let (headers, body) = ([("authorization", bearer.as_str())], body.to_string());
            let answer = hayward_testkit::client::post(address, "/mcp", &headers, &body).await.unwrap();
            assert!(answer.body.contains("ProtectedPath"), "{tool} {path}: {}", answer.body);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_second_stdio_client_shares_the_first_ones_record() {
    use std::io::{BufRead, Write};
    let (_dir, data) = scratch();
    let mut first = command(BINARY, ["stdio", "--data-dir", data.to_str().unwrap()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (first.stdin.take().unwrap(), first.stdout.take().unwrap());
    input.write_all(CALL.as_bytes()).unwrap();
    let mut line = String::new();
    std::io::BufReader::new(output).read_line(&mut line).unwrap();
    assert_eq!(stdio(&data, &[], CALL)[0]["result"]["isError"], false);
    // Settings of its own would be silently without effect there.
    let refused =
        command(BINARY, ["stdio", "--protect", "/x", "--data-dir", data.to_str().unwrap()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(5));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("hint: "));
    drop(input);
    assert!(first.wait().unwrap().success());
    assert_eq!(records(&data).iter().filter(|record| record["type"] == "outcome").count(), 2);
}

#[tokio::test]
async fn a_record_that_cannot_be_written_refuses_every_call_until_it_can() {
    let (_dir, data) = scratch();
    std::fs::create_dir(&data).unwrap();
    if !hayward_testkit::daemon::mount_tmpfs(&data, "2m") {
        println!("skipped: only root can mount");
        return;
    }
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    let daemon = start(&data);
    let filler = data.join("tmp-filler");
    std::fs::write(&filler, vec![0; 64 << 10]).unwrap();
    let mut size = 64 << 10;
    while std::fs::write(&filler, vec![0; size]).is_ok() {
        size += 64 << 10;
    }
    let marker = data.with_extension("ran");
    let arguments = json!({"command": format!("echo x >> {}", marker.display())});
    let mut calls = 0;
    let refused = loop {
        let result = daemon.call("rw", "bash_execute", arguments.clone()).await.unwrap();
        if result["isError"] == true {
            break result;
        }
        calls += 1;
        assert!(calls < 10_000, "the disk never fills up");
    };
    assert!(text(&refused).contains("AuditUnavailable"), "{refused}");
    assert_eq!(daemon.send("GET", "/health", "", "").await.unwrap().status, 503);
    let effects = std::fs::read_to_string(&marker).unwrap_or_default().lines().count();
    assert!(effects <= calls + 1, "{effects} effects of {calls} recorded calls");
    std::fs::remove_file(&filler).unwrap();
    let started = Instant::now();
    while daemon.call("rw", "bash_execute", arguments.clone()).await.unwrap()["isError"] == true {
        assert!(started.elapsed() < Duration::from_secs(10), "it never recovers");
    }
    assert_eq!(daemon.send("GET", "/health", "", "").await.unwrap().status, 200);
    drop(daemon);
    hayward_testkit::daemon::unmount(&data);
}

#[tokio::test]
async fn the_daemon_may_have_many_files_open_and_its_commands_as_many_as_before() {
    let (_dir, data) = scratch();
    let daemon = start(&data);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|at| line.split_whitespace().nth(at).unwrap());
    assert_eq!(soft, hard);
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    let ran = daemon.call("rw", "bash_execute", json!({"command": "ulimit -n"})).await.unwrap();
    assert_eq!(ran["structuredContent"]["stdout"].as_str().unwrap().trim(), own.to_string());
}

#[tokio::test]
async fn with_few_files_allowed_connections_leave_some_for_everything_else() {
    let (_dir, data) = scratch();
    // A few more than are kept back, so that there are some places for connections.
    let prlimit = format!("prlimit --nofile=552 {BINARY}");
    let wrapper = data.with_extension("sh");
    std::fs::write(&wrapper, format!("#!/bin/sh\nexec {prlimit} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::start(wrapper.to_str().unwrap(), &data, &[]).unwrap();
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(tokio::net::TcpStream::connect(daemon.address).await.unwrap());
    }
    for _ in 0..20 {
        let ran = daemon.call("rw", "bash_execute", json!({"command": "echo here"})).await.unwrap();
        assert_eq!(ran["structuredContent"]["stdout"], "here\n", "{ran}");
    }
}
