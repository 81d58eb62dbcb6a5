//! Logging in and out, and what is kept of it.

use std::os::unix::fs::PermissionsExt;

use super::rig::{PASSWORD, Rig, finish};

#[test]
fn the_first_login_makes_the_first_user_and_needs_the_admin_token() {
    let rig = Rig::empty();
    let words = ["login", "--email", "ada@example.org", "--password-stdin"];
    let said = rig.with(&words, PASSWORD);
    assert!(said.code == 4 && said.err.contains("admin token"), "{said:?}");
    let mut login = rig.command(&words);
    login.env("HAYWARD_TOKEN", rig.daemon.token("admin"));
    let said = finish(login, PASSWORD);
    assert!(said.code == 0 && said.err.contains("HAYWARD_TOKEN is set"), "{said:?}");
    assert!(rig.ok(&["status"]).contains("ada@example.org"));
    let kept = rig.path("home/.config/hayward/credentials.json");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(kept).unwrap().contains(PASSWORD));
}

#[test]
fn a_wrong_password_is_refused_and_a_logout_ends_the_login() {
    let rig = Rig::new();
    let words = ["login", "--email", "ada@example.org", "--password-stdin"];
    assert_eq!(rig.with(&words, "wrong-password").code, 4);
    assert_eq!(rig.with(&words, PASSWORD).code, 0);
    let kept = std::fs::read_to_string(rig.path("home/.config/hayward/credentials.json")).unwrap();
    let said = rig.run(&["logout"]);
    assert!(said.code == 0 && !said.err.contains("HAYWARD_TOKEN"), "{said:?}");
    assert!(rig.fails(4, &["get", "servers"]).contains("hayward login"));
    // The token itself is dead, wherever it was copied to.
    rig.file("home/.config/hayward/credentials.json", &kept);
    rig.fails(4, &["get", "servers"]);
}

#[test]
fn a_server_that_is_not_there_is_told_with_the_way_out() {
    let rig = Rig::new();
    let told = rig.fails(5, &["get", "servers", "--url", "http://127.0.0.1:9"]);
    assert!(told.contains("hint: is `hayward serve` running there?"), "{told}");
    rig.fails(2, &["get", "servers", "--url", "nas"]);
}

#[test]
fn client_settings_come_from_the_file_and_flags_win() {
    let rig = Rig::new();
    let config = rig.file("c.toml", "client.output = \"json\"\n");
    assert!(rig.ok(&["get", "users", "--config", &config]).starts_with('{'));
    assert!(rig.ok(&["get", "users", "--config", &config, "-o", "name"]).starts_with("user/ada"));
    let bad = rig.file("bad.toml", "client.outptu = \"json\"\n");
    assert!(rig.fails(78, &["get", "users", "--config", &bad]).contains("`client.output`"));
}

#[test]
fn the_record_as_a_table_says_what_a_management_call_was_about_and_takes_patterns() {
    let rig = Rig::new();
    rig.ok(&["create", "server", "grafana", "--package-name", "g"]);
    let file = rig.file("a.yaml", "projects: [{name: home}, {name: work}]\n");
    rig.ok(&["apply", "-f", &file]);
    let data = rig.path("data").display().to_string();
    let query = |tool: &str| rig.ok(&["audit", "--data-dir", &data, "query", "--tool", tool]);
    let servers = query("servers.*");
    let made = servers.lines().find(|line| line.contains("servers.create")).unwrap();
    assert!(made.contains("  grafana  ") && servers.contains("OBJECT"), "{servers}");
    assert!(!servers.contains("apply"), "{servers}");
    assert!(query("apply").contains("  project/home +1  "), "{}", query("apply"));
}

#[test]
fn somebody_is_invited_joins_and_changes_their_password() {
    let rig = Rig::new();
    rig.ok(&["create", "group", "ops"]);
    let made =
        rig.run(&["invite", "bob@example.org", "--name", "Bob", "--group", "ops", "--expires-in", "2h"]);
    assert!(made.code == 0 && made.err.contains("hayward login --url"), "{made:?}");
    let invite = made.out.trim();
    assert!(invite.starts_with("hwd_invite_"), "{made:?}");
    let listed = rig.ok(&["invite", "list"]);
    assert!(
        listed.contains("bob@example.org") && listed.contains("ops") && !listed.contains(invite),
        "{listed}"
    );
    let join =
        rig.with(&["login", "--invite", "-", "--password-stdin"], &format!("{invite}\nfirst-password\n"));
    assert_eq!(join.code, 0, "{join:?}");
    assert!(rig.ok(&["status"]).contains("bob@example.org"));
    let before = std::fs::read_to_string(rig.path("home/.config/hayward/credentials.json")).unwrap();
    let change = |input: &str| rig.with(&["passwd", "--password-stdin"], input);
    let refused = change("wrong-password\nsecond-password\n");
    assert!(refused.code == 1 && refused.err.contains("old password is wrong"), "{refused:?}");
    assert_eq!(change("first-password\n").code, 2);
    assert_eq!(change("first-password\nsecond-password\n").code, 0);
    // This login goes on; what it was before is over.
    assert!(rig.ok(&["status"]).contains("bob@example.org"));
    rig.file("home/.config/hayward/credentials.json", &before);
    rig.fails(4, &["get", "servers"]);
    let login = ["login", "--email", "bob@example.org", "--password-stdin"];
    assert_eq!(rig.with(&login, "first-password").code, 4);
    assert_eq!(rig.with(&login, "second-password").code, 0);
    assert_eq!(rig.run(&["invite", "carl@example.org"]).code, 4, "bob makes no users");
}

#[test]
fn an_invite_that_is_taken_back_is_of_no_use() {
    let rig = Rig::new();
    let invite = rig.ok(&["invite", "bob@example.org"]);
    let listed = rig.ok(&["invite", "list", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    rig.ok(&["invite", "revoke", listed[0]["id"].as_str().unwrap()]);
    rig.fails(3, &["invite", "revoke", listed[0]["id"].as_str().unwrap()]);
    assert_eq!(rig.with(&["login", "--invite", invite.trim(), "--password-stdin"], PASSWORD).code, 4);
    rig.fails(2, &["invite"]);
    rig.fails(2, &["invite", "bob@example.org", "--expires-in", "0d"]);
}

#[test]
fn a_status_under_a_token_that_is_not_valid_fails_and_says_so() {
    let rig = Rig::new();
    for form in ["table", "json"] {
        let mut status = rig.command(&["status", "-o", form]);
        status.env("HAYWARD_TOKEN", "bad");
        let said = finish(status, "");
        assert!(said.code == 4 && said.err.contains("token is not valid"), "{said:?}");
        assert!(said.out.contains("reachable") && !said.out.contains("nobody"), "{said:?}");
    }
    rig.ok(&["logout"]);
    assert!(rig.ok(&["status"]).contains("nobody: run `hayward login`"));
}

#[test]
fn a_wrong_password_is_told_as_that_and_not_with_another_login() {
    let rig = Rig::new();
    let words = ["login", "--email", "ada@example.org", "--password-stdin"];
    let said = rig.with(&words, "wrong-password");
    assert!(said.code == 4 && said.err.contains("the email or the password is wrong"), "{said:?}");
    assert!(!said.err.contains("hayward login"), "{said:?}");
}

#[test]
fn a_directory_of_manifests_that_is_not_there_is_refused_at_the_start() {
    let rig = Rig::empty();
    let data = rig.path("other").display().to_string();
    let told = rig.fails(78, &["serve", "--data-dir", &data, "--port", "0", "--manifests", "/nosuch"]);
    assert!(told.contains("`--manifests` `/nosuch`: there is no such directory"), "{told}");
}
