//! What runs: what its node tells of it, and what of its tools is shown, waits, and is approved.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::rig::Rig;
use super::watching::Watch;

const GREETER: &str = include_str!("../greeter.py");

/// A server that says this of its tool.
fn greeter(description: &str) -> Value {
    json!({"name": "s", "command": ["python3", "-u", "-c", GREETER], "env": [
        {"name": "ABOUT", "value": description},
        {"name": "HUSH", "valueFrom": {"secretRef": {"name": "hush", "key": "K"}}}]})
}

async fn until(rig: &Rig, path: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let answer = rig.get(path, rig.admin()).await;
        let told = answer.json();
        if answer.status == 200 && is_so(&told) {
            return told;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "{what}: {told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A daemon in which the server runs.
async fn running() -> Rig {
    let rig = Rig::start();
    let secret = json!({"name": "hush", "data": {"K": "correct-horse-battery"}});
    assert_eq!(rig.post("/secrets", rig.admin(), secret).await.status, 201);
    let made = rig.post("/servers", rig.admin(), greeter("Greets.")).await;
    assert_eq!(made.status, 201, "{}", made.body);
    until(&rig, "/servers/s", "its tool is shown", |server| {
        server["status"]["gateway"]["shown"]["tools"] == 1
    })
    .await;
    rig
}

/// The instance that runs.
async fn instance(rig: &Rig) -> String {
    let all = until(rig, "/instances?serverId=s", "one runs", |all| {
        all.as_array().is_some_and(|all| all.len() == 1 && all[0]["status"]["phase"] == "RUNNING")
    });
    all.await[0]["name"].as_str().unwrap().to_owned()
}

/// Has the server say this of its tool, by another instance.
async fn change(rig: &Rig, description: &str) {
    let before = instance(rig).await;
    let patch = json!({"env": greeter(description)["env"]});
    let patched = rig.send("PATCH", "/servers/s", rig.admin(), &patch).await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    until(rig, "/instances?serverId=s", "another one runs", |all| {
        let is_other = |it: &Value| it["name"] != before.as_str() && it["status"]["phase"] == "RUNNING";
        all.as_array().is_some_and(|all| all.len() == 1 && is_other(&all[0]))
    })
    .await;
    // All servers are asked again when something is declared.
    let asks = rig.post("/projects", rig.admin(), json!({"name": instance(rig).await})).await;
    assert_eq!(asks.status, 201, "{}", asks.body);
}

/// The only tool, once it stands so.
async fn tool(rig: &Rig, state: &str) -> Value {
    let all = until(rig, "/servers/s/tools", state, |all| all[0]["state"] == state).await;
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    all[0].clone()
}

#[tokio::test]
async fn a_node_tells_what_it_runs_how_it_is_and_what_it_says() {
    let rig = running().await;
    let name = instance(&rig).await;
    let server = rig.get("/servers/s", rig.admin()).await.json();
    let gateway = &server["status"]["gateway"];
    assert_eq!((&gateway["revision"], &gateway["keptBack"]), (&json!("2025-06-18"), &json!([])), "{gateway}");
    assert!(rig.get("/servers", rig.admin()).await.json()[0]["status"].get("gateway").is_none());

    let known = rig.get(&format!("/instances/{name}/inspect"), rig.admin()).await.json();
    assert_eq!(
        (&known["state"], &known["server"], &known["protocol"]),
        (&json!("RUNNING"), &json!("s"), &json!("2025-06-18"))
    );
    assert_eq!((&known["callsInFlight"], &known["placement"]), (&json!(0), &json!("process")), "{known}");
    assert!(known["node"].is_string() && known["startedAt"].is_string(), "{known}");
    let id = known["id"].as_str().unwrap();
    assert_eq!(rig.get(&format!("/instances/{id}/inspect"), rig.admin()).await.json()["name"], name.as_str());

    let health = rig.get(&format!("/health/instances/{name}"), rig.admin()).await.json();
    assert!(health["uptimeSeconds"].is_number() && health["health"]["verdict"].is_string(), "{health}");

    let log = rig.get(&format!("/instances/{name}/logs"), rig.admin()).await.json();
    let texts: Vec<&str> =
        log["lines"].as_array().unwrap().iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert!(texts[0].contains("to greet"), "{log}");
    assert!(
        texts[1].starts_with("hush: ") && !texts[1].contains("horse"),
        "values of secrets stay hidden: {log}"
    );
    assert!(log["lines"][0]["number"] == 0 && log["lines"][0]["at"].is_string(), "{log}");
    let last = rig.get(&format!("/instances/{name}/logs?tail=1"), rig.admin()).await.json();
    assert_eq!(last["lines"].as_array().unwrap().len(), 1, "{last}");
    let before = rig.get(&format!("/instances/{name}/logs?previous=true"), rig.admin()).await;
    assert_eq!(before.status, 404, "{}", before.body);
}

#[tokio::test]
async fn the_overview_counts_and_names_what_is_not_ready_to_those_who_see_it() {
    let rig = running().await;
    instance(&rig).await;
    let told = until(&rig, "/health/overview", "all is well", |told| told["status"] == "ok").await;
    assert_eq!((&told["servers"]["total"], &told["servers"]["ready"]), (&json!(1), &json!(1)), "{told}");
    assert_eq!(told["instances"]["phases"], json!({"RUNNING": 1}), "{told}");
    let broken = json!({"name": "broken", "command": ["/no/such/program"]});
    assert_eq!(rig.post("/servers", rig.admin(), broken).await.status, 201);
    let told = until(&rig, "/health/overview", "one isn't", |told| told["status"] == "degraded").await;
    assert_eq!(told["servers"]["notReady"][0]["name"], "broken", "{told}");
    assert!(told["servers"]["notReady"][0]["message"].as_str().unwrap().contains("0 of 1"), "{told}");
    let bob = json!([{"role": "view", "resource": "servers", "name": "s"}]);
    let bob = rig.user("bob@example.org", bob).await;
    let seen = rig.get("/health/overview", &bob).await;
    assert!(seen.json()["status"] == "ok" && !seen.body.contains("broken"), "{}", seen.body);
    assert!(!rig.get("/health/overview", "").await.body.contains("servers"));
}

#[tokio::test]
async fn what_a_server_changes_of_a_tool_waits_and_is_approved_as_it_was_seen() {
    let rig = running().await;
    let shown = tool(&rig, "shown").await;
    assert_eq!(
        (&shown["name"], &shown["pending"], &shown["changes"]),
        (&json!("greet"), &Value::Null, &json!([]))
    );
    let first = shown["approved"]["digest"].as_str().unwrap().to_owned();
    change(&rig, "Greets, and asks for passwords.").await;
    let waits = tool(&rig, "waits").await;
    let expect = json!([{"path": "description", "before": "\"Greets.\"", "after": "\"Greets, and asks for passwords.\""}]);
    assert_eq!(waits["changes"], expect, "{waits}");
    assert_eq!(waits["approved"]["definition"]["description"], "Greets.", "{waits}");
    let gateway = rig.get("/servers/s", rig.admin()).await.json()["status"]["gateway"].clone();
    assert_eq!(
        (&gateway["shown"]["tools"], &gateway["keptBack"][0]["name"]),
        (&json!(0), &json!("greet")),
        "{gateway}"
    );

    let path = "/servers/s/tools/greet/approve";
    let digest = json!({"digest": waits["pending"]["digest"]});
    for (path, body, status) in [
        (path, json!({"digest": first}), 409),
        ("/servers/s/tools/none/approve", digest.clone(), 404),
        ("/servers/none/tools/greet/approve", digest.clone(), 404),
        (path, json!({}), 400),
    ] {
        let refused = rig.post(path, rig.admin(), body).await;
        assert_eq!(refused.status, status, "{path}: {}", refused.body);
        assert!(status != 409 || refused.json()["hint"].is_string(), "{}", refused.body);
    }
    let bob = json!([{"role": "view", "resource": "servers"}, {"role": "view", "resource": "instances"}]);
    let bob = rig.user("bob@example.org", bob).await;
    assert_eq!(rig.get("/servers/s/tools", &bob).await.status, 200);
    assert_eq!(rig.post(path, &bob, digest.clone()).await.status, 403);
    let name = instance(&rig).await;
    assert_eq!(rig.get(&format!("/instances/{name}/inspect"), &bob).await.status, 200);
    assert_eq!(
        rig.get(&format!("/instances/{name}/logs"), &bob).await.status,
        403,
        "to see one is not enough"
    );

    assert_eq!(rig.post(&format!("{path}?dryRun=server"), rig.admin(), digest.clone()).await.status, 200);
    assert_eq!(tool(&rig, "waits").await["pending"], waits["pending"], "a trial approves nothing");
    let approved = rig.post(path, rig.admin(), digest.clone()).await;
    assert_eq!(approved.status, 200, "{}", approved.body);
    assert_eq!(tool(&rig, "shown").await["approved"]["digest"], digest["digest"]);
    until(&rig, "/servers/s", "it is shown again", |it| it["status"]["gateway"]["shown"]["tools"] == 1).await;
    assert_eq!(rig.post(path, rig.admin(), digest.clone()).await.status, 409, "nothing waits any more");
    let record = rig.recorded("intent", "servers.tools.approve");
    assert!(
        record
            .iter()
            .any(|it| it["arguments"]["digest"] == digest["digest"] && it["arguments"]["name"] == "greet")
    );

    // What hides something from its reader is approved by nobody.
    change(&rig, "Greets.\u{200b}\u{202e}").await;
    let kept = |it: &Value| it["status"]["gateway"]["keptBack"][0]["name"] == "greet";
    let server = until(&rig, "/servers/s", "it is kept back", kept).await;
    assert_eq!(server["status"]["gateway"]["shown"]["tools"], 0, "{server}");
    let all = rig.get("/servers/s/tools", rig.admin()).await.json();
    assert_eq!(all[0]["pending"], Value::Null, "{all}");
    for digest in [&first, digest["digest"].as_str().unwrap()] {
        let refused = rig.post(path, rig.admin(), json!({"digest": digest})).await;
        assert_eq!(refused.status, 409, "{}", refused.body);
    }
    let name = instance(&rig).await;
    let before = rig.get(&format!("/instances/{name}/logs?previous=true"), rig.admin()).await;
    assert!(before.status == 200 && before.body.contains("to greet"), "{}", before.body);
}

#[tokio::test]
async fn a_watch_that_asks_for_statuses_tells_each_phase_and_one_that_does_not_none() {
    let rig = running().await;
    let before = instance(&rig).await;
    let mut told = Watch::open(&rig, "/instances?watch=true&status=true", rig.admin()).await;
    let mut untold = Watch::open(&rig, "/instances?watch=true", rig.admin()).await;
    let (first, other) = (told.next().await.unwrap(), untold.next().await.unwrap());
    assert_eq!((&first["object"]["status"]["phase"], &first["type"]), (&json!("RUNNING"), &json!("ADDED")));
    assert_eq!(other["object"]["name"], before.as_str());
    change(&rig, "Greets.\u{20}").await;
    let mut phases = Vec::new();
    while phases.last().is_none_or(|(name, phase)| *name == before || phase != "RUNNING") {
        let event = told.next().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if event["type"] != "BOOKMARK" && event["type"] != "DELETED" {
            phases.push((text(&event["object"]["name"]), text(&event["object"]["status"]["phase"])));
        }
    }
    let of_new = phases.iter().filter(|(name, _)| *name != before).count();
    assert!(of_new > 1, "it is told of when it comes, and again when its phase is another one: {phases:?}");
    // A new watch that goes on from here is told what there is: nobody knows what its client has seen.
    let version = rig.get("/instances", rig.admin()).await.header("x-resource-version").unwrap().to_owned();
    let path = format!("/instances?watch=true&status=true&resourceVersion={version}");
    let again = Watch::open(&rig, &path, rig.admin()).await.next().await.unwrap();
    assert_eq!(
        (&again["type"], &again["object"]["status"]["phase"]),
        (&json!("MODIFIED"), &json!("RUNNING"))
    );
    let mut name = None;
    while name.is_none() {
        let event = untold.next().await.unwrap();
        assert!(event["object"].get("status").is_none(), "{event}");
        name = Some(event["type"] == "ADDED").filter(|is_new| *is_new);
    }
}

#[tokio::test]
async fn a_watch_of_those_that_run_tells_who_comes_and_who_goes() {
    let rig = running().await;
    let name = instance(&rig).await;
    let path = "/instances?watch=true&status=true&fieldSelector=status.phase%3DRUNNING";
    let mut watch = Watch::open(&rig, path, rig.admin()).await;
    let first = watch.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["name"]), (&json!("ADDED"), &json!(name)));
    change(&rig, "Greets others.").await;
    let (mut is_gone, mut is_there) = (false, false);
    while !(is_gone && is_there) {
        let event = watch.next().await.unwrap();
        let is_old = event["object"]["name"] == name.as_str();
        match event["type"].as_str().unwrap() {
            "DELETED" => is_gone |= is_old,
            "ADDED" => {
                assert_eq!(event["object"]["status"]["phase"], "RUNNING", "{event}");
                is_there |= !is_old;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn tools_that_wait_and_overrides_that_mean_nothing_are_told_where_somebody_looks() {
    let rig = running().await;
    let overrides = json!({"s": {"tools": {"gret": {"hidden": true}, "greet": {"description": "Hello."}}}});
    rig.post("/projects", rig.admin(), json!({"name": "p", "servers": ["s"], "serverOverrides": overrides}))
        .await;
    let conditions = |document: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all = document["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.iter().map(|it| (text(&it["type"]), text(&it["message"]))).collect()
    };
    let project = conditions(&rig.get("/projects/p", rig.admin()).await.json());
    let unknown: Vec<_> = project.iter().filter(|(kind, _)| kind == "UnknownTool").collect();
    assert!(
        unknown.len() == 1 && unknown[0].1.contains("`gret`") && !unknown[0].1.contains("`greet`"),
        "{project:?}"
    );
    let patch = json!({"tools": {"gruss": {"hidden": true}}});
    assert_eq!(rig.send("PATCH", "/servers/s", rig.admin(), &patch).await.status, 200);
    until(&rig, "/servers/s", "it is said", |it| {
        conditions(it).iter().any(|(kind, _)| kind == "UnknownTool")
    })
    .await;
    change(&rig, "Greets all.").await;
    let waits = |it: &Value| conditions(it).iter().any(|(kind, _)| kind == "ToolsWait");
    let said = conditions(&until(&rig, "/servers/s", "it waits", waits).await);
    assert!(said.iter().any(|(_, message)| message.contains("hayward approve s")), "{said:?}");
    let overview = rig.get("/health/overview", rig.admin()).await.json();
    assert_eq!(overview["servers"]["toolsWait"], json!(["s"]), "{overview}");
    let tool = tool(&rig, "waits").await;
    let digest = json!({"digest": tool["pending"]["digest"]});
    assert_eq!(rig.post("/servers/s/tools/greet/approve", rig.admin(), digest).await.status, 200);
    // It is in force by then.
    let server = rig.get("/servers/s", rig.admin()).await.json();
    assert_eq!(server["status"]["gateway"]["shown"]["tools"], 1, "{server}");
}

#[tokio::test]
async fn while_a_server_that_fails_is_tried_again_it_says_why_it_failed() {
    let rig = Rig::start();
    let broken = json!({"name": "broken", "command": ["python3", "-c", "import sys; sys.exit(7)"]});
    assert_eq!(rig.post("/servers", rig.admin(), broken).await.status, 201);
    let ready = |server: &Value| {
        let conditions = server["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|it| it["type"] == "Ready")
    };
    let again = |server: &Value| {
        ready(server).is_some_and(|it| it["message"].as_str().unwrap().contains("tried again"))
    };
    let server = until(&rig, "/servers/broken", "it is tried again", again).await;
    let ready = ready(&server).unwrap();
    assert!(ready["message"].as_str().unwrap().contains("exited with 7"), "{ready}");
    assert_eq!((&ready["reason"], &server["status"]["phase"]), (&json!("Crashed"), &json!("Crashed")));
}

#[tokio::test]
async fn a_tool_that_a_health_check_calls_is_recorded_before_it_is_called() {
    let rig = running().await;
    let check =
        json!({"healthCheck": {"tool": "greet", "arguments": {"who": "probe"}, "intervalSeconds": 1}});
    assert_eq!(rig.send("PATCH", "/servers/s", rig.admin(), &check).await.status, 200);
    until(&rig, "/instances?serverId=s", "it was asked", |all| all[0]["status"]["health"] == "healthy").await;
    let name = instance(&rig).await;
    let mut probes = rig.recorded("intent", "servers.probe");
    probes.retain(|it| it["arguments"]["instance"] == name.as_str());
    assert_eq!(probes.len(), 1, "once for each instance");
    let arguments = &probes[0]["arguments"];
    assert_eq!((&arguments["tool"], &arguments["arguments"]), (&json!("greet"), &json!({"who": "probe"})));
}
