//! `hayward connect`, `call` and `tools`: the shell, and clients that only speak standard input and output.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use hayward_testkit::daemon::command;
use serde_json::{Value, json};

use crate::rig::{Rig, python};

fn hayward(rig: &Rig, token: &str, args: &[&str]) -> std::process::Command {
    let mut command = command(env!("CARGO_BIN_EXE_hayward"), args.iter().copied());
    command.env("HAYWARD_URL", format!("http://{}", rig.daemon.address)).env("HAYWARD_TOKEN", token);
    command.env("HOME", rig.folder.path());
    command
}

fn ran(rig: &Rig, token: &str, args: &[&str]) -> (i32, String, String) {
    let output = hayward(rig, token, args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_called_from_the_shell_with_values_of_the_types_that_it_wants() {
    let rig = Rig::start();
    let more = "TOOLS = [{**tool('echo'), 'inputSchema': {'type': 'object', 'properties': {'n': {'type': 'integer'}, 's': {'type': 'string'}}}}, tool('bad')]
def call(n, a, p): return {**text(json.dumps(a)), 'isError': n == 'bad'}";
    rig.declare("servers", "a", python(more)).await;
    rig.declare("projects", "home", json!({"servers": ["a"]})).await;
    let token = rig.token("rw", &["a"], &["home"]).await;
    rig.shows("/servers/a/mcp", &token, &["echo", "bad"]).await;
    let called = ran(&rig, &token, &["call", "a/echo", "n=3", "s=3", "x:=[1]"]);
    assert_eq!((called.0, called.1.as_str()), (0, "{\"n\": 3, \"s\": \"3\", \"x\": [1]}\n"), "{}", called.2);
    let called = ran(&rig, &token, &["call", "-p", "home", "a/echo", "n=3", "-o", "json"]);
    assert!(called.1.contains(r#""text": "{\"n\": 3}""#), "{called:?}");
    assert_eq!(ran(&rig, &token, &["call", "a/bad"]).0, 1);
    assert_eq!(ran(&rig, &token, &["call", "none/echo"]).0, 3);
    assert_eq!(ran(&rig, &token, &["call", "a/echo", "n"]).0, 2);
    assert_eq!(ran(&rig, "", &["call", "a/echo"]).0, 4);
    let listed = ran(&rig, &token, &["tools", "-p", "home"]);
    assert!(listed.1.contains("a_echo") && listed.1.contains("[n] [s]"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_standard_streams_does_not_notice_that_the_daemon_restarts() {
    let mut rig = Rig::start();
    rig.declare("servers", "a", python("")).await;
    let token = rig.token("rw", &["a"], &[]).await;
    rig.shows("/servers/a/mcp", &token, &["echo"]).await;
    let mut child = hayward(&rig, &token, &["connect", "a"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut say = |message: Value| writeln!(input, "{message}").unwrap();
    let mut hear = |id: u64| loop {
        let mut line = String::new();
        assert!(output.read_line(&mut line).unwrap() > 0, "it ended");
        let message: Value = serde_json::from_str(&line).unwrap();
        if message["id"] == id {
            break message;
        }
    };
    let client = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    say(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}));
    assert_eq!(hear(1)["result"]["protocolVersion"], "2025-11-25");
    say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    let call = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "echo", "arguments": {"id": id}}});
    say(call(2));
    assert_eq!(hear(2)["result"]["content"][0]["text"], r#"{"id": 2}"#);
    let start = rig.stop();
    say(call(3));
    start(&mut rig);
    let third = hear(3);
    assert_eq!(third["result"]["content"][0]["text"], r#"{"id": 3}"#, "{third}");
    // A modern client beside it needs no session.
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}});
    say(json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call",
        "params": {"name": "echo", "arguments": {"id": 4}, "_meta": meta}}));
    let fourth = hear(4);
    assert_eq!(fourth["result"]["resultType"], "complete", "{fourth}");
    drop(input);
    assert!(child.wait().unwrap().success());
}
