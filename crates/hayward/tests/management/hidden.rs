//! What somebody may not see or change stays unseen and unchanged, also on a way around.

use serde_json::{Value, json};

use super::rig::{Rig, server};

async fn made(rig: &Rig, path: &str, body: Value) {
    let answer = rig.post(path, rig.admin(), body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

#[tokio::test]
async fn what_refers_to_a_secret_is_named_to_and_changed_by_those_only_who_may() {
    let rig = Rig::start();
    made(&rig, "/secrets", json!({"name": "s", "data": {"K": "value-of-the-secret"}})).await;
    let mut uses = server("unseen");
    uses["env"] = json!([{"name": "K", "valueFrom": {"secretRef": {"name": "s", "key": "K"}}}]);
    made(&rig, "/servers", uses).await;
    let bindings =
        json!([{"role": "delete", "resource": "secrets"}, {"role": "view", "resource": "secrets"}]);
    let dan = rig.user("dan@example.org", bindings).await;
    let refused = rig.send("DELETE", "/secrets/s", &dan, &Value::Null).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(!refused.body.contains("unseen"), "{}", refused.body);
    let refused = rig.send("DELETE", "/secrets/s?detach=true", &dan, &Value::Null).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let server = rig.get("/servers/unseen", rig.admin()).await.json();
    assert_eq!(server["env"][0]["name"], "K");
    let told = rig.send("DELETE", "/secrets/s", rig.admin(), &Value::Null).await;
    assert!(told.status == 409 && told.body.contains("unseen"), "{}", told.body);
    let detached = rig.send("DELETE", "/secrets/s?detach=true", rig.admin(), &Value::Null).await;
    assert_eq!(detached.status, 204, "{}", detached.body);
    assert_eq!(rig.get("/servers/unseen", rig.admin()).await.json()["env"], Value::Null);
}

#[tokio::test]
async fn claims_push_the_record_out_of_no_list() {
    let rig = Rig::start();
    let ahead = json!({"eventKind": "gate_decision", "timestamp": "9998-01-01T00:00:00Z"});
    let claims = Value::Array(vec![ahead; 50]);
    let answer = rig.post("/audit/events", rig.admin(), claims).await;
    assert!(answer.status < 300, "{}", answer.body);
    let listed = rig.get("/audit/events?limit=10", rig.admin()).await.json();
    let listed = listed.as_array().unwrap();
    assert!(listed.iter().all(|event| !event["timestamp"].as_str().unwrap().starts_with("9998")));
    assert!(listed.iter().any(|event| event["verified"] == true), "{listed:?}");
}

#[tokio::test]
async fn a_secret_that_is_long_switches_the_hiding_of_others_not_off_and_none_hides_our_own_words() {
    let rig = Rig::start();
    made(&rig, "/secrets", json!({"name": "mine", "data": {"K": "s3cr3tvalue-xyz-1234"}})).await;
    let long = |letter: char| (0..60_000).map(|n| if n % 7 == 0 { letter } else { 'x' }).collect::<String>();
    let data = json!({"A": long('a') + "1", "B": long('b') + "2", "C": long('c') + "3", "D": long('d') + "4", "E": long('e') + "5"});
    made(&rig, "/secrets", json!({"name": "long", "data": data})).await;
    made(&rig, "/secrets", json!({"name": "words", "data": {"K": "servers.list"}})).await;
    let echo = json!({"command": "echo s3cr3tvalue-xyz-1234"});
    let told = rig.daemon.call("rw", "bash_execute", echo).await.unwrap();
    assert!(!told.to_string().contains("s3cr3tvalue-xyz-1234"), "{told}");
    rig.get("/servers", rig.admin()).await;
    assert!(!rig.recorded("intent", "servers.list").is_empty(), "the record says what was asked for");
}

#[tokio::test]
async fn what_one_may_not_see_one_may_not_refer_to_either() {
    let rig = Rig::start();
    made(&rig, "/secrets", json!({"name": "unseen", "data": {"K": "value-of-the-secret"}})).await;
    made(&rig, "/servers", server("evesrv")).await;
    let eve = json!([{"role": "edit", "resource": "servers", "name": "evesrv"}, {"role": "run", "action": "define-commands"}]);
    let eve = rig.user("eve@example.org", eve).await;
    let env = |secret: &str| json!({"env": [{"name": "A", "valueFrom": {"secretRef": {"name": secret, "key": "K"}}}]});
    let refused = async |secret: &str| {
        let answer = rig.send("PATCH", "/servers/evesrv", &eve, &env(secret)).await;
        (answer.status, answer.json()["detail"].as_str().unwrap().replace(secret, ""))
    };
    let (unseen, missing) = (refused("unseen").await, refused("nope").await);
    assert_eq!((unseen.0, &unseen.1), (400, &missing.1), "an unseen one is like a missing one");
    // What somebody else has put there stays while she edits the rest.
    let put = rig.send("PATCH", "/servers/evesrv", rig.admin(), &env("unseen")).await;
    assert_eq!(put.status, 200, "{}", put.body);
    let edited = rig.send("PATCH", "/servers/evesrv", &eve, &json!({"description": "mine"})).await;
    assert_eq!(edited.status, 200, "{}", edited.body);
}

#[tokio::test]
async fn what_names_a_key_is_named_to_those_only_who_may_see_it() {
    let rig = Rig::start();
    let both =
        json!({"secrets": [{"name": "s", "data": {"A": "value-of-the-secret", "B": "another-value"}}]});
    assert_eq!(rig.post("/apply", rig.admin(), both).await.status, 200);
    let mut uses = server("unseen");
    uses["env"] = json!([{"name": "K", "valueFrom": {"secretRef": {"name": "s", "key": "A"}}}]);
    made(&rig, "/servers", uses).await;
    made(&rig, "/servers", server("seen")).await;
    let bindings = json!([{"role": "edit", "resource": "secrets", "name": "s"}]);
    let dan = rig.user("dan@example.org", bindings).await;
    let lists = json!({"secrets": [{"name": "s", "data": {"B": "another-value"}}]});
    for (method, path, body) in [("PUT", "/secrets/s", &lists["secrets"][0]), ("POST", "/apply", &lists)] {
        let refused = rig.send(method, path, &dan, body).await;
        assert!(refused.status == 409 && !refused.body.contains("unseen"), "{method}: {}", refused.body);
    }
    // Whoever may not see a secret learns of no key whether it is there, where another one of it is named already.
    let eve = json!([
        {"role": "edit", "resource": "servers", "name": "unseen"}, {"role": "run", "action": "define-commands"}]);
    let eve = rig.user("eve@example.org", eve).await;
    let tries = async |key: &str| {
        let from = json!({"secretRef": {"name": "s", "key": key}});
        let body = json!({"env": [{"name": "K", "valueFrom": from}]});
        let refused = rig.send("PATCH", "/servers/unseen", &eve, &body).await;
        (refused.status, refused.json()["detail"].clone())
    };
    let (there, missing) = (tries("B").await, tries("C").await);
    assert_eq!((there.0, &there), (400, &missing));
}

#[tokio::test]
async fn a_server_that_one_may_not_see_is_not_attached_by_an_apply_either() {
    let rig = Rig::start();
    made(&rig, "/projects", json!({"name": "mine"})).await;
    made(&rig, "/servers", server("seen")).await;
    made(&rig, "/servers", server("unseen")).await;
    let bob = json!([{"role": "edit", "resource": "serverattachments", "project": "mine"},
        {"role": "edit", "resource": "projects", "name": "mine"},
        {"role": "view", "resource": "servers", "name": "seen"},
        {"role": "run", "resource": "servers", "name": "seen"}]);
    let bob = rig.user("bob@example.org", bob).await;
    let apply = async |lists: Value, server: &str| {
        let answer = rig.post("/apply", &bob, lists).await;
        let detail = answer.json()["detail"].as_str().unwrap_or_default().replace(server, "");
        (answer.status, detail)
    };
    let attachment = |server: &str| json!({"serverattachments": [{"server": server, "project": "mine"}]});
    let project = |server: &str| json!({"projects": [{"name": "mine", "servers": [server]}]});
    for lists in [&attachment as &dyn Fn(&str) -> Value, &project] {
        let (unseen, nowhere) =
            (apply(lists("unseen"), "unseen").await, apply(lists("nowhere"), "nowhere").await);
        assert!([400, 404].contains(&unseen.0) && !unseen.1.is_empty(), "{unseen:?}");
        assert_eq!(unseen, nowhere);
    }
    assert_eq!(apply(attachment("unseen"), "").await.0, 404);
    assert_eq!(rig.get("/projects/mine", rig.admin()).await.json()["servers"], Value::Null);
    for lists in [attachment("seen"), project("seen")] {
        let applied = apply(lists, "").await;
        assert_eq!(applied.0, 200, "{}", applied.1);
    }
}

#[tokio::test]
async fn what_is_hidden_and_what_is_missing_are_refused_on_one_way() {
    for name in ["hidden", "missing"] {
        let rig = Rig::start();
        made(&rig, "/servers", server("hidden")).await;
        let bob = rig.user("bob@example.org", json!([])).await;
        assert_eq!(rig.get(&format!("/servers/{name}"), &bob).await.status, 404);
        // Decided before anybody looks whether it is there, so that it takes as long.
        let told = format!("view servers `{name}`");
        assert!(rig.records().iter().any(|record| record.to_string().contains(&told)), "{name}");
    }
}

#[tokio::test]
async fn what_was_taken_away_is_not_brought_back_by_a_revert_of_whoever_may_not_see_it() {
    let rig = Rig::start();
    let data = json!({"name": "crown", "data": {"K": "value-of-the-secret"}});
    made(&rig, "/secrets", data).await;
    let mut uses = server("mine");
    uses["env"] = json!([{"name": "A", "valueFrom": {"secretRef": {"name": "crown", "key": "K"}}}]);
    made(&rig, "/servers", uses).await;
    let with = rig.get("/servers/mine", rig.admin()).await.json()["version"].clone();
    let put = rig.send("PATCH", "/servers/mine", rig.admin(), &json!({"env": null})).await;
    assert_eq!(put.status, 200, "{}", put.body);
    let eve = json!([{"role": "edit", "resource": "servers", "name": "mine"}, {"role": "run", "action": "define-commands"}]);
    let eve = rig.user("eve@example.org", eve).await;
    let back = json!({"to": with});
    let refused = async || {
        let answer = rig.post("/servers/mine/revert?dryRun=server", &eve, back.clone()).await;
        (answer.status, answer.json()["detail"].to_string())
    };
    let unseen = refused().await;
    assert!(unseen.0 == 400 && unseen.1.contains("is not there"), "{unseen:?}");
    // Neither that the key is gone nor that all of it is makes a difference to her.
    let other = json!({"name": "crown", "data": {"L": "value-of-the-secret"}});
    assert_eq!(rig.send("PUT", "/secrets/crown", rig.admin(), &other).await.status, 200);
    assert_eq!(refused().await, unseen);
    assert_eq!(rig.send("DELETE", "/secrets/crown", rig.admin(), &Value::Null).await.status, 204);
    assert_eq!(refused().await, unseen);
    made(&rig, "/secrets", json!({"name": "crown", "data": {"K": "value-of-the-secret"}})).await;
    let own = rig.post("/servers/mine/revert", rig.admin(), back.clone()).await;
    assert_eq!(own.status, 200, "{}", own.body);
}

#[tokio::test]
async fn a_password_without_quotes_is_told_to_nobody() {
    let rig = Rig::start();
    let number = 7_719_004_411_u64;
    let bodies = [
        ("/auth/bootstrap", json!({"email": "ann@example.org", "password": number})),
        ("/auth/login", json!({"email": "ann@example.org", "password": number})),
        ("/users", json!({"email": "bob@example.org", "password": number})),
        ("/secrets", json!({"name": "s", "data": {"A": number}})),
        ("/apply", json!({"users": [{"email": "bob@example.org", "password": number}]})),
    ];
    for (path, body) in bodies {
        let refused = rig.post(path, rig.admin(), body).await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.body);
        assert!(refused.body.contains("must be a text"), "{path}: {}", refused.body);
        assert!(!refused.body.contains(&number.to_string()), "{path}: {}", refused.body);
    }
    let kept = std::fs::read_to_string(rig.dir.path().join("data/audit/record.jsonl")).unwrap();
    assert!(!kept.contains(&number.to_string()));
}
