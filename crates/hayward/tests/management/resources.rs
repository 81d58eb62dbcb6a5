//! One resource after the other.

use serde_json::{Value, json};

use super::rig::{Rig, server};

#[tokio::test]
async fn a_key_that_is_named_is_in_its_secret_and_stays_there() {
    let rig = Rig::start();
    let secret = |keys: &[&str]| {
        let data: serde_json::Map<_, _> =
            keys.iter().map(|key| ((*key).to_owned(), "hunter2222".into())).collect();
        json!({"name": "s", "data": data})
    };
    let uses = |key: &str| {
        let from = json!({"secretRef": {"name": "s", "key": key}});
        json!({"name": "x", "command": ["x"], "env": [{"name": "K", "valueFrom": from}]})
    };
    let made = rig.post("/apply", rig.admin(), json!({"secrets": [secret(&["A", "B"])]})).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let wrong = |answer: &hayward_testkit::client::Answer| {
        answer.status == 400 && answer.body.contains("names key `C` of secret `s`, which is not there")
    };
    let refused = rig.post("/servers", rig.admin(), uses("C")).await;
    assert!(wrong(&refused) && !refused.body.contains("hunter"), "{}", refused.body);
    assert_eq!(rig.post("/servers", rig.admin(), uses("A")).await.status, 201);
    for (method, path, body) in [
        ("PUT", "/servers/x", uses("C")),
        ("PATCH", "/servers/x", uses("C")),
        ("POST", "/apply", json!({"servers": [uses("C")]})),
    ] {
        let refused = rig.send(method, path, rig.admin(), &body).await;
        assert!(wrong(&refused), "{method}: {}", refused.body);
    }
    for (method, path, body) in [
        ("PUT", "/secrets/s", secret(&["B"])),
        ("PATCH", "/secrets/s", json!({"data": {"A": null}})),
        ("POST", "/apply", json!({"secrets": [secret(&["B"])]})),
    ] {
        let refused = rig.send(method, path, rig.admin(), &body).await;
        let told = "key `A` of secret `s` is referred to by server `x`";
        assert!(refused.status == 409 && refused.body.contains(told), "{method}: {}", refused.body);
    }
    let other = rig.send("PUT", "/secrets/s", rig.admin(), &secret(&["A", "C"])).await;
    assert_eq!(other.status, 200, "{}", other.body);
    // Both at once, whichever comes first.
    let both = json!({"secrets": [secret(&["D"])], "servers": [uses("D")]});
    let applied = rig.post("/apply", rig.admin(), both).await;
    assert_eq!(applied.status, 200, "{}", applied.body);
    let history = rig.get("/secrets/s/history", rig.admin()).await.json();
    let back = rig.post("/secrets/s/revert", rig.admin(), json!({"to": history[0]["version"]})).await;
    assert!(back.status == 409 && back.body.contains("`D`"), "{}", back.body);
}

#[tokio::test]
async fn a_rule_names_an_account_as_what_it_is() {
    let rig = Rig::start();
    rig.bootstrap().await;
    assert_eq!(
        rig.post("/users", rig.admin(), json!({"email": "ci", "serviceAccount": true})).await.status,
        201
    );
    let rules = |kind: &str, name: &str| {
        json!({"name": "r", "subjects": [{"kind": kind, "name": name}],
            "roleBindings": [{"role": "view", "resource": "servers"}]})
    };
    for (kind, name, word) in
        [("ServiceAccount", "ann@example.org", "User"), ("User", "ci", "ServiceAccount")]
    {
        let made = rig.post("/rbac-definitions", rig.admin(), rules(kind, name)).await;
        let applied = rig.post("/apply", rig.admin(), json!({"rbac": [rules(kind, name)]})).await;
        for refused in [made, applied] {
            let is_told = refused.body.contains(&format!("write `{word}`"))
                && refused.body.contains("subjects[0].kind");
            assert!(refused.status == 400 && is_told, "{}", refused.body);
        }
    }
    assert_eq!(rig.post("/rbac-definitions", rig.admin(), rules("ServiceAccount", "ci")).await.status, 201);
}

#[tokio::test]
async fn a_server_is_made_shown_changed_and_deleted_and_each_of_it_is_recorded() {
    let rig = Rig::start();
    let admin = rig.admin();
    let made = rig.post("/servers", admin, server("ha")).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let (id, tag) = (made.json()["id"].as_str().unwrap().to_owned(), made.header("etag").unwrap().to_owned());
    assert_eq!(made.header("location"), Some(&*format!("/api/v1/servers/{id}")));
    for word in ["ha", &id] {
        assert_eq!(rig.get(&format!("/servers/{word}"), admin).await.json()["name"], "ha");
    }
    let put = rig
        .send_as(
            ("PUT", "/servers/ha"),
            admin,
            &[("if-match", &tag)],
            &json!({"command": ["other"]}).to_string(),
        )
        .await;
    assert_eq!((put.status, put.json()["generation"].as_u64()), (200, Some(2)), "{}", put.body);
    let late =
        rig.send_as(("PUT", "/servers/ha"), admin, &[("if-match", &tag)], &server("ha").to_string()).await;
    assert_eq!(
        (late.status, late.json()["code"].as_str().map(ToOwned::to_owned)),
        (412, Some("conflict".into()))
    );
    let late = rig.send("PUT", "/servers/ha", admin, &json!({"command": ["x"], "version": 1})).await;
    assert_eq!(late.status, 409, "{}", late.body);
    let patch = [("content-type", "application/merge-patch+json")];
    let patched = rig
        .send_as(("PATCH", "/servers/ha"), admin, &patch, r#"{"replicas": 3, "labels": {"a": "b"}}"#)
        .await;
    assert_eq!((patched.status, patched.json()["replicas"].as_u64()), (200, Some(3)), "{}", patched.body);
    let history = rig.get("/servers/ha/history", admin).await.json();
    let changes: Vec<_> =
        history.as_array().unwrap().iter().map(|it| it["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["created", "updated", "updated"]);
    assert_eq!(rig.send("DELETE", "/servers/ha", admin, &Value::Null).await.status, 204);
    assert_eq!(rig.get("/servers/ha", admin).await.status, 404);
    let to = history[0]["version"].clone();
    let back = rig.post("/servers/ha/revert", admin, json!({"to": to})).await;
    assert_eq!((back.status, back.json()["command"].clone()), (200, json!(["serve"])), "{}", back.body);
    for name in [
        "servers.create",
        "servers.get",
        "servers.update",
        "servers.patch",
        "servers.history",
        "servers.delete",
        "servers.revert",
    ] {
        assert!(!rig.recorded("intent", name).is_empty(), "{name}");
    }
    let records = rig.records();
    let intents = records.iter().filter(|it| it["type"] == "intent").count();
    assert_eq!(records.iter().filter(|it| it["type"] == "outcome").count(), intents, "each has its outcome");
}

#[tokio::test]
async fn lists_are_filtered_come_in_parts_and_a_word_that_is_misspelt_selects_nothing() {
    let rig = Rig::start();
    let admin = rig.admin();
    for at in 0..5 {
        let mut server = server(&format!("s{at}"));
        server["labels"] = json!({"parity": if at % 2 == 0 { "even" } else { "odd" }});
        assert_eq!(rig.post("/servers", admin, server).await.status, 201);
    }
    let names = |answer: &hayward_testkit::client::Answer| -> Vec<String> {
        answer.json().as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let odd = rig.get("/servers?labelSelector=parity%3Dodd", admin).await;
    assert_eq!(names(&odd), ["s1", "s3"]);
    assert!(odd.header("x-resource-version").unwrap().parse::<u64>().unwrap() >= 5);
    assert_eq!(names(&rig.get("/servers?fieldSelector=name%3Ds4", admin).await), ["s4"]);
    let first = rig.get("/servers?limit=2&labelSelector=parity", admin).await;
    let link = first.header("link").unwrap().split(['<', '>']).nth(1).unwrap().to_owned();
    let second = rig.get(link.strip_prefix("/api/v1").unwrap(), admin).await;
    assert_eq!(
        (names(&first), names(&second)),
        (vec!["s0".into(), "s1".into()], vec!["s2".into(), "s3".into()])
    );
    let (mut path, mut walked) = ("/servers?limit=1&labelSelector=parity%3Dodd".to_owned(), Vec::new());
    loop {
        let part = rig.get(&path, admin).await;
        walked.extend(names(&part));
        let Some(link) = part.header("link") else { break };
        path = link.split(['<', '>']).nth(1).unwrap().strip_prefix("/api/v1").unwrap().to_owned();
    }
    assert_eq!(walked, ["s1", "s3"]);
    let past = rig.get("/servers?limit=2&continue=/s4", admin).await;
    assert_eq!((names(&past), past.header("link")), (vec![], None));
    for bad in [
        "labelSelector=a%3D%3D%3Db",
        "labelselector=parity%3Dodd",
        "fieldSelector=nmae%3Dx",
        "limit=x",
        "limit=0",
        "continue=x",
        "dryRun=maybe",
    ] {
        let answer = rig.get(&format!("/servers?{bad}"), admin).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, Some("application/problem+json")),
            "{bad}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn values_of_secrets_are_never_shown_and_stay_where_they_are() {
    let rig = Rig::start();
    let admin = rig.admin();
    let made = rig.post("/secrets", admin, json!({"name": "s", "data": {"K": "sesame-open-7719"}})).await;
    assert_eq!((made.status, made.json()["data"].clone()), (201, json!({"K": "***"})), "{}", made.body);
    let kept = rig.send("PUT", "/secrets/s", admin, &json!({"data": {"K": "***"}})).await;
    assert_eq!(
        (kept.status, kept.json()["version"].clone()),
        (200, made.json()["version"].clone()),
        "{}",
        kept.body
    );
    let none = rig.send("PUT", "/secrets/s", admin, &json!({"data": {"K": "***", "L": "***"}})).await;
    assert_eq!(none.status, 400, "{}", none.body);
    let refers = json!({"name": "x", "command": ["x"], "env": [{"name": "K", "valueFrom": {"secretRef": {"name": "none", "key": "K"}}}]});
    let dangling = rig.post("/servers", admin, refers).await;
    assert_eq!(dangling.status, 400, "{}", dangling.body);
    assert!(dangling.body.contains("env[0].valueFrom.secretRef"), "{}", dangling.body);
    for (path, _) in [("/secrets", 0), ("/secrets/s/history", 0), ("/secrets/s", 0)] {
        assert!(!rig.get(path, admin).await.body.contains("sesame"), "{path}");
    }
    let text: String = rig.records().iter().map(ToString::to_string).collect();
    assert!(!text.contains("sesame"));
}

#[tokio::test]
async fn projects_have_their_servers_and_a_file_for_claude_code() {
    let rig = Rig::start();
    let admin = rig.admin();
    rig.post("/servers", admin, json!({"name": "ha", "packageName": "@x/ha", "runtime": "node"})).await;
    let made = rig.post("/projects", admin, json!({"name": "home", "prompt": "Be kind."})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let attached = rig.post("/projects/home/servers", admin, json!({"server": "ha"})).await;
    assert_eq!(attached.status, 201, "{}", attached.body);
    assert_eq!(rig.post("/projects/home/servers", admin, json!({"server": "ha"})).await.status, 409);
    let config = rig.get("/projects/home/mcp-config", admin).await.json();
    let entry = &config["mcpServers"]["home"];
    assert_eq!(entry["url"], format!("http://{}/projects/home/mcp", rig.daemon.address));
    assert_eq!(
        (&entry["type"], &entry["headers"]["Authorization"]),
        (&json!("http"), &json!("Bearer ${HAYWARD_TOKEN}"))
    );
    assert_eq!(rig.get("/projects/home/instructions", admin).await.json()["prompt"], "Be kind.");
    let list = rig.get("/serverattachments?project=home", admin).await.json();
    let id = list[0]["id"].as_str().unwrap();
    assert_eq!((&list[0]["server"], &list[0]["project"]), (&json!("ha"), &json!("home")));
    assert_eq!(rig.get(&format!("/serverattachments/{id}"), admin).await.status, 200);
    let held = rig.send("DELETE", "/servers/ha", admin, &Value::Null).await;
    assert_eq!(held.status, 409, "{}", held.body);
    assert_eq!(
        rig.send("DELETE", "/serverattachments/ha?project=home", admin, &Value::Null).await.status,
        204
    );
    assert_eq!(rig.get("/projects/home/servers", admin).await.json(), json!([]));
    rig.send_as(("PATCH", "/projects/home"), admin, &[], r#"{"gated": true}"#).await;
    let gated = rig.get("/projects/home/mcp-config", admin).await;
    assert_eq!(gated.status, 409, "what is not enforced is not served: {}", gated.body);
    rig.send_as(("PATCH", "/projects/home"), admin, &[], r#"{"accept": ["NotEnforced"]}"#).await;
    assert_eq!(rig.get("/projects/home/mcp-config", admin).await.status, 200);
}

#[tokio::test]
async fn a_request_becomes_a_prompt_or_stays_one_and_what_is_built_in_is_reset() {
    let rig = Rig::start();
    let admin = rig.admin();
    rig.post("/projects", admin, json!({"name": "home"})).await;
    let asked = json!({"name": "p", "project": "home", "content": "Look first.", "createdBySession": "s1"});
    let made = rig.post("/promptrequests", admin, asked).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let visible = rig.get("/projects/home/prompts/visible?session=s1", admin).await.json();
    assert!(
        visible.as_array().unwrap().iter().any(|it| it["name"] == "p" && it["pending"] == true),
        "{visible}"
    );
    let approved = rig.post("/promptrequests/p/approve", admin, Value::Null).await;
    assert_eq!(
        (approved.status, approved.json()["content"].clone()),
        (201, json!("Look first.")),
        "{}",
        approved.body
    );
    assert_eq!(rig.get("/promptrequests/p", admin).await.status, 404);
    let index = rig.get("/projects/home/prompt-index", admin).await.json();
    assert!(index.as_array().unwrap().iter().any(|it| it["name"] == "p"), "{index}");
    let prompts = rig.get("/prompts", admin).await.json();
    let builtin = prompts.as_array().unwrap().iter().find(|it| it["builtin"] == true).unwrap().clone();
    let path = format!("/prompts/{}", builtin["id"].as_str().unwrap());
    let changed = rig.send_as(("PATCH", &path), admin, &[], r#"{"content": "Otherwise."}"#).await;
    assert_eq!(changed.json()["content"], "Otherwise.", "{}", changed.body);
    assert_eq!(rig.send("DELETE", &path, admin, &Value::Null).await.status, 204);
    assert_eq!(rig.get(&path, admin).await.json()["content"], builtin["content"]);
}

#[tokio::test]
async fn what_comes_later_says_so_and_what_is_nowhere_too() {
    let rig = Rig::start();
    let later = rig.post("/backup", rig.admin(), Value::Null).await;
    assert_eq!(later.status, 501);
    assert!(later.json()["hint"].is_string());
    for (method, path, status) in
        [("GET", "/nothing", 404), ("POST", "/instances", 405), ("PATCH", "/auth/me", 405)]
    {
        let answer = rig.send(method, path, rig.admin(), &Value::Null).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some("application/problem+json")),
            "{path}"
        );
    }
    let openapi = rig.get("/openapi.json", "").await.json();
    assert_eq!(openapi["openapi"], "3.1.0");
    assert_eq!(rig.get("/health/overview", "").await.json()["status"], "ok");
    assert!(rig.get("/metrics", rig.admin()).await.json()["requests"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn events_of_others_are_claims_and_ours_are_verified() {
    let rig = Rig::start();
    let admin = rig.admin();
    let event = json!([{"eventKind": "gate_decision", "sessionId": "s", "verified": true}]);
    assert_eq!(rig.post("/audit/events", admin, event).await.json()["accepted"], 1);
    let claims = rig.get("/audit/events?source=claims", admin).await.json();
    assert_eq!((claims.as_array().unwrap().len(), &claims[0]["verified"]), (1, &json!(false)));
    let record = rig.get("/audit/events?source=record&eventKind=management", admin).await.json();
    assert!(
        record.as_array().unwrap().iter().any(|it| it["name"] == "audit.claim" && it["verified"] == true)
    );
    assert_eq!(rig.get("/audit/sessions", admin).await.json()[0]["eventCount"], 1);
}

#[tokio::test]
async fn patches_at_once_all_land() {
    let rig = Rig::start();
    let admin = rig.admin();
    rig.post("/servers", admin, server("a")).await;
    let patches = (0..24).map(|at| {
        let patch = format!(r#"{{"labels": {{"l{at}": "x"}}}}"#);
        let rig = &rig;
        async move { rig.send_as(("PATCH", "/servers/a"), admin, &[], &patch).await.status }
    });
    let statuses = futures_util::future::join_all(patches).await;
    assert_eq!(statuses, [200; 24]);
    let labels = rig.get("/servers/a", admin).await.json()["labels"].clone();
    assert_eq!(labels.as_object().unwrap().len(), 24, "{labels}");
    let stale =
        rig.send_as(("PATCH", "/servers/a"), admin, &[("if-match", "\"1\"")], r#"{"replicas": 2}"#).await;
    assert_eq!(stale.status, 412, "{}", stale.body);
    rig.post("/users", admin, json!({"email": "eve@example.org", "password": "before before"})).await;
    let patch = json!({"password": super::rig::PASSWORD}).to_string();
    let patched = rig.send_as(("PATCH", "/users/eve@example.org"), admin, &[], &patch).await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    rig.login("eve@example.org").await;
    let number = rig.send_as(("PATCH", "/users/eve@example.org"), admin, &[], r#"{"password": 7}"#).await;
    assert_eq!(number.status, 400, "{}", number.body);
}

#[tokio::test]
async fn prompts_of_the_gate_are_not_among_those_of_a_project() {
    let rig = Rig::start();
    let admin = rig.admin();
    rig.post("/projects", admin, json!({"name": "home"})).await;
    rig.post("/prompts", admin, json!({"name": "for-all", "content": "Be kind."})).await;
    rig.post("/prompts", admin, json!({"name": "for-home", "project": "home", "content": "Look."})).await;
    for path in ["/projects/home/prompt-index", "/projects/home/prompts/visible"] {
        let found = rig.get(path, admin).await.json();
        let mut names: Vec<&str> =
            found.as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["for-all", "for-home"], "{path}");
    }
}

#[tokio::test]
async fn what_comes_later_takes_whatever_is_asked_of_it() {
    let rig = Rig::start();
    let later = rig.get("/cache/stats?tail=10&follow=true", rig.admin()).await;
    assert_eq!(later.status, 501, "{}", later.body);
    assert_eq!(rig.get("/servers?tail=10", rig.admin()).await.status, 400);
    let hint = async |path: &str| {
        let refused = rig.send("PATCH", path, rig.admin(), &Value::Null).await;
        assert_eq!(refused.status, 405);
        refused.json()["hint"].as_str().unwrap().contains("instances")
    };
    assert!(!hint("/auth/me").await && hint("/instances").await);
}

#[tokio::test]
async fn a_project_in_the_query_means_what_is_attached_to_it_and_must_be_there() {
    let rig = Rig::start();
    let admin = rig.admin();
    for name in ["a", "b"] {
        rig.post("/servers", admin, server(name)).await;
    }
    rig.post("/projects", admin, json!({"name": "home", "servers": ["b"]})).await;
    let found = rig.get("/servers?project=home", admin).await.json();
    assert_eq!((found.as_array().unwrap().len(), &found[0]["name"]), (1, &json!("b")), "{found}");
    let users = rig.get("/users?project=home", admin).await;
    assert_eq!(users.status, 400);
    assert!(users.json()["hint"].is_string());
    assert_eq!(rig.get("/prompts?project=home", admin).await.json(), json!([]));
    assert_eq!(rig.get("/servers/a?project=home", admin).await.status, 200);
    let inside = json!([{"role": "view", "resource": "prompts", "project": "home"}]);
    let bob = rig.user("bob@example.org", inside).await;
    assert_eq!(rig.get("/prompts?project=home", &bob).await.status, 200, "it may see what is inside");
    for path in [
        "/servers?project=none",
        "/prompts?project=none",
        "/servers/a?project=none",
        "/prompts?project=none&watch=true",
    ] {
        assert_eq!(rig.get(path, admin).await.status, 404, "{path}");
    }
    rig.post("/projects", admin, json!({"name": "other"})).await;
    assert_eq!(rig.get("/prompts?project=other", &bob).await.status, 404, "nobody tells that it is there");
}

#[tokio::test]
async fn a_request_says_who_made_it_whatever_it_says_itself() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let bob = rig.user("bob@example.org", json!([{"role": "edit", "resource": "promptrequests"}])).await;
    let asked = json!({"name": "p", "content": "Look first.", "createdByUser": "ann@example.org"});
    let made = rig.post("/promptrequests", &bob, asked.clone()).await;
    assert_eq!(
        (made.status, &made.json()["createdByUser"]),
        (201, &json!("bob@example.org")),
        "{}",
        made.body
    );
    for (method, body) in [("PATCH", json!({"createdByUser": "ann@example.org"})), ("PUT", asked)] {
        let changed = rig.send(method, "/promptrequests/p", rig.admin(), &body).await;
        assert_eq!(
            (changed.status, &changed.json()["createdByUser"]),
            (200, &json!("bob@example.org")),
            "{}",
            changed.body
        );
    }
}

#[tokio::test]
async fn what_may_not_be_seen_has_no_history_and_is_not_brought_back() {
    let rig = Rig::start();
    rig.post("/servers", rig.admin(), server("a")).await;
    let bob = rig.user("bob@example.org", json!([])).await;
    for name in ["a", "nothing"] {
        assert_eq!(rig.get(&format!("/servers/{name}"), &bob).await.status, 404);
        let history = rig.get(&format!("/servers/{name}/history"), &bob).await;
        assert_eq!(history.status, 404, "{}", history.body);
        let revert = rig.post(&format!("/servers/{name}/revert"), &bob, json!({"to": 1})).await;
        assert_eq!(revert.status, 404, "{}", revert.body);
    }
    assert_eq!(rig.get("/servers/a/history", rig.admin()).await.status, 200);
}

#[tokio::test]
async fn an_approval_is_of_what_was_read_and_a_version_is_a_condition_everywhere() {
    let rig = Rig::start();
    let admin = rig.admin();
    let request = |content: &str| json!({"name": "r", "content": content});
    let made = rig.post("/promptrequests", admin, request("A")).await;
    let tag = made.header("etag").unwrap().to_owned();
    assert_eq!(rig.send("PUT", "/promptrequests/r", admin, &request("B")).await.status, 200);
    let stale = [("if-match", tag.as_str())];
    let refused = rig.send_as(("POST", "/promptrequests/r/approve"), admin, &stale, "").await;
    assert_eq!(refused.status, 412, "{}", refused.body);
    assert_eq!(rig.post("/promptrequests/r/approve", admin, Value::Null).await.json()["content"], "B");

    let first = rig.post("/servers", admin, server("s")).await.json()["version"].as_u64().unwrap();
    let second = rig.send("PATCH", "/servers/s", admin, &json!({"replicas": 2})).await.json();
    let old = json!({"version": first, "replicas": 5});
    assert_eq!(rig.send("PATCH", "/servers/s", admin, &old).await.status, 409);
    let new = json!({"version": second["version"], "replicas": 5});
    assert_eq!(rig.send("PATCH", "/servers/s", admin, &new).await.json()["replicas"], 5);
    let to_first = json!({ "to": first }).to_string();
    let stale = format!("\"{first}\"");
    let stale = [("if-match", stale.as_str())];
    assert_eq!(rig.send_as(("POST", "/servers/s/revert"), admin, &stale, &to_first).await.status, 412);
    assert_eq!(rig.send_as(("POST", "/servers/s/revert"), admin, &[], &to_first).await.status, 200);
}

#[tokio::test]
async fn an_id_stands_for_a_name_wherever_one_is_asked_for() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let admin = rig.admin();
    let id = async |path: &str| rig.get(path, admin).await.json()["id"].as_str().unwrap().to_owned();
    let base = json!({"servers": [server("s")], "projects": [{"name": "p"}], "groups": [{"name": "g"}],
        "prompts": [{"name": "x", "project": "p", "content": "c"}]});
    assert_eq!(rig.post("/apply", admin, base).await.status, 200);
    let (server, project, group) = (id("/servers/s").await, id("/projects/p").await, id("/groups/g").await);
    let prompts = rig.get(&format!("/prompts?project={project}"), admin).await.json();
    assert_eq!(prompts[0]["name"], "x", "{prompts}");
    assert_eq!(rig.get(&format!("/prompts/x?project={project}"), admin).await.status, 200);
    let attached = json!({"server": server, "project": project});
    assert_eq!(rig.post("/serverattachments", admin, attached).await.status, 201);
    let detached = rig.send("DELETE", &format!("/projects/p/servers/{server}"), admin, &Value::Null).await;
    assert_eq!(detached.status, 204, "{}", detached.body);

    let bindings =
        json!([{"role": "create", "resource": "users"}, {"role": "edit", "resource": "groups", "name": "g"}]);
    let bob = rig.user("bob@example.org", bindings).await;
    let invited =
        rig.post("/auth/invites", &bob, json!({"email": "new@example.org", "groups": [group]})).await;
    assert_eq!(rig.get("/auth/invites", &bob).await.json()[0]["groups"], json!(["g"]));
    let join = json!({"invite": invited.json()["invite"], "password": super::rig::PASSWORD});
    assert_eq!(rig.post("/auth/join", "", join).await.status, 201);
    let unknown = "01a22110-60bf-7000-8000-000000000000";
    assert_eq!(rig.get(&format!("/prompts?project={unknown}"), admin).await.status, 404);
    assert_eq!(rig.get("/servers/%00", admin).await.status, 400);
}

#[tokio::test]
async fn attachments_are_listed_by_their_server_and_shown_as_they_will_be() {
    let rig = Rig::start();
    let admin = rig.admin();
    let base = json!({"servers": [server("a"), server("b")],
                      "projects": [{"name": "home", "servers": ["a", "b"]}, {"name": "work", "servers": ["b"]}]});
    assert_eq!(rig.post("/apply", admin, base).await.status, 200);
    let listed = async |query: &str| {
        let listed = rig.get(&format!("/serverattachments?{query}"), admin).await;
        assert_eq!(listed.status, 200, "{}", listed.body);
        let listed = listed.json();
        let texts = listed.as_array().unwrap().iter();
        texts
            .map(|it| format!("{}/{}", it["project"].as_str().unwrap(), it["server"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed("serverId=b").await, ["home/b", "work/b"]);
    assert_eq!(listed("serverId=a").await, ["home/a"]);
    assert_eq!(listed("").await, ["home/a", "home/b", "work/b"]);
    let attached = json!({"serverattachments": [{"server": "a", "project": "work"}, {"server": "b", "project": "work"}]});
    let planned = rig.post("/apply?dryRun=server", admin, attached).await.json();
    let (new, old) = (&planned["results"][0], &planned["results"][1]);
    assert_eq!(
        (&new["action"], &new["before"], &new["after"]["server"]),
        (&json!("created"), &json!(null), &json!("a"))
    );
    assert_eq!((&old["action"], &old["before"]), (&json!("unchanged"), &old["after"]));
}

#[tokio::test]
async fn a_list_gives_the_members_that_are_asked_for() {
    let rig = Rig::start();
    let admin = rig.admin();
    let mut wide = server("wide");
    wide["description"] = json!("a, \"b\" and é");
    wide["labels"] = json!({"team": "a"});
    for mut made in [wide, server("narrow")] {
        // Once it is said that nothing runs of it, that stays so.
        made["replicas"] = json!(0);
        assert_eq!(rig.post("/servers", admin, made).await.status, 201);
    }
    let whole = loop {
        let whole = rig.get("/servers", admin).await.json();
        if whole.as_array().unwrap().iter().all(|server| server["status"]["phase"] == "NoneWanted") {
            break whole;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let some = async |query: &str| rig.get(&format!("/servers?{query}"), admin).await;
    let parts = some("fields=description,status,createdAt").await.json();
    assert_eq!(parts.as_array().unwrap().len(), 2);
    for (part, whole) in parts.as_array().unwrap().iter().zip(whole.as_array().unwrap()) {
        let expect = |member: &str| ["name", "description", "status", "createdAt"].contains(&member);
        let members = whole.as_object().unwrap().iter().filter(|(member, _)| expect(member));
        assert_eq!(
            part,
            &Value::Object(members.map(|(name, value)| (name.clone(), value.clone())).collect())
        );
    }
    assert_eq!(some("fields=name").await.json(), json!([{"name": "narrow"}, {"name": "wide"}]));
    // What is asked for is one thing, and what is looked at another.
    let found = some("fields=id&labelSelector=team%3Da&fieldSelector=name%3Dwide").await.json();
    assert_eq!(found, json!([{"name": "wide", "id": whole[1]["id"]}]));
    let attachments = rig.get("/serverattachments?fields=id", admin).await;
    assert_eq!((attachments.status, attachments.json()), (200, json!([])));
    for bad in ["fields=nmae", "fields=env.name", "fields=name,", "fields=name&watch=true"] {
        let refused = some(bad).await;
        assert_eq!(refused.status, 400, "{bad}: {}", refused.body);
    }
}
