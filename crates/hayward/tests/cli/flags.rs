//! What flags can say: everything that files can.

use serde_json::{Value, json};

use super::rig::Rig;

/// One of each kind that somebody can make.
pub(crate) fn one_of_each(rig: &Rig) {
    rig.file("token.txt", "hush\n");
    rig.file("data.json", r#"{"PASSWORD": "hush-too"}"#);
    for words in [
        &["secret", "ha", "--data", "TOKEN=@token.txt", "--data-file", "data.json"][..],
        &["template", "tpl", "--version", "2.0.0", "--package-name", "@x/t", "--set", "env[0].name=KEY"],
        &[
            "server",
            "ha",
            "--package-name",
            "@x/ha",
            "--env",
            "T=secretRef:ha/TOKEN",
            "--env",
            "U=http://ha",
            "-l",
            "team=home",
        ],
        &["server", "far", "--external-url", "https://x.org/mcp", "-l", "team=far"],
        &["project", "home", "--server", "ha", "-d", "At home", "--prompt", "Be kind"],
        &["serverattachment", "far", "-p", "home"],
        &["prompt", "hello", "-p", "home", "--content", "tab\there\nand \u{1b}[2J", "--priority", "7"],
        &["promptrequest", "wish", "-p", "home", "--content", "please"],
        &["group", "ops", "--member", "ada@example.org"],
        &[
            "rbac",
            "ops",
            "--subject",
            "group:ops",
            "--role-binding",
            "view:servers:ha",
            "--role-binding",
            "run:logs",
        ],
        &[
            "policy",
            "calm",
            "--rules",
            r#"[{"tools": ["bash_execute"], "minimumTier": "danger"}]"#,
            "--dry-run=client",
        ],
        &["policy", "calm"],
        &["proxymodel", "own", "--extend", "gate"],
        &["token", "ci", "--role", "ro"],
    ] {
        let said = rig.run(&[&["create"], words].concat());
        // Members of rules are theirs to know: what is tried only may be refused.
        assert!(said.code == 0 || words.contains(&"--dry-run=client"), "{words:?}: {said:?}");
    }
    let said = rig
        .with(&["create", "user", "bob@example.org", "--password-stdin", "--name", "Bob"], "Another-pass-1");
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn what_was_made_is_written_as_a_file_that_changes_nothing() {
    let rig = Rig::new();
    one_of_each(&rig);
    let all = rig.ok(&["get", "all", "-o", "yaml"]);
    assert!(!all.contains("hush") && all.contains("\"***\""), "{all}");
    let told = rig.with(&["apply", "-f", "-"], &all);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(!told.out.is_empty() && told.out.lines().all(|line| line.ends_with(" unchanged")), "{told:?}");
    let json = rig.ok(&["get", "all", "-o", "json"]);
    let diff = rig.with(&["diff", "-f", "-"], &json);
    assert_eq!((diff.code, &*diff.out), (0, ""), "{diff:?}");
    let prompts: Value =
        serde_json::from_str(&rig.ok(&["get", "prompt", "hello", "-p", "home", "-o", "json"])).unwrap();
    assert_eq!(prompts["prompts"][0]["content"], "tab\there\nand \u{1b}[2J");
}

#[test]
fn every_kind_is_listed_and_described_by_each_of_its_words() {
    let rig = Rig::new();
    one_of_each(&rig);
    for (words, name) in [
        (&["server", "srv", "servers"][..], "ha"),
        (&["secret", "sec"], "ha"),
        (&["project", "proj"], "home"),
        (&["template", "tpl"], "tpl"),
        (&["user"], "bob@example.org"),
        (&["group"], "ops"),
        (&["rbac", "rbac-definition", "rbac-definitions"], "ops"),
        (&["prompt"], "hello"),
        (&["promptrequest", "pr"], "wish"),
        (&["serverattachment", "sa"], "ha"),
        (&["proxymodel", "pm"], "own"),
        (&["policy"], "calm"),
        (&["token", "tok"], "ci"),
    ] {
        for word in words {
            assert!(rig.ok(&["get", word]).contains(name), "{word}");
        }
        let project: &[&str] = match words[0] {
            "prompt" | "promptrequest" | "serverattachment" => &["-p", "home"],
            _ => &[],
        };
        let told = rig.ok(&[&["describe", words[0], name], project].concat());
        assert!(told.contains(name) && told.contains("ID:"), "{told}");
        assert!(!told.contains("hush"));
    }
}

#[test]
fn a_token_is_shown_once_and_secrets_on_the_command_line_are_warned_of() {
    let rig = Rig::new();
    let said = rig.run(&["create", "token", "ci", "--role", "ro"]);
    assert!(said.out.starts_with("hwd_ro_") && said.err.contains("this once"), "{said:?}");
    assert!(!rig.ok(&["get", "token", "ci", "-o", "yaml"]).contains("hwd_"));
    let said = rig.run(&["create", "secret", "s", "--data", "A=x"]);
    assert!(said.code == 0 && said.err.contains("seen by others"), "{said:?}");
    let said = rig.run(&["patch", "secret", "s", "data.A=y"]);
    assert!(said.code == 0 && said.err.contains("seen by others"), "{said:?}");
    let patch = format!("@{}", rig.file("patch.yaml", "data: {A: z}\n"));
    let said = rig.run(&["patch", "secret", "s", "--patch", &patch]);
    assert_eq!((said.code, &*said.err), (0, ""), "{said:?}");
    let said = rig.run(&["create", "secret", "t", "--data", "A"]);
    assert!(said.code == 2 && said.err.contains("no terminal"), "{said:?}");
}

#[test]
fn a_value_of_a_file_keeps_its_last_newline() {
    let rig = Rig::empty();
    for text in ["-----BEGIN KEY-----\nAA==\n-----END KEY-----\n", "none"] {
        rig.file("key.pem", text);
        let words =
            ["create", "secret", "s", "--data", "K=@key.pem", "--dry-run=client", "-o", "jsonpath={.data.K}"];
        assert_eq!(rig.ok(&words), format!("{text}\n"));
    }
    rig.fails(1, &["create", "secret", "s", "--data", "K=@none.pem", "--dry-run=client"]);
}

#[test]
fn an_instance_is_not_made_by_hand_and_nonsense_is_told_with_what_was_meant() {
    let rig = Rig::new();
    assert!(rig.fails(2, &["create", "instance", "x"]).contains("made by the server itself"));
    assert!(rig.fails(2, &["create", "server", "x", "--package-nam", "y"]).contains("--package-name"));
    assert!(rig.fails(2, &["get", "servrs"]).contains("did you mean `servers`?"));
    assert!(rig.fails(3, &["get", "server", "none"]).contains("none"));
    assert!(rig.fails(1, &["get", "servers", "-l", "a b"]).contains("selector"));
}

#[test]
fn a_template_gives_what_was_not_said_and_asks_for_what_it_needs() {
    let rig = Rig::new();
    let env = r#"[{"name": "A", "defaultValue": "1"}, {"name": "B", "required": true}]"#;
    let set = format!("env={env}");
    rig.ok(&["create", "template", "tpl", "--version", "2.0.0", "--package-name", "@x/t", "--set", &set]);
    let from = ["create", "server", "t", "--from-template", "tpl:2.0.0"];
    assert!(rig.fails(2, &from).contains("`B`"));
    assert!(rig.fails(2, &["create", "server", "t", "--from-template", "tpl:1.0.0"]).contains("2.0.0"));
    rig.ok(&[&from[..], &["--env", "B=2"]].concat());
    let server: Value = serde_json::from_str(&rig.ok(&["get", "server", "t", "-o", "json"])).unwrap();
    let server = &server["servers"][0];
    assert_eq!(server["env"], json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]));
    assert_eq!((&server["packageName"], &server["source"]["template"]), (&json!("@x/t"), &json!("tpl")));
}

#[test]
fn a_service_account_is_made_without_a_password_and_nobody_else_is() {
    let rig = Rig::new();
    let said = rig.run(&["create", "user", "ci", "--service-account"]);
    assert!(said.code == 0 && !said.err.contains("Password"), "{said:?}");
    assert_eq!(rig.ok(&["get", "user", "ci", "-o", "jsonpath={.serviceAccount}"]), "true\n");
    rig.ok(&["create", "user", "ci2", "--set", "serviceAccount=true"]);
    assert!(rig.fails(2, &["create", "user", "bob@example.org"]).contains("`Password`"));
}

#[test]
fn the_example_of_patch_works() {
    let rig = Rig::new();
    rig.ok(&["create", "server", "ha", "--package-name", "x", "-d", "At home"]);
    let help = rig.ok(&["patch", "--help"]);
    let example = help.split('`').find_map(|text| text.strip_prefix("hayward ")).unwrap();
    let words: Vec<&str> = example.split_whitespace().collect();
    assert_eq!(rig.ok(&words), "server/ha patched\n");
}

#[test]
fn servers_are_attached_and_detached_as_resources_and_in_the_list_of_the_project() {
    let rig = Rig::new();
    rig.ok(&[
        "apply",
        "-f",
        &rig.file("a.yaml", "servers: [{name: ha, packageName: g}]\nprojects: [{name: home}]\n"),
    ]);
    rig.ok(&["create", "serverattachment", "ha", "-p", "home"]);
    let servers = || rig.ok(&["get", "project", "home", "-o", "jsonpath={.servers}"]);
    assert_eq!(servers().trim(), r#"["ha"]"#);
    rig.fails(1, &["create", "serverattachment", "ha", "-p", "home"]);
    assert!(rig.ok(&["delete", "sa", "ha", "-p", "home"]).contains("deleted"));
    assert!(!servers().contains("ha"));
    rig.fails(3, &["delete", "sa", "ha", "-p", "home"]);
    rig.ok(&["patch", "project", "home", "servers=[\"ha\"]"]);
    assert!(rig.ok(&["delete", "sa/ha", "-p", "home"]).contains("deleted"));
}
