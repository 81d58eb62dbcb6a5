//! A directory as the truth.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::rig::Rig;

async fn until(rig: &Rig, what: &str, condition: impl Fn(&Value, &Value) -> bool) {
    let started = Instant::now();
    loop {
        let servers = rig.get("/servers", rig.admin()).await.json();
        let overview = rig.get("/health/overview", rig.admin()).await.json();
        if condition(&servers, &overview) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{what}: {servers} {overview}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn names(servers: &Value) -> Vec<&str> {
    servers.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_directory_is_applied_and_followed_and_a_broken_file_keeps_its_last_good_state() {
    let manifests = tempfile::tempdir().unwrap();
    let file = |name: &str| manifests.path().join(name);
    fs::write(file("a.yaml"), "servers:\n- name: a\n  command: [x]\n").unwrap();
    fs::write(file("b.yaml"), "servers:\n- name: b\n  command: [x]\n").unwrap();
    let rig = Rig::start_with(&["--manifests", manifests.path().to_str().unwrap()]);
    until(&rig, "both are there", |servers, _| names(servers) == ["a", "b"]).await;
    fs::write(
        file("a.yaml"),
        "servers:\n- name: a\n  command: [x]\n  replicas: 2\n- name: c\n  command: [y]\n",
    )
    .unwrap();
    fs::write(file("b.yaml"), "servers:\n- name: b\n  comand: [x]\n").unwrap();
    until(&rig, "what is good is in force and what is broken stays", |servers, overview| {
        names(servers) == ["a", "b", "c"]
            && servers[0]["replicas"] == 2
            && servers[1]["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|it| it["type"] == "ManifestBroken"))
            && overview["status"] == "degraded"
            && overview["conditions"][0]["message"].as_str().is_some_and(|told| told.contains("b.yaml"))
    })
    .await;
    fs::remove_file(file("b.yaml")).unwrap();
    until(&rig, "what vanished is gone, and all is well", |servers, overview| {
        names(servers) == ["a", "c"] && overview["manifests"]["status"] == "ok"
    })
    .await;
    let intents = rig.recorded("intent", "apply");
    assert!(
        intents
            .iter()
            .any(|it| it["principal"]["name"] == "manifests" && it["arguments"]["deleted"][0] == "server/b")
    );
}

#[tokio::test]
async fn what_moves_into_a_broken_file_is_not_deleted_and_is_told_by_its_file() {
    let manifests = tempfile::tempdir().unwrap();
    let file = |name: &str| manifests.path().join(name);
    let keep = "servers:\n- name: keep\n  command: [x]\nsecrets:\n- name: s\n  data: {K: v}\n";
    fs::write(file("a.yaml"), keep).unwrap();
    let rig = Rig::start_with(&["--manifests", manifests.path().to_str().unwrap()]);
    until(&rig, "it is there", |servers, _| names(servers) == ["keep"]).await;
    let before = rig.get("/servers/keep", rig.admin()).await.json();
    fs::write(file("b.yaml"), keep.replace("command", "comand")).unwrap();
    fs::write(file("a.yaml"), "servers:\n- name: more\n  command: [x]\n").unwrap();
    until(&rig, "what is good is in force, and nothing is deleted", |servers, overview| {
        names(servers) == ["keep", "more"] && overview["status"] == "degraded"
    })
    .await;
    assert_eq!(rig.get("/secrets/s", rig.admin()).await.status, 200);
    fs::write(file("b.yaml"), keep).unwrap();
    until(&rig, "it is mended", |_, overview| overview["manifests"]["status"] == "ok").await;
    assert_eq!(rig.get("/servers/keep", rig.admin()).await.json()["id"], before["id"]);

    fs::write(file("c.yaml"), "servers:\n- name: more\n  command: [x]\n").unwrap();
    until(&rig, "what two files say is told by both", |_, overview| {
        let told = overview["conditions"][0]["message"].as_str().unwrap_or_default();
        told.contains("a.yaml: servers[0]") && told.contains("c.yaml: servers[0]")
    })
    .await;
}

#[tokio::test]
async fn a_broken_file_is_told_without_its_lines_and_only_to_whoever_may_read_the_log() {
    let manifests = tempfile::tempdir().unwrap();
    let file = manifests.path().join("b.yaml");
    let good = "servers: [{name: b, command: [x]}]\nsecrets:\n- name: s\n  data: {K: value-that-is-live}\n";
    fs::write(&file, good).unwrap();
    let rig = Rig::start_with(&["--manifests", manifests.path().to_str().unwrap()]);
    until(&rig, "it is there", |servers, _| names(servers) == ["b"]).await;
    fs::write(&file, good.replace("live}", "live, L: value-that-is-new: x}")).unwrap();
    until(&rig, "it is broken", |_, overview| overview["manifests"]["status"] == "degraded").await;
    let told =
        rig.get("/health/overview", rig.admin()).await.body + &rig.get("/servers/b", rig.admin()).await.body;
    assert!(told.contains("ManifestBroken") && told.contains("b.yaml"), "{told}");
    assert!(!told.contains("value-that-is"), "{told}");
    let others = rig.get("/health/overview", rig.daemon.token("ro")).await.json();
    assert!(others["status"] == "degraded" && !others.to_string().contains("b.yaml"), "{others}");
}

#[tokio::test]
async fn what_others_refer_to_is_kept_and_holds_nothing_else_of_the_directory_up() {
    let manifests = tempfile::tempdir().unwrap();
    let file = manifests.path().join("a.yaml");
    fs::write(&file, "servers: [{name: a, command: [x]}, {name: b, command: [x]}]\n").unwrap();
    let rig = Rig::start_with(&["--manifests", manifests.path().to_str().unwrap()]);
    until(&rig, "both are there", |servers, _| names(servers) == ["a", "b"]).await;
    let made = rig.post("/projects", rig.admin(), json!({"name": "p", "servers": ["a"]})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    fs::write(&file, "servers: [{name: c, command: [x]}]\n").unwrap();
    until(&rig, "the rest is in force", |servers, overview| {
        names(servers) == ["a", "c"]
            && overview["status"] == "degraded"
            && overview.to_string().contains("others refer to it: server `a`")
    })
    .await;
    assert_eq!(rig.send("DELETE", "/projects/p", rig.admin(), &Value::Null).await.status, 204);
    until(&rig, "it is tried again", |servers, overview| {
        names(servers) == ["c"] && overview["manifests"]["status"] == "ok"
    })
    .await;
}

#[tokio::test]
async fn nobody_applies_in_the_name_of_the_directory() {
    let rig = Rig::start();
    let lists = json!({"servers": [{"name": "x", "command": ["x"]}]});
    let refused = rig.post("/apply?manager=manifests", rig.admin(), lists.clone()).await;
    assert!(refused.status == 400 && refused.body.contains("choose another name"), "{}", refused.body);
    assert_eq!(rig.post("/apply?manager=ci", rig.admin(), lists).await.status, 200);
}

#[tokio::test]
async fn a_token_of_the_directory_that_is_not_there_is_left_out_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("manifests");
    std::fs::create_dir(&manifests).unwrap();
    std::fs::write(manifests.join("a.yaml"), "servers: [{name: a, command: [x]}]").unwrap();
    let rig = Rig::start_with(&["--manifests", manifests.to_str().unwrap()]);
    until(&rig, "applied", |servers, _| names(servers) == ["a"]).await;
    let text = "servers: [{name: a, command: [x]}, {name: b, command: [x]}]\ntokens: [{name: ci, role: ro}]";
    std::fs::write(manifests.join("a.yaml"), text).unwrap();
    until(&rig, "the rest is in force", |servers, told| {
        names(servers) == ["a", "b"]
            && told["status"] == "degraded"
            && told.to_string().contains("token `ci`")
    })
    .await;
    assert_eq!(rig.get("/tokens/ci", rig.admin()).await.status, 404);
    let made = rig.post("/tokens", rig.admin(), json!({"name": "ci", "role": "ro"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    std::fs::write(manifests.join("a.yaml"), format!("{text}\n")).unwrap();
    until(&rig, "it is the directory's", |_, told| told["manifests"]["status"] == "ok").await;
}
