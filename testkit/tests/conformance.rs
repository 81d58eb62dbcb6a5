//! The tool scenarios of the official conformance suite, in both eras, against our listener with the
//! suite's fixtures behind it.
//!
//! `testkit/interop/conformance.json` names the scenarios; `cargo xtask test` installs the suite.

#![cfg(test)]

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long the fixtures may take to listen (a debug build on a busy machine).
const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// The running fixtures, killed when the test is over.
struct Fixtures(Child);

impl Drop for Fixtures {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[expect(clippy::disallowed_methods, reason = "the test command says where its tools are")]
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name).map(PathBuf::from);
    let is_required = std::env::var_os("HAYWARD_TEST_REQUIRED").is_some();
    assert!(path.is_some() || !is_required, "`{name}` is not set");
    path
}

#[expect(clippy::disallowed_methods, reason = "the suite and the fixtures are processes")]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

fn conforms(version: &str) {
    let (Some(node), Some(scripts)) = (tool("HAYWARD_TEST_NODE"), tool("HAYWARD_TEST_INTEROP")) else {
        println!("skipped: the suite is not installed; run `cargo xtask test`");
        return;
    };
    let folder = tempfile::tempdir().expect("there is room for scratch");
    let file = folder.path().join("ready.json");
    let fixtures = command(env!("CARGO_BIN_EXE_fixture-server")).arg(&file).spawn();
    let _fixtures = Fixtures(fixtures.expect("the fixtures were built for this test"));
    let start = Instant::now();
    while !file.exists() {
        assert!(start.elapsed() < LISTENS_WITHIN, "the fixtures are not ready");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let ready = std::fs::read(&file).expect("the ready file is there");
    let ready: Value = serde_json::from_slice(&ready).expect("it is JSON");
    let field = |name: &str| ready[name].as_str().expect("the ready file has the field");
    let mut suite = command(node);
    suite.arg(scripts.join("conformance.mjs")).args(["--spec-version", version, field("url")]);
    let output = suite.env("HAYWARD_RW_TOKEN", field("rw_token")).output().expect("Node.js starts");
    let said = String::from_utf8_lossy(&output.stdout).replace("\\n", "\n");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_legacy_era_conforms() {
    conforms("2025-11-25");
}

#[test]
fn the_modern_era_conforms() {
    conforms("2026-07-28");
}
