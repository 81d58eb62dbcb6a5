//! Who may make or change a server doesn't thereby say which program starts on this machine.

use hayward_testkit::client::Answer;
use serde_json::{Value, json};

use super::rig::Rig;

/// Whoever may do everything with servers, and everything else that follows from their names.
const SERVERS: &str = "ann@example.org";
/// The same, and to say what starts.
const COMMANDS: &str = "bob@example.org";

struct World {
    rig: Rig,
    servers: String,
    commands: String,
}

impl World {
    async fn new() -> Self {
        let rig = Rig::start();
        let servers =
            json!([{"role": "edit", "resource": "servers"}, {"role": "run", "resource": "servers"}]);
        let commands =
            json!([{"role": "edit", "resource": "servers"}, {"role": "run", "action": "define-commands"}]);
        let (servers, commands) = (rig.user(SERVERS, servers).await, rig.user(COMMANDS, commands).await);
        Self { rig, servers, commands }
    }

    /// A server that is there at first, and the version at which it started something else.
    async fn made(&self, name: &str) -> Value {
        let admin = self.rig.admin();
        let first = json!({"name": name, "command": ["other"], "replicas": 0});
        let first = self.rig.post("/servers", admin, first).await;
        assert_eq!(first.status, 201, "{}", first.body);
        let now = json!({"command": ["serve"], "description": "d"});
        let now = self.rig.send("PATCH", &format!("/servers/{name}"), admin, &now).await;
        assert_eq!(now.status, 200, "{}", now.body);
        first.json()["version"].clone()
    }

    async fn spec(&self, name: &str) -> Value {
        let answer = self.rig.get(&format!("/servers/{name}"), self.rig.admin()).await;
        if answer.status == 404 { Value::Null } else { answer.json()["generation"].clone() }
    }
}

fn check_refused(answer: &Answer, asked: &str) {
    assert_eq!(answer.status, 403, "{asked}: {}", answer.body);
    let problem = answer.json();
    assert_eq!(problem["code"], "forbidden", "{asked}");
    let (detail, hint) = (problem["detail"].as_str().unwrap(), problem["hint"].as_str().unwrap());
    assert!(detail.contains("what is started or called for server `s`"), "{asked}: {detail}");
    assert!(hint.contains("action: define-commands") && hint.contains("role: run"), "{asked}: {hint}");
}

/// What makes a server that starts something.
const STARTS: [&str; 5] = [
    r#"{"command": ["x"]}"#,
    r#"{"packageName": "x"}"#,
    r#"{"packageName": "x", "runtime": "python"}"#,
    r#"{"dockerImage": "x/y:1"}"#,
    r#"{"command": ["x"], "placement": "process", "replicas": 0}"#,
];

/// What changes what a server starts.
const CHANGES: [&str; 8] = [
    r#"{"command": ["x"]}"#,
    r#"{"args": ["-v"]}"#,
    r#"{"env": [{"name": "LD_PRELOAD", "value": "/tmp/x.so"}]}"#,
    r#"{"placement": "process"}"#,
    r#"{"network": "shared"}"#,
    r#"{"resources": {"memoryMib": 4096}}"#,
    r#"{"healthCheck": {"exec": ["x"]}}"#,
    r#"{"command": null, "packageName": "x", "runtime": "python"}"#,
];

fn named(text: &str) -> Value {
    let mut document: Value = serde_json::from_str(text).unwrap();
    document["name"] = "s".into();
    document
}

#[tokio::test]
async fn a_server_that_starts_something_is_made_by_those_only_who_may_say_what() {
    let world = World::new().await;
    let rig = &world.rig;
    for starts in STARTS {
        for (path, body) in [("/servers", named(starts)), ("/apply", json!({"servers": [named(starts)]}))] {
            for query in ["", "?dryRun=server"] {
                let refused = rig.post(&format!("{path}{query}"), &world.servers, body.clone()).await;
                check_refused(&refused, &format!("{path} {starts}"));
            }
            assert_eq!(world.spec("s").await, Value::Null, "{path} {starts}");
            let made = rig.post(path, &world.commands, body).await;
            assert!([200, 201].contains(&made.status), "{path} {starts}: {}", made.body);
            assert_eq!(rig.send("DELETE", "/servers/s", rig.admin(), &Value::Null).await.status, 204);
        }
    }
    // What starts nothing here is for whoever may make servers.
    let remote = json!({"name": "s", "externalUrl": "https://mcp.example.org/mcp"});
    assert_eq!(rig.post("/servers", &world.servers, remote.clone()).await.status, 201);
    let applied = rig.post("/apply", &world.servers, json!({"servers": [remote]})).await;
    assert_eq!(applied.status, 200, "{}", applied.body);
    // It becomes nothing that starts here.
    let patch = json!({"externalUrl": null, "transport": null, "command": ["x"]});
    check_refused(&rig.send("PATCH", "/servers/s", &world.servers, &patch).await, "PATCH");
}

#[tokio::test]
async fn what_a_server_starts_is_changed_by_those_only_who_may_say_what_and_all_else_by_whoever_edits_it() {
    let world = World::new().await;
    let rig = &world.rig;
    let other = world.made("s").await;
    let before = world.spec("s").await;
    for change in CHANGES {
        let patch: Value = serde_json::from_str(change).unwrap();
        let mut whole = json!({"name": "s", "command": ["serve"], "replicas": 0, "description": "d"});
        for (member, value) in patch.as_object().unwrap() {
            whole[member] = value.clone();
        }
        whole.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let ways = [
            ("PATCH", "/servers/s", patch.clone()),
            ("PUT", "/servers/s", whole.clone()),
            ("POST", "/apply", json!({"servers": [whole]})),
        ];
        // What nobody applied before, an apply leaves there.
        let is_another = !patch["command"].is_null() || patch.get("command").is_none();
        for (method, path, body) in ways.into_iter().filter(|(_, path, _)| *path != "/apply" || is_another) {
            let asked = format!("{method} {change}");
            check_refused(&rig.send(method, path, &world.servers, &body).await, &asked);
            let may = rig.send(method, &format!("{path}?dryRun=server"), &world.commands, &body).await;
            assert_eq!(may.status, 200, "{asked}: {}", may.body);
        }
    }
    let back = json!({"to": other});
    check_refused(&rig.post("/servers/s/revert", &world.servers, back.clone()).await, "revert");
    assert_eq!(world.spec("s").await, before, "nothing happened");
    let may = rig.post("/servers/s/revert?dryRun=server", &world.commands, back.clone()).await;
    assert_eq!(may.status, 200, "{}", may.body);
    let harmless = json!({"description": "e", "timeoutSeconds": 5, "tools": {"t": {"hidden": true}}});
    let patched = rig.send("PATCH", "/servers/s", &world.servers, &harmless).await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    // Whoever says what it starts already says nothing new.
    let same = json!({"name": "s", "command": ["serve"], "description": "f"});
    assert_eq!(rig.send("PUT", "/servers/s", &world.servers, &same).await.status, 200);
    // What is gone is made again with what it started.
    assert_eq!(rig.send("DELETE", "/servers/s", &world.servers, &Value::Null).await.status, 204);
    let id = rig.get("/servers/s/history", rig.admin()).await.json()[0]["after"]["id"].clone();
    let path = format!("/servers/{}/revert", id.as_str().unwrap());
    check_refused(&rig.post(&path, &world.servers, back.clone()).await, "revert of what is gone");
    assert_eq!(rig.post(&path, &world.commands, back).await.status, 200);
}

#[tokio::test]
async fn the_first_administrator_and_the_administrators_token_say_what_starts() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    for (name, token) in [("a", ann.as_str()), ("b", rig.admin())] {
        let made = rig.post("/servers", token, json!({"name": name, "command": ["x"]})).await;
        assert_eq!(made.status, 201, "{}", made.body);
    }
}
