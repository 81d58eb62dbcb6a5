//! The official conformance suite through the front door of the binary, with the suite's fixtures as a toolset
//! beside its own.

#![cfg(test)]

use std::path::PathBuf;

use hayward_testkit::conformance::{Suite, judge};
use hayward_testkit::daemon::Daemon;

/// The binary with the fixtures; built with the tests.
fn with_fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_hayward")).with_file_name("examples/with-fixtures")
}

fn conforms(suite: Suite) {
    let folder = tempfile::tempdir().unwrap();
    let binary = with_fixtures();
    let daemon = Daemon::start(binary.to_str().unwrap(), &folder.path().join("data"), &[]).unwrap();
    let url = daemon.ready["url"].as_str().unwrap();
    match judge(suite, url, daemon.token("rw")).unwrap() {
        Some(report) => report.check(suite).unwrap(),
        None => println!("skipped: the suite is not installed; run `cargo xtask test`"),
    }
}

#[test]
fn the_binary_conforms_in_the_legacy_era() {
    conforms(Suite::Legacy);
}

#[test]
fn the_binary_conforms_in_the_modern_era() {
    conforms(Suite::Modern);
}

#[test]
fn the_binary_passes_the_released_suite() {
    conforms(Suite::Released);
}
