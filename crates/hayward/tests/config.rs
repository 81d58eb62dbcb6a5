//! The configuration of the real binary: file, environment, flags, and what is told when they are wrong.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hayward_testkit::daemon::{Daemon, command};
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

struct Rig {
    dir: TempDir,
}

impl Rig {
    fn new(config: &str) -> Self {
        let rig = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(rig.file(), config).unwrap();
        rig
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("h.toml")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(BINARY, args);
        command.env("HAYWARD_CONFIG", self.file()).env("HAYWARD_DATA_DIR", self.dir.path().join("data"));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn view(&self, changed: impl FnOnce(&mut Command)) -> Value {
        let mut command = self.command(&["config", "view", "-o", "json", "--show-origin"]);
        changed(&mut command);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_environment_wins_over_the_file_and_each_value_knows_where_it_came_from() {
    let rig = Rig::new("log.level = \"info\"\nport = 9000\n[gateway]\ncalls_max = 7\n");
    let file = rig.file();
    let view = rig.view(|command| {
        command.env("HAYWARD_PORT", "9001").env("HAYWARD_HOST_READ_LINES", "5");
    });
    let at = |line: u32| format!("{}:{line}", file.display());
    assert_eq!(view["log.level"], json!({ "value": "info", "origin": at(1) }));
    assert_eq!(view["gateway.calls_max"], json!({ "value": 7, "origin": at(4) }));
    assert_eq!(view["port"], json!({ "value": 9001, "origin": "HAYWARD_PORT" }));
    assert_eq!(view["host.read_lines"], json!({ "value": 5, "origin": "HAYWARD_HOST_READ_LINES" }));
    assert_eq!(view["host"], json!({ "value": "127.0.0.1", "origin": "default" }));
    assert_eq!(view["protected.paths"]["value"], json!([]));
}

#[test]
fn what_is_viewed_is_a_file_that_says_the_same() {
    let rig = Rig::new(
        "protected.paths = [\"/a\", \"/b\"]\nfence.memory = \"1GiB\"\nhost = \"::1\"\nlimits.host.read_lines = 9\n",
    );
    let before = rig.run(&["config", "view"]);
    assert!(before.status.success(), "{}", told(&before));
    fs::write(rig.file(), &before.stdout).unwrap();
    let after = rig.run(&["config", "view"]);
    assert!(after.status.success(), "{}", told(&after));
    assert_eq!(before.stdout, after.stdout);
}

#[test]
fn all_faults_are_told_at_once_with_file_and_line_or_variable() {
    let rig = Rig::new(
        "prt = 1\nport = 70000\nlog.format = \"xml\"\ninsecure_http = \"maybe\"\nport = 1\n[gateway]\ncalls_max = 0\n",
    );
    // The key that stands twice is no TOML, so the rest of the file says nothing.
    let output = rig.run(&["serve"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(told(&output).contains("h.toml:5: duplicate key"), "{}", told(&output));

    let rig = Rig::new(
        "prt = 1\nport = 70000\nlog.format = \"xml\"\ninsecure_http = \"maybe\"\nlog_format = \"json\"\nshell = [\"a\"]\n\
         public.url = \"ftp://x\"\n[gateway]\ncalls_max = 0\n",
    );
    for command in ["serve", "stdio", "doctor"] {
        let mut command = rig.command(&[command]);
        command.env("HAYWARD_EXEC_JOBS_MAX", "many").env("HAYWARD_ROLE", "king");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        let told = told(&output);
        for expect in [
            "h.toml:1: unknown key `prt`: did you mean `port`?",
            "h.toml:2: `port` is `70000`: use a whole number from 0 to 65535",
            "h.toml:3: `log.format` is `xml`: use text, json",
            "h.toml:4: `insecure.http` is `maybe`: use true or false",
            "h.toml:6: `shell`: it takes one value",
            "h.toml:7: `public.url` is `ftp://x`: it begins with neither",
            "h.toml:9: `gateway.calls_max` is 0: use 1 to",
            "HAYWARD_EXEC_JOBS_MAX: `exec.jobs_max` is `many`: use a whole number",
            "HAYWARD_ROLE: `role` is `king`: use ro, rw",
        ] {
            assert!(told.contains(expect), "{expect}\n{told}");
        }
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_file_full_of_faults_is_told_of_as_far_as_anybody_reads() {
    let keys: Vec<String> = (0..80_000).map(|number| format!("k{number}.x = 1")).collect();
    let rig = Rig::new(&keys.join("\n"));
    let output = rig.run(&["serve"]);
    assert_eq!(output.status.code(), Some(78));
    let told = told(&output);
    assert!(told.contains("h.toml:100: unknown key `k99.x`"), "{told}");
    assert!(told.contains("h.toml:101: from here on nothing is looked at"), "{told}");
    assert_eq!(told.matches("h.toml:").count(), 101);
}

#[test]
fn what_only_a_start_finds_out_is_told_with_its_place_too_unless_a_flag_has_the_say() {
    let rig =
        Rig::new("# proxies\nbehind.proxy = [\"0.0.0.0/0\"]\ntls.cert = \"/no/c\"\ntls.key = \"/no/k\"\n");
    let file = rig.file().display().to_string();
    let output = rig.run(&["serve", "--port", "0", "--tls-key", "/no/other"]);
    assert_eq!(output.status.code(), Some(78));
    let told = told(&output);
    for expect in [
        format!("\n  {file}:2: `--behind-proxy` `0.0.0.0/0`: it would believe everybody"),
        format!("\n  {file}:3: `--tls-cert` `/no/c`: it can't be read"),
        "\n  `--tls-key` `/no/other`: it can't be read".to_owned(),
    ] {
        assert!(told.contains(&expect), "{expect}: {told}");
    }
}

#[test]
fn no_line_is_so_odd_that_it_is_not_told_with_its_place() {
    for (text, line) in [
        ("port", 1),
        ("port =", 1),
        ("= 1", 1),
        ("\nport = 1.5", 2),
        ("\nport = -1", 2),
        ("\nport = [1]", 2),
        ("\nport = [[1], {a = 1}]", 2),
        ("port = \"\\u0000\"", 1),
        ("[port]\nx = 1", 2),
        ("[[gateway]]\ncalls_max = 1", 1),
        ("gateway = 1", 1),
        ("\n[gateway]\ncalls_max = 99999999999999999999", 3),
        ("\n[gateway]\ncalls_max = \"7\u{202e}\"", 3),
        ("sync.files = \"yes\"", 1),
        ("host = \"localhost:1\"", 1),
        ("fence.memory = \"1.5G\"", 1),
        ("tool.fences = [\"bash_execute:profile=loose\"]", 1),
        ("configured-limit = \"x\"", 1),
        ("limit = \"gateway.calls_max=1\"", 1),
        ("config = \"/other\"", 1),
        ("help = true", 1),
    ] {
        let rig = Rig::new(text);
        let output = rig.run(&["serve", "--port", "0"]);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(78), "{text:?}: {told}");
        assert!(told.contains(&format!("h.toml:{line}: ")) && !told.contains("panicked"), "{text:?}: {told}");
        assert!(!told.contains(['\u{0}', '\u{202e}']), "{told:?}");
    }
    let rig = Rig::new("");
    fs::write(rig.file(), b"port = 1\n# \xff\n").unwrap();
    assert!(told(&rig.run(&["serve"])).contains("h.toml:2: not UTF-8"));
}

#[test]
fn a_file_that_was_named_and_is_not_there_is_a_fault_and_others_need_none() {
    let rig = Rig::new("");
    fs::remove_file(rig.file()).unwrap();
    let output = rig.run(&["token", "list"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(told(&output).contains("h.toml: there is no such file"));
    assert!(rig.run(&["version"]).status.success());
    assert!(rig.run(&["serve", "--help"]).status.success());
    let mut command = rig.command(&["token", "list"]);
    command.env_remove("HAYWARD_CONFIG").env("XDG_CONFIG_HOME", rig.dir.path());
    assert!(command.status().unwrap().success());
}

#[tokio::test]
async fn a_daemon_has_what_its_file_says_unless_a_flag_says_otherwise() {
    let rig = Rig::new("");
    let log = rig.dir.path().join("log");
    let config = format!(
        "log.dir = \"{}\"\nport = 1\n[host]\nread_lines = 2\n[gateway]\ncalls_max = 7\n",
        log.display()
    );
    fs::write(rig.file(), config).unwrap();
    fs::write(rig.dir.path().join("f"), "a\nb\nc\n").unwrap();
    let file = rig.file().display().to_string();
    let daemon = Daemon::start(BINARY, &rig.dir.path().join("data"), &["--config", &file]).unwrap();
    let path = rig.dir.path().join("f").display().to_string();
    let result = daemon.call("ro", "read_file", json!({ "file_path": path })).await.unwrap();
    assert_eq!(result["structuredContent"]["truncated"], true, "{result}");
    assert!(log.join("audit.log").exists());
    assert_eq!(lines_read(&rig, &["--limit", "host.read_lines=1"]).await, 1);
    assert_eq!(lines_read(&rig, &[]).await, 2);
}

async fn lines_read(rig: &Rig, args: &[&str]) -> usize {
    let file = rig.file().display().to_string();
    let args: Vec<&str> = ["--config", &file].iter().chain(args).copied().collect();
    let data = rig.dir.path().join(format!("data-{}", args.join("").len()));
    let daemon = Daemon::start(BINARY, &data, &args).unwrap();
    let path = rig.dir.path().join("f").display().to_string();
    let result = daemon.call("ro", "read_file", json!({ "file_path": path })).await.unwrap();
    result["structuredContent"]["content"]
        .as_str()
        .unwrap()
        .lines()
        .filter(|line| line.contains('\t'))
        .count()
}

#[test]
fn what_is_set_is_checked_and_keeps_what_stands_there() {
    let rig = Rig::new("# mine\nport = 9000 # odd\n");
    assert!(rig.run(&["config", "set", "port", "9001"]).status.success());
    assert!(rig.run(&["config", "set", "gateway.calls_max", "9"]).status.success());
    assert!(rig.run(&["config", "set", "protected.paths", "/a", "/b"]).status.success());
    let expect =
        "# mine\nport = 9001 # odd\nlimits.gateway.calls_max = 9\nprotected.paths = [\"/a\", \"/b\"]\n";
    assert_eq!(fs::read_to_string(rig.file()).unwrap(), expect);
    for (words, hint) in [
        (&["prt", "1"][..], "did you mean `port`"),
        (&["port", "x"], "`port` is `x`"),
        (&["port", "1", "2"], "takes one value"),
        (&["gateway.calls_max", "-1"], "whole number"),
    ] {
        let output = rig.run(&[&["config", "set"], words].concat());
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        assert!(told(&output).contains(hint), "{}", told(&output));
    }
    assert_eq!(fs::read_to_string(rig.file()).unwrap(), expect);
}

#[test]
fn a_first_file_is_made_once() {
    let rig = Rig::new("");
    fs::remove_file(rig.file()).unwrap();
    let refused = rig.run(&["config", "setup"]);
    assert!(!refused.status.success() && told(&refused).contains("--yes"));
    assert!(rig.run(&["config", "setup", "--yes"]).status.success());
    assert!(fs::read_to_string(rig.file()).unwrap().contains("port = 8765"));
    assert!(!rig.run(&["config", "setup", "--yes"]).status.success());
    let path = rig.run(&["config", "path"]);
    assert_eq!(String::from_utf8(path.stdout).unwrap().trim(), rig.file().display().to_string());
}

#[test]
fn variables_of_mymcp_are_understood_and_told_with_their_new_names() {
    let rig = Rig::new("port = 1\n");
    let env_file = rig.dir.path().join(".env");
    let text = "MYMCP_PORT=9002\nMYMCP_SHUTDOWN_GRACE_SEC=7\nMYMCP_ADMIN_TOKEN=tok_secret\nMYMCP_RECORDER_ENABLED=true\n";
    fs::write(&env_file, text).unwrap();
    let mut command = rig.command(&["config", "view", "-o", "json", "--show-origin"]);
    command.env("MYMCP_ENV_FILE", &env_file).env("MYMCP_GLOB_MAX_RESULTS", "5").env("HAYWARD_HOST", "::1");
    let output = command.output().unwrap();
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    let at = |line: u32| format!("{}:{line}", env_file.display());
    assert_eq!(view["port"], json!({ "value": 9002, "origin": at(1) }));
    assert_eq!(view["gateway.drain_ms"], json!({ "value": 7000, "origin": at(2) }));
    assert_eq!(view["host.glob_results_max"], json!({ "value": 5, "origin": "MYMCP_GLOB_MAX_RESULTS" }));
    let told = told(&output);
    for expect in [
        ".env:1: `MYMCP_PORT` is called `HAYWARD_PORT` now",
        ".env:3: `MYMCP_ADMIN_TOKEN` is not taken over",
        ".env:4: `MYMCP_RECORDER_ENABLED` is not taken over: there is nothing like it",
        "note: `MYMCP_GLOB_MAX_RESULTS` is called `HAYWARD_HOST_GLOB_RESULTS_MAX` now",
    ] {
        assert!(told.contains(expect), "{expect}\n{told}");
    }
    assert!(!told.contains("tok_secret"));
    let wrong = rig.dir.path().join("wrong.env");
    fs::write(&wrong, "MYMCP_PORT=x\nodd\n").unwrap();
    let output = rig.run(&["serve", "--env-file", &wrong.display().to_string()]);
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn a_client_on_standard_input_joins_a_daemon_of_the_same_file() {
    let rig = Rig::new("[gateway]\ncalls_max = 7\n");
    let data = rig.dir.path().join("data");
    let file = rig.file().display().to_string();
    let _daemon = Daemon::start(BINARY, &data, &["--config", &file]).unwrap();
    let output = rig.run(&["stdio"]);
    assert!(output.status.success(), "{}", told(&output));
    let refused = rig.run(&["stdio", "--limit", "gateway.calls_max=8"]);
    assert!(told(&refused).contains("leave out the options"), "{}", told(&refused));
    assert!(Path::new(&data).exists());
}
