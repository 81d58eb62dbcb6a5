//! What somebody tries who has a token and may little.

use std::time::Instant;

use hayward_store::{Store, StoreConfig};
use serde_json::{Value, json};

use super::rig::{PASSWORD, Rig, server};

#[tokio::test]
async fn no_password_is_hashed_and_no_path_looked_at_for_whoever_may_not() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let bob = rig.user("bob@example.org", json!([{"role": "view", "resource": "*"}])).await;
    let users: Vec<Value> =
        (0..90).map(|at| json!({"email": format!("user-{at}@example.org"), "password": PASSWORD})).collect();
    let began = Instant::now();
    assert_eq!(rig.post("/apply", &bob, json!({"users": users})).await.status, 403);
    let ann = json!({"email": "ann@example.org", "password": PASSWORD});
    assert_eq!(rig.post("/apply?dryRun=server", &bob, json!({"users": [ann]})).await.status, 403);
    let took = began.elapsed();
    // As many hashes take seconds.
    assert!(took.as_millis() < 1500, "{took:?}");
    for path in ["/usr", "/nowhere/at/all"] {
        let token = json!({"name": "x", "role": "rw", "fence": {"profile": "confined", "roots": [path]}});
        let direct = rig.post("/tokens", &bob, token.clone()).await;
        let applied = rig.post("/apply", &bob, json!({"tokens": [token]})).await;
        assert_eq!((direct.status, applied.status), (403, 403), "{path}: {} {}", direct.body, applied.body);
    }
}

#[tokio::test]
async fn whoever_may_change_one_user_tries_no_password_of_another() {
    let rig = Rig::start();
    rig.bootstrap().await;
    rig.user("carl@example.org", json!([])).await;
    let own = json!([{"role": "edit", "resource": "users", "name": "carl@example.org"}]);
    let bob = rig.user("bob@example.org", own).await;
    for password in [PASSWORD, "another password"] {
        let body = json!({"email": "ann@example.org", "password": password});
        for method in ["PUT", "PATCH"] {
            let answer = rig.send(method, "/users/carl@example.org", &bob, &body).await;
            assert_eq!(answer.status, 400, "{method}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn an_apply_has_a_hundred_passwords_at_most() {
    let rig = Rig::start();
    let users = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|at| json!({"email": format!("user-{at}@example.org"), "password": PASSWORD}))
            .collect()
    };
    let refused = rig.post("/apply?dryRun=server", rig.admin(), json!({"users": users(101)})).await;
    assert_eq!(refused.status, 413, "{}", refused.body);
    let taken = rig.post("/apply", rig.admin(), json!({"users": users(3)})).await;
    assert_eq!(taken.status, 200, "{}", taken.body);
    let again = rig.post("/apply", rig.admin(), json!({"users": users(3)})).await.json();
    let results = again["results"].as_array().unwrap();
    assert!(results.iter().all(|it| it["action"] == "unchanged"), "{again}");
}

#[tokio::test]
async fn pruning_neither_names_nor_deletes_what_the_caller_may_not_see() {
    let rig = Rig::start();
    let lists = json!({"prompts": [{"name": "pp", "content": "x"}], "servers": [server("a"), server("b")]});
    assert_eq!(rig.post("/apply?manager=m", rig.admin(), lists).await.status, 200);
    let bob = rig.user("bob@example.org", json!([{"role": "edit", "resource": "servers"}])).await;
    let only_a = json!({"servers": [server("a")]});
    let pruned = rig.post("/apply?manager=m&prune=true", &bob, only_a.clone()).await;
    assert_eq!(pruned.status, 200, "{}", pruned.body);
    assert!(!pruned.body.contains("pp"), "{}", pruned.body);
    assert_eq!(rig.get("/prompts/pp", rig.admin()).await.status, 200);
    assert_eq!(rig.get("/servers/b", rig.admin()).await.status, 404);
    let seeing = json!([{"role": "edit", "resource": "servers"}, {"role": "view", "resource": "prompts"}]);
    let carl = rig.user("carl@example.org", seeing).await;
    let refused = rig.post("/apply?manager=m&prune=true", &carl, only_a).await;
    assert!(refused.status == 403 && refused.body.contains("pp"), "{}", refused.body);
}

#[tokio::test]
async fn logins_that_come_together_are_no_more_guesses_than_one_after_the_other() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let guess = json!({"email": "ann@example.org", "password": "wrong password"});
    let answers =
        futures_util::future::join_all((0..30).map(|_| rig.post("/auth/login", "", guess.clone()))).await;
    let compared = answers.iter().filter(|answer| answer.status == 401).count();
    assert!(compared <= 8, "{compared} passwords were compared");
    assert!(answers.iter().any(|answer| answer.status == 429));
}

#[tokio::test]
async fn many_people_behind_one_address_sign_in_at_the_same_moment() {
    let rig = Rig::start();
    let names: Vec<String> = (0..20).map(|at| format!("user-{at}@example.org")).collect();
    let users: Vec<Value> = names.iter().map(|name| json!({"email": name, "password": PASSWORD})).collect();
    assert_eq!(rig.post("/apply", rig.admin(), json!({"users": users})).await.status, 200);
    let logins = names.iter().map(|name| rig.login(name));
    assert_eq!(futures_util::future::join_all(logins).await.len(), names.len());
}

#[tokio::test]
async fn wrong_guesses_from_elsewhere_do_not_lock_an_account_out() {
    let rig = Rig::start_with(&["--behind-proxy", "127.0.0.1"]);
    rig.bootstrap().await;
    let login = async |from: &str, password: &str| {
        let from = [("x-forwarded-for", from), ("x-forwarded-proto", "https")];
        let body = json!({"email": "ann@example.org", "password": password}).to_string();
        rig.send_as(("POST", "/auth/login"), "", &from, &body).await.status
    };
    let mut elsewhere = Vec::new();
    for _ in 0..8 {
        elsewhere.push(login("192.0.2.7", "wrong password").await);
    }
    assert!(elsewhere[0] == 401 && elsewhere.contains(&429), "{elsewhere:?}");
    assert_eq!(login("192.0.2.8", PASSWORD).await, 200);
}

#[tokio::test]
async fn yaml_whose_aliases_say_more_than_its_text_is_refused_and_costs_nothing() {
    let rig = Rig::start();
    let bob = rig.user("bob@example.org", json!([])).await;
    let mut bomb = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..6 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("b{level}: &a{level} [{}]\n", before.trim_end_matches(", ")));
    }
    let yaml = [("content-type", "application/yaml")];
    let began = Instant::now();
    for path in ["/apply", "/auth/login"] {
        let answer = rig.send_as(("POST", path), &bob, &yaml, &bomb).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    let took = began.elapsed();
    assert!(took.as_millis() < 1000, "{took:?}");
    let honest = "x: &server {command: [serve]}\nservers:\n- {<<: *server, name: a}\n"
        .replace("x: &server", "servers:\n- &server");
    let honest = honest.replace("{command: [serve]}\nservers:", "{command: [serve], name: b}");
    let applied = rig.send_as(("POST", "/apply"), rig.admin(), &yaml, &honest).await;
    assert_eq!(applied.status, 200, "{}", applied.body);
}

#[tokio::test]
async fn a_large_body_is_read_like_a_small_one() {
    let rig = Rig::start();
    let servers: Vec<Value> = (0..1000).map(|at| server(&format!("server-{at}"))).collect();
    let lists = json!({"servers": servers});
    assert_eq!(rig.post("/apply", rig.admin(), lists.clone()).await.status, 200);
    let yaml = [("content-type", "application/yaml")];
    let again = rig.send_as(("POST", "/apply"), rig.admin(), &yaml, &lists.to_string()).await;
    assert_eq!(again.status, 200, "{}", again.body);
}

#[tokio::test]
async fn an_apply_whose_time_is_over_before_it_begins_does_nothing_and_says_so() {
    let rig = Rig::start_with(&["--limit", "controlplane.answer_timeout_ms=150"]);
    let servers: Vec<Value> = (0..2000).map(|at| server(&format!("server-{at}"))).collect();
    let late = rig.post("/apply", rig.admin(), json!({"servers": servers})).await;
    assert!(late.status == 504 && late.body.contains("nothing was done"), "{} {}", late.status, late.body);
    // Whoever changes comes one after the other: this comes after what was left of it.
    let mut next = rig.post("/servers", rig.admin(), server("next")).await;
    for _ in 0..50 {
        if next.status == 201 {
            break;
        }
        next = rig.post("/servers", rig.admin(), server("next")).await;
    }
    let names = rig.get("/servers", rig.admin()).await.json();
    assert_eq!(names.as_array().map(Vec::len), Some(1), "{}", next.body);
    let told = rig.recorded("intent", "apply");
    assert!(
        told.iter().all(|intent| intent["arguments"]["objects"].is_null()),
        "no change is recorded: {told:?}"
    );
}

#[tokio::test]
async fn json_with_a_member_twice_is_refused() {
    let rig = Rig::start();
    for (path, body) in [
        ("/servers", r#"{"name": "a", "command": ["x"], "command": ["y"]}"#),
        ("/apply", r#"{"servers": [{"name": "a", "name": "b", "command": ["x"]}]}"#),
    ] {
        let answer = rig.send_as(("POST", path), rig.admin(), &[], body).await;
        assert!(answer.status == 400 && answer.body.contains("there twice"), "{}", answer.body);
    }
}

#[tokio::test]
async fn the_configuration_of_a_client_is_for_whoever_may_expose_the_project() {
    let rig = Rig::start();
    rig.post("/projects", rig.admin(), json!({"name": "home"})).await;
    let bob = rig.user("bob@example.org", json!([{"role": "view", "resource": "projects"}])).await;
    assert_eq!(rig.get("/projects/home", &bob).await.status, 200);
    assert_eq!(rig.get("/projects/home/mcp-config", &bob).await.status, 403);
    let carl = rig.user("carl@example.org", json!([{"role": "expose", "resource": "projects"}])).await;
    let config = rig.get("/projects/home/mcp-config", &carl).await;
    assert_eq!(config.status, 200, "{}", config.body);
}

#[tokio::test]
async fn an_invite_is_worth_no_more_than_whoever_made_it() {
    let rig = Rig::start();
    rig.bootstrap().await;
    rig.post("/groups", rig.admin(), json!({"name": "home", "members": []})).await;
    let may = json!([{"role": "create", "resource": "users"}, {"role": "edit", "resource": "groups"}]);
    let unknown = rig.post("/auth/join", "", json!({"invite": "hwd_invite_x", "password": PASSWORD})).await;
    for (at, end) in ["disable", "delete", "take away", "nothing"].into_iter().enumerate() {
        let maker = format!("maker-{at}@example.org");
        let token = rig.user(&maker, may.clone()).await;
        let body = json!({"email": format!("new-{at}@example.org"), "groups": ["home"]});
        let invite = rig.post("/auth/invites", &token, body).await.json()["invite"].clone();
        let path = format!("/users/{maker}");
        let done = match end {
            "disable" => rig.send("PATCH", &path, rig.admin(), &json!({"disabled": true})).await,
            "delete" => {
                let path = format!("{path}?detach=true");
                rig.send("DELETE", &path, rig.admin(), &Value::Null).await
            }
            "take away" => {
                let rules = format!("/rbac-definitions/{}", maker.replace('@', "-"));
                rig.send("DELETE", &rules, rig.admin(), &Value::Null).await
            }
            _ => rig.get(&path, rig.admin()).await,
        };
        assert!([200, 204].contains(&done.status), "{end}: {}", done.body);
        let joined = rig.post("/auth/join", "", json!({"invite": invite, "password": PASSWORD})).await;
        if end == "nothing" {
            assert_eq!(joined.status, 201, "{}", joined.body);
        } else {
            let told =
                |answer: &hayward_testkit::client::Answer| (answer.status, answer.json()["detail"].clone());
            assert_eq!(told(&joined), told(&unknown), "{end}");
            assert_eq!(joined.status, 401, "{end}");
        }
        // Wrong invites slow the next ones.
        tokio::time::sleep(std::time::Duration::from_secs(if at > 1 { 3 } else { 0 })).await;
    }
}

#[tokio::test]
async fn invites_are_listed_and_taken_back_by_whoever_may_make_them() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    let bob = rig.user("bob@example.org", json!([{"role": "view", "resource": "*"}])).await;
    let long = json!({"email": "carl@example.org", "expiresIn": 2_592_001});
    assert_eq!(rig.post("/auth/invites", &ann, long).await.status, 400);
    let made = rig.post("/auth/invites", &ann, json!({"email": "carl@example.org"})).await.json();
    let listed = rig.get("/auth/invites", &ann).await.json();
    assert_eq!(
        (&listed[0]["email"], &listed[0]["madeBy"]),
        (&json!("carl@example.org"), &json!("user:ann@example.org"))
    );
    let secret = made["invite"].as_str().unwrap().rsplit('_').next().unwrap();
    assert!(!listed.to_string().contains(secret));
    let path = format!("/auth/invites/{}", listed[0]["id"].as_str().unwrap());
    assert_eq!(rig.get("/auth/invites", &bob).await.status, 403);
    assert_eq!(rig.send("DELETE", &path, &bob, &Value::Null).await.status, 403);
    let own = json!([{"role": "create", "resource": "users", "name": "dora@example.org"}]);
    let dora = rig.user("eve@example.org", own).await;
    assert_eq!(rig.get("/auth/invites", &dora).await.json(), json!([]));
    assert_eq!(rig.send("DELETE", &path, &dora, &Value::Null).await.status, 404);
    assert_eq!(rig.send("DELETE", &path, &ann, &Value::Null).await.status, 204);
    assert_eq!(rig.send("DELETE", &path, &ann, &Value::Null).await.status, 404);
    let join = json!({"invite": made["invite"], "password": PASSWORD});
    assert_eq!(rig.post("/auth/join", "", join).await.status, 401);
}

#[tokio::test]
async fn that_a_name_fits_several_is_told_of_those_that_the_caller_sees() {
    let rig = Rig::start();
    for project in ["one", "two", "three"] {
        rig.post("/projects", rig.admin(), json!({"name": project})).await;
        let prompt = json!({"name": "p", "project": project, "content": project});
        assert_eq!(rig.post("/prompts", rig.admin(), prompt).await.status, 201);
    }
    let ambiguous = rig.get("/prompts/p", rig.admin()).await;
    assert!(ambiguous.body.contains("fits several"), "{}", ambiguous.body);
    let view = |project: &str| json!({"role": "view", "resource": "prompts", "project": project});
    let nobody = rig.user("nobody@example.org", json!([view("elsewhere")])).await;
    assert_eq!(rig.get("/prompts/p", &nobody).await.status, 404);
    let bob = rig.user("bob@example.org", json!([view("two")])).await;
    let one = rig.get("/prompts/p", &bob).await;
    assert_eq!((one.status, one.json()["project"].clone()), (200, json!("two")), "{}", one.body);
    let carl = rig.user("carl@example.org", json!([view("two"), view("one")])).await;
    assert_eq!(rig.get("/prompts/p", &carl).await.status, ambiguous.status);
}

#[tokio::test]
async fn whoever_may_not_attach_learns_neither_of_projects_nor_of_servers() {
    let rig = Rig::start();
    for project in ["mine", "hidden"] {
        rig.post("/projects", rig.admin(), json!({"name": project})).await;
    }
    for name in ["seen", "unseen"] {
        rig.post("/servers", rig.admin(), server(name)).await;
    }
    let bob = rig
        .user(
            "bob@example.org",
            json!([{"role": "edit", "resource": "serverattachments", "project": "mine"},
                {"role": "view", "resource": "servers", "name": "seen"},
                {"role": "run", "resource": "servers", "name": "seen"}]),
        )
        .await;
    let attach = async |server: &str, project: &str| {
        rig.post("/serverattachments", &bob, json!({"server": server, "project": project})).await
    };
    for project in ["hidden", "nowhere"] {
        let refused = attach("seen", project).await;
        assert_eq!(refused.status, 403, "{project}: {}", refused.body);
    }
    for server in ["unseen", "nowhere"] {
        let refused = attach(server, "mine").await;
        assert_eq!(refused.status, 404, "{server}: {}", refused.body);
    }
    let attached = attach("seen", "mine").await;
    assert_eq!(attached.status, 201, "{}", attached.body);
}

#[tokio::test]
async fn no_first_user_is_made_under_a_token_that_is_revoked_meanwhile() {
    let rig = Rig::start_with(&["--limit", "controlplane.password_hashes_max=1"]);
    let made = rig.post("/tokens", rig.admin(), json!({"name": "root", "role": "admin"})).await.json();
    let root = made["token"].as_str().unwrap();
    let pause = |wait| tokio::time::sleep(std::time::Duration::from_millis(wait));
    // With one place for hashing, whoever comes later waits for these.
    let busy = (0..4).map(|at| {
        let guess = json!({"email": format!("nobody-{at}@example.org"), "password": PASSWORD});
        rig.post("/auth/login", "", guess)
    });
    let first = json!({"email": "eve@example.org", "password": PASSWORD});
    let bootstrap = async {
        pause(30).await;
        rig.post("/auth/bootstrap", root, first.clone()).await
    };
    let revoked = async {
        pause(60).await;
        rig.send("DELETE", "/tokens/root", rig.admin(), &Value::Null).await.status
    };
    let (busy, bootstrap, revoked) = tokio::join!(futures_util::future::join_all(busy), bootstrap, revoked);
    assert!(busy.iter().all(|answer| answer.status == 401), "{}", busy[0].body);
    assert_eq!((bootstrap.status, revoked), (403, 204), "{}", bootstrap.body);
    assert_eq!(rig.get("/auth/status", "").await.json()["hasUsers"], false);
    assert_eq!(rig.post("/auth/bootstrap", rig.admin(), first).await.status, 201);
}

#[tokio::test]
async fn what_waits_behind_others_does_not_happen_when_the_right_is_taken_away_meanwhile() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let bindings = json!([{"role": "edit", "resource": "*"}, {"role": "run", "action": "impersonate"}]);
    let bob = rig.user("bob@example.org", bindings).await;
    rig.user("dora@example.org", json!([])).await;
    let base = json!({"servers": [server("victim"), server("apart")], "projects": [{"name": "home"}]});
    assert_eq!(rig.post("/apply", rig.admin(), base).await.status, 200);
    let pause = || tokio::time::sleep(std::time::Duration::from_secs(1));
    // Somebody else writes for a while: what comes meanwhile waits, one behind the other.
    let elsewhere = Store::open(&rig.dir.path().join("data"), StoreConfig::default()).await.unwrap();
    let writing = elsewhere.begin().await.unwrap();
    let revoked = rig.send("DELETE", "/rbac-definitions/bob-example.org", rig.admin(), &Value::Null);
    let late = async {
        pause().await;
        tokio::join!(
            rig.send("DELETE", "/servers/victim", &bob, &Value::Null),
            rig.post("/projects/home/servers", &bob, json!({"server": "apart"})),
            rig.post("/auth/impersonate", &bob, json!({"email": "dora@example.org"})),
        )
    };
    let written = async {
        pause().await;
        pause().await;
        drop(writing);
    };
    let (revoked, late, ()) = tokio::join!(revoked, late, written);
    assert_eq!(revoked.status, 204, "{}", revoked.body);
    for (what, answer) in [("delete", late.0), ("attach", late.1), ("impersonate", late.2)] {
        assert!([403, 404].contains(&answer.status), "{what}: {} {}", answer.status, answer.body);
    }
    elsewhere.close().await;
    assert_eq!(rig.get("/servers/victim", rig.admin()).await.status, 200);
    let home = rig.get("/projects/home", rig.admin()).await.json();
    assert!(home["servers"].as_array().is_none_or(Vec::is_empty), "{home}");
}

#[tokio::test]
async fn whoever_deletes_a_project_may_delete_what_goes_with_it() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let rights = |more: &[&str]| -> Value {
        let of = |noun: &&str| json!({"role": "delete", "resource": noun});
        let see = |noun: &&str| json!({"role": "view", "resource": noun});
        let nouns: Vec<&str> = ["projects"].iter().chain(more).copied().collect();
        nouns.iter().map(of).chain(nouns.iter().map(see)).collect()
    };
    let (some, all) = (rights(&[]), rights(&["prompts"]));
    let (dan, eve) = (rig.user("dan@example.org", some).await, rig.user("eve@example.org", all).await);
    let base =
        json!({"projects": [{"name": "p"}], "prompts": [{"name": "x", "project": "p", "content": "c"}]});
    assert_eq!(rig.post("/apply", rig.admin(), base).await.status, 200);
    let refused = rig.send("DELETE", "/projects/p", &dan, &Value::Null).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(!refused.body.contains("`x`"), "{}", refused.body);
    assert_eq!(rig.get("/prompts/x?project=p", rig.admin()).await.status, 200);
    assert_eq!(rig.send("DELETE", "/projects/p", &eve, &Value::Null).await.status, 204);
}

#[tokio::test]
async fn the_last_who_may_change_rules_does_not_lock_everybody_out() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    let (rules, user) = ("/rbac-definitions/bootstrap-admin", "/users/ann@example.org");
    for (method, path, body) in [
        ("DELETE", rules, Value::Null),
        ("PATCH", rules, json!({"roleBindings": [{"role": "view", "resource": "*"}]})),
        ("PATCH", user, json!({"disabled": true})),
        ("DELETE", "/groups/admin", Value::Null),
    ] {
        let refused = rig.send(method, path, &ann, &body).await;
        assert_eq!(refused.status, 409, "{method} {path}: {}", refused.body);
    }
    let second = json!({"name": "second", "subjects": [{"kind": "User", "name": "ann@example.org"}],
        "roleBindings": [{"role": "edit", "resource": "*"}]});
    assert_eq!(rig.post("/rbac-definitions", &ann, second).await.status, 201);
    assert_eq!(rig.send("DELETE", rules, &ann, &Value::Null).await.status, 204);
    let by_operator = rig.send("DELETE", "/rbac-definitions/second", rig.admin(), &Value::Null).await;
    assert_eq!(by_operator.status, 204, "whoever has the machine may: {}", by_operator.body);
}

#[tokio::test]
async fn what_is_refused_is_recorded_however_early() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let recorded = |rig: &Rig, name: &str| rig.recorded("intent", name).len();
    for (name, method, path, body) in [
        ("servers.get", "GET", "/servers/nope", Value::Null),
        ("servers.delete", "DELETE", "/servers/nope", Value::Null),
        ("servers.create", "POST", "/servers", json!({"name": "a", "comand": []})),
        ("apply", "POST", "/apply", json!({"serverz": []})),
    ] {
        let before = recorded(&rig, name);
        assert!(rig.send(method, path, rig.admin(), &body).await.status >= 400, "{name}");
        assert_eq!(recorded(&rig, name), before + 1, "{name}");
    }
}

#[tokio::test]
async fn a_change_that_waits_for_a_hash_does_not_happen_when_its_maker_may_no_more() {
    let rig = Rig::start_with(&["--limit", "controlplane.password_hashes_max=1"]);
    rig.bootstrap().await;
    rig.user("dora@example.org", json!([])).await;
    let bob = rig.user("bob@example.org", json!([{"role": "edit", "resource": "users"}])).await;
    let made = rig.post("/tokens", rig.admin(), json!({"name": "root", "role": "admin"})).await.json();
    let root = made["token"].as_str().unwrap();
    let makers = [root, bob.as_str()];
    let pause = |wait| tokio::time::sleep(std::time::Duration::from_millis(wait));
    // With one place for hashing, whoever comes later waits for these.
    let busy = (0..16).map(|at| {
        let body = json!({"email": format!("user-{at}@example.org"), "password": PASSWORD});
        rig.post("/users", rig.admin(), body)
    });
    let changes = makers.iter().enumerate().flat_map(|(at, maker)| {
        let new = json!({"email": format!("new-{at}@example.org"), "password": "another good one"});
        let of_dora = json!({"email": "dora@example.org", "password": "another good one"});
        let dora = "/users/dora@example.org";
        [("POST", "/users", new), ("PUT", dora, of_dora.clone()), ("PATCH", dora, of_dora)].map(
            |(method, path, body)| {
                let rig = &rig;
                async move {
                    pause(30).await;
                    rig.send(method, path, maker, &body).await
                }
            },
        )
    });
    let taken = async {
        pause(90).await;
        let token = rig.send("DELETE", "/tokens/root", rig.admin(), &Value::Null).await;
        let rules = rig.send("DELETE", "/rbac-definitions/bob-example.org", rig.admin(), &Value::Null).await;
        (token.status, rules.status)
    };
    let (busy, answers, taken) =
        tokio::join!(futures_util::future::join_all(busy), futures_util::future::join_all(changes), taken);
    assert_eq!(taken, (204, 204));
    assert!(busy.iter().all(|answer| answer.status == 201), "{}", busy[0].body);
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert!(statuses.iter().all(|status| [401, 403].contains(status)), "{statuses:?}");
    for at in 0..makers.len() {
        assert_eq!(rig.get(&format!("/users/new-{at}@example.org"), rig.admin()).await.status, 404);
    }
    rig.login("dora@example.org").await;
}

#[tokio::test]
async fn a_revert_by_the_id_of_what_is_gone_changes_nothing_of_another_of_its_name() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let maker = json!([
        {"role": "view", "resource": "servers"}, {"role": "create", "resource": "servers"},
        {"role": "run", "action": "define-commands"}]);
    let eve = rig.user("eve@example.org", maker).await;
    let old = rig.post("/servers", rig.admin(), server("a")).await.json();
    assert_eq!(rig.send("DELETE", "/servers/a", rig.admin(), &Value::Null).await.status, 204);
    let new = json!({"name": "a", "command": ["another"]});
    assert_eq!(rig.post("/servers", rig.admin(), new).await.status, 201);
    let (path, to) =
        (format!("/servers/{}/revert", old["id"].as_str().unwrap()), json!({"to": old["version"]}));
    let refused = rig.post(&path, &eve, to.clone()).await;
    assert!(refused.status == 409 && refused.body.contains("another one"), "{}", refused.body);
    let command = async || rig.get("/servers/a", rig.admin()).await.json()["command"].clone();
    assert_eq!(command().await, json!(["another"]));
    // Who may make it makes it where there is none.
    assert_eq!(rig.send("DELETE", "/servers/a", rig.admin(), &Value::Null).await.status, 204);
    let made = rig.post(&path, &eve, to).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(command().await, old["command"]);
}
