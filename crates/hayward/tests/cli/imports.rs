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
    assert!(said.out.contains("server/home-assistant") && said.err.contains("nothing was sent"), "{said:?}");
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
