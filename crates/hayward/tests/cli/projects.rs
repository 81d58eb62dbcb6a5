//! The project that a command is about: on the command line, configured, in a file; and what goes with it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

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
}

#[test]
fn a_said_project_is_refused_of_kinds_without_projects_and_not_passed_over() {
    let rig = rig();
    rig.ok(&["create", "secret", "s", "--data-file", &rig.file("s.env", "A=x\n")]);
    for args in [
        &["get", "secrets"][..],
        &["get", "secret", "s"],
        &["get", "prompts,secrets"],
        &["get", "secrets", "-w"],
        &["describe", "secret", "s*"],
        &["edit", "secret", "s"],
        &["patch", "secret", "s", "labels.a=b", "--dry-run=client"],
        &["history", "secret", "s"],
        &["revert", "secret", "s", "--to", "1"],
        &["delete", "secret", "s"],
        &["delete", "secrets", "--all", "--yes"],
    ] {
        let told = rig.fails(2, &[args, &["-p", "home"]].concat());
        assert!(
            told.contains("secrets belong to no project") && told.contains("hint: leave out `-p`"),
            "{told}"
        );
    }
    assert_eq!(rig.ok(&["delete", "secret", "s", "-p", ""]), "secret/s deleted\n");
}

/// Two servers, of which one is attached to the project.
fn servers() -> Rig {
    let rig = Rig::new();
    let file = "servers: [{name: in, packageName: g}, {name: out, packageName: g}]\n\
                projects: [{name: home, servers: [in]}]\n";
    rig.ok(&["apply", "-f", &rig.file("a.yaml", file)]);
    rig
}

#[test]
fn a_server_that_is_named_has_to_be_attached_to_the_project_that_is_said() {
    let rig = servers();
    let versions = rig.ok(&["history", "server", "in", "-o", "json"]);
    let version = serde_json::from_str::<serde_json::Value>(&versions).unwrap()[0]["version"].to_string();
    let id = |name: &str| rig.ok(&["get", "server", name, "-o", "jsonpath={.id}"]).trim().to_owned();
    let (inside, outside) = (id("in"), id("out"));
    for (verb, rest) in [
        ("get", &[][..]),
        ("describe", &[]),
        ("history", &[]),
        ("patch", &["labels.a=b"]),
        ("edit", &[]),
        ("revert", &["--to", &version]),
        ("delete", &["--detach"]),
    ] {
        let said = |name: &str| {
            let mut command = rig.command(&[&[verb, "server", name], rest, &["-p", "home"]].concat());
            command.env("EDITOR", "true");
            finish(command, "")
        };
        for name in ["out", &outside] {
            let said = said(name);
            assert!(said.code == 3 && said.err.contains("not found in project `home`"), "{verb}: {said:?}");
            assert!(said.out.is_empty() && said.err.contains("hint: "), "{verb}: {said:?}");
        }
        let said = said(if verb == "history" { "in" } else { &inside });
        assert_eq!(said.code, 0, "{verb}: {said:?}");
    }
    assert_eq!(rig.ok(&["delete", "server", "out", "-p", "home", "--ignore-not-found"]), "");
    assert_eq!(rig.ok(&["delete", "server", "o*", "-p", "home"]), "");
    assert_eq!(rig.ok(&["get", "servers", "-o", "name"]), "server/out\n");
    rig.fails(3, &["get", "server", "out", "-p", "nowhere"]);
}

#[test]
fn a_configured_project_narrows_lists_of_servers_and_none_that_are_named() {
    let rig = servers();
    for (args, expect) in [
        (&["get", "servers", "-o", "name"][..], "server/in\n"),
        (&["get", "servers", "-p", "", "-o", "name"], "server/in\nserver/out\n"),
        (&["get", "server", "out", "-o", "name"], "server/out\n"),
        (&["get", "server", "o*", "-o", "name"], ""),
        (&["get", "server", "o*", "-p", "", "-o", "name"], "server/out\n"),
        (&["get", "server", "i*", "out", "-o", "name"], "server/in\nserver/out\n"),
        (&["delete", "server", "o*"], ""),
        (&["patch", "server", "out", "labels.a=b"], "server/out patched\n"),
        (&["delete", "servers", "-l", "a=b"], ""),
        (&["delete", "server", "out"], "server/out deleted\n"),
    ] {
        let said = configured(&rig, args);
        assert_eq!((said.code, &*said.out), (0, expect), "{args:?}: {said:?}");
    }
}

#[test]
fn a_configured_project_that_is_gone_hides_no_server_that_is_named_and_is_told_where_it_narrows() {
    let rig = servers();
    rig.ok(&["delete", "project", "home"]);
    for args in
        [&["get", "servers", "-o", "name"][..], &["describe", "servers"], &["delete", "servers", "--all"]]
    {
        let said = configured(&rig, args);
        let told = said.err.contains("project `home` not found, which is configured")
            && said.err.contains("`-p ''`");
        assert!(said.code == 0 && said.out.trim().is_empty() && told, "{args:?}: {said:?}");
        let mut said = args.to_vec();
        said.extend(["-p", "home"]);
        assert!(rig.fails(3, &said).contains("project `home` not found"), "{args:?}");
    }
    let said = configured(&rig, &["get", "server", "in", "-o", "name"]);
    assert_eq!((said.code, &*said.out, &*said.err), (0, "server/in\n", ""), "{said:?}");
    let said = configured(&rig, &["delete", "server", "in", "--ignore-not-found"]);
    assert_eq!((said.code, &*said.out), (0, "server/in deleted\n"), "{said:?}");
    let said = configured(&rig, &["get", "servers", "-p", "", "-o", "name"]);
    assert_eq!((said.code, &*said.out), (0, "server/out\n"), "{said:?}");
}

#[test]
fn servers_are_watched_whatever_project_is_configured_and_those_of_a_said_one_are_not() {
    let rig = servers();
    let mut command = rig.command(&["get", "servers", "-w", "-o", "name"]);
    command.env("HAYWARD_CLIENT_PROJECT", "home").stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "server/out"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(rig.fails(1, &["get", "servers", "-w", "-p", "home"]).contains("watch projects"));
}

#[test]
fn what_is_written_by_name_means_the_same_in_the_next_command() {
    let rig = rig();
    rig.ok(&["create", "project", "work"]);
    rig.ok(&["create", "prompt", "rules", "-p", "work", "--content", "busy"]);
    for project in ["", "home", "work"] {
        rig.ok(&["patch", "prompt", "rules", "labels.own=yes", "-p", project]);
    }
    assert_eq!(rig.ok(&["get", "prompts", "-p", "home", "-o", "name"]), "prompt/rules\n");
    let all = ["get", "prompts", "-o", "name", "-l", "own=yes"];
    let words = rig.ok(&all);
    assert!(words.contains("prompt/rules\n"), "{words}");
    let mut child = rig.command(&[&all[..], &["-w"]].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let watched = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).take(3);
    let watched: Vec<String> = watched.collect();
    child.kill().unwrap();
    child.wait().unwrap();
    for words in [words.lines().map(str::to_owned).collect(), watched] {
        let mut contents: Vec<String> =
            words.iter().map(|word| rig.ok(&["get", word, "-o", "jsonpath={.content}"])).collect();
        contents.sort_unstable();
        assert_eq!(contents, ["busy\n", "narrow\n", "wide\n"], "{words:?}");
    }
}

#[test]
fn attachments_that_are_written_by_name_are_those_that_the_next_command_deletes() {
    let rig = Rig::new();
    let file = "servers: [{name: ha, packageName: g}]\n\
                projects: [{name: home, servers: [ha]}, {name: work, servers: [ha]}]\n";
    rig.ok(&["apply", "-f", &rig.file("a.yaml", file)]);
    assert_eq!(rig.ok(&["get", "servers,projects", "-o", "name"]), "server/ha\nproject/home\nproject/work\n");
    assert_eq!(rig.ok(&["get", "sa", "-p", "home", "-o", "name"]), "serverattachment/ha\n");
    let words = rig.ok(&["get", "sa", "-o", "name"]);
    let words: Vec<&str> = words.lines().collect();
    assert_eq!(rig.ok(&[&["delete"], &words[..]].concat()).lines().count(), 2);
    assert_eq!(rig.ok(&["get", "sa", "-o", "name"]), "");
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
