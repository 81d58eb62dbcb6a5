//! What runs, as people see it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use super::rig::Rig;

const GREETER: &str = include_str!("../greeter.py");

/// A daemon in which a server runs that says this of its tool.
fn running() -> Rig {
    let rig = Rig::new();
    apply(&rig, "Greets.");
    until(&rig, &["describe", "server", "s"], "1 tools");
    rig
}

#[expect(clippy::disallowed_methods, reason = "no worker thread: the daemon is another process")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

/// Waits until something waits. All servers are asked again when something is declared.
fn until_waiting(rig: &Rig) -> String {
    for at in 0..600 {
        rig.ok(&["create", "project", &format!("p-{at}")]);
        let said = rig.run(&["approve", "s"]);
        if said.out.contains("changed") {
            return said.out;
        }
        pause();
    }
    panic!("nothing waits");
}

fn apply(rig: &Rig, about: &str) {
    let env = json!([{"name": "ABOUT", "value": about}]);
    let server = json!({"name": "s", "command": ["python3", "-u", "-c", GREETER], "env": env});
    rig.ok(&["apply", "-f", &rig.file("s.json", &json!({"servers": [server]}).to_string())]);
}

/// Waits until a command says this.
fn until(rig: &Rig, args: &[&str], expect: &str) -> String {
    let started = Instant::now();
    loop {
        let said = rig.run(args);
        if said.out.contains(expect) {
            return said.out;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "{args:?}: {expect}: {said:?}");
        pause();
    }
}

#[test]
fn logs_are_shown_cleaned_and_followed_until_the_instance_ends() {
    let rig = running();
    let text = rig.ok(&["logs", "s"]);
    assert!(text.starts_with("ready to greet\n") && !text.contains('\u{1b}'), "{text:?}");
    assert_eq!(rig.ok(&["logs", "s", "-t", "1", "--index", "0"]).lines().count(), 1);
    let described = rig.ok(&["describe", "instances"]);
    for expect in ["\nNow:\n", "RUNNING", "2025-06-18", "calls in flight:"] {
        assert!(described.contains(expect), "{expect:?} in {described}");
    }
    let status = rig.ok(&["status"]);
    assert!(status.contains("1 RUNNING") && status.contains("Servers ready:"), "{status}");
    assert!(rig.fails(3, &["logs", "s", "-i", "7"]).contains("hint: "));
    assert!(rig.fails(3, &["logs", "nothing"]).contains("hint: "));
    assert!(rig.fails(3, &["logs", "s", "--previous"]).contains("before"));

    let mut command = rig.command(&["logs", "s", "-f", "--tail", "1"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().is_some());
    rig.ok(&["delete", "server", "s"]);
    // It ends with the instance, which may have had no time for a last word.
    assert!(lines.all(|line| line == "bye"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_waits_is_shown_and_approved_when_somebody_says_so() {
    let rig = running();
    assert!(rig.run(&["approve", "s"]).err.contains("nothing of server `s` waits"));
    apply(&rig, "Greets all.");
    let shown = until_waiting(&rig);
    assert!(shown.contains("  description:\n  - \"Greets.\"\n  + \"Greets all.\"\n"), "{shown}");
    let described = rig.ok(&["describe", "server", "s"]);
    assert!(described.contains("kept back:") && described.contains("0 tools"), "{described}");
    assert!(rig.fails(2, &["approve", "s", "greet"]).contains("`--yes`"));
    assert!(rig.fails(3, &["approve", "s", "none", "--yes"]).contains("hint: "));
    rig.ok(&["approve", "s", "--all", "--dry-run"]);
    until(&rig, &["approve", "s"], "changed");
    assert!(rig.ok(&["approve", "s", "--all", "--yes"]).ends_with("tool `greet` of server `s` approved\n"));
    until(&rig, &["describe", "server", "s"], "1 tools");
}

#[test]
fn logs_of_what_printed_nothing_say_why() {
    let rig = Rig::new();
    let server = json!({"name": "no", "command": ["/no/such/program"]});
    rig.ok(&["apply", "-f", &rig.file("s.json", &json!({"servers": [server]}).to_string())]);
    let started = Instant::now();
    loop {
        let said = rig.run(&["logs", "no"]);
        if said.err.contains("nothing was printed") && said.err.contains("was not found") {
            assert!(said.out.is_empty(), "{said:?}");
            break;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "{said:?}");
        pause();
    }
    let off = json!({"name": "off", "command": ["x"], "replicas": 0});
    rig.ok(&["apply", "-f", &rig.file("off.json", &json!({"servers": [off]}).to_string())]);
    until_err(&rig, &["logs", "off"], "no instances are wanted");
    let unpinned = json!({"name": "loose", "packageName": "left-pad", "replicas": 0});
    let said = rig.run(&["apply", "-f", &rig.file("l.json", &json!({"servers": [unpinned]}).to_string())]);
    assert!(said.err.contains("`left-pad@1.2.3`"), "{said:?}");
}

fn until_err(rig: &Rig, args: &[&str], expect: &str) {
    let started = Instant::now();
    while !rig.run(args).err.contains(expect) {
        assert!(started.elapsed() < Duration::from_mins(1), "{args:?}: {expect}");
        pause();
    }
}
