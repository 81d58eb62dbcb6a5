//! Real clients, written by others, drive the real binary: list, call, refusal, bad argument.
//!
//! The clients are the scripts of `testkit/interop/`; `cargo xtask test` installs what they need and
//! says where it is. Without that, a test says why it is skipped; where `HAYWARD_TEST_REQUIRED` is
//! set (`cargo xtask test` but for `--fast`), it fails instead.

#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hayward_testkit::installed::tool;
use serde_json::Value;

const HAYWARD: &str = env!("CARGO_BIN_EXE_hayward");

/// How long the server may take to listen (a debug build on a busy machine).
const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// A running `hayward serve`, killed when the test is over.
struct Served {
    child: Child,
    ready: Value,
}

impl Served {
    fn start(folder: &Path) -> Self {
        let ready = folder.join("ready.json");
        let mut command = command(HAYWARD);
        command.args(["serve", "--host", "127.0.0.1", "--port", "0", "--data-dir"]);
        command.arg(folder.join("data")).arg("--ready-file").arg(&ready).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary was built for this test");
        let start = Instant::now();
        while !ready.exists() {
            let status = child.try_wait().expect("it is our child");
            assert!(status.is_none(), "hayward ended before it was ready: {status:?}");
            assert!(start.elapsed() < LISTENS_WITHIN, "hayward is not ready");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let ready = std::fs::read(&ready).expect("the ready file is there");
        Self { child, ready: serde_json::from_slice(&ready).expect("it is JSON") }
    }

    fn field(&self, name: &str) -> &str {
        self.ready[name].as_str().expect("the ready file has the field")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How to start one of the clients; `None` if it is not installed here.
struct Client {
    program: Option<PathBuf>,
    script: Option<&'static str>,
    mode: &'static str,
}

fn inspector(mode: &'static str) -> Client {
    Client { program: tool("HAYWARD_TEST_NODE"), script: Some("inspector.mjs"), mode }
}

fn python(script: &'static str, mode: &'static str) -> Client {
    Client { program: tool("HAYWARD_TEST_PYTHON"), script: Some(script), mode }
}

fn rmcp(mode: &'static str) -> Client {
    let program = tool("HAYWARD_TEST_PEERS").map(|folder| folder.join("rmcp-client"));
    Client { program, script: None, mode }
}

fn curl(mode: &'static str) -> Client {
    let program = tool("HAYWARD_TEST_INTEROP").map(|_| PathBuf::from("bash"));
    Client { program, script: Some("curl.sh"), mode }
}

impl Client {
    /// The command up to the transport; `None` if the client is not installed.
    fn command(&self, scratch: &Path) -> Option<Command> {
        let scripts = tool("HAYWARD_TEST_INTEROP")?;
        let mut command = command(self.program.as_ref()?);
        command.args(self.script.map(|script| scripts.join(script)));
        command.arg("--scenario").arg(scripts.join("scenario.json"));
        command.arg("--dir").arg(scratch).args(["--mode", self.mode]);
        Some(command)
    }

    /// Runs it to its end and reads its report.
    fn check(&self, mut command: Command) {
        let output = command.output().expect("the client starts");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let report: Value = serde_json::from_str(stdout.trim()).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let failures = serde_json::to_string_pretty(&report["failures"]).unwrap_or_default();
        assert!(output.status.success(), "{failures}\n{stderr}");
        assert!(report["checks"].as_u64() >= Some(8), "it checked too little: {stdout}");
        // Not every client tells what it negotiated.
        let version = report["protocol_version"].as_str().filter(|version| !version.is_empty());
        let is_modern = version.map(|version| version == "2026-07-28");
        assert!(is_modern.is_none_or(|is_modern| is_modern == (self.mode != "legacy")), "{stdout}");
    }
}

#[expect(clippy::disallowed_methods, reason = "clients and the server under test are processes")]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

fn http(client: &Client) {
    let folder = tempfile::tempdir().expect("there is room for scratch");
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).expect("the folder is empty");
    let Some(mut command) = client.command(&scratch) else {
        return skipped();
    };
    let served = Served::start(folder.path());
    command.args(["http", served.field("url")]);
    command.env("HAYWARD_RW_TOKEN", served.field("rw_token"));
    command.env("HAYWARD_RO_TOKEN", served.field("ro_token"));
    client.check(command);
}

fn stdio(client: &Client) {
    let folder = tempfile::tempdir().expect("there is room for scratch");
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).expect("the folder is empty");
    let Some(mut command) = client.command(&scratch) else {
        return skipped();
    };
    command.args(["stdio", HAYWARD, "stdio", "--data-dir"]).arg(folder.path().join("data"));
    client.check(command);
}

fn skipped() {
    println!("skipped: the client is not installed; run `cargo xtask test`");
}

#[test]
fn inspector_legacy_over_http() {
    http(&inspector("legacy"));
}

#[test]
fn inspector_auto_over_http() {
    http(&inspector("auto"));
}

#[test]
fn inspector_modern_over_http() {
    http(&inspector("modern"));
}

#[test]
fn inspector_legacy_over_stdio() {
    stdio(&inspector("legacy"));
}

#[test]
fn inspector_auto_over_stdio() {
    stdio(&inspector("auto"));
}

#[test]
fn inspector_modern_over_stdio() {
    stdio(&inspector("modern"));
}

#[test]
fn python_legacy_over_http() {
    http(&python("python_mcp.py", "legacy"));
}

#[test]
fn python_auto_over_http() {
    http(&python("python_mcp.py", "auto"));
}

#[test]
fn python_legacy_over_stdio() {
    stdio(&python("python_mcp.py", "legacy"));
}

#[test]
fn python_auto_over_stdio() {
    stdio(&python("python_mcp.py", "auto"));
}

#[test]
fn fastmcp_legacy_over_http() {
    http(&python("python_fastmcp.py", "legacy"));
}

#[test]
fn fastmcp_auto_over_http() {
    http(&python("python_fastmcp.py", "auto"));
}

#[test]
fn fastmcp_legacy_over_stdio() {
    stdio(&python("python_fastmcp.py", "legacy"));
}

#[test]
fn fastmcp_auto_over_stdio() {
    stdio(&python("python_fastmcp.py", "auto"));
}

#[test]
fn rmcp_legacy_over_http() {
    http(&rmcp("legacy"));
}

#[test]
fn rmcp_auto_over_http() {
    http(&rmcp("auto"));
}

#[test]
fn rmcp_modern_over_http() {
    http(&rmcp("modern"));
}

#[test]
fn rmcp_legacy_over_stdio() {
    stdio(&rmcp("legacy"));
}

#[test]
fn rmcp_auto_over_stdio() {
    stdio(&rmcp("auto"));
}

#[test]
fn rmcp_modern_over_stdio() {
    stdio(&rmcp("modern"));
}

#[test]
fn curl_legacy_over_http() {
    http(&curl("legacy"));
}

#[test]
fn curl_modern_over_http() {
    http(&curl("modern"));
}
