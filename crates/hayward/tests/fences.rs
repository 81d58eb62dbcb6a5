//! Fences of tokens with the real binary: what a confined one reaches, and what `doctor` says of it.
#![cfg(test)]

#[path = "fences/tools.rs"]
mod tools;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use hayward_testkit::daemon::{Daemon, command, run_with_input, text};
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

/// A data directory, a root to write, a root to read, and a directory that is neither.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["write", "read", "outside"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join("file"), format!("canary of {folder}\n")).unwrap();
        }
        symlink(dir.path().join("outside/file"), dir.path().join("write/link")).unwrap();
        symlink("../outside", dir.path().join("write/folder")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn hayward(&self, args: &[&str]) -> Output {
        let mut command = command(BINARY, args);
        // Somebody else's server may have the usual port.
        command.env("HAYWARD_PORT", "0").arg("--data-dir").arg(self.path("data")).output().unwrap()
    }

    fn roots(&self) -> [String; 6] {
        let (write, read) = (self.path("write"), self.path("read"));
        let [write, read] = [write, read].map(|path| path.display().to_string());
        ["--profile".into(), "confined".into(), "--root".into(), write, "--read-only".into(), read]
    }

    /// A stored rw token with these roots and further options.
    fn confined_token(&self, name: &str, more: &[&str]) -> String {
        let roots = self.roots();
        let mut args = vec!["token", "add", "--name", name, "--role", "rw"];
        args.extend(roots.iter().map(String::as_str).chain(more.iter().copied()));
        let made = self.hayward(&args);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    fn start(&self, args: &[&str]) -> Daemon {
        Daemon::start(BINARY, &self.path("data"), args).unwrap()
    }

    fn unharmed(&self) {
        for folder in ["read", "outside"] {
            let content = std::fs::read_to_string(self.path(folder).join("file")).unwrap();
            assert_eq!(content, format!("canary of {folder}\n"));
            assert_eq!(std::fs::read_dir(self.path(folder)).unwrap().count(), 1, "{folder}");
        }
    }
}

async fn call(daemon: &Daemon, token: &str, tool: &str, arguments: Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments});
    daemon.ask(token, "tools/call", params).await.unwrap().json()["result"].clone()
}

async fn run(daemon: &Daemon, token: &str, script: &str) -> Value {
    let result = call(daemon, token, "bash_execute", json!({"command": script})).await;
    serde_json::from_str(text(&result)).unwrap()
}

/// Whether this machine can confine commands at all; says so if it can't.
async fn confines(daemon: &Daemon, token: &str) -> bool {
    let confines = run(daemon, token, "true").await["error"] != "NotConfined";
    if !confines {
        println!("skipped: this kernel can't confine commands");
    }
    confines
}

#[tokio::test]
async fn commands_of_a_confined_token_keep_to_its_roots_and_others_do_not() {
    let place = Place::new();
    let confined = place.confined_token("worker", &[]);
    let daemon = place.start(&[]);
    if !confines(&daemon, &confined).await {
        return;
    }
    let [write, read, outside, data] = ["write", "read", "outside", "data"].map(|name| place.path(name));
    let [write, read, outside, data] = [&write, &read, &outside, &data].map(|path| path.display());
    for script in [
        format!("echo mine >{write}/mine && test \"$(cat {write}/mine)\" = mine"),
        format!("grep -q canary {read}/file"),
        "test -r /etc/passwd".to_owned(),
    ] {
        assert_eq!(run(&daemon, &confined, &script).await["exit_code"], 0, "{script}");
    }
    let port = daemon.address.port();
    let is_root = std::fs::read("/etc/shadow").is_ok();
    for (script, works_unfenced) in [
        ("cat /etc/shadow | grep -q .".to_owned(), is_root),
        (format!("ls {data} && cat {data}/hayward.db >/dev/null"), true),
        (format!("cat {outside}/file"), true),
        (format!("cat {write}/link"), true),
        (format!("echo x >{outside}/new && rm {outside}/new"), true),
        (format!("echo x >{read}/new && rm {read}/new"), true),
        (format!("/bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"), Path::new("/bin/bash").exists()),
        (format!("kill -0 {}", daemon.pid()), true),
    ] {
        let kept = run(&daemon, &confined, &script).await;
        assert_ne!(kept["exit_code"], 0, "{script}: {kept}");
        assert!(!kept.to_string().contains("canary of outside"), "{script}: {kept}");
        if works_unfenced {
            let full = run(&daemon, daemon.token("rw"), &script).await;
            assert_eq!(full["exit_code"], 0, "{script}: {full}");
        }
    }
    place.unharmed();
}

#[tokio::test]
async fn file_tools_of_a_confined_token_keep_to_its_roots() {
    let place = Place::new();
    let confined = place.confined_token("worker", &[]);
    let daemon = place.start(&[]);
    let done = call(
        &daemon,
        &confined,
        "write_file",
        json!({"file_path": place.path("write/new"), "content": "mine"}),
    );
    assert_eq!(done.await["isError"], false);
    for path in ["outside/file", "write/link", "write/folder/file", "data/hayward.db", "outside/none"] {
        let path = place.path(path);
        for (tool, arguments) in [
            ("read_file", json!({"file_path": path})),
            ("write_file", json!({"file_path": path, "content": "x"})),
            ("edit_file", json!({"file_path": path, "old_string": "canary", "new_string": "x"})),
            ("grep", json!({"pattern": ".", "path": path})),
            ("glob", json!({"pattern": "*", "path": path})),
        ] {
            let result = call(&daemon, &confined, tool, arguments).await;
            let told: Value = serde_json::from_str(text(&result)).unwrap();
            assert_eq!(told["error"], "PermissionDenied", "{tool} {}: {told}", path.display());
            assert!(told["message"].as_str().unwrap().contains("/write (read and write)"), "{told}");
        }
    }
    let shadow = call(&daemon, &confined, "read_file", json!({"file_path": "/etc/shadow"})).await;
    assert_eq!(shadow["isError"], true);
    let found = call(&daemon, &confined, "glob", json!({"pattern": "**", "path": place.path("write")})).await;
    assert!(text(&found).contains("write/folder") && !text(&found).contains("folder/"), "{found}");
    place.unharmed();
    let refused = place.path("data/audit/record.jsonl");
    let denied = std::fs::read_to_string(refused).unwrap();
    assert!(denied.contains("\"ending\":\"denied\""), "refusals stand in the record");
}

#[tokio::test]
async fn a_token_for_another_user_acts_as_that_user_and_has_no_file_tools() {
    let place = Place::new();
    if !rustix::process::geteuid().is_root() {
        let refused =
            place.hayward(&["token", "add", "--name", "x", "--profile", "confined", "--run-as", "1:1"]);
        assert!(!refused.status.success(), "only root becomes somebody else");
        return;
    }
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(place.path("write"), everybody).unwrap();
    let nobody = place.confined_token("nobody", &["--run-as", "65534:65534"]);
    let daemon = place.start(&[]);
    let new = place.path("write/new");
    let refused = call(&daemon, &nobody, "write_file", json!({"file_path": new, "content": "x"})).await;
    assert!(text(&refused).contains("PermissionDenied") && !new.exists(), "{refused}");
    if !confines(&daemon, &nobody).await {
        return;
    }
    let made = run(&daemon, &nobody, &format!("id -u; id -g; touch {}", new.display())).await;
    assert_eq!((&made["stdout"], &made["exit_code"]), (&json!("65534\n65534\n"), &json!(0)), "{made}");
    assert_eq!(std::fs::metadata(new).unwrap().uid(), 65534);
}

#[tokio::test]
async fn a_network_is_there_when_it_is_granted_and_a_quota_is_told() {
    let place = Place::new();
    let online = place.confined_token("online", &["--allow-network", "--processes", "8"]);
    let daemon = place.start(&[]);
    if !confines(&daemon, &online).await {
        return;
    }
    if Path::new("/bin/bash").exists() {
        let script = format!("/bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/{}'", daemon.address.port());
        assert_eq!(run(&daemon, &online, &script).await["exit_code"], 0);
    }
    let bomb = run(&daemon, &online, "for i in $(seq 20); do sleep 1 & done; wait; exit 3").await;
    if bomb["exhausted"] == json!(["processes"]) {
        assert!(bomb["stderr"].as_str().unwrap().contains("Command used up its processes"), "{bomb}");
        let record = std::fs::read_to_string(place.path("data/audit/record.jsonl")).unwrap();
        assert!(record.contains("QuotaExceeded"));
    } else {
        println!("skipped: no cgroup bounds processes here");
    }
}

#[tokio::test]
async fn an_administrator_makes_fences_too_and_bad_ones_are_refused() {
    let place = Place::new();
    let daemon = place.start(&[]);
    let admin = daemon.token("admin");
    let ask = async |fence: Value| {
        let body = json!({"name": "made", "role": "rw", "fence": fence}).to_string();
        daemon.send("POST", "/admin/tokens", admin, &body).await.unwrap()
    };
    for bad in [
        json!({"profile": "confined", "roots": ["relative"]}),
        json!({"profile": "confined", "roots": ["/"]}),
        json!({"profile": "confined", "roots": [place.path("none")]}),
        json!({"profile": "confined", "roots": [place.path("data/audit")]}),
        json!({"profile": "confined", "user": "0:0"}),
        json!({"profile": "confined", "user": "root"}),
        json!({"profile": "full", "roots": [place.path("write")]}),
        json!({"profile": "confined", "quota": {"processes": 0}}),
        json!({"profile": "loose"}),
    ] {
        assert_eq!(ask(bad.clone()).await.status, 400, "{bad}");
    }
    let made = ask(json!({"profile": "confined", "roots": [place.path("write")]})).await;
    assert_eq!(made.status, 200);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let listed = daemon.send("GET", "/admin/tokens", admin, "").await.unwrap().json();
    let listed = listed.as_object().unwrap().values().find(|token| token["name"] == "made").unwrap();
    assert_eq!(listed["fence"], json!({"profile": "confined", "roots": [place.path("write")]}));
    let read = async |name: &str| {
        call(&daemon, &token, "read_file", json!({"file_path": place.path(name)})).await["isError"].clone()
    };
    assert_eq!((read("write/file").await, read("outside/file").await), (json!(false), json!(true)));
}

#[test]
fn the_command_line_refuses_what_cannot_be_granted_and_lists_what_is() {
    let place = Place::new();
    place.confined_token("worker", &["--memory", "512MiB", "--cpu", "150"]);
    assert!(place.hayward(&["token", "add", "--name", "plain"]).status.success());
    for bad in [
        &["--root", "relative"][..],
        &["--root", "/"],
        &["--root", "/no/such/directory"],
        &["--root", "/proc"],
        &["--run-as", "root"],
        &["--run-as", "no-such-user"],
        &["--run-as", "0:5"],
    ] {
        let mut args = vec!["token", "add", "--name", "bad", "--profile", "confined"];
        args.extend(bad);
        let refused = place.hayward(&args);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(1) && told.contains("hint: "), "{bad:?}: {told}");
    }
    let unconfined = place.hayward(&["token", "add", "--name", "bad", "--root", "/tmp"]);
    assert!(!unconfined.status.success(), "roots without the profile would be full");
    let listed = place.hayward(&["token", "list"]).stdout;
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.contains("memory 512 MiB, cpu 150 %") && listed.contains("  full\n"), "{listed}");
    let json: Value =
        serde_json::from_slice(&place.hayward(&["token", "list", "-o", "json"]).stdout).unwrap();
    assert_eq!(json[0]["fence"], json!({"profile": "full"}));
    assert_eq!(json[1]["fence"]["roots"], json!([place.path("write")]));
    let yaml = String::from_utf8(place.hayward(&["token", "list", "-o", "yaml"]).stdout).unwrap();
    assert!(yaml.contains("memoryBytes: 536870912"), "{yaml}");
}

#[test]
fn a_repeated_call_is_not_answered_with_what_another_fence_let_it_see() {
    let place = Place::new();
    let roots = place.roots();
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let data = place.path("data").display().to_string();
    let command = format!("cat {}", place.path("outside/file").display());
    let params = json!({"name": "bash_execute", "arguments": {"command": command, "idempotency_key": "k1"}});
    let line =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string() + "\n";
    let said = |args: &[&str]| {
        let args = [&["stdio", "--data-dir", &data][..], args].concat();
        String::from_utf8(run_with_input(BINARY, &args, &line).unwrap().stdout).unwrap()
    };
    let first = said(&[]);
    assert!(first.contains("canary") && said(&[]) == first, "{first}");
    let fenced = said(&roots);
    assert!(fenced.contains("KeyReused") && !fenced.contains("canary"), "{fenced}");
}

#[tokio::test]
async fn temporary_tokens_and_local_clients_have_the_fence_that_was_asked_for() {
    let place = Place::new();
    let roots = place.roots();
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let line = |name: &str| {
        let params = json!({"name": "read_file", "arguments": {"file_path": place.path(name)}});
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string() + "\n"
    };
    let data = place.path("data").display().to_string();
    let is_error = |args: &[&str], name: &str| {
        let args = [&["stdio", "--data-dir", &data][..], args].concat();
        let output = run_with_input(BINARY, &args, &line(name)).unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["result"]["isError"].clone()
    };
    assert_eq!(is_error(&roots, "write/file"), false, "alone");
    assert_eq!(is_error(&roots, "outside/file"), true, "alone");
    assert_eq!(is_error(&[], "outside/file"), false, "alone, without a fence");
    let daemon = place.start(&roots);
    for role in ["ro", "rw"] {
        let read = async |name: &str| {
            let arguments = json!({"file_path": place.path(name)});
            daemon.call(role, "read_file", arguments).await.unwrap()["isError"].clone()
        };
        assert_eq!((read("write/file").await, read("outside/file").await), (json!(false), json!(true)));
    }
    assert_eq!(is_error(&[], "write/file"), false, "joined");
    assert_eq!(is_error(&[], "outside/file"), true, "joined");
    let refused =
        run_with_input(BINARY, &[&["stdio", "--data-dir", &data][..], &roots].concat(), "").unwrap();
    assert!(!refused.status.success(), "a daemon's fence is not what a client asks for");
}

#[test]
fn a_daemon_does_not_start_with_a_fence_that_cannot_be_granted() {
    let place = Place::new();
    let refused = place.hayward(&["serve", "--port", "0", "--profile", "confined", "--root", "/no/such"]);
    assert_eq!(refused.status.code(), Some(78), "{}", String::from_utf8_lossy(&refused.stderr));
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn of_token<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut fences = report["fences"].as_array().unwrap().iter();
    let name = json!(format!("token {name}"));
    fences.find(|fence| fence["users"].as_array().unwrap().contains(&name)).unwrap()
}

#[tokio::test]
async fn doctor_says_what_each_token_gets_beside_a_daemon_and_without_one() {
    let place = Place::new();
    let worker = place.confined_token("worker", &[]);
    let alone = place.hayward(&["doctor", "-o", "json"]);
    let daemon = place.start(&[]);
    if !confines(&daemon, &worker).await {
        assert_eq!(alone.status.code(), Some(1), "a token that can't be confined");
        return;
    }
    let beside = place.hayward(&["doctor", "-o", "json"]);
    for (output, daemon) in [(&alone, "none runs"), (&beside, "one runs on this data directory")] {
        let report = report(output);
        assert_eq!(output.status.code(), Some(0), "{report:#}");
        assert_eq!(report["is_sound"], true);
        let checks = report["checks"].as_array().unwrap();
        let names: Vec<&str> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
        assert_eq!(
            names,
            [
                "processes",
                "data",
                "daemon",
                "protected",
                "files",
                "disk",
                "record",
                "database",
                "owners",
                "configuration",
                "port",
                "clock"
            ]
        );
        assert_eq!(checks[2]["detail"], daemon);
        let worker = of_token(&report, "worker");
        let held = worker["held"].as_array().unwrap();
        let reads = held.iter().find(|line| line["fence"] == "reads").unwrap();
        assert_eq!((&reads["state"], &reads["promised"]), (&json!("held"), &json!(true)));
        let full = report["fences"][0]["held"].as_array().unwrap();
        let reads = full.iter().find(|line| line["fence"] == "reads").unwrap();
        assert_eq!((&reads["state"], &reads["promised"]), (&json!("absent"), &json!(false)));
    }
    let table = String::from_utf8(place.hayward(&["doctor"]).stdout).unwrap();
    assert!(table.starts_with("CHECK ") && table.contains("token worker: confined, changes "), "{table}");
    let yaml = String::from_utf8(place.hayward(&["doctor", "-o", "yaml"]).stdout).unwrap();
    assert!(yaml.contains("is_sound: true"), "{yaml}");
}

#[test]
fn doctor_fails_if_what_is_promised_cannot_be_held() {
    let place = Place::new();
    place.confined_token("worker", &["--cpu", "50"]);
    let weaker = place.hayward(&["doctor", "-o", "json", "--containment", "subreaper"]);
    assert_eq!(weaker.status.code(), Some(1), "nothing bounds processor time");
    assert_eq!(of_token(&report(&weaker), "worker")["verdict"], "failed");
    std::fs::remove_dir_all(place.path("read")).unwrap();
    let gone = place.hayward(&["doctor", "-o", "json"]);
    assert_eq!(gone.status.code(), Some(1), "a root that is gone");
    let told = report(&gone);
    assert!(of_token(&told, "worker")["error"].as_str().unwrap().contains("root"), "{told:#}");
    assert!(String::from_utf8(gone.stderr).unwrap().contains("something that is promised can't be held"));
}

#[test]
fn doctor_finds_a_record_that_was_changed_and_makes_nothing() {
    let place = Place::new();
    let before = place.hayward(&["doctor", "-o", "json"]);
    assert_eq!(before.status.code(), Some(0));
    assert!(!place.path("data").exists(), "it only looks");
    drop(place.start(&[]));
    assert_eq!(place.hayward(&["doctor"]).status.code(), Some(0));
    let record = place.path("data/audit/record.jsonl");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replacen("\"epoch\":1", "\"epoch\":2", 1)).unwrap();
    let changed = place.hayward(&["doctor", "-o", "json"]);
    assert_eq!(changed.status.code(), Some(1));
    assert_eq!(report(&changed)["checks"][6]["verdict"], "failed");
}
