//! Whoever may change a document doesn't thereby come to use a server, start a program, or learn a secret.

use hayward_testkit::client::Answer;
use serde_json::{Value, json};

use super::rig::{Rig, server};

async fn made(rig: &Rig, path: &str, body: Value) {
    let answer = rig.post(path, rig.admin(), body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

/// All ways to attach a server to a project, of somebody who may edit that.
async fn attached(rig: &Rig, token: &str, project: &str, server: &str) -> Vec<Answer> {
    let whole = json!({"name": project, "servers": [server]});
    let mut answers = Vec::new();
    for (method, path, body) in [
        ("PUT", format!("/projects/{project}"), whole.clone()),
        ("PATCH", format!("/projects/{project}"), json!({"servers": [server]})),
        ("POST", format!("/projects/{project}/servers"), json!({"server": server})),
        ("POST", "/serverattachments".to_owned(), json!({"project": project, "server": server})),
        ("POST", "/apply".to_owned(), json!({"projects": [whole.clone()]})),
        ("POST", "/apply".to_owned(), json!({"serverattachments": [{"project": project, "server": server}]})),
        ("POST", "/projects".to_owned(), json!({"name": format!("{project}-new"), "servers": [server]})),
    ] {
        answers.push(rig.send(method, &path, token, &body).await);
        let detached = json!({"name": project});
        rig.send("PUT", &format!("/projects/{project}"), rig.admin(), &detached).await;
    }
    answers
}

#[tokio::test]
async fn a_server_comes_into_a_project_by_whoever_may_use_it() {
    let rig = Rig::start();
    made(&rig, "/servers", server("a")).await;
    made(&rig, "/servers", json!({"name": "host", "placement": "builtin"})).await;
    made(&rig, "/projects", json!({"name": "home"})).await;
    let edits = |more: Value| {
        let mut bindings =
            json!([{"role": "edit", "resource": "*"}, {"role": "run", "resource": "projects"}]);
        bindings.as_array_mut().unwrap().extend(more.as_array().unwrap().iter().cloned());
        bindings
    };
    for (at, (more, server, may)) in [
        (json!([]), "a", false),
        (json!([{"role": "run", "resource": "servers", "name": "b"}]), "a", false),
        (json!([{"role": "run", "resource": "servers", "name": "a"}]), "a", true),
        (json!([{"role": "run", "resource": "servers"}]), "a", true),
        (json!([{"role": "run", "resource": "servers"}]), "host", false),
        (json!([{"role": "run", "resource": "servers", "name": "host"}]), "host", true),
    ]
    .into_iter()
    .enumerate()
    {
        let user = rig.user(&format!("u{at}@example.org"), edits(more.clone())).await;
        for answer in attached(&rig, &user, "home", server).await {
            assert_eq!(answer.status < 300, may, "{more} {server}: {} {}", answer.status, answer.body);
            if !may {
                assert_eq!(answer.status, 403, "{more} {server}: {}", answer.body);
                assert!(answer.body.contains("role: run"), "{}", answer.body);
            }
        }
        rig.send("DELETE", "/projects/home-new", rig.admin(), &Value::Null).await;
    }
}

#[tokio::test]
async fn what_was_taken_out_of_a_project_comes_back_by_no_revert_of_whoever_may_not_use_it() {
    let rig = Rig::start();
    made(&rig, "/servers", server("a")).await;
    let home = rig.post("/projects", rig.admin(), json!({"name": "home", "servers": ["a"]})).await;
    let first = home.json()["version"].clone();
    let emptied = rig.send("PUT", "/projects/home", rig.admin(), &json!({"name": "home"})).await;
    assert_eq!(emptied.status, 200, "{}", emptied.body);
    let bob = rig.user("bob@example.org", json!([{"role": "edit", "resource": "*"}])).await;
    let reverted = rig.post("/projects/home/revert", &bob, json!({"to": first})).await;
    assert_eq!(reverted.status, 403, "{}", reverted.body);
    // What is attached may stay, whoever changes something else.
    assert_eq!(rig.post("/projects/home/revert", rig.admin(), json!({"to": first})).await.status, 200);
    let other = json!({"name": "home", "servers": ["a"], "description": "ours"});
    assert_eq!(rig.send("PUT", "/projects/home", &bob, &other).await.status, 200);
}

#[tokio::test]
async fn toolsets_of_ours_are_declared_by_whoever_may_say_what_starts_and_nothing_else_bears_their_names() {
    let rig = Rig::start();
    let bob = rig.user("bob@example.org", json!([{"role": "edit", "resource": "*"}])).await;
    let host = json!({"name": "host", "placement": "builtin"});
    assert_eq!(rig.post("/servers", &bob, host.clone()).await.status, 403);
    for spec in [
        json!({"name": "host", "command": ["x"]}),
        json!({"name": "ops", "externalUrl": "http://127.0.0.1:1/"}),
    ] {
        let refused = rig.post("/servers", rig.admin(), spec).await;
        assert!(refused.status == 400 && refused.body.contains("toolset of ours"), "{}", refused.body);
    }
    made(&rig, "/servers", host).await;
}

#[tokio::test]
async fn what_looks_whether_a_server_is_well_calls_nothing_for_whoever_may_not() {
    let rig = Rig::start();
    let elsewhere = json!({"name": "a", "externalUrl": "http://127.0.0.1:1/mcp"});
    made(&rig, "/servers", elsewhere.clone()).await;
    let mut probed = elsewhere.clone();
    probed["healthCheck"] = json!({"tool": "delete_all", "arguments": {"sure": true}});
    let edit = json!({"role": "edit", "resource": "servers"});
    let run = json!({"role": "run", "resource": "servers", "name": "a"});
    let define = json!({"role": "run", "action": "define-commands"});
    for (at, (bindings, may)) in [
        (json!([edit]), false),
        (json!([edit, run]), false),
        (json!([edit, define]), false),
        (json!([edit, run, define]), true),
    ]
    .into_iter()
    .enumerate()
    {
        let user = rig.user(&format!("u{at}@example.org"), bindings.clone()).await;
        let answer = rig.send("PUT", "/servers/a", &user, &probed).await;
        assert_eq!(answer.status, if may { 200 } else { 403 }, "{bindings}: {}", answer.body);
        // A page of it is looked at for whoever may edit it.
        let mut looked_at = elsewhere.clone();
        looked_at["healthCheck"] = json!({"httpPath": "/up"});
        let answer = rig.send("PUT", "/servers/a", &user, &looked_at).await;
        assert_eq!(answer.status, 200, "{bindings}: {}", answer.body);
    }
}

#[tokio::test]
async fn what_a_server_sees_of_this_machine_is_given_by_whoever_may_use_that() {
    let rig = Rig::start();
    let mut mounted = server("a");
    mounted["mounts"] = json!([{"path": "/srv"}]);
    let edit = json!({"role": "edit", "resource": "servers"});
    let define = json!({"role": "run", "action": "define-commands"});
    let servers = json!({"role": "run", "resource": "servers"});
    let host = json!({"role": "run", "resource": "servers", "name": "host"});
    for (at, (bindings, may)) in [
        (json!([edit, define]), false),
        (json!([edit, define, servers]), false),
        (json!([edit, host]), false),
        (json!([edit, define, host]), true),
    ]
    .into_iter()
    .enumerate()
    {
        let user = rig.user(&format!("u{at}@example.org"), bindings.clone()).await;
        let answer = rig.post("/servers?dryRun=server", &user, mounted.clone()).await;
        assert_eq!(answer.status, if may { 201 } else { 403 }, "{bindings}: {}", answer.body);
    }
    made(&rig, "/servers", mounted.clone()).await;
    // What it sees already, it goes on seeing, whoever describes it.
    let bob = rig.user("bob@example.org", json!([edit])).await;
    mounted["description"] = json!("ours");
    assert_eq!(rig.send("PUT", "/servers/a", &bob, &mounted).await.status, 200);
    // Another program would have it as well.
    let dan = rig.user("dan@example.org", json!([edit, define, servers])).await;
    for other in [json!({"command": ["other"]}), json!({"env": [{"name": "A", "value": "b"}]})] {
        let answer = rig.send("PATCH", "/servers/a", &dan, &other).await;
        assert!(answer.status == 403 && answer.body.contains("mounts"), "{other}: {}", answer.body);
    }
}

#[tokio::test]
async fn what_is_otherwise_for_tools_is_said_by_whoever_may_use_them() {
    let rig = Rig::start();
    made(
        &rig,
        "/servers",
        json!({"name": "a", "externalUrl": "http://127.0.0.1:1/mcp", "tools": {
        "wipe": {"tier": "danger"}, "secret": {"hidden": true}, "look": {"fixed": {"path": "/mine"}}}}),
    )
    .await;
    made(&rig, "/projects", json!({"name": "p", "servers": ["a"]})).await;
    let edits =
        [json!({"role": "edit", "resource": "servers"}), json!({"role": "edit", "resource": "projects"})];
    let run = json!({"role": "run", "resource": "servers", "name": "a"});
    let define = json!({"role": "run", "action": "define-commands"});
    let with = |more: &[&Value]| -> Value { edits.iter().chain(more.iter().copied()).cloned().collect() };
    let bob = rig.user("bob@example.org", with(&[])).await;
    let ann = rig.user("ann@example.org", with(&[&run])).await;
    let eve = rig.user("eve@example.org", with(&[&define])).await;
    let ada = rig.user("ada@example.org", with(&[&run, &define])).await;
    let tools = |tools: Value| json!({ "tools": tools });
    let overrides = |tools: Value| json!({"serverOverrides": {"a": {"tools": tools}}});
    let lower = json!({"wipe": {"tier": "read"}});
    for (path, body, may) in [
        ("/servers/a", tools(lower.clone()), [false, false, false, true]),
        // A project makes nothing less risky than its server does.
        ("/projects/p", overrides(lower), [true; 4]),
        ("/servers/a", tools(json!({"wipe": null})), [false, false, false, true]),
        ("/servers/a", tools(json!({"look": {"fixed": {"path": "/etc"}}})), [false, true, false, true]),
        ("/projects/p", overrides(json!({"look": {"defaults": {"x": 1}}})), [false, true, false, true]),
        ("/servers/a", tools(json!({"secret": {"hidden": false}})), [false, true, false, true]),
        ("/servers/a", json!({"trust": "follow"}), [false, false, false, true]),
        ("/servers/a", json!({"trust": "review"}), [true; 4]),
        (
            "/servers/a",
            tools(json!({"look": {"hidden": true, "description": "Looks.", "tier": "danger"}})),
            [true; 4],
        ),
        ("/projects/p", overrides(json!({"look": {"name": "see"}})), [true; 4]),
    ] {
        for (user, may) in [&bob, &ann, &eve, &ada].into_iter().zip(may) {
            let answer = rig.send("PATCH", &format!("{path}?dryRun=server"), user, &body).await;
            assert_eq!(answer.status, if may { 200 } else { 403 }, "{path} {body}: {}", answer.body);
        }
    }
    // What a project made riskier is so until somebody says otherwise who may, also while its server is not attached.
    let risky = json!({"name": "q", "serverOverrides": {"a": {"tools": {"look": {"tier": "danger"}}}}});
    made(&rig, "/projects", risky).await;
    for (user, may) in [(&bob, false), (&ann, false), (&ada, true)] {
        let answer = rig.send("PUT", "/projects/q?dryRun=server", user, &json!({"name": "q"})).await;
        assert_eq!(answer.status, if may { 200 } else { 403 }, "{}", answer.body);
    }
    // Nor does a new server of the name that grants mean get round it.
    assert_eq!(rig.send("PUT", "/projects/p", rig.admin(), &json!({"name": "p"})).await.status, 200);
    assert_eq!(rig.send("DELETE", "/servers/a", rig.admin(), &Value::Null).await.status, 204);
    let again = |more: Value| {
        let mut again = json!({"name": "a", "externalUrl": "http://127.0.0.1:1/mcp"});
        again.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        again
    };
    for (body, may) in [
        (again(json!({"tools": {"wipe": {"tier": "read"}}})), false),
        (again(json!({"trust": "follow"})), false),
        (again(json!({"tools": {"wipe": {"tier": "danger"}, "look": {"fixed": {"x": 1}}}})), true),
    ] {
        let answer = rig.post("/servers?dryRun=server", &bob, body.clone()).await;
        assert_eq!(answer.status, if may { 201 } else { 403 }, "{body}: {}", answer.body);
        assert_eq!(rig.post("/servers?dryRun=server", &ada, body).await.status, 201);
    }
}

#[tokio::test]
async fn secrets_of_a_server_go_elsewhere_by_whoever_may_see_them() {
    let rig = Rig::start();
    made(&rig, "/secrets", json!({"name": "s", "data": {"K": "value-of-the-secret"}})).await;
    let header = |name: &str| json!({"name": name, "valueFrom": {"secretRef": {"name": "s", "key": "K"}}});
    let spec = |url: &str, header: Value| json!({"name": "a", "externalUrl": url, "headers": [header]});
    let was = spec("http://127.0.0.1:1/mcp", header("X-Key"));
    let made_first = rig.post("/servers", rig.admin(), was.clone()).await;
    let first = made_first.json()["version"].clone();
    let edit = json!({"role": "edit", "resource": "servers"});
    let bob = rig.user("bob@example.org", json!([edit, {"role": "run", "action": "define-commands"}])).await;
    let seeing = json!([edit, {"role": "view", "resource": "secrets", "name": "s"}]);
    let ann = rig.user("ann@example.org", seeing).await;
    let moved = [
        spec("http://127.0.0.1:2/mcp", header("X-Key")),
        spec("http://127.0.0.1:1/other", header("X-Key")),
        spec("http://127.0.0.1:1/mcp", header("X-Other")),
        json!({"name": "a", "command": ["env"], "env": [header("K")]}),
    ];
    for other in moved {
        let refused = rig.send("PUT", "/servers/a", &bob, &other).await;
        assert!(refused.status == 403 && refused.body.contains("may not see"), "{other}: {}", refused.body);
        // What an apply doesn't name stays.
        if other.get("command").is_none() {
            let applied = rig.post("/apply", &bob, json!({"servers": [other]})).await;
            assert!(
                applied.status == 403 && applied.body.contains("may not see"),
                "{other}: {}",
                applied.body
            );
            assert_eq!(rig.send("PUT", "/servers/a", &ann, &other).await.status, 200);
            let reverted = rig.post("/servers/a/revert", &bob, json!({"to": first})).await;
            assert_eq!(reverted.status, 403, "{}", reverted.body);
            assert_eq!(rig.send("PUT", "/servers/a", rig.admin(), &was).await.status, 200);
        }
    }
    // What has nothing to do with them is changed as ever.
    let mut described = was.clone();
    described["description"] = json!("ours");
    assert_eq!(rig.send("PUT", "/servers/a", &bob, &described).await.status, 200);
    // Whoever takes them away learns nothing.
    let without = json!({"name": "a", "externalUrl": "http://127.0.0.1:2/mcp"});
    assert_eq!(rig.send("PUT", "/servers/a", &bob, &without).await.status, 200);
}
