//! Files: applied, compared, edited, pruned; and what went before.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::rig::{Rig, finish};

const TWO: &str = "servers:\n- name: a\n  packageName: a\n  labels: {app: x}\n---\nkind: server\nname: b\npackageName: b\nlabels: {app: x}\n";

#[test]
fn a_file_is_applied_once_and_a_second_time_nothing_changes() {
    let rig = Rig::new();
    let file = rig.file("two.yaml", TWO);
    assert_eq!(
        rig.ok(&["apply", "-f", &file, "--dry-run"]),
        "server/a created (tried, not done)\nserver/b created (tried, not done)\n"
    );
    assert_eq!(rig.ok(&["apply", "-f", &file, "--dry-run=client"]).lines().count(), 2);
    assert_eq!(rig.ok(&["get", "servers"]), "");
    assert_eq!(rig.ok(&["apply", "-f", &file]), "server/a created\nserver/b created\n");
    assert_eq!(rig.ok(&["apply", "-f", &file]), "server/a unchanged\nserver/b unchanged\n");
    let one = rig.file("two.yaml", "servers:\n- name: a\n  packageName: a\n  labels: {app: x}\n");
    assert!(rig.ok(&["apply", "-f", &one, "--prune", "-l", "app=x"]).contains("server/b deleted"));
    rig.fails(3, &["get", "server", "b"]);
}

#[test]
fn nothing_is_sent_if_any_file_is_broken_and_each_fault_has_its_line() {
    let rig = Rig::new();
    rig.file("good.yaml", "servers:\n- name: a\n  packageName: a\n");
    rig.file("bad.yaml", "servers:\n- name: b\n  packageNam: b\nsecretz: []\n");
    let told = rig.fails(1, &["apply", "-f", &rig.dir.path().display().to_string()]);
    assert!(told.contains("bad.yaml:3") && told.contains("did you mean `packageName`?"), "{told}");
    assert!(told.contains("bad.yaml:4") && told.contains("did you mean `secret"), "{told}");
    assert_eq!(rig.ok(&["get", "servers"]), "");
    let dangling = "servers:\n- name: c\n  packageName: c\n  env:\n  - name: A\n    valueFrom:\n      secretRef: {name: none, key: k}\n";
    let file = rig.file("dangling.yaml", dangling);
    let told = rig.fails(1, &["apply", "-f", &file]);
    assert!(told.contains("dangling.yaml:7") && told.contains("`none`"), "{told}");
}

#[test]
fn a_difference_is_shown_and_exits_with_one_and_secrets_stay_hidden() {
    let rig = Rig::new();
    let file = rig.file("two.yaml", TWO);
    let said = rig.run(&["diff", "-f", &file]);
    assert!(said.code == 1 && said.out.contains("+packageName: a"), "{said:?}");
    rig.ok(&["apply", "-f", &file]);
    assert_eq!(rig.ok(&["diff", "-f", &file]), "");
    let secret = |value: &str| rig.file("s.yaml", &format!("secrets:\n- name: s\n  data: {{K: {value}}}\n"));
    rig.ok(&["apply", "-f", &secret("hush-one")]);
    let said = rig.run(&["diff", "-f", &secret("hush-two")]);
    assert!(said.code == 1 && !said.out.is_empty() && !said.out.contains("hush"), "{said:?}");
    let said = rig.run(&["diff", "-f", &rig.file("x.yaml", "servers: [")]);
    assert!(said.code == 2 && said.err.contains("x.yaml:"), "a failure is no difference: {said:?}");
}

#[test]
fn what_was_is_told_and_can_be_again_even_after_a_deletion() {
    let rig = Rig::new();
    rig.ok(&["create", "server", "a", "--package-name", "a"]);
    rig.ok(&["patch", "server/a", "replicas=3", "description=12"]);
    let history: Vec<Value> =
        serde_json::from_str(&rig.ok(&["history", "server", "a", "-o", "json"])).unwrap();
    assert_eq!(history.len(), 2);
    let told = rig.ok(&["history", "server", "a"]);
    assert!(
        told.contains("ada@example.org") && told.contains("replicas") && told.contains("description"),
        "{told}"
    );
    assert!(rig.ok(&["history", "server", "a", "--diff"]).contains("+replicas: 3"));
    let first = history[0]["version"].to_string();
    rig.ok(&["revert", "server", "a", "--to", &first]);
    assert_eq!(rig.ok(&["get", "server", "a", "-o", "jsonpath={.replicas}"]), "1\n");
    rig.ok(&["delete", "server", "a"]);
    rig.fails(3, &["get", "server", "a"]);
    rig.ok(&["revert", "server", "a", "--to", &first]);
    assert_eq!(rig.ok(&["get", "server/a", "-o", "name"]), "server/a\n");
}

fn editor(rig: &Rig, name: &str, script: &str) -> String {
    let path = rig.file(name, &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn an_edit_is_written_back_and_a_broken_one_is_kept() {
    let rig = Rig::new();
    rig.ok(&["create", "server", "a", "--package-name", "a"]);
    let edit = |editor: &str| {
        let mut command = rig.command(&["edit", "server", "a"]);
        command.env("EDITOR", editor);
        finish(command, "")
    };
    let said = edit(&editor(&rig, "good.sh", "sed -i 's/replicas: 1/replicas: 2/' \"$1\""));
    assert_eq!((said.code, &*said.out), (0, "server/a edited\n"), "{said:?}");
    assert!(edit("true").err.contains("nothing was changed"));
    let said = edit(&editor(&rig, "bad.sh", "sed -i 's/replicas: 2/replicaz: 7/' \"$1\""));
    assert!(said.code == 1 && said.err.contains("did you mean `replicas`?"), "{said:?}");
    let kept = said.err.lines().find_map(|line| line.strip_prefix("your edit is kept in ")).unwrap();
    assert!(std::fs::read_to_string(kept).unwrap().contains("replicaz: 7"));
    // Somebody else is faster.
    let other = format!(
        "HAYWARD_URL=http://{} HOME={} {} patch server a replicas=9 >/dev/null && sed -i 's/replicas: 2/replicas: 3/' \"$1\"",
        rig.daemon.address,
        rig.path("home").display(),
        env!("CARGO_BIN_EXE_hayward"),
    );
    let said = edit(&editor(&rig, "slow.sh", &other));
    assert!(said.code == 1 && said.err.contains("kept in") && said.err.contains("meanwhile"), "{said:?}");
    assert_eq!(rig.ok(&["get", "server", "a", "-o", "jsonpath={.replicas}"]), "9\n");
}

#[test]
fn what_is_referred_to_is_not_deleted_and_all_are_only_on_demand() {
    let rig = Rig::new();
    let file = rig.file("two.yaml", TWO);
    rig.ok(&["apply", "-f", &file]);
    rig.ok(&["create", "project", "p", "--server", "a"]);
    assert!(rig.fails(1, &["delete", "server", "a"]).contains("project `p`"));
    rig.fails(2, &["delete", "servers"]);
    rig.fails(2, &["delete", "servers", "--all"]);
    rig.ok(&["delete", "project", "p"]);
    assert_eq!(rig.ok(&["delete", "servers", "b*"]), "server/b deleted\n");
    rig.ok(&["delete", "-f", &file, "--ignore-not-found"]);
    assert_eq!(rig.ok(&["get", "servers"]), "");
}

#[test]
fn a_difference_shows_what_pruning_deletes_and_leaves_what_others_applied() {
    let rig = Rig::new();
    rig.ok(&["apply", "-f", &rig.file("two.yaml", TWO)]);
    let one = rig.file("two.yaml", "servers:\n- name: a\n  packageName: a\n  labels: {app: x}\n");
    let pruning = ["diff", "-f", &one, "--prune", "-l", "app=x"];
    let said = rig.run(&pruning);
    assert!(
        said.code == 1 && said.out.contains("server/b") && said.out.contains("-packageName: b"),
        "{said:?}"
    );
    assert!(!said.out.contains("+packageName"), "{said:?}");
    assert_eq!(rig.ok(&[&pruning[..], &["--manager", "other"]].concat()), "");
    assert_eq!(rig.ok(&["diff", "-f", &one]), "");
}

#[test]
fn all_is_never_an_empty_success_for_whoever_may_see_nothing() {
    let rig = Rig::new();
    rig.ok(&["create", "server", "a", "--package-name", "a"]);
    let all = ["get", "all", "-o", "yaml"];
    assert!(rig.ok(&all).contains("name: a"));
    let mut wrong = rig.command(&all);
    wrong.env("HAYWARD_TOKEN", "hwd_ro_wrong");
    let said = finish(wrong, "");
    assert!(said.code == 4 && said.out.is_empty(), "{said:?}");
    rig.ok(&["logout"]);
    let said = rig.run(&all);
    assert!(said.code == 4 && said.out.is_empty() && said.err.contains("hayward login"), "{said:?}");
}

#[test]
fn an_empty_list_is_applied_and_nothing_is_done() {
    let rig = Rig::new();
    let none = rig.ok(&["get", "instances", "-o", "yaml"]);
    let said = rig.with(&["apply", "-f", "-"], &none);
    assert!(said.code == 0 && said.out.is_empty() && said.err.contains("nothing to do"), "{said:?}");
}

#[test]
fn what_is_referred_to_is_deleted_with_its_references_on_demand() {
    let rig = Rig::new();
    rig.ok(&["create", "server", "a", "--package-name", "a"]);
    rig.ok(&["create", "project", "p", "--server", "a"]);
    assert!(rig.fails(1, &["delete", "server", "a"]).contains("`--detach`"));
    assert_eq!(rig.ok(&["delete", "server", "a", "--detach"]), "server/a deleted\n");
    rig.fails(3, &["get", "server", "a"]);
    assert!(!rig.ok(&["get", "project", "p", "-o", "yaml"]).contains("- a"));
}

#[test]
fn all_of_a_project_is_the_project_its_servers_and_what_belongs_to_it() {
    let rig = Rig::new();
    let file = "secrets: [{name: s, data: {K: v}}]\nservers: [{name: in, packageName: g}, {name: out, packageName: g}]\n\
                projects: [{name: home, servers: [in]}, {name: work}]\n\
                prompts: [{name: p, project: home, content: x}, {name: q, project: work, content: x}]\n";
    rig.ok(&["apply", "-f", &rig.file("a.yaml", file)]);
    let names = rig.ok(&["get", "all", "-p", "home", "-o", "name"]);
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["project/home", "prompt/p", "server/in", "serverattachment/in"]);
    let exported = rig.ok(&["get", "all", "-p", "home", "-o", "yaml"]);
    let said = rig.with(&["apply", "-f", "-"], &exported);
    assert!(said.code == 0 && !said.out.contains("created") && !said.out.contains("updated"), "{said:?}");
    assert_eq!(rig.ok(&["get", "all", "-p", "home", "-l", "none=1", "-o", "name"]), "");
    rig.fails(3, &["get", "all", "-p", "nowhere"]);
}

#[test]
fn what_may_not_be_applied_is_told_once_with_its_place() {
    let rig = Rig::new();
    let file = rig.file("all.yaml", "secrets:\n- name: ha\n  data: {K: x}\n");
    let mut apply = rig.command(&["apply", "-f", &file]);
    apply.env("HAYWARD_TOKEN", rig.daemon.token("ro"));
    let said = finish(apply, "");
    assert!(said.code == 4 && said.err.contains("all.yaml:2: secret `ha`: not permitted"), "{said:?}");
    assert_eq!(said.err.matches("not permitted").count(), 1, "{said:?}");
}

#[test]
fn an_empty_standard_input_is_an_error_and_an_empty_list_is_none() {
    let rig = Rig::new();
    for (verb, code) in [("apply", 1), ("diff", 2), ("delete", 1)] {
        for empty in ["", " \n\n"] {
            let said = rig.with(&[verb, "-f", "-"], empty);
            assert!(
                said.code == code && said.err.contains("nothing was read from standard input"),
                "{said:?}"
            );
        }
    }
    let said = rig.with(&["apply", "-f", "-"], "instances: []\n");
    assert!(said.code == 0 && said.err.contains("nothing to do"), "{said:?}");
}

#[test]
fn an_edit_that_never_began_leaves_no_copy() {
    let rig = Rig::new();
    rig.ok(&["create", "server", "a", "--package-name", "a"]);
    let left = || {
        let names = std::fs::read_dir(rig.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("hayward-a-")).count()
    };
    for editor in ["", "false", "/nonexistent/editor"] {
        let mut command = rig.command(&["edit", "server", "a"]);
        command.env("EDITOR", editor);
        let said = finish(command, "");
        assert!(said.code == 1 && !said.err.contains("kept"), "{editor}: {said:?}");
        assert_eq!(left(), 0, "{editor}");
    }
    let failing = editor(&rig, "failing.sh", "sed -i 's/replicas: 1/replicas: 2/' \"$1\"; exit 1");
    let mut command = rig.command(&["edit", "server", "a"]);
    command.env("EDITOR", failing);
    assert!(finish(command, "").err.contains("kept in"));
    assert_eq!(left(), 1);
}

#[test]
fn differences_of_a_history_are_between_versions() {
    let rig = Rig::new();
    rig.ok(&["create", "server", "a", "--package-name", "a"]);
    rig.ok(&["patch", "server/a", "replicas=3"]);
    rig.ok(&["delete", "server/a"]);
    let history: Vec<Value> =
        serde_json::from_str(&rig.ok(&["history", "server", "a", "-o", "json"])).unwrap();
    let mut versions: Vec<u64> = history.iter().map(|change| change["version"].as_u64().unwrap()).collect();
    versions.sort_unstable();
    let told = rig.ok(&["history", "server", "a", "--diff"]);
    let [made, patched, deleted] = versions[..] else { panic!("{history:?}") };
    for expect in [
        format!("--- nothing\n+++ server/a version {made}\n"),
        format!("--- server/a version {made}\n+++ server/a version {patched}\n"),
        format!("--- server/a version {patched}\n+++ nothing\n"),
    ] {
        assert!(told.contains(&expect), "{expect}: {told}");
    }
    assert!(!told.contains("live/") && !told.contains("wanted/") && deleted > patched, "{told}");
}

#[test]
fn every_example_can_be_applied_as_it_stands() {
    let rig = Rig::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let files: Vec<_> = std::fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    for file in files {
        let told = rig.ok(&["apply", "-f", &file.display().to_string(), "--dry-run=server"]);
        assert!(told.contains("server/") && told.contains(" created"), "{told}");
    }
}
