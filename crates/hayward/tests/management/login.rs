//! Signing in, acting as another, and what ends it.

use serde_json::{Value, json};

use super::rig::{PASSWORD, Rig};

#[tokio::test]
async fn the_first_user_is_made_once_and_by_the_administrator() {
    let rig = Rig::start();
    assert_eq!(rig.get("/auth/status", "").await.json(), json!({"hasUsers": false}));
    let body = json!({"email": "ann@example.org", "password": PASSWORD});
    assert_eq!(rig.post("/auth/bootstrap", "", body.clone()).await.status, 401);
    assert_eq!(rig.post("/auth/bootstrap", rig.daemon.token("rw"), body.clone()).await.status, 403);
    let tries = futures_util::future::join_all(
        (0..4).map(|_| rig.post("/auth/bootstrap", rig.admin(), body.clone())),
    )
    .await;
    let mut statuses: Vec<u16> = tries.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);
    assert_eq!(rig.get("/auth/status", "").await.json(), json!({"hasUsers": true}));
    let ann = rig.login("Ann@Example.org").await;
    let me = rig.get("/auth/me", &ann).await.json();
    assert_eq!((&me["kind"], &me["name"]), (&json!("user"), &json!("ann@example.org")));
    for path in ["/servers", "/users", "/secrets", "/rbac-definitions", "/tokens", "/audit/events"] {
        assert_eq!(rig.get(path, &ann).await.status, 200, "{path}");
    }
    let text: String = rig.records().iter().map(ToString::to_string).collect();
    assert!(!text.contains(PASSWORD) && !text.contains(&ann));
}

#[tokio::test]
async fn an_open_server_lets_whoever_comes_first_make_the_first_user() {
    let rig = Rig::start_with(&["--bootstrap-open"]);
    let body = json!({"email": "ann@example.org", "password": PASSWORD});
    assert_eq!(rig.post("/auth/bootstrap", "", body.clone()).await.status, 201);
    assert_eq!(rig.post("/auth/bootstrap", "", body).await.status, 409);
}

#[tokio::test]
async fn a_login_ends_at_once_and_wrong_passwords_become_slow() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    assert_eq!(rig.post("/auth/logout", &ann, Value::Null).await.status, 204);
    assert_eq!(rig.get("/auth/me", &ann).await.status, 401);
    let guess = json!({"email": "ann@example.org", "password": "wrong password"});
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(rig.post("/auth/login", "", guess.clone()).await.status);
    }
    assert_eq!(statuses[0], 401);
    assert!(statuses.contains(&429), "{statuses:?}");
    let nobody =
        rig.post("/auth/login", "", json!({"email": "bob@example.org", "password": "wrong password"})).await;
    assert!([401, 429].contains(&nobody.status));
}

#[tokio::test]
async fn whoever_acts_as_another_has_its_permissions_and_stands_in_the_record_beside_it() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    let bob = rig.user("bob@example.org", json!([{"role": "view", "resource": "servers"}])).await;
    assert_eq!(rig.post("/auth/impersonate", &bob, json!({"email": "ann@example.org"})).await.status, 403);
    let acting = rig.post("/auth/impersonate", &ann, json!({"email": "bob@example.org"})).await;
    assert_eq!(acting.status, 201, "{}", acting.body);
    let acting = acting.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(rig.get("/servers", &acting).await.status, 200);
    assert_eq!(rig.get("/users", &acting).await.status, 403);
    let told = rig.recorded("intent", "servers.list").pop().unwrap();
    assert_eq!(told["principal"]["name"], "bob@example.org");
    assert!(told["principal"]["impersonator"].as_str().unwrap().contains("ann@example.org"), "{told}");
}

#[tokio::test]
async fn a_login_by_impersonation_ends_with_its_maker_and_after_an_hour() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    rig.user("bob@example.org", json!([{"role": "view", "resource": "servers"}])).await;
    let boss = rig.user("boss@example.org", json!([{"role": "run", "action": "impersonate"}])).await;
    let act = async |by: &str| {
        let acting = rig.post("/auth/impersonate", by, json!({"email": "bob@example.org"})).await;
        assert_eq!(acting.status, 201, "{}", acting.body);
        let ends: jiff::Timestamp = acting.json()["expiresAt"].as_str().unwrap().parse().unwrap();
        assert!(ends.as_second() <= jiff::Timestamp::now().as_second() + 3_600, "{}", acting.body);
        let token = acting.json()["token"].as_str().unwrap().to_owned();
        assert_eq!(rig.get("/servers", &token).await.status, 200);
        token
    };
    let acting = act(&boss).await;
    assert_eq!(rig.post("/auth/logout", &boss, Value::Null).await.status, 204);
    assert_eq!(rig.get("/servers", &acting).await.status, 401);
    let acting = act(&rig.login("boss@example.org").await).await;
    let disabled = json!({"email": "boss@example.org", "disabled": true});
    assert_eq!(rig.send("PUT", "/users/boss@example.org", &ann, &disabled).await.status, 200);
    assert_eq!(rig.get("/servers", &acting).await.status, 401);
    let acting = act(rig.admin()).await;
    assert_eq!(rig.get("/auth/me", &acting).await.json()["impersonator"], "admin:temporary-admin");
}

#[tokio::test]
async fn a_new_password_ends_all_logins_of_the_user() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    let bob = rig.user("bob@example.org", json!([{"role": "view", "resource": "servers"}])).await;
    let same = json!({"email": "bob@example.org", "password": PASSWORD, "name": "Bob"});
    assert_eq!(rig.send("PUT", "/users/bob@example.org", &ann, &same).await.status, 200);
    assert_eq!(rig.get("/servers", &bob).await.status, 200, "the password is the same");
    let new = json!({"email": "bob@example.org", "password": "a password of another kind"});
    let changed = rig.send("PUT", "/users/bob@example.org", &ann, &new).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(rig.get("/servers", &bob).await.status, 401);
    assert_eq!(rig.get("/servers", &ann).await.status, 200);
}

#[tokio::test]
async fn whoever_knows_their_password_changes_it_and_their_other_logins_end() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    let bob = rig.user("bob@example.org", json!([])).await;
    let other = rig.login("bob@example.org").await;
    let change = async |token: &str, old: &str, new: &str| {
        rig.post("/auth/password", token, json!({"old": old, "new": new})).await
    };
    let new = "another good one";
    for (old, new, member) in [("wrong password", new, "old"), (PASSWORD, PASSWORD, "new")] {
        let refused = change(&bob, old, new).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert_eq!(refused.json()["errors"][0]["field"], member);
    }
    assert_eq!(change(&bob, PASSWORD, "short").await.status, 400);
    let changed = change(&bob, PASSWORD, new).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let fresh = changed.json()["token"].as_str().unwrap().to_owned();
    let statuses = async |token: &str| rig.get("/auth/me", token).await.status;
    assert_eq!((statuses(&bob).await, statuses(&other).await, statuses(&fresh).await), (401, 401, 200));
    let login = |password| json!({"email": "bob@example.org", "password": password});
    assert_eq!(rig.post("/auth/login", "", login(PASSWORD)).await.status, 401);
    assert_eq!(rig.post("/auth/login", "", login(new)).await.status, 200);
    assert_eq!(statuses(&ann).await, 200);
    let text: String = rig.records().iter().map(ToString::to_string).collect();
    assert!(text.contains("auth.password") && !text.contains(new) && !text.contains("wrong password"));
}

#[tokio::test]
async fn passwords_are_changed_by_users_alone_and_guessed_at_slowly() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    let body = json!({"old": "wrong password", "new": "another good one"});
    for role in ["admin", "rw"] {
        assert_eq!(rig.post("/auth/password", rig.daemon.token(role), body.clone()).await.status, 403);
    }
    rig.user("bob@example.org", json!([])).await;
    let acting = rig.post("/auth/impersonate", &ann, json!({"email": "bob@example.org"})).await.json();
    let right = json!({"old": PASSWORD, "new": "another good one"});
    assert_eq!(rig.post("/auth/password", acting["token"].as_str().unwrap(), right).await.status, 403);
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(rig.post("/auth/password", &ann, body.clone()).await.status);
    }
    assert!(statuses[0] == 400 && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn an_invite_is_good_for_one_user() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    rig.post("/groups", &ann, json!({"name": "home", "members": []})).await;
    let invited =
        rig.post("/auth/invites", &ann, json!({"email": "carl@example.org", "groups": ["home"]})).await;
    assert_eq!(invited.status, 201, "{}", invited.body);
    let invite = invited.json()["invite"].clone();
    let join = json!({"invite": invite, "password": PASSWORD});
    let joined = rig.post("/auth/join", "", join.clone()).await;
    assert_eq!(
        (joined.status, joined.json()["user"]["email"].clone()),
        (201, json!("carl@example.org")),
        "{}",
        joined.body
    );
    assert_eq!(rig.post("/auth/join", "", join).await.status, 401);
    let group = rig.get("/groups/home", &ann).await.json();
    assert_eq!(group["members"], json!(["carl@example.org"]));
}

#[tokio::test]
async fn a_service_account_has_a_token_that_is_shown_once_and_ends_with_it() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    let account = json!({"email": "ci", "serviceAccount": true});
    assert_eq!(rig.post("/users", &ann, account).await.status, 201);
    let rules = json!({"name": "ci", "subjects": [{"kind": "ServiceAccount", "name": "ci"}],
        "roleBindings": [{"role": "view", "resource": "servers"}]});
    assert_eq!(rig.post("/rbac-definitions", &ann, rules).await.status, 201);
    let made = rig.post("/tokens", &ann, json!({"name": "ci", "role": "account", "account": "ci"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert!(rig.get("/tokens/ci", &ann).await.json().get("token").is_none());
    assert_eq!(rig.get("/servers", &token).await.status, 200);
    assert_eq!(rig.get("/secrets", &token).await.status, 403);
    assert_eq!(rig.send("DELETE", "/tokens/ci", &ann, &Value::Null).await.status, 204);
    assert_eq!(rig.get("/servers", &token).await.status, 401);
}

#[tokio::test]
async fn who_loses_a_race_for_an_invite_guesses_nothing_and_the_record_says_whose_it_was() {
    let rig = Rig::start_with(&["--limit", "gateway.failure_delay_ms_max=0"]);
    let ann = rig.bootstrap().await;
    let over = rig.post("/auth/invites", &ann, json!({"email": "x@example.org", "expiresIn": 0})).await;
    assert_eq!(
        (over.status, over.json()["errors"][0]["field"].clone()),
        (400, json!("expiresIn")),
        "{}",
        over.body
    );
    let invite = async |email: &str| {
        let invited = rig.post("/auth/invites", &ann, json!({"email": email})).await;
        json!({"invite": invited.json()["invite"], "password": PASSWORD})
    };
    let (first, second) = (invite("carl@example.org").await, invite("dora@example.org").await);
    assert_eq!(rig.post("/auth/join", "", first.clone()).await.status, 201);
    for _ in 0..12 {
        assert_eq!(rig.post("/auth/join", "", first.clone()).await.status, 401);
    }
    let joined = rig.post("/auth/join", "", second).await;
    assert_eq!(joined.status, 201, "{}", joined.body);
    let told = rig.recorded("intent", "auth.join").pop().unwrap();
    assert_eq!(told["arguments"]["email"], "dora@example.org", "{told}");
    assert!(told["arguments"]["id"].is_string(), "{told}");
    let unknown = json!({"invite": "hwd_invite_nothing", "password": PASSWORD});
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(rig.post("/auth/join", "", unknown.clone()).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn a_user_without_a_password_says_so_to_whoever_may_see_it() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    rig.user("bob@example.org", json!([])).await;
    let version = rig.get("/users/bob@example.org", &ann).await.json()["version"].clone();
    let conditions = async |name: &str| {
        let shown = rig.get(&format!("/users/{name}"), &ann).await.json();
        let listed = rig.get("/users", &ann).await.json();
        let listed = listed.as_array().unwrap().iter().find(|user| user["email"] == name).unwrap().clone();
        assert_eq!(shown, listed);
        shown["status"]["conditions"].clone()
    };
    assert_eq!(conditions("bob@example.org").await, Value::Null);
    assert_eq!(
        rig.send("DELETE", "/users/bob@example.org?detach=true", &ann, &Value::Null).await.status,
        204
    );
    let back = rig.post("/users/bob@example.org/revert", &ann, json!({"to": version})).await;
    assert_eq!(back.status, 200, "{}", back.body);
    assert_eq!(back.json()["status"]["conditions"][0]["type"], "NoPassword", "{}", back.body);
    assert_eq!(conditions("bob@example.org").await[0]["type"], "NoPassword");
    let set = json!({"password": PASSWORD});
    assert_eq!(rig.send("PATCH", "/users/bob@example.org", &ann, &set).await.status, 200);
    assert_eq!(conditions("bob@example.org").await, Value::Null);
    rig.login("bob@example.org").await;
    rig.post("/users", &ann, json!({"email": "ci", "serviceAccount": true})).await;
    assert_eq!(conditions("ci").await, Value::Null, "programs have tokens");
}

#[tokio::test]
async fn a_login_under_way_while_the_password_changes_does_not_outlive_the_change() {
    let rig = Rig::start_with(&["--limit", "controlplane.password_hashes_max=1"]);
    rig.user("bob@example.org", json!([])).await;
    let login = async |password: &str| {
        let body = json!({"email": "bob@example.org", "password": password});
        rig.post("/auth/login", "", body).await
    };
    let passwords = [PASSWORD, "another good one", "a third good one", "a fourth good one"];
    for passwords in passwords.windows(2) {
        // With one place for hashing, these wait for the change, which came before them, and not for what it changes.
        let late = async |wait| {
            tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
            login(passwords[0]).await
        };
        let new = json!({"password": passwords[1]});
        let (changed, first, second, third) = tokio::join!(
            rig.send("PATCH", "/users/bob@example.org", rig.admin(), &new),
            late(5),
            late(15),
            late(30),
        );
        assert_eq!(changed.status, 200, "{}", changed.body);
        for answer in [first, second, third] {
            let Some(token) = answer.json()["token"].as_str().map(ToOwned::to_owned) else {
                assert_eq!(answer.status, 401, "{}", answer.body);
                continue;
            };
            assert_eq!(rig.get("/auth/me", &token).await.status, 401, "it outlives the change");
        }
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    let last = login(passwords[3]).await;
    assert_eq!(last.status, 200, "{}", last.body);
}

#[tokio::test]
async fn an_old_password_that_is_changed_meanwhile_changes_nothing() {
    let rig = Rig::start_with(&["--limit", "controlplane.password_hashes_max=1"]);
    let bob = rig.user("bob@example.org", json!([])).await;
    let (wanted, own) = (json!({"password": "of the administrator"}), "of whoever knew the old one");
    let change = async {
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
        rig.post("/auth/password", &bob, json!({"old": PASSWORD, "new": own})).await
    };
    let (changed, refused) =
        tokio::join!(rig.send("PATCH", "/users/bob@example.org", rig.admin(), &wanted), change);
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert!([400, 401].contains(&refused.status), "{} {}", refused.status, refused.body);
    let login = |password: &str| json!({"email": "bob@example.org", "password": password});
    assert_eq!(rig.post("/auth/login", "", login("of the administrator")).await.status, 200);
    assert_eq!(rig.post("/auth/login", "", login(own)).await.status, 401);
}

#[tokio::test]
async fn an_invite_ends_with_the_token_that_made_it() {
    let rig = Rig::start();
    rig.bootstrap().await;
    rig.post("/users", rig.admin(), json!({"email": "ci", "serviceAccount": true})).await;
    let rules = json!({"name": "ci", "subjects": [{"kind": "ServiceAccount", "name": "ci"}],
        "roleBindings": [{"role": "create", "resource": "users"}]});
    assert_eq!(rig.post("/rbac-definitions", rig.admin(), rules).await.status, 201);
    let token = async |name: &str, role: Value| {
        let mut token = json!({"name": name});
        token.as_object_mut().unwrap().extend(role.as_object().unwrap().clone());
        let made = rig.post("/tokens", rig.admin(), token).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["token"].as_str().unwrap().to_owned()
    };
    let invite = async |email: &str, by: &str| {
        let invited = rig.post("/auth/invites", by, json!({"email": email})).await;
        assert_eq!(invited.status, 201, "{}", invited.body);
        json!({"invite": invited.json()["invite"], "password": PASSWORD})
    };
    let (admin, account) = (json!({"role": "admin"}), json!({"role": "account", "account": "ci"}));
    for (name, role) in [("root", admin), ("robot", account)] {
        let first = token(name, role.clone()).await;
        let kept = invite(&format!("{name}-kept@example.org"), &first).await;
        let left = invite(&format!("{name}-left@example.org"), &first).await;
        assert_eq!(rig.post("/auth/join", "", kept).await.status, 201, "{name}");
        assert_eq!(
            rig.send("DELETE", &format!("/tokens/{name}"), rig.admin(), &Value::Null).await.status,
            204
        );
        token(name, role).await;
        let refused = rig.post("/auth/join", "", left).await;
        assert_eq!(refused.status, 401, "{name}: another token of the name is another one");
    }
    let temporary = invite("kept@example.org", rig.admin()).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(rig.post("/auth/join", "", temporary).await.status, 201);
}

#[tokio::test]
async fn an_invite_of_a_person_outlasts_their_login() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    let invited = rig.post("/auth/invites", &ann, json!({"email": "carl@example.org"})).await.json();
    assert_eq!(rig.post("/auth/logout", &ann, Value::Null).await.status, 204);
    let join = json!({"invite": invited["invite"], "password": PASSWORD});
    assert_eq!(rig.post("/auth/join", "", join).await.status, 201);
}

#[tokio::test]
async fn a_dry_run_says_nothing_of_a_password() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let bob = rig.user("bob@example.org", json!([])).await;
    let own = json!([{"role": "edit", "resource": "users", "name": "bob@example.org"}]);
    let carl = rig.user("carl@example.org", own).await;
    for method in ["PATCH", "PUT"] {
        let dry = async |password: &str| {
            let body = json!({"email": "bob@example.org", "password": password});
            rig.send(method, "/users/bob@example.org?dryRun=server", &carl, &body).await
        };
        let (right, wrong) = (dry(PASSWORD).await, dry("a wrong password").await);
        assert_eq!((right.status, wrong.status), (200, 200), "{}", wrong.body);
        let told = |answer: &hayward_testkit::client::Answer| {
            let mut told = answer.json();
            told.as_object_mut().unwrap().remove("updatedAt");
            told
        };
        assert_eq!(told(&right), told(&wrong), "{method}");
        assert_eq!(dry("short").await.status, 400);
    }
    for password in [PASSWORD, "a wrong password"] {
        let users = json!({"users": [{"email": "bob@example.org", "password": password}]});
        rig.post("/apply", rig.admin(), json!({"users": [{"email": "bob@example.org"}]})).await;
        let dry = rig.post("/apply?dryRun=server", rig.admin(), users).await;
        assert_eq!(dry.json()["results"][0]["action"], "unchanged", "{}", dry.body);
    }
    let new = json!({"email": "dora@example.org", "password": PASSWORD});
    assert_eq!(rig.post("/users?dryRun=server", rig.admin(), new).await.status, 201);
    assert_eq!(rig.get("/auth/me", &bob).await.status, 200);
    rig.login("bob@example.org").await;
}

#[tokio::test]
async fn invites_into_groups_are_for_whoever_may_edit_those() {
    let rig = Rig::start();
    let ann = rig.bootstrap().await;
    for name in ["home", "ops"] {
        assert_eq!(rig.post("/groups", &ann, json!({"name": name, "members": []})).await.status, 201);
    }
    let body = json!({"email": "carl@example.org", "groups": ["home", "ops"]});
    assert_eq!(rig.post("/auth/invites", &ann, body).await.status, 201);
    assert_eq!(rig.post("/auth/invites", &ann, json!({"email": "dora@example.org"})).await.status, 201);
    let create = json!({"role": "create", "resource": "users"});
    let edit = |name: &str| json!({"role": "edit", "resource": "groups", "name": name});
    let bob = rig.user("bob@example.org", json!([create, edit("home")])).await;
    let eve = rig.user("eve@example.org", json!([create, edit("home"), edit("ops")])).await;
    let listed = async |token: &str| rig.get("/auth/invites", token).await.json().as_array().unwrap().clone();
    let (few, all) = (listed(&bob).await, listed(&eve).await);
    assert_eq!((few.len(), all.len()), (1, 2), "{few:?}");
    assert_eq!(few[0]["email"], "dora@example.org");
    let into = all.iter().find(|invite| invite["email"] == "carl@example.org").unwrap();
    let path = format!("/auth/invites/{}", into["id"].as_str().unwrap());
    assert_eq!(rig.send("DELETE", &path, &bob, &Value::Null).await.status, 404);
    assert_eq!(rig.send("DELETE", &path, &eve, &Value::Null).await.status, 204);
}

#[tokio::test]
async fn an_invite_that_is_made_while_acting_as_another_is_good() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let acting = rig.post("/auth/impersonate", rig.admin(), json!({"email": "ann@example.org"})).await.json();
    let acting = acting["token"].as_str().unwrap();
    let invited = rig.post("/auth/invites", acting, json!({"email": "new@example.org"})).await;
    assert_eq!(invited.status, 201, "{}", invited.body);
    let join = json!({"invite": invited.json()["invite"], "password": PASSWORD});
    assert_eq!(rig.post("/auth/join", "", join).await.status, 201);
}

#[tokio::test]
async fn a_person_who_becomes_a_program_is_signed_out_and_has_no_password() {
    let rig = Rig::start();
    rig.bootstrap().await;
    let bob = rig.user("bob@example.org", json!([])).await;
    let path = "/users/bob@example.org";
    assert_eq!(rig.get("/auth/me", &bob).await.status, 200);
    // A rule names him as a person.
    rig.send("DELETE", "/rbac-definitions/bob-example.org", rig.admin(), &Value::Null).await;
    let program = rig.send("PATCH", path, rig.admin(), &json!({"serviceAccount": true})).await;
    assert_eq!(program.status, 200, "{}", program.body);
    assert_eq!(rig.get("/auth/me", &bob).await.status, 401);
    rig.send("PATCH", path, rig.admin(), &json!({"serviceAccount": false})).await;
    let back = rig.post("/auth/login", "", json!({"email": "bob@example.org", "password": PASSWORD})).await;
    assert_eq!(back.status, 401, "the password is forgotten");
}

#[tokio::test]
async fn a_token_that_is_over_or_whose_folder_is_gone_can_still_be_disabled() {
    let rig = Rig::start();
    let admin = rig.admin();
    let folder = rig.dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2)).to_string();
    let fence = json!({"profile": "confined", "roots": [folder]});
    let wanted = json!({"name": "ci", "role": "ro", "expiresAt": soon, "fence": fence});
    let made = rig.post("/tokens", admin, wanted.clone()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    std::fs::remove_dir(&folder).unwrap();
    let again = rig.post("/apply", admin, json!({"tokens": [made_as(&rig, "ci").await]})).await;
    assert_eq!(again.status, 200, "{}", again.body);
    let patch = async |patch: Value| rig.send("PATCH", "/tokens/ci", admin, &patch).await;
    let disabled = patch(json!({"enabled": false})).await;
    assert_eq!((disabled.status, &disabled.json()["enabled"]), (200, &json!(false)), "{}", disabled.body);
    // What is new is asked as ever.
    let elsewhere =
        patch(json!({"fence": {"profile": "confined", "roots": [rig.dir.path().join("nowhere")]}})).await;
    assert_eq!(elsewhere.status, 400, "{}", elsewhere.body);
    let past = patch(json!({"expiresAt": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(past.status, 400, "{}", past.body);
    let reserved = rig.post("/tokens", admin, json!({"name": "temporary-admin", "role": "ro"})).await;
    assert_eq!(reserved.status, 400, "{}", reserved.body);
    let reserved =
        rig.post("/apply", admin, json!({"tokens": [{"name": "temporary-ro", "role": "ro"}]})).await;
    assert_eq!(reserved.status, 400, "{}", reserved.body);
}

/// A token as it is shown.
async fn made_as(rig: &Rig, name: &str) -> Value {
    rig.get(&format!("/tokens/{name}"), rig.admin()).await.json()
}

#[tokio::test]
async fn the_oldest_login_of_a_user_ends_when_there_are_too_many() {
    let rig = Rig::start_with(&["--limit", "store.user_logins_max=2"]);
    rig.bootstrap().await;
    let ann = rig.login("ann@example.org").await;
    let first = rig.user("bob@example.org", json!([])).await;
    // Which is older is told by the second.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let second = rig.login("bob@example.org").await;
    assert_eq!(rig.get("/auth/me", &first).await.status, 200);
    let third = rig.login("bob@example.org").await;
    let status = async |token: &str| rig.get("/auth/me", token).await.status;
    assert_eq!((status(&second).await, status(&third).await, status(&ann).await), (200, 200, 200));
    assert_eq!(status(&first).await, 401);
}
