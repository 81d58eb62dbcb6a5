//! A server that tells what it was handed: nobody sees it by what the server says of itself, and nothing keeps it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::access::holds;
use crate::rig::{PATIENCE, Rig, python};

const SECRET: &str = "k3y-of-the-gate-8161";

/// Tells it wherever a server can.
const TELLTALE: &str = r#"
K = os.environ["K"]
INSTRUCTIONS = "Say " + K + " at the gate."
TOOLS = [tool("echo", description="Says " + K), tool("knock", title=K)]
CAPABILITIES = {"tools": {}, "resources": {}, "prompts": {}}
METHODS = {
    "resources/list": lambda _: {"resources": [{"uri": "x:1", "name": K}]},
    "resources/templates/list": lambda _: {"resourceTemplates": [{"uriTemplate": "x:{a}", "name": "n", "description": K}]},
    "prompts/list": lambda _: {"prompts": [{"name": "p", "description": K}]},
}
def call(name, arguments, params):
    say({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": "the key was " + K}})
"#;

/// Can't say what it offers, and tells it instead.
const FAILING: &str = r#"
K = os.environ["K"]
CAPABILITIES = {"tools": {}, "resources": {}}
METHODS = {"resources/list": lambda _: say({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": "no " + K}})}
"#;

fn handed(more: &str) -> Value {
    let mut spec = python(more);
    spec["env"] = json!([{"name": "K", "valueFrom": {"secretRef": {"name": "s", "key": "K"}}}]);
    spec
}

#[tokio::test]
async fn nobody_learns_a_secret_by_what_a_server_says_of_itself() {
    let rig = Rig::start();
    rig.declare("secrets", "s", json!({"data": {"K": SECRET}})).await;
    let mut telltale = handed(TELLTALE);
    telltale["healthCheck"] = json!({"tool": "echo", "intervalSeconds": 1, "failureThreshold": 9});
    rig.declare("servers", "a", telltale).await;
    rig.declare("servers", "b", handed(FAILING)).await;
    let token = rig.token("rw", &["a", "b"], &[]).await;
    rig.shows("/servers/a/mcp", &token, &["echo", "knock"]).await;
    let mut seen = Vec::new();
    for method in ["initialize", "tools/list", "resources/list", "resources/templates/list", "prompts/list"] {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        seen.push(rig.ask("/servers/a/mcp", &token, method, params).await.to_string());
    }
    assert!(seen.iter().all(|text| text.contains("[redacted:")), "{seen:?}");
    seen.push(rig.call("/servers/a/mcp", &token, "echo", json!({})).await.to_string());
    // What an instance was unwell of, and why a server doesn't say what it offers.
    let unwell = rig.until("instances?serverId=a", |list| !list[0]["id"].is_null()).await;
    let id = unwell[0]["id"].as_str().unwrap().to_owned();
    let health = rig
        .until(&format!("health/instances/{id}"), |health| health.to_string().contains("the key was"))
        .await;
    seen.push(health.to_string());
    let started = Instant::now();
    let why = loop {
        let why = rig.call("/servers/b/mcp", &token, "echo", json!({})).await.to_string();
        if why.contains("has not said yet what it offers: it answers") {
            break why;
        }
        assert!(started.elapsed() < PATIENCE, "{why}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(why.contains("no [redacted:"), "{why}");
    seen.push(why);
    for path in ["servers/a", "servers/b", "servers/a/tools", "instances", "health/overview"] {
        seen.push(rig.manage("GET", path, "").await.body);
    }
    let told: Vec<&String> = seen.iter().filter(|text| text.contains(SECRET)).collect();
    assert!(told.is_empty(), "{told:?}");
    assert!(!holds(rig.folder.path(), SECRET), "it lies somewhere as it is");
}

#[tokio::test]
async fn what_becomes_a_secret_is_hidden_in_what_servers_have_said_already() {
    let rig = Rig::start();
    let telling = format!(r#"TOOLS = [tool("look"), tool("tell", description="It is {SECRET}.")]"#);
    let mut waiting = python(&telling);
    waiting["trust"] = json!("review");
    rig.declare("servers", "a", python(&telling)).await;
    rig.declare("servers", "b", waiting).await;
    let token = rig.token("rw", &["a"], &[]).await;
    rig.shows("/servers/a/mcp", &token, &["look", "tell"]).await;
    let list = async || rig.ask("/servers/a/mcp", &token, "tools/list", json!({})).await.to_string();
    assert!(list().await.contains(SECRET));
    rig.until("servers/b/tools", |waits| waits.to_string().contains(SECRET)).await;
    rig.declare("secrets", "s", json!({"data": {"K": SECRET}})).await;
    rig.until("servers/b/tools", |waits| !waits.to_string().contains(SECRET)).await;
    let waits = rig.manage("GET", "servers/b/tools", "").await.json().to_string();
    assert!(waits.contains("[redacted:"), "{waits}");
    let started = Instant::now();
    while list().await.contains(SECRET) {
        assert!(started.elapsed() < PATIENCE, "{}", list().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(list().await.contains("[redacted:"));
    assert_eq!(rig.tools("/servers/a/mcp", &token).await, ["look", "tell"], "it is the same tool");
}
