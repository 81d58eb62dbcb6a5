//! Installations of mymcp, taken over: old clients go on with old tokens.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use hayward_testkit::client::{request, send_raw};
use hayward_testkit::daemon::{Daemon, command};
use serde_json::json;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");
const ADMIN: &str = "tok_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const RW: &str = "tok_0123456789abcdef0123456789abcdef";
const RO: &str = "tok_1123456789abcdef0123456789abcdef";
const DISABLED: &str = "tok_2123456789abcdef0123456789abcdef";
const OLDEST: &str = "tok_3123456789abcdef0123456789abcdef";

struct Rig {
    dir: TempDir,
}

impl Rig {
    /// An installation whose variables have this prefix.
    fn new(prefix: &str) -> Self {
        let rig = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(rig.old()).unwrap();
        let variables = format!(
            "# mymcp\n{prefix}HOST=127.0.0.1\n{prefix}PORT=9000\n{prefix}ADMIN_TOKEN={ADMIN}\n{prefix}TOKEN_FILE=tokens.json\n\
             {prefix}PROTECTED_PATHS=/srv/secret\n{prefix}APP_DIR=/opt/mymcp\n{prefix}RECORDER_ENABLED=false\n"
        );
        fs::write(rig.old().join(".env"), variables).unwrap();
        let token = |name: &str, role: &str, enabled: bool| json!({ "name": name, "created_at": "2026-01-01T00:00:00+00:00", "last_used": null, "enabled": enabled, "role": role });
        let tokens = json!({ "admin_token": ADMIN, "tokens": {
            RW: token("My laptop", "rw", true),
            RO: token("ci", "ro", true),
            DISABLED: token("gone", "rw", false),
            OLDEST: { "name": "oldest", "enabled": true },
        } });
        fs::write(rig.old().join("tokens.json"), tokens.to_string()).unwrap();
        rig
    }

    fn old(&self) -> PathBuf {
        self.dir.path().join("old")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("h.toml")
    }

    fn run(&self, flag: &str, further: &[&str]) -> Output {
        let old = self.old().display().to_string();
        let mut command = command(BINARY, ["migrate", "mymcp", flag, &old]);
        command.args(further).env("HAYWARD_DATA_DIR", self.data()).env("XDG_CONFIG_HOME", self.dir.path());
        // A first run has no file yet, and one that is named has to be there.
        fs::OpenOptions::new().create(true).append(true).open(self.file()).unwrap();
        command.env("HAYWARD_CONFIG", self.file()).output().unwrap()
    }

    fn daemon(&self) -> Daemon {
        let file = self.file().display().to_string();
        Daemon::start(BINARY, &self.data(), &["--config", &file]).unwrap()
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn tools(daemon: &Daemon, token: &str) -> Option<usize> {
    let answer = daemon.ask(token, "tools/list", json!({})).await.unwrap();
    (answer.status == 200).then(|| answer.json()["result"]["tools"].as_array().unwrap().len())
}

async fn old_clients_go_on(rig: &Rig) {
    let daemon = rig.daemon();
    let (rw, ro) = (tools(&daemon, RW).await, tools(&daemon, RO).await);
    assert!(rw > ro && ro > Some(0), "{rw:?} {ro:?}");
    assert_eq!(tools(&daemon, OLDEST).await, rw, "the first releases knew no roles");
    for refused in
        [DISABLED, ADMIN, "tok_9123456789abcdef0123456789abcdef", &RW.to_uppercase(), &RW[1..], &RW[4..]]
    {
        assert_eq!(tools(&daemon, refused).await, None, "{refused}");
    }
    let asked = request("GET", daemon.address, "/health", &[("Host", "nas.lan:8765")], "");
    assert_eq!(send_raw(daemon.address, &asked).await.unwrap().status, 200, "whatever it was called");
    let listed = daemon.send("GET", "/admin/tokens", ADMIN, "").await.unwrap();
    assert_eq!(listed.status, 200);
    let listed = listed.json().to_string();
    for name in ["My-laptop", "ci", "gone", "oldest", "admin"] {
        assert!(listed.contains(&format!("\"{name}\"")), "{listed}");
    }
    assert!(!listed.contains("tok_"));
    let revoked = daemon.send("DELETE", &format!("/admin/tokens/{RO}"), ADMIN, "").await.unwrap();
    assert_eq!(revoked.status, 200);
    assert_eq!(tools(&daemon, RO).await, None);
}

#[tokio::test]
async fn clients_of_2_x_go_on_with_their_tokens_until_they_are_revoked() {
    let rig = Rig::new("MYMCP_");
    let output = rig.run("--from", &[]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(!told(&output).contains("tok_") && output.stdout.is_empty());
    let config = fs::read_to_string(rig.file()).unwrap();
    for line in ["port = 9000", "host = \"127.0.0.1\""] {
        assert!(config.lines().any(|found| found == line), "{config}");
    }
    assert!(config.contains("\"/srv/secret\"") && config.contains(&rig.old().display().to_string()));
    assert!(told(&output).contains("`RECORDER_ENABLED` is not taken over"));
    old_clients_go_on(&rig).await;
}

#[tokio::test]
async fn clients_of_1_x_go_on_with_their_tokens_until_they_are_revoked() {
    let rig = Rig::new("MCP_");
    let output = rig.run("--legacy-dir", &[]);
    assert!(output.status.success(), "{}", told(&output));
    old_clients_go_on(&rig).await;
}

#[test]
fn a_second_run_takes_over_what_is_new_and_nothing_twice() {
    let rig = Rig::new("MYMCP_");
    assert!(rig.run("--from", &[]).status.success());
    let config = fs::read_to_string(rig.file()).unwrap();
    let again = rig.run("--from", &[]);
    assert!(
        again.status.success() && told(&again).contains("5 tokens had been taken over before"),
        "{}",
        told(&again)
    );
    assert_eq!(fs::read_to_string(rig.file()).unwrap(), config);
}

#[test]
fn a_dry_run_tells_everything_but_tokens_and_changes_nothing() {
    let rig = Rig::new("MYMCP_");
    let output = rig.run("--from", &["--dry-run"]);
    assert!(output.status.success());
    let told = told(&output);
    for expect in [
        "would take over",
        "port = 9000",
        "token `My-laptop` (rw)",
        "token `gone` (rw, disabled)",
        "token `admin` (admin)",
    ] {
        assert!(told.contains(expect), "{expect}\n{told}");
    }
    assert!(!told.contains("tok_"));
    assert!(!rig.data().exists() && fs::read_to_string(rig.file()).unwrap().is_empty());
}

#[test]
fn what_is_not_there_or_cannot_be_read_is_refused_and_nothing_is_taken_over() {
    let rig = Rig::new("MYMCP_");
    let refuse = |rig: &Rig, code: i32, expect: &str| {
        let output = rig.run("--from", &[]);
        assert_eq!(output.status.code(), Some(code), "{}", told(&output));
        let told = told(&output);
        assert!(told.contains(expect) && !told.contains("tok_"), "{told}");
        assert!(!rig.data().exists());
    };
    let store = rig.old().join("tokens.json");
    fs::write(&store, format!("{{\"tokens\":\n{{\"{RW}\":1}}}}")).unwrap();
    refuse(&rig, 78, "tokens.json:2: it is no store of tokens");
    let old = rig.old().join(".env");
    fs::write(&old, format!("MYMCP_PORT=1\n{RW}\n")).unwrap();
    refuse(&rig, 78, ".env:2: a line is NAME=value");
    fs::remove_file(&old).unwrap();
    if !Path::new("/opt/mymcp/.env").exists() {
        refuse(&rig, 3, "there is no `.env`");
    }
    let named = rig.run("--legacy-dir", &[]);
    assert_eq!(named.status.code(), Some(3));
}

#[test]
fn what_another_user_s_service_has_is_told_before_anything_is_taken_over() {
    let rig = Rig::new("MYMCP_");
    fs::create_dir(rig.data()).unwrap();
    if std::os::unix::fs::chown(rig.data(), Some(12_345), None).is_err() {
        eprintln!("skipped: only root gives directories away");
        return;
    }
    let output = rig.run("--from", &[]);
    let told = told(&output);
    assert!(
        !output.status.success() && told.contains("chown -R root:") && !told.contains("takes over"),
        "{told}"
    );
    assert!(fs::read_to_string(rig.file()).unwrap().is_empty());
}

#[test]
fn a_database_that_does_not_answer_is_an_error_and_nothing_is_taken_over() {
    let rig = Rig::new("MYMCP_");
    let refused = rig.run("--from", &["--database-url", "postgres://a:s3cretPw@127.0.0.1:1/d"]);
    assert_eq!(refused.status.code(), Some(5), "{}", told(&refused));
    assert!(told(&refused).contains("a:***@127.0.0.1:1/d") && !told(&refused).contains("s3cretPw"));
    assert!(!rig.data().join("hayward.db").exists() && fs::read(rig.file()).unwrap().is_empty());
}
