//! Many at once, all of it or nothing.

use serde_json::{Value, json};

use super::rig::{Rig, server};

fn actions(answer: &Value) -> Vec<(String, String)> {
    let results = answer["results"].as_array().unwrap();
    results
        .iter()
        .map(|it| (it["name"].as_str().unwrap().to_owned(), it["action"].as_str().unwrap().to_owned()))
        .collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, action)| ((*name).to_owned(), (*action).to_owned())).collect()
}

#[tokio::test]
async fn lists_are_applied_together_and_again_they_change_nothing() {
    let rig = Rig::start();
    let admin = rig.admin();
    let lists = json!({
        "projects": [{"name": "home", "servers": ["ha"]}],
        "servers": [{"name": "ha", "command": ["x"], "env": [{"name": "K", "valueFrom": {"secretRef": {"name": "s", "key": "K"}}}]}],
        "secrets": [{"name": "s", "data": {"K": "v"}}],
        "serverattachments": [{"server": "ha", "project": "home"}],
    });
    let dry = rig.post("/apply?dryRun=server", admin, lists.clone()).await;
    assert_eq!(dry.status, 200, "{}", dry.body);
    assert!(dry.json()["results"][0]["after"].is_object());
    assert_eq!(rig.get("/servers", admin).await.json(), json!([]), "a dry run stores nothing");
    let applied = rig.post("/apply", admin, lists.clone()).await;
    assert_eq!(applied.status, 200, "{}", applied.body);
    assert_eq!(
        actions(&applied.json()),
        pairs(&[("s", "created"), ("ha", "created"), ("home", "created"), ("ha", "unchanged")])
    );
    let again = rig.post("/apply", admin, lists).await.json();
    assert!(actions(&again).iter().all(|(_, action)| action == "unchanged"), "{again}");
    let intent =
        rig.recorded("intent", "apply").into_iter().find(|it| it["arguments"]["dryRun"] == false).unwrap();
    assert_eq!(intent["arguments"]["created"], json!(["secret/s", "server/ha", "project/home"]), "{intent}");
}

#[tokio::test]
async fn if_one_is_wrong_none_is_there_and_its_place_is_told() {
    let rig = Rig::start();
    let admin = rig.admin();
    for (bad, place) in [
        (json!({"name": "b", "command": ["x"], "replcas": 1}), "servers[1].replcas"),
        (json!({"name": "a", "command": ["x"]}), "servers[1]"),
    ] {
        let refused = rig.post("/apply", admin, json!({"servers": [server("a"), bad]})).await;
        assert_eq!(
            (refused.status, refused.json()["errors"][0]["field"].clone()),
            (400, json!(place)),
            "{}",
            refused.body
        );
    }
    let dangling = json!({"servers": [server("a")], "projects": [{"name": "p", "servers": ["none"]}]});
    assert_eq!(rig.post("/apply", admin, dangling).await.status, 400);
    assert_eq!(rig.get("/servers", admin).await.json(), json!([]));
}

#[tokio::test]
async fn what_others_set_stays_and_what_is_no_longer_said_goes() {
    let rig = Rig::start();
    let admin = rig.admin();
    let mut one = server("a");
    one["description"] = "mine".into();
    rig.post("/apply", admin, json!({"servers": [one]})).await;
    rig.send_as(("PATCH", "/servers/a"), admin, &[], r#"{"replicas": 4}"#).await;
    let applied = rig.post("/apply", admin, json!({"servers": [server("a")]})).await.json();
    assert_eq!(actions(&applied), pairs(&[("a", "updated")]));
    let remote = json!({"servers": [{"name": "a", "externalUrl": "https://x.example/mcp"}]});
    let moved = rig.post("/apply", admin, remote).await;
    assert_eq!(
        moved.status, 200,
        "what followed from the old way to start it goes with that: {}",
        moved.body
    );
    rig.post("/apply", admin, json!({"servers": [server("a")]})).await;
    let live = rig.get("/servers/a", admin).await.json();
    assert_eq!((live["replicas"].as_u64(), live.get("description")), (Some(4), None), "{live}");
}

#[tokio::test]
async fn pruning_takes_what_the_same_manager_applied_and_nothing_else() {
    let rig = Rig::start();
    let admin = rig.admin();
    rig.post("/servers", admin, server("by-hand")).await;
    rig.post("/apply?manager=other", admin, json!({"servers": [server("others")]})).await;
    rig.post("/apply?manager=mine", admin, json!({"servers": [server("a"), server("b")]})).await;
    let vague = rig.post("/apply?prune=true", admin, json!({"servers": []})).await;
    assert_eq!(vague.status, 400, "{}", vague.body);
    let pruned =
        rig.post("/apply?manager=mine&prune=true", admin, json!({"servers": [server("a")]})).await.json();
    assert_eq!(actions(&pruned), pairs(&[("a", "unchanged"), ("b", "deleted")]));
    let left = rig.get("/servers", admin).await.json();
    let left: Vec<_> = left.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(left, ["a", "by-hand", "others"]);
}

#[tokio::test]
async fn whoever_may_only_some_of_it_may_none() {
    let rig = Rig::start();
    let bob = json!([{"role": "edit", "resource": "servers"}, {"role": "run", "action": "define-commands"}]);
    let bob = rig.user("bob@example.org", bob).await;
    let refused = rig
        .post(
            "/apply",
            &bob,
            json!({"servers": [server("a")], "secrets": [{"name": "s", "data": {"K": "v"}}]}),
        )
        .await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert_eq!(rig.get("/servers", &bob).await.json(), json!([]));
    assert_eq!(rig.post("/apply", &bob, json!({"servers": [server("a")]})).await.status, 200);
}

#[tokio::test]
async fn what_one_manager_says_survives_the_applies_of_another_and_each_prunes_its_own() {
    let rig = Rig::start();
    let admin = rig.admin();
    let mut described = server("a");
    described["description"] = "of one".into();
    let mut labelled = server("a");
    labelled["labels"] = json!({"team": "two"});
    for _ in 0..2 {
        rig.post("/apply?manager=one", admin, json!({"servers": [described, server("b")]})).await;
        rig.post("/apply?manager=two", admin, json!({"servers": [labelled, server("b")]})).await;
        let live = rig.get("/servers/a", admin).await.json();
        assert_eq!(
            (&live["description"], &live["labels"]["team"]),
            (&json!("of one"), &json!("two")),
            "{live}"
        );
    }
    // What one doesn't say any more goes; what two says stays.
    rig.post("/apply?manager=one", admin, json!({"servers": [server("a"), server("b")]})).await;
    let live = rig.get("/servers/a", admin).await.json();
    assert_eq!((&live["description"], &live["labels"]["team"]), (&Value::Null, &json!("two")), "{live}");
    // Two applied last, and one still knows what it applied itself.
    rig.post("/apply?manager=two", admin, json!({"servers": [labelled, server("b")]})).await;
    let pruned = rig.post("/apply?manager=one&prune=true", admin, json!({"servers": [server("a")]})).await;
    assert!(actions(&pruned.json()).contains(&("b".to_owned(), "deleted".to_owned())), "{}", pruned.body);
}
