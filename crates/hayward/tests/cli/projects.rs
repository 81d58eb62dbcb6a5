//! The project that a command is about: on the command line, configured, in a file; and what goes with it.

use super::rig::{Rig, Said, finish};

const SYSTEM_WIDE: &str = "prompts: [{name: rules, content: wide}]\n";

fn rig() -> Rig {
    let rig = Rig::new();
    rig.ok(&["create", "project", "home"]);
    rig.ok(&["create", "prompt", "rules", "--content", "wide"]);
    rig.ok(&["create", "prompt", "rules", "-p", "home", "--content", "narrow"]);
    rig
}

/// What a command says where the project `home` is configured.
fn configured(rig: &Rig, args: &[&str]) -> Said {
    let mut command = rig.command(args);
    command.env("HAYWARD_CLIENT_PROJECT", "home");
    finish(command, "")
}

#[test]
fn a_file_means_the_same_prompt_to_apply_diff_and_delete_whatever_is_configured() {
    let rig = rig();
    let file = rig.file("wide.yaml", SYSTEM_WIDE);
    let said = configured(&rig, &["apply", "-f", &file]);
    assert_eq!((said.code, &*said.out), (0, "prompt/rules unchanged\n"), "{said:?}");
    let said = configured(&rig, &["diff", "-f", &file]);
    assert_eq!((said.code, &*said.out), (0, ""), "{said:?}");
    let said = configured(&rig, &["delete", "-f", &file]);
    assert_eq!((said.code, &*said.out), (0, "prompt/rules deleted\n"), "{said:?}");
    assert!(rig.ok(&["get", "prompt", "rules", "-p", "home"]).contains("rules"));
}

#[test]
fn a_said_project_is_that_of_every_document_that_names_none() {
    let rig = rig();
    let file = rig.file("wide.yaml", SYSTEM_WIDE);
    let said = rig.run(&["diff", "-f", &file, "-p", "home"]);
    assert!(said.code == 1 && said.out.contains("-content: narrow"), "{said:?}");
    let updated = rig.ok(&["apply", "-f", &file, "-p", "home"]);
    assert_eq!(updated, "prompt/rules (project home) updated\n");
    assert_eq!(rig.ok(&["delete", "-f", &file, "-p", "home"]), "prompt/rules (project home) deleted\n");
    assert!(rig.ok(&["get", "prompt", "rules"]).contains("rules"));
    rig.fails(3, &["get", "prompt", "rules", "-p", "home"]);
    rig.fails(1, &["apply", "-f", &file, "-p", "nowhere"]);
}

#[test]
fn kinds_without_projects_are_there_whatever_project_is_configured() {
    let rig = rig();
    rig.ok(&["create", "secret", "s", "--data-file", &rig.file("s.env", "A=x\n")]);
    for args in [
        &["get", "secrets", "-o", "name"][..],
        &["get", "secrets,prompts", "-o", "name"],
        &["get", "secret", "s*", "-o", "name"],
        &["history", "secret", "s"],
        &["describe", "secret", "s"],
        &["patch", "secret", "s", "labels.a=b"],
        &["get", "all", "-o", "name"],
        &["delete", "secrets", "-l", "a=b"],
    ] {
        let said = configured(&rig, args);
        assert!(said.code == 0 && !said.out.is_empty(), "{args:?}: {said:?}");
    }
    assert!(rig.fails(1, &["get", "secrets", "-p", "home"]).contains("belong to no project"));
}

#[test]
fn what_goes_with_a_project_is_told_when_it_is_tried_and_when_it_is_done() {
    let rig = rig();
    let tried = rig.ok(&["delete", "project", "home", "--dry-run"]);
    let expect = "project/home deleted (tried, not done)\n\
                  prompt/rules (project home) deleted with it (tried, not done)\n";
    assert_eq!(tried, expect);
    let done = rig.ok(&["delete", "project", "home"]);
    assert_eq!(done, "project/home deleted\nprompt/rules (project home) deleted with it\n");
    assert_eq!(rig.ok(&["get", "prompts", "-o", "name", "-l", "!none"]).matches("prompt/rules").count(), 1);
}

#[test]
fn all_tells_which_kinds_are_left_out_as_they_may_not_be_seen() {
    let rig = rig();
    rig.ok(&["create", "user", "ci", "--service-account"]);
    rig.ok(&["create", "rbac", "ci", "--subject", "ServiceAccount:ci", "--role-binding", "view:projects"]);
    let token = rig.ok(&["create", "token", "ci", "--role", "account", "--account", "ci"]);
    let mut all = rig.command(&["get", "all", "-o", "name"]);
    all.env("HAYWARD_TOKEN", token.trim());
    let said = finish(all, "");
    assert_eq!((said.code, &*said.out), (0, "project/home\n"), "{said:?}");
    assert!(
        said.err.contains("this is not all: you may not see") && said.err.contains("secrets"),
        "{said:?}"
    );
    assert_eq!(rig.run(&["get", "all", "-o", "name"]).err, "");
}
