//! What other programs know is taken over, once it was looked at.

use super::rig::Rig;

const CLAUDE: &str = r#"{"mcpServers": {
    "home assistant": {"command": "npx", "args": ["-y", "@x/ha"], "env": {"HA_TOKEN": "hush-hush", "LEVEL": "debug"}},
    "far": {"type": "http", "url": "https://x.org/mcp"}}}"#;

#[test]
fn servers_are_shown_first_and_then_made_with_their_secrets_apart() {
    let rig = Rig::new();
    let file = rig.file("claude.json", CLAUDE);
    let said = rig.run(&["import", "claude-desktop", &file]);
    assert!(
        said.out.contains("server/home-assistant") && said.err.contains("nothing was changed"),
        "{said:?}"
    );
    assert!(!said.out.contains("hush"));
    assert_eq!(rig.ok(&["get", "servers"]), "");
    rig.ok(&["import", "claude-desktop", &file, "--apply"]);
    let servers = rig.ok(&["get", "servers", "-o", "yaml"]);
    assert!(
        servers.contains("name: home-assistant-env") && servers.contains("https://x.org/mcp"),
        "{servers}"
    );
    assert!(!servers.contains("hush") && !rig.ok(&["get", "secrets", "-o", "json"]).contains("hush"));
    let said = rig.run(&["import", "claude-code", &file, "-o", "yaml"]);
    assert!(said.out.contains("hush-hush") && rig.with(&["apply", "-f", "-"], &said.out).code == 0);
}

#[test]
fn mcpctl_and_vs_code_are_read_and_nonsense_is_refused() {
    let rig = Rig::new();
    let backup = r#"{"version": "1", "servers": [{"name": "a", "packageName": "a", "dockerImage": null}],
        "projects": [{"name": "p", "serverNames": ["a"]}], "groups": [], "secrets": []}"#;
    let file = rig.file("backup.json", backup);
    assert!(rig.ok(&["import", "mcpctl", &file, "--apply"]).contains("project/p created"));
    let code = "{ // mine\n \"servers\": {\"b\": {\"command\": \"b\"}}, \"inputs\": [{\"id\": \"t\"}] }";
    let said = rig.run(&["import", "vscode", &rig.file("mcp.json", code), "--apply"]);
    assert!(said.code == 0 && said.err.contains("`t`"), "{said:?}");
    assert_eq!(rig.ok(&["get", "servers", "-o", "name"]), "server/a\nserver/b\n");
    assert_eq!(rig.run(&["import", "mcpctl", &rig.file("x", "{}")]).code, 2);
    assert_eq!(rig.run(&["import", "vscode", &rig.file("x", "[")]).code, 2);
}

#[test]
fn a_backup_with_empty_members_and_an_old_mode_is_taken_over_whole() {
    let rig = Rig::new();
    let backup = r#"{"servers": [{"name": "a", "description": "", "packageName": "a", "dockerImage": ""}],
        "projects": [{"name": "p", "description": "", "proxyMode": "filtered", "serverNames": ["a"]}]}"#;
    let file = rig.file("backup.json", backup);
    let told = rig.ok(&["import", "mcpctl", &file, "--apply"]);
    assert!(told.contains("server/a created") && told.contains("project/p created"), "{told}");
    let model = rig.ok(&["get", "project", "p", "-o", "jsonpath={.proxyModel}"]);
    assert_eq!(model, "content-pipeline\n");
}

#[test]
fn without_apply_the_server_is_asked_what_would_change_if_there_is_one() {
    let rig = Rig::new();
    let file = rig.file("claude.json", CLAUDE);
    let look = ["import", "claude-desktop", &file];
    assert!(rig.ok(&look).contains("server/far created (tried, not done)"));
    assert_eq!(rig.ok(&["get", "servers"]), "");
    rig.ok(&[&look[..], &["--apply"]].concat());
    assert!(rig.ok(&look).contains("server/far unchanged (tried, not done)"));
    for away in [&["--url", "http://127.0.0.1:9"][..], &[]] {
        if away.is_empty() {
            rig.ok(&["logout"]);
        }
        let said = rig.run(&[&look[..], away].concat());
        assert!(said.code == 0 && said.out.contains("server/far  https://x.org/mcp"), "{said:?}");
        assert!(!said.out.contains("tried") && said.err.contains("nothing was sent"), "{said:?}");
    }
}

#[test]
fn an_old_mode_of_mcpctl_that_is_direct_is_taken_over_as_no_model() {
    let rig = Rig::new();
    let backup = r#"{"servers": [{"name": "a", "packageName": "a"}],
        "projects": [{"name": "p", "proxyMode": "direct", "serverNames": ["a"]}]}"#;
    let said = rig.run(&["import", "mcpctl", &rig.file("backup.json", backup), "--apply"]);
    assert!(said.code == 0 && said.err.is_empty() && said.out.contains("project/p created"), "{said:?}");
    assert_eq!(rig.ok(&["get", "project", "p", "-o", "yaml"]), "projects:\n- name: p\n  servers:\n  - a\n");
}
