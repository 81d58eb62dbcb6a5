//! `hayward connect`, `call` and `tools`: the shell, and clients that only speak standard input and output.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use hayward_testkit::daemon::command;
use serde_json::{Value, json};

use crate::forgetful::Forgetful;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_call_from_the_shell_waits_for_a_server_that_starts_and_for_nothing_else() {
    let rig = Rig::start();
    rig.declare("servers", "slow", python("time.sleep(5)")).await;
    let token = rig.token("rw", &["slow"], &[]).await;
    let (code, out, err) = ran(&rig, &token, &["call", "slow/echo", "s=x"]);
    assert_eq!((code, out.as_str()), (0, "{\"s\": \"x\"}\n"), "{err}");
    assert_eq!(err.matches("its server starts").count(), 1, "{err}");
    // There is no such tool, however long one waits.
    let (code, out, err) = ran(&rig, &token, &["call", "slow/other"]);
    assert!(code == 1 && out.is_empty() && !err.contains("waiting"), "{code} {out} {err}");
    assert!(err.contains("Unknown tool") && !err.contains("the tool says"), "{err}");
    let (_, out, _) = ran(&rig, &token, &["call", "slow/other", "-o", "json"]);
    assert!(out.contains("Unknown tool"), "{out}");
    let admin = ran(&rig, rig.daemon.token("admin"), &["call", "slow/echo"]);
    assert!(admin.0 == 4 && admin.2.contains("calls nothing") && admin.2.contains("token add"), "{admin:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_it_starts_is_called_once() {
    let rig = Rig::start();
    let lie = "COUNT = [0]\ndef call(name, arguments, params):\n    COUNT[0] += 1\n    \
               said = json.dumps({'error': 'ServerStarting', 'message': 'asked %d times' % COUNT[0]})\n    \
               return {**text(said), 'isError': True}";
    rig.declare("servers", "liar", python(lie)).await;
    let token = rig.token("rw", &["liar"], &[]).await;
    rig.shows("/servers/liar/mcp", &token, &["echo"]).await;
    let (code, _, err) = ran(&rig, &token, &["call", "liar/echo"]);
    assert!(code == 1 && err.contains("asked 1 times") && !err.contains("waiting"), "{code} {err}");
}

#[test]
fn where_nobody_ever_answers_that_is_said_soon_and_no_success() {
    let mut child = command(env!("CARGO_BIN_EXE_hayward"), ["connect", "x"])
        .env("HAYWARD_URL", "http://127.0.0.1:9")
        .env("HAYWARD_TOKEN", "any")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}", json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"_meta": {}}}))
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("127.0.0.1:9") && line.contains("trying again"), "{line}");
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

/// `hayward connect` to a scripted server, and its client.
struct Connected {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Connected {
    fn to(address: std::net::SocketAddr) -> Self {
        let mut child = command(env!("CARGO_BIN_EXE_hayward"), ["connect", "x"])
            .env("HAYWARD_URL", format!("http://{address}"))
            .env("HAYWARD_TOKEN", "any")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    fn begin(&mut self) {
        let client = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        self.say(&json!({"jsonrpc": "2.0", "id": "begin", "method": "initialize", "params": client}));
    }

    fn ask(&mut self, id: u64, method: &str, params: &Value) {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
    }

    /// What comes up to the first message of which this holds, and that one.
    fn hear(&mut self, holds: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut heard = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "it ended: {heard:?}");
            heard.push(serde_json::from_str(&line).unwrap());
            if heard.last().is_some_and(&holds) {
                return heard;
            }
        }
    }

    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_request_that_is_never_answered_holds_up_neither_others_nor_its_cancellation() {
    let (server, address) = Forgetful::start();
    let mut client = Connected::to(address);
    server.mute(true);
    client.begin();
    // What waits for the session can be withdrawn, although the server says nothing yet.
    client.ask(1, "tools/call", &json!({"name": "early"}));
    client.say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}));
    let begins = |message: &Value| message["method"] == "initialize";
    server.until("it begins", |heard| heard.iter().any(|(_, message)| begins(message)));
    server.mute(false);
    client.hear(|message| message["id"] == "begin");
    client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    client.ask(2, "tools/call", &json!({"name": "never"}));
    let calls = |message: &Value, name: &str| message["params"]["name"] == name;
    server.until("it is called", |heard| heard.iter().any(|(_, message)| calls(message, "never")));
    client.ask(3, "tools/call", &json!({"name": "soon"}));
    client.hear(|message| message["id"] == 3);
    client.say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}));
    let is_cancelled = |message: &Value| message["params"]["requestId"] == 2;
    server.until("it is cancelled", |heard| heard.iter().any(|(_, message)| is_cancelled(message)));
    client.ask(4, "ping", &json!({}));
    let heard = client.hear(|message| message["id"] == 4);
    assert!(heard.iter().all(|message| message["id"] != 1 && message["id"] != 2), "{heard:?}");
    server.until("all were heard", |heard| !heard.iter().any(|(_, message)| calls(message, "early")));
    client.end();
}

#[test]
fn a_session_that_is_begun_again_has_its_subscriptions_and_its_log_level() {
    let (server, address) = Forgetful::start();
    let mut client = Connected::to(address);
    client.begin();
    client.hear(|message| message["id"] == "begin");
    client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    client.ask(1, "logging/setLevel", &json!({"level": "debug"}));
    client.hear(|message| message["id"] == 1);
    for (id, method, uri) in [
        (2, "resources/subscribe", "x:kept"),
        (3, "resources/subscribe", "x:left"),
        (4, "resources/unsubscribe", "x:left"),
    ] {
        client.ask(id, method, &json!({"uri": uri}));
        client.hear(|message| message["id"] == id);
    }
    server.forget();
    client.ask(5, "tools/call", &json!({"name": "again"}));
    let mut heard = client.hear(|message| message["id"] == 5);
    assert_eq!(heard.last().unwrap()["result"]["session"], "s2", "{heard:?}");
    let is_updated = |message: &Value| message["method"] == "notifications/resources/updated";
    if !heard.iter().any(is_updated) {
        heard.extend(client.hear(is_updated));
    }
    let is = |method: &str, of: &str, value: &str| {
        let (method, of, value) = (method.to_owned(), of.to_owned(), value.to_owned());
        move |(session, message): &(String, Value)| {
            session == "s2" && message["method"] == *method && message["params"][of.as_str()] == *value
        }
    };
    server.until("the session is as it was", |heard| {
        heard.iter().any(is("logging/setLevel", "level", "debug"))
            && heard.iter().any(is("resources/subscribe", "uri", "x:kept"))
            && heard
                .iter()
                .any(|(session, message)| session == "s2" && message["method"] == "notifications/initialized")
            && !heard.iter().any(is("resources/subscribe", "uri", "x:left"))
    });
    // What changed meanwhile, nobody told: the client is told that it may have, and of nothing else that was done for it.
    let told: Vec<&str> = heard.iter().filter_map(|message| message["method"].as_str()).collect();
    assert!(
        told.contains(&"notifications/resources/updated")
            && told.contains(&"notifications/tools/list_changed"),
        "{told:?}"
    );
    assert_eq!(heard.iter().filter(|message| message.get("id").is_some()).count(), 1, "{heard:?}");
    client.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_standard_streams_reaches_declared_servers_without_a_daemon() {
    let mut rig = Rig::start();
    rig.declare("servers", "a", python("")).await;
    rig.declare("projects", "default", json!({"servers": ["a"]})).await;
    drop(rig.stop());
    let data = rig.folder.path().join("data");
    let asked = |more: &[&str]| {
        let args = [&["stdio", "--data-dir", data.to_str().unwrap()], more].concat();
        let mut child = command(env!("CARGO_BIN_EXE_hayward"), args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a_echo", "arguments": {"n": 1}}});
        writeln!(input, "{}", json!({"jsonrpc": "2.0", "id": 0, "method": "tools/list"})).unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let listed = output.next().unwrap().unwrap();
        writeln!(input, "{ask}").unwrap();
        let called: Value = serde_json::from_str(&output.next().unwrap().unwrap()).unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());
        (listed.contains("a_echo"), called)
    };
    let (is_listed, called) = asked(&[]);
    assert_eq!((is_listed, crate::rig::text(&called)), (true, r#"{"n": 1}"#), "{called}");
    let (is_listed, refused) = asked(&["--run-servers", "false"]);
    assert_eq!((is_listed, &refused["result"]["isError"]), (false, &json!(true)), "{refused}");
}
