//! Real servers in containers of a real engine: applied as a file, called through a project, and gone on with by a daemon that
//! takes the place of one that died.

use std::time::Instant;

use hayward_testkit::daemon::{Daemon, command};
use serde_json::{Value, json};

use crate::engine::{Engine, IMAGE, MODULES};
use crate::rig::{PATIENCE, Rig, text};

/// A server over HTTP, one on standard input and output, and a project of both.
fn manifest() -> String {
    format!(
        "servers:
  - name: all
    dockerImage: {IMAGE}
    command: [/bin/node, {MODULES}/server-everything/dist/index.js, streamableHttp]
    transport: STREAMABLE_HTTP
    containerPort: 3001
    env: [{{name: PORT, value: '3001'}}]
  - name: memory
    dockerImage: {IMAGE}
    command: [/bin/node, {MODULES}/server-memory/dist/index.js]
    env: [{{name: MEMORY_FILE_PATH, value: /tmp/memory.jsonl}}]
projects:
  - name: home
    servers: [all, memory]
"
    )
}

fn apply(rig: &Rig, manifest: &str) {
    let file = rig.folder.path().join("home.yaml");
    std::fs::write(&file, manifest).unwrap();
    let said = command(env!("CARGO_BIN_EXE_hayward"), ["apply", "-f", &file.display().to_string()])
        .env("HAYWARD_URL", format!("http://{}", rig.daemon.address))
        .env("HAYWARD_TOKEN", rig.daemon.token("admin"))
        .env("HOME", rig.folder.path())
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

async fn ready(rig: &Rig, server: &str) {
    rig.until(&format!("servers/{server}"), |it| {
        let conditions = it["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|it| it["type"] == "Ready" && it["reason"] == "AllReady")
    })
    .await;
}

async fn echo(rig: &Rig, token: &str) -> Value {
    let started = Instant::now();
    loop {
        let answer = rig.call("/projects/home/mcp", token, "all_echo", json!({"message": "hi"})).await;
        if answer["result"]["isError"] != true && answer["result"].is_object() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn containers_are_called_through_a_project_and_gone_on_with_where_nothing_of_them_was_lost() {
    let Some(engine) = Engine::start() else { return };
    let folder = tempfile::Builder::new().prefix("gateway").tempdir_in("/var/tmp").unwrap();
    let data = folder.path().join("data");
    let socket = engine.socket().display().to_string();
    let begin =
        || Daemon::start(env!("CARGO_BIN_EXE_hayward"), &data, &["--docker-socket", &socket]).unwrap();
    let mut rig = Rig { daemon: begin(), folder };
    apply(&rig, &manifest());
    for server in ["all", "memory"] {
        ready(&rig, server).await;
    }
    let token = rig.token("rw", &[], &["home"]).await;
    assert_eq!(text(&echo(&rig, &token).await), "Echo: hi");
    let entity = json!({"entities": [{"name": "Ann", "entityType": "person", "observations": ["tall"]}]});
    let made = rig.call("/projects/home/mcp", &token, "memory_create_entities", entity).await;
    assert!(text(&made).contains("Ann"), "{made}");
    let before = ["all", "memory"].map(|server| engine.container(server).unwrap());

    rig.daemon.signal(rustix::process::Signal::KILL).unwrap();
    rig.daemon.wait().unwrap();
    assert_eq!(engine.container("all").as_ref(), Some(&before[0]));
    rig.daemon = begin();
    for server in ["all", "memory"] {
        ready(&rig, server).await;
    }
    assert_eq!(text(&echo(&rig, &token).await), "Echo: hi");
    // What is spoken to over HTTP has lost nothing; whose standard input was lost is another one.
    assert_eq!(engine.container("all").as_ref(), Some(&before[0]));
    assert_ne!(engine.container("memory").as_ref(), Some(&before[1]));

    // Nobody goes on with what isn't wanted any more, or is another one by now.
    apply(
        &rig,
        &manifest()
            .replace("{name: PORT, value: '3001'}", "{name: PORT, value: '3001'}, {name: NEW, value: x}"),
    );
    let started = Instant::now();
    while engine.container("all").is_none_or(|now| now == before[0]) {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    ready(&rig, "all").await;
    rig.daemon.signal(rustix::process::Signal::TERM).unwrap();
    rig.daemon.wait().unwrap();
    assert_eq!(engine.docker(&["ps", "--all", "--quiet"]), "");
}
