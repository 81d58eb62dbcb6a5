//! What servers say beside their answers reaches whom it is for, and nobody else.

use std::time::Instant;

use hayward_testkit::modern::Modern;
use serde_json::{Value, json};

use crate::rig::{PATIENCE, Rig, python, text};

/// A server with two notes, which tells of those that somebody subscribed to.
const NOTES: &str = r#"
SUBSCRIBED, SAID = [], []
CAPABILITIES = {"tools": {}, "resources": {"subscribe": True}}
TOOLS = [tool("subscribed"), tool("write")]
def subscribe(params):
    SUBSCRIBED.append(params["uri"]); return {}
def unsubscribe(params):
    SUBSCRIBED.remove(params["uri"]); return {}
METHODS = {
    "resources/list": lambda _: {"resources": [{"uri": u, "name": u} for u in ("note:1", "note:2")]},
    "resources/templates/list": lambda _: {"resourceTemplates": []},
    "resources/subscribe": subscribe, "resources/unsubscribe": unsubscribe,
}
def call(name, arguments, params):
    if name == "write":
        for uri in SUBSCRIBED:
            say({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}})
    return text(json.dumps(SUBSCRIBED))
"#;

/// Waits until the server was asked to tell of these.
async fn subscribed(rig: &Rig, token: &str, expected: &Value) {
    let started = Instant::now();
    loop {
        let told = rig.call("/servers/notes/mcp", token, "subscribed", json!({})).await;
        if serde_json::from_str::<Value>(text(&told)).unwrap() == *expected {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{told}, not {expected}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_is_asked_to_tell_of_a_resource_for_as_long_as_somebody_listens() {
    let rig = Rig::start();
    rig.declare("servers", "notes", python(NOTES)).await;
    let token = rig.token("rw", &["notes"], &[]).await;
    rig.shows("/servers/notes/mcp", &token, &["subscribed", "write"]).await;
    subscribed(&rig, &token, &json!([])).await;
    let client = Modern::new(rig.daemon.address, &token).at("/servers/notes/mcp");
    let filter = json!({"resourceSubscriptions": ["note:1"]});
    let mut one = client.listen(json!(1), filter.clone()).await.unwrap();
    let mut two = client.listen(json!(2), filter.clone()).await.unwrap();
    for events in [&mut one, &mut two] {
        let first = events.message().await.unwrap();
        assert_eq!(first["params"]["notifications"], filter);
    }
    subscribed(&rig, &token, &json!(["note:1"])).await;
    rig.call("/servers/notes/mcp", &token, "write", json!({})).await;
    for events in [&mut one, &mut two] {
        let told = events.message().await.unwrap();
        assert_eq!(
            (&told["method"], &told["params"]["uri"]),
            (&json!("notifications/resources/updated"), &json!("note:1"))
        );
    }
    drop(one);
    rig.call("/servers/notes/mcp", &token, "write", json!({})).await;
    assert_eq!(two.message().await.unwrap()["params"]["uri"], "note:1", "the other one still listens");
    drop(two);
    subscribed(&rig, &token, &json!([])).await;
}

#[tokio::test]
async fn what_nobody_lists_and_nobody_may_see_is_not_subscribed_to() {
    let rig = Rig::start();
    rig.declare("servers", "notes", python(NOTES)).await;
    rig.declare("servers", "other", python("")).await;
    rig.declare("projects", "home", json!({"servers": ["notes"]})).await;
    let (token, stranger) =
        (rig.token("rw", &["notes"], &["home"]).await, rig.token("rw", &["other"], &[]).await);
    rig.shows("/projects/home/mcp", &token, &["notes_subscribed", "notes_write"]).await;
    let filter = json!({"resourceSubscriptions": ["note:2", "note:3"]});
    let client = Modern::new(rig.daemon.address, &token).at("/projects/home/mcp");
    let mut events = client.listen(json!(1), filter.clone()).await.unwrap();
    let first = events.message().await.unwrap();
    assert_eq!(first["params"]["notifications"]["resourceSubscriptions"], json!(["note:2"]));
    subscribed(&rig, &token, &json!(["note:2"])).await;
    let client = Modern::new(rig.daemon.address, &stranger).at("/servers/other/mcp");
    let mut events = client.listen(json!(1), filter).await.unwrap();
    let first = events.message().await.unwrap();
    assert_eq!(first["params"]["notifications"].get("resourceSubscriptions"), None, "{first}");
}

#[tokio::test]
async fn whoever_may_see_a_resource_no_more_hears_nothing_more_of_it() {
    let rig = Rig::start();
    rig.declare("servers", "notes", python(NOTES)).await;
    let token = rig.token("rw", &["notes"], &[]).await;
    rig.shows("/servers/notes/mcp", &token, &["subscribed", "write"]).await;
    let account = json!({
        "users": [{"email": "ci@example.org", "serviceAccount": true}],
        "rbac": [{"name": "r", "subjects": [{"kind": "ServiceAccount", "name": "ci@example.org"}],
            "roleBindings": [{"role": "run", "resource": "servers", "name": "notes"}]}]});
    let made = rig.manage("POST", "apply", &account.to_string()).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let body = json!({"name": "ci", "role": "account", "account": "ci@example.org"}).to_string();
    let made = rig.manage("POST", "tokens", &body).await;
    let granted = made.json()["token"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned();
    let filter = json!({"toolsListChanged": true, "resourceSubscriptions": ["note:1"]});
    let listen = async |token: &str| {
        let client = Modern::new(rig.daemon.address, token).at("/servers/notes/mcp");
        let mut events = client.listen(json!(1), filter.clone()).await.unwrap();
        let first = events.message().await.unwrap();
        assert_eq!(first["params"]["notifications"], filter, "{first}");
        events
    };
    let (mut one, mut other) = (listen(&granted).await, listen(&token).await);
    subscribed(&rig, &token, &json!(["note:1"])).await;
    rig.call("/servers/notes/mcp", &token, "write", json!({})).await;
    for events in [&mut one, &mut other] {
        assert_eq!(events.message().await.unwrap()["params"]["uri"], "note:1");
    }
    let gone = rig.manage("DELETE", "rbac-definitions/r", "").await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    rig.call("/servers/notes/mcp", &token, "write", json!({})).await;
    assert_eq!(other.message().await.unwrap()["params"]["uri"], "note:1");
    // What comes next tells that nothing came before it.
    let mut spec = python(NOTES);
    spec["tools"] = json!({"write": {"hidden": true}});
    rig.declare("servers", "notes", spec).await;
    let next = one.message().await.unwrap();
    assert_eq!(next["method"], "notifications/tools/list_changed", "{next}");
}

/// A server that logs while it works.
const TALKER: &str = r#"
CAPABILITIES = {"tools": {}, "logging": {}}
def call(name, arguments, params):
    say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "warning", "data": arguments["say"]}})
    return text("done")
"#;

#[tokio::test]
async fn what_a_server_logs_reaches_its_own_caller_and_otherwise_its_log_alone() {
    let rig = Rig::start();
    rig.declare("servers", "shared", python(TALKER)).await;
    let mut spec = python(TALKER);
    spec["sharing"] = json!("principal");
    rig.declare("servers", "own", spec).await;
    let token = rig.token("rw", &["shared", "own"], &[]).await;
    for (server, is_told) in [("own", true), ("shared", false)] {
        let path = format!("/servers/{server}/mcp");
        rig.shows(&path, &token, &["echo"]).await;
        let client = Modern::new(rig.daemon.address, &token).at(&path);
        let params = json!({"name": "echo", "arguments": {"say": "the disk is full"}, "_meta": {
            "io.modelcontextprotocol/logLevel": "debug", "progressToken": "p"}});
        let answer = client.ask("tools/call", params).await.unwrap();
        assert!(answer.body.contains("done"), "{server}: {}", answer.body);
        assert_eq!(answer.body.contains("the disk is full"), is_told, "{server}: {}", answer.body);
    }
    let instances = rig.manage("GET", "instances?serverId=shared", "").await.json();
    let path = format!("instances/{}/logs", instances[0]["name"].as_str().unwrap());
    rig.until(&path, |log| log.to_string().contains("the disk is full")).await;
}
