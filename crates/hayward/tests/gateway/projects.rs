//! Projects as endpoints: names, overrides, who reaches what, and what a server that fails costs.

use serde_json::json;

use crate::rig::{Rig, python, text};

#[tokio::test]
async fn a_project_shows_its_servers_as_one_and_each_call_reaches_its_own() {
    let rig = Rig::start();
    rig.declare("servers", "a", python("TOOLS = [tool('echo'), tool('x.y')]")).await;
    rig.declare("servers", "b", python("def call(n, a, p): return text('b ' + n)")).await;
    let overrides =
        json!({"b": {"prefix": "bee", "tools": {"echo": {"name": "say", "description": "Says it."}}}});
    rig.declare("projects", "home", json!({"servers": ["a", "b"], "serverOverrides": overrides})).await;
    let token = rig.token("rw", &[], &["home"]).await;
    let path = "/projects/home/mcp";
    let started = std::time::Instant::now();
    let listed = loop {
        let shown = rig.tools(path, &token).await;
        if shown.len() == 3 {
            break shown;
        }
        assert!(started.elapsed() < crate::rig::PATIENCE, "{shown:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert!(listed.contains(&"a_echo".to_owned()) && listed.contains(&"bee_say".to_owned()), "{listed:?}");
    let hashed =
        listed.iter().find(|name| name.starts_with("a_x_y_")).unwrap_or_else(|| panic!("{listed:?}"));
    for name in ["a_echo", "a/echo", "a.echo"] {
        let answer = rig.call(path, &token, name, json!({"n": 1})).await;
        assert_eq!(text(&answer), r#"{"n": 1}"#, "{name}");
    }
    assert_eq!(text(&rig.call(path, &token, "bee_say", json!({})).await), "b echo");
    assert_eq!(text(&rig.call(path, &token, hashed, json!({"n": 2})).await), r#"{"n": 2}"#);
    let unknown = rig.call(path, &token, "b_echo", json!({})).await;
    assert_eq!(unknown["result"]["isError"], true, "{unknown}");
    // What clients are told first says whose the words are.
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let begun = rig.ask(path, &token, "initialize", hello).await;
    let instructions = begun["result"]["instructions"].as_str().unwrap();
    assert!(
        instructions.contains("Be careful.") && instructions.contains("begin with bee"),
        "{instructions}"
    );
}

#[tokio::test]
async fn an_endpoint_is_there_for_those_who_may_use_it_and_for_nobody_else() {
    let rig = Rig::start();
    rig.declare("servers", "a", python("")).await;
    rig.declare("projects", "home", json!({"servers": ["a"]})).await;
    rig.declare("projects", "other", json!({"servers": ["a"]})).await;
    let of_home = rig.token("rw", &[], &["home"]).await;
    let of_server = rig.token("ro", &["a"], &[]).await;
    rig.shows("/projects/home/mcp", &of_home, &["a_echo"]).await;
    let plain = rig.daemon.token("rw").to_owned();
    for (path, token) in [
        ("/projects/other/mcp", &of_home),
        ("/projects/none/mcp", &of_home),
        ("/servers/a/mcp", &of_home),
        ("/projects/home/mcp", &plain),
        ("/servers/a/mcp", &plain),
    ] {
        let answer = rig.ask(path, token, "tools/list", json!({})).await;
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{path}: {answer}"));
        assert!(message.contains("is no endpoint, has no servers, or may not be used"), "{message}");
    }
    // Whoever may only look calls nothing that isn't known to be harmless.
    assert_eq!(rig.tools("/servers/a/mcp", &of_server).await, [] as [&str; 0]);
    let refused = rig.call("/servers/a/mcp", &of_server, "echo", json!({})).await;
    assert!(text(&refused).contains("requires rw role"), "{refused}");
    let admin = rig.daemon.token("admin").to_owned();
    assert!(rig.ask("/projects/home/mcp", &admin, "tools/list", json!({})).await["detail"].is_string());
}

#[tokio::test]
async fn the_default_endpoint_keeps_this_machines_names_and_prefixes_the_rest() {
    let rig = Rig::start();
    rig.declare("servers", "read", python("TOOLS = [tool('file')]")).await;
    rig.declare("projects", "default", json!({"servers": ["read"]})).await;
    let token = rig.token("rw", &["host"], &["default"]).await;
    let started = std::time::Instant::now();
    let shown = loop {
        let shown = rig.tools("/mcp", &token).await;
        if shown.len() == 9 {
            break shown;
        }
        assert!(started.elapsed() < crate::rig::PATIENCE, "{shown:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    // `read` with `file` would be `read_file`, which is this machine's.
    assert!(
        shown.contains(&"read_file".to_owned()) && shown.iter().any(|it| it.starts_with("read_file_")),
        "{shown:?}"
    );
    let own = rig.call("/mcp", &token, "read_file", json!({"file_path": "/etc/hostname"})).await;
    assert_eq!(own["result"]["structuredContent"]["total_lines"], 1, "{own}");
    // Who was let in to the project alone sees nothing of this machine, and who was let in to nothing this machine alone.
    let others = rig.token("rw", &[], &["default"]).await;
    assert_eq!(rig.tools("/mcp", &others).await.len(), 1);
    assert_eq!(rig.tools("/mcp", rig.daemon.token("rw")).await.len(), 8);
}

#[tokio::test]
async fn a_dead_server_costs_its_own_tools_and_nothing_else() {
    let rig = Rig::start();
    let more = "def call(n, a, p):\n    os._exit(3) if n == 'die' else None\n    return text('alive')\nTOOLS = [tool('die'), tool('live')]";
    rig.declare("servers", "a", python(more)).await;
    rig.declare("servers", "b", python("")).await;
    rig.declare("projects", "home", json!({"servers": ["a", "b"]})).await;
    let token = rig.token("rw", &[], &["home"]).await;
    let path = "/projects/home/mcp";
    rig.shows(path, &token, &["a_die", "a_live", "b_echo"]).await;
    let died = rig.call(path, &token, "a_die", json!({})).await;
    assert!(text(&died).contains("UpstreamFailed"), "{died}");
    assert_eq!(text(&rig.call(path, &token, "b_echo", json!({})).await), "{}");
    // Its tools stay on the list, and it is there again by and by.
    let shown = rig.tools(path, &token).await;
    assert!(shown.contains(&"a_live".to_owned()), "{shown:?}");
    let started = std::time::Instant::now();
    loop {
        let answer = rig.call(path, &token, "a_live", json!({})).await;
        if text(&answer) == "alive" {
            break;
        }
        assert!(text(&answer).contains("Upstream"), "{answer}");
        assert!(started.elapsed() < crate::rig::PATIENCE, "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let instances = rig.manage("GET", "instances", "").await.json();
    assert_eq!(instances.as_array().map(Vec::len), Some(2), "{instances}");
}

#[tokio::test]
async fn what_a_server_is_given_is_its_own_and_what_is_fixed_cannot_be_changed() {
    let rig = Rig::start();
    let tools = json!({"echo": {"fixed": {"room": "hall"}, "defaults": {"level": 3}}});
    let mut spec = python(
        "TOOLS = [{**tool('echo'), 'inputSchema': {'type': 'object', 'properties': {'room': {}, 'level': {}}}}]",
    );
    spec["tools"] = tools;
    rig.declare("servers", "a", spec).await;
    let token = rig.token("rw", &["a"], &[]).await;
    rig.shows("/servers/a/mcp", &token, &["echo"]).await;
    let listed = rig.ask("/servers/a/mcp", &token, "tools/list", json!({})).await;
    assert_eq!(listed["result"]["tools"][0]["inputSchema"]["properties"], json!({"level": {}}));
    let answer = rig.call("/servers/a/mcp", &token, "echo", json!({"room": "safe", "level": 9})).await;
    let got: serde_json::Value = serde_json::from_str(text(&answer)).unwrap();
    assert_eq!(got, json!({"room": "hall", "level": 9}));
    let answer = rig.call("/servers/a/mcp", &token, "echo", json!({})).await;
    let got: serde_json::Value = serde_json::from_str(text(&answer)).unwrap();
    assert_eq!(got, json!({"room": "hall", "level": 3}));

    // The record says what was sent, not only what was said.
    let overrides = json!({"a": {"tools": {"echo": {"name": "say"}}}});
    rig.declare("projects", "p", json!({"servers": ["a"], "serverOverrides": overrides})).await;
    let token = rig.token("rw", &[], &["p"]).await;
    rig.shows("/projects/p/mcp", &token, &["a_say"]).await;
    rig.call("/projects/p/mcp", &token, "a_say", json!({"level": 7})).await;
    let record = std::fs::read_to_string(rig.folder.path().join("data/audit/record.jsonl")).unwrap();
    let intents: Vec<serde_json::Value> = record
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|it: &serde_json::Value| it["type"] == "intent")
        .collect();
    let of = |tool: &str| intents.iter().rfind(|it| it["tool"] == tool).unwrap().clone();
    let renamed = of("a_say");
    assert_eq!(
        (&renamed["sent_name"], &renamed["set_arguments"]),
        (&json!("echo"), &json!({"room": "hall"}))
    );
    assert_eq!(renamed["arguments"], json!({"level": 7}));
    let plain = of("echo");
    assert_eq!(plain.get("sent_name"), None, "{plain}");
    assert_eq!(plain["set_arguments"], json!({"level": 3, "room": "hall"}), "{plain}");
}
