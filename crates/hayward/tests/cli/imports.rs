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
fn what_is_wrong_with_a_file_is_told_with_its_name_and_place_and_whose_it_may_be() {
    let rig = Rig::new();
    let twice = "{\"mcpServers\": {\"a\": {\"command\": \"x\"},\n \"a\": {\"command\": \"y\"}}}";
    for (program, text, told, hint) in [
        (
            "claude-code",
            "{\"mcpServers\": {\n \"a\": {}\n \"b\": {}}}",
            "f.json:3:2: expected `,` or `}`",
            "",
        ),
        ("claude-code", twice, "f.json:2:2: `a` is given twice", ""),
        ("claude-code", "{\"servers\": {}}", "f.json: there is no `mcpServers`", "hayward import vscode"),
        ("vscode", "{\"servers\": []}", "f.json: `servers` is no object", "hayward import mcpctl"),
        ("mcpctl", "{\"mcpServers\": {}}", "f.json: it has no lists by kind", "hayward import claude-code"),
        ("mcpctl", "[]", "f.json: it has no lists by kind", ""),
        ("claude-desktop", "", "f.json: the file is empty", ""),
        ("mcpctl", "---\n", "f.json: the file is empty", ""),
    ] {
        let said = rig.run(&["import", program, &rig.file("f.json", text)]);
        assert!(said.code == 2 && said.err.contains(told) && said.err.contains(hint), "{text}: {said:?}");
    }
}

#[test]
fn documents_of_mcpctl_may_be_several_in_a_file() {
    let rig = Rig::new();
    let text = "kind: secret\nname: s\ndata: {T: hush}\n---\nservers:\n- {name: a, packageName: a}\n---\n";
    let made = rig.ok(&["import", "mcpctl", &rig.file("all.yaml", text), "--apply"]);
    assert!(made.contains("secret/s created") && made.contains("server/a created"), "{made}");
}

#[test]
fn a_server_that_is_another_one_already_is_said_to_be_replaced() {
    let rig = Rig::new();
    let docker = r#"{"mcpServers": {"github": {"command": "docker", "args": ["run", "-e", "TOKEN", "x"], "env": {"TOKEN": "hush"}}}}"#;
    rig.ok(&["import", "claude-desktop", &rig.file("claude.json", docker), "--apply"]);
    let file =
        rig.file("mcp.json", r#"{"servers": {"github": {"type": "http", "url": "https://x.org/mcp"}}}"#);
    for (more, told) in
        [(&[][..], "replaces another one (tried, not done)\n"), (&["--apply"], "replaces another one\n")]
    {
        let said = rig.run(&[&["import", "vscode", &file], more].concat());
        assert!(said.code == 0 && said.out.contains(&format!("server/github {told}")), "{said:?}");
        let note = "server `github` is there already and is another one: `x` becomes `https://x.org/mcp`";
        assert!(said.err.contains(note) && said.err.contains("`github-env`"), "{said:?}");
    }
    let said = rig.run(&["import", "vscode", &file, "--apply"]);
    assert!(said.out.contains("server/github unchanged") && said.err.is_empty(), "{said:?}");
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
