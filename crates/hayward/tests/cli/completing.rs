//! What a shell offers, asked of the real function in the real bash.

use std::path::Path;

use hayward_testkit::daemon::command;

use super::rig::{Rig, finish};

/// Sets up what bash sets up, and tells what the function offers. The words are split as readline splits them, which leaves
/// `@` before what is completed.
const SCRIPT: &str = r#"
source <(hayward completions bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \t\n"\'><=;|&(:@'
read -ra COMP_WORDS <<<"${1//=/ = }"
[[ $1 == *[\ =] ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
[[ $(complete -p hayward) == *" -F _hayward_names "* ]] || exit 9
last=${COMP_WORDS[-1]}
[[ $last == *@* ]] && last=@${last##*@}
_hayward_names hayward "$last" "${COMP_WORDS[-2]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// The words that bash offers behind this line.
fn offered(rig: &Rig, line: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_BIN_EXE_hayward")).parent().unwrap();
    let mut bash = command("bash", ["--norc", "-c", SCRIPT, "bash", line]);
    bash.env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .env("HAYWARD_URL", format!("http://{}", rig.daemon.address))
        .env("HOME", rig.path("home"));
    let said = finish(bash, "");
    assert!(said.code == 0 && said.err.is_empty(), "{line}: {said:?}");
    said.out.lines().filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_offers_kinds_names_and_values_of_flags() {
    let rig = Rig::new();
    let file = "servers: [{name: grafana, packageName: g, labels: {team: obs}}, {name: gitea, packageName: g, labels: {team: dev}}]\n\
                projects: [{name: home}, {name: work}]\n";
    rig.ok(&["apply", "-f", &rig.file("a.yaml", file)]);
    for (line, expect) in [
        ("hayward get ser", &["servers", "serverattachments"][..]),
        ("hayward get servers gr", &["grafana"]),
        ("hayward delete server/gi", &["server/gitea"]),
        ("hayward describe user ad", &["ada@example.org"]),
        // What stands before `@` is on the line already.
        ("hayward describe user ada@", &["@example.org"]),
        ("hayward describe user/ada@ex", &["@example.org"]),
        ("hayward get -o ", &["table", "wide", "json", "yaml", "name", "jsonpath="]),
        ("hayward describe -o ", &["table", "json", "yaml", "jsonpath="]),
        ("hayward get servers --output=y", &["yaml"]),
        ("hayward get servers -p ", &["home", "work"]),
        ("hayward create prompt -p ho", &["home"]),
        // What stands before `=` is on the line already.
        ("hayward get servers -l ", &["team=dev", "team=obs"]),
        ("hayward get servers -l team=", &["dev", "obs"]),
        ("hayward get servers -l team=dev,t", &["dev,team=dev", "dev,team=obs"]),
        ("hayward config set client.o", &["client.output"]),
        ("hayward status -o j", &["json"]),
        ("hayward mig", &["migrate"]),
    ] {
        assert_eq!(offered(&rig, line), expect, "{line}");
    }
}

#[test]
fn bash_offers_no_hidden_command_and_nothing_of_a_server_that_is_away() {
    let rig = Rig::new();
    for line in ["hayward __", "hayward ma"] {
        assert!(offered(&rig, line).is_empty(), "{line}");
    }
    assert!(!offered(&rig, "hayward ").iter().any(|word| word == "man" || word.starts_with("__")));
    rig.ok(&["logout"]);
    assert_eq!(offered(&rig, "hayward get projec"), ["projects"]);
    assert!(!offered(&rig, "hayward get servers -p h").contains(&"home".to_owned()));
}
