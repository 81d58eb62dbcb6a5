//! The record from the command line: read beside a running daemon, proved elsewhere, pruned when nobody has it.
#![cfg(test)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use hayward_testkit::daemon::{Daemon, command};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

/// A data directory and what is done with it.
struct Rig {
    dir: TempDir,
    data: PathBuf,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self { dir, data }
    }

    fn start(&self) -> Daemon {
        Daemon::start(BINARY, &self.data, &["--limit", "audit.file_bytes_max=65536"]).unwrap()
    }

    /// A daemon's life with so many calls, and one that was refused.
    async fn live(&self, calls: usize) {
        let daemon = self.start();
        calls_of(&daemon, calls).await;
        end(daemon);
    }

    fn audit(&self, args: &[&str]) -> Output {
        let args = ["audit"].iter().chain(args);
        command(BINARY, args).env("HAYWARD_DATA_DIR", &self.data).output().unwrap()
    }

    /// What a command that succeeds writes.
    fn text(&self, args: &[&str]) -> String {
        let output = self.audit(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[args, &["-o", "json"]].concat())).unwrap()
    }

    /// What a check that finds something says.
    fn faults(&self, args: &[&str]) -> Value {
        let output = self.audit(&[&["verify", "-o", "json"], args].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["findings"].clone()
    }

    fn record(&self) -> PathBuf {
        self.data.join("audit/record.jsonl")
    }
}

async fn calls_of(daemon: &Daemon, calls: usize) {
    for _ in 0..calls {
        daemon.call("ro", "glob", json!({"pattern": "none", "path": "/proc/self"})).await.unwrap();
    }
    daemon.call("rw", "bash_execute", json!({"command": "echo 'kept words'; exit 3"})).await.unwrap();
    daemon.call("ro", "bash_execute", json!({"command": "true"})).await.unwrap();
}

fn end(mut daemon: Daemon) {
    daemon.signal(Signal::TERM).unwrap();
    daemon.wait().unwrap();
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[tokio::test]
async fn calls_are_found_beside_a_running_daemon() {
    let rig = Rig::new();
    let daemon = rig.start();
    calls_of(&daemon, 3).await;
    let all = rig.json(&["query"]);
    assert_eq!(all.as_array().unwrap().len(), 5);
    assert_eq!(rig.json(&["query", "--tool", "glob", "--limit", "2"]).as_array().unwrap().len(), 2);
    let failed = &rig.json(&["query", "--result", "error", "--tier", "operate", "--since", "1h"])[0];
    assert_eq!(failed["outcome"]["code"], "ExitCode:3");
    assert_eq!(failed["arguments_digest"].as_str().unwrap().len(), 64);
    assert_eq!(rig.json(&["query", "--text", "KEPT words"])[0], *failed);
    assert_eq!(rig.json(&["query", "--until", "1h"]), json!([]));
    let seq = failed["seq"].to_string();
    assert_eq!(rig.json(&["show", &seq]), *failed);
    assert_eq!(rig.json(&["show", failed["request_id"].as_str().unwrap()]), *failed);
    assert!(rig.text(&["show", &seq]).contains("ending: error"));
    assert_eq!(rig.audit(&["show", "999999"]).status.code(), Some(3));
    let table = rig.text(&["tail", "-n", "1"]);
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains("denied") && table.contains("bash_execute"), "{table}");
    rig.text(&["verify"]);
}

#[tokio::test]
async fn a_tail_goes_on_as_calls_end() {
    let rig = Rig::new();
    let daemon = rig.start();
    let mut tail = command(BINARY, ["audit", "tail", "-f", "-o", "json", "--tool", "glob"])
        .env("HAYWARD_DATA_DIR", &rig.data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    calls_of(&daemon, 2).await;
    let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let calls: Vec<Value> = lines.take(2).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(calls.iter().all(|call| call["tool"] == "glob" && call["ending"] == "ok"), "{calls:?}");
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[tokio::test]
async fn whatever_is_changed_is_found_and_said_with_its_place() {
    let rig = Rig::new();
    rig.live(2).await;
    let report = rig.json(&["verify"]);
    assert_eq!((&report["is_sound"], &report["unsigned"]), (&json!(true), &json!(0)));
    assert!(rig.text(&["verify"]).starts_with("sound: "));
    let whole = fs::read_to_string(rig.record()).unwrap();
    edit(&rig.record(), "kept words", "other words");
    let faults = rig.faults(&[]);
    assert_eq!((&faults[0]["kind"], &faults[0]["line"]), (&json!("altered"), &json!(6)), "{faults}");
    let lines: Vec<&str> = whole.lines().collect();
    fs::write(rig.record(), lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    assert_eq!(rig.faults(&[])[0]["kind"], "cut");
    // A restart doesn't heal it.
    rig.live(1).await;
    assert!(rig.faults(&[]).as_array().unwrap().iter().any(|fault| fault["kind"] == "damaged"));
}

#[tokio::test]
async fn a_copy_is_proved_elsewhere_with_the_public_key_alone() {
    let rig = Rig::new();
    rig.live(2).await;
    let copy = rig.dir.path().join("copy");
    let copy = copy.to_str().unwrap();
    assert!(rig.text(&["export", copy]).contains("sound: "));
    assert_eq!(rig.audit(&["export", copy]).status.code(), Some(5), "nothing is written over");
    let key = rig.text(&["key"]).trim().to_owned();
    fs::rename(&rig.data, rig.dir.path().join("gone")).unwrap();
    for args in [vec!["verify", copy], vec!["verify", copy, "--key", &key]] {
        assert!(rig.text(&args).starts_with("sound: "));
    }
    assert_eq!(
        rig.faults(&[copy, "--key", "5866666666666666666666666666666666666666666666666666666666666666"])[0]["kind"],
        "bad_signature"
    );
    assert_eq!(rig.audit(&["verify", copy, "--key", "/nowhere"]).status.code(), Some(5));
    assert!(!rig.data.exists(), "a check makes nothing");
}

#[tokio::test]
async fn a_checkpoint_that_was_kept_elsewhere_shows_a_tail_that_was_cut_off() {
    let rig = Rig::new();
    rig.live(1).await;
    let (kept, audit) = (rig.dir.path().join("kept"), rig.data.join("audit"));
    let before =
        ["record.jsonl", "checkpoints.jsonl"].map(|name| (name, fs::read(audit.join(name)).unwrap()));
    rig.live(1).await;
    rig.text(&["checkpoint", "--out", kept.to_str().unwrap()]);
    for (name, content) in before {
        fs::write(audit.join(name), content).unwrap();
    }
    rig.text(&["verify"]);
    assert_eq!(rig.faults(&["--checkpoint", kept.to_str().unwrap()])[0]["kind"], "cut");
    // From a pipe as well, and one that nothing comes from is no silent pass.
    let piped = |content: &[u8], args: &[&str]| {
        let mut child = command(BINARY, ["audit", "verify"].iter().chain(args))
            .env("HAYWARD_DATA_DIR", &rig.data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = piped(&fs::read(&kept).unwrap(), &["--checkpoint", "/dev/stdin"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("[cut]"), "{output:?}");
    let output = piped(b"", &["--checkpoint", "/dev/stdin"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no checkpoint is in it"), "{output:?}");
    let output = piped(rig.text(&["key"]).as_bytes(), &["--key", "/dev/stdin"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // Beside a daemon, it is the last one that this made.
    let daemon = rig.start();
    let line: Value = serde_json::from_str(&rig.text(&["checkpoint"])).unwrap();
    assert_eq!(line["signature"].as_str().unwrap().len(), 128);
    end(daemon);
}

#[tokio::test]
async fn old_files_are_pruned_when_no_daemon_has_them() {
    let rig = Rig::new();
    let daemon = rig.start();
    calls_of(&daemon, 300).await;
    assert_eq!(rig.audit(&["prune", "--keep", "1"]).status.code(), Some(5));
    end(daemon);
    let files = || fs::read_dir(rig.data.join("audit")).unwrap().count();
    let before = files();
    assert!(before > 4);
    let named = rig.text(&["prune", "--keep", "1", "--dry-run"]);
    assert_eq!((files(), named.lines().count()), (before, before - 3));
    assert_eq!(rig.text(&["prune", "--before", "1h"]), "");
    assert_eq!(rig.text(&["prune", "--keep", "1"]), named);
    assert_eq!(files(), 3, "one put aside, the one in use, the checkpoints");
    assert!(rig.text(&["verify"]).contains("older files were deleted"));
    assert_eq!(rig.audit(&["prune"]).status.code(), Some(2));
}

#[tokio::test]
async fn a_key_is_rotated_when_no_daemon_has_it_and_the_record_is_proved_by_either() {
    let rig = Rig::new();
    let daemon = rig.start();
    calls_of(&daemon, 1).await;
    assert_eq!(rig.audit(&["key", "rotate"]).status.code(), Some(5));
    end(daemon);
    let (old, new) = (rig.text(&["key"]), rig.text(&["key", "rotate"]));
    assert_eq!(rig.text(&["key"]), new);
    assert_ne!(old, new);
    rig.text(&["verify"]);
    rig.live(1).await;
    let (list, copy) = (rig.dir.path().join("node.key"), rig.dir.path().join("copy"));
    fs::write(&list, format!("{old}\n{new}")).unwrap();
    let (list, copy) = (list.to_str().unwrap(), copy.to_str().unwrap());
    let (old, new) = (old.trim(), new.trim());
    for keys in [&["--key", old][..], &["--key", new], &["--key", new, "--key", old], &["--key", list]] {
        let told = rig.text(&[&["verify"], keys].concat());
        assert!(told.contains(&format!("the key {old} hands the record over to {new}")), "{told}");
    }
    let other = Rig::new();
    other.live(0).await;
    let other = other.text(&["key"]);
    let faults = rig.faults(&["--key", old, "--key", other.trim()]);
    assert_eq!(faults[0]["kind"], "bad_signature");
    let silent = faults.as_array().unwrap().iter().rfind(|fault| fault["kind"] == "signed_nothing").unwrap();
    assert!(silent["what"].as_str().unwrap().contains(other.trim()), "{silent}");
    rig.text(&["export", copy]);
    rig.text(&["verify", copy]);
    rig.text(&["verify", copy, "--key", old]);
}

#[tokio::test]
async fn keys_are_private_and_nothing_shows_them() {
    let rig = Rig::new();
    rig.live(0).await;
    let keys = rig.data.join("keys");
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o700);
    let secret = fs::read_to_string(keys.join("audit-signing.key")).unwrap();
    assert_ne!(rig.text(&["key"]), secret);
    for entry in fs::read_dir(&keys).unwrap().map(Result::unwrap) {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    let nobody = Rig::new();
    assert_eq!(nobody.audit(&["key"]).status.code(), Some(3));
    assert!(!nobody.data.exists());
}

#[tokio::test]
async fn a_copy_for_followers_of_mymcp_lies_where_it_is_asked_for_and_no_tool_reaches_it() {
    let rig = Rig::new();
    let logs = rig.dir.path().join("logs");
    let daemon = Daemon::start(BINARY, &rig.data, &["--log-dir", logs.to_str().unwrap()]).unwrap();
    let said = daemon.call("rw", "bash_execute", json!({"command": "exit 3"})).await.unwrap();
    assert_eq!(said["structuredContent"]["exit_code"], 3, "{said}");
    let file = logs.join("audit.log");
    let refused = daemon.call("ro", "read_file", json!({"file_path": file})).await.unwrap().to_string();
    assert!(refused.contains("ProtectedPath"), "{refused}");
    end(daemon);
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    let of =
        |line: &Value, names: [&str; 4]| names.map(|name| line[name].as_str().unwrap_or_default().to_owned());
    assert_eq!(
        of(&lines[0], ["token_name", "role", "tool", "result"]),
        ["temporary-rw", "rw", "bash_execute", "error"]
    );
    assert_eq!(
        (&lines[0]["params"]["command"], &lines[0]["error_code"]),
        (&json!("exit 3"), &json!("ExitCode:3"))
    );
    assert_eq!(lines[1]["error_code"], "ProtectedPath");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
}

#[tokio::test]
async fn standard_output_has_the_calls_and_the_log_no_secret() {
    // A path that is too long for a socket is told in the log, and this one looks like a secret.
    let secret = "ghp_0123456789abcdefABCDEF0123456789abcd";
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("x".repeat(80)).join(secret);
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    let (out, log) = (dir.path().join("out"), dir.path().join("log"));
    let before = Daemon::start(BINARY, &data, &[]).unwrap();
    before.call("ro", "read_file", json!({"file_path": "/etc/hostname"})).await.unwrap();
    end(before);
    let to = |path: &Path| Stdio::from(fs::File::create(path).unwrap());
    let flags = ["--log-stdout", "--log-format", "json"];
    let daemon = Daemon::start_writing(BINARY, &data, &flags, [to(&out), to(&log)]).unwrap();
    daemon.call("rw", "bash_execute", json!({"command": "exit 3"})).await.unwrap();
    end(daemon);
    let lines: Vec<Value> =
        fs::read_to_string(&out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "only what comes from then on: {lines:?}");
    assert_eq!((&lines[0]["tool"], &lines[0]["error_code"]), (&json!("bash_execute"), &json!("ExitCode:3")));
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("[redacted:github-token") && !log.contains(secret), "{log}");
}
