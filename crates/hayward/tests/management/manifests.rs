//! A directory as the truth.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

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
        names(servers) == ["a", "c"] && overview["status"] == "ok"
    })
    .await;
    let intents = rig.recorded("intent", "apply");
    assert!(
        intents
            .iter()
            .any(|it| it["principal"]["name"] == "manifests" && it["arguments"]["deleted"][0] == "server/b")
    );
}
