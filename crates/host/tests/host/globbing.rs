//! `glob` on real trees.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hayward_tool::Cx;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, put, run, text};

/// A tree whose files are listed here newest first.
fn tree() -> Rig {
    let rig = Rig::new();
    let names = ["a.rs", "b.txt", "src/c.rs", "src/deep/er/d.rs", "src/.hidden/e.rs", ".f.rs"];
    for (seconds, name) in (0..).zip(names) {
        age(&rig.file(name, ""), seconds);
    }
    rig
}

fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(1_000 + seconds);
    std::fs::File::open(path).unwrap().set_modified(time).unwrap();
}

async fn names(rig: &Rig, pattern: &str) -> Vec<String> {
    let got = rig.ok("glob", json!({"pattern": pattern, "path": rig.work("")})).await;
    assert_eq!(got["count"], got["files"].as_array().unwrap().len(), "{got}");
    let prefix = text(&rig.work("")).to_owned();
    let files = got["files"].as_array().unwrap().iter();
    files.map(|file| file.as_str().unwrap().strip_prefix(&prefix).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn patterns_find_what_python_finds_newest_first() {
    let rig = tree();
    for (pattern, expect) in [
        ("*.rs", vec!["a.rs"]),
        ("**/*.rs", vec!["a.rs", "src/c.rs", "src/deep/er/d.rs"]),
        ("src/**/*.rs", vec!["src/c.rs", "src/deep/er/d.rs"]),
        ("src/*/er/*.rs", vec!["src/deep/er/d.rs"]),
        ("*.{rs,txt}", vec!["a.rs", "b.txt"]),
        (".*.rs", vec![".f.rs"]),
        ("src/.*/*", vec!["src/.hidden/e.rs"]),
        ("src/../a.rs", vec!["src/../a.rs"]),
        ("src/*/", vec!["src/deep/"]),
        ("src/deep/**", vec!["src/deep/er", "src/deep/", "src/deep/er/d.rs"]),
        ("none/*", vec![]),
        ("a.rs/*", vec![]),
        ("a.rs/**", vec![]),
        ("", vec![""]),
    ] {
        let mut got = names(&rig, pattern).await;
        if pattern.ends_with("**") {
            got.sort();
            let mut expect = expect.clone();
            expect.sort_unstable();
            assert_eq!(got, expect, "{pattern}");
        } else {
            assert_eq!(got, expect, "{pattern}");
        }
    }
}

#[tokio::test]
async fn paths_may_be_left_out_absolute_missing_or_files() {
    let rig = tree();
    let absolute = rig.work("*.txt");
    for arguments in [
        json!({"pattern": absolute}),
        json!({"pattern": absolute, "path": "/etc"}),
        json!({"pattern": &text(&absolute)[1..]}),
        json!({"pattern": &text(&absolute)[1..], "path": ""}),
    ] {
        assert_eq!(rig.ok("glob", arguments).await["files"], json!([rig.work("b.txt")]));
    }
    for path in [rig.work("none"), rig.work("a.rs")] {
        let got = rig.ok("glob", json!({"pattern": "*", "path": path})).await;
        assert_eq!(got, json!({"files": [], "count": 0, "truncated": false}));
    }
    for pattern in ["[", &"*/".repeat(61), "a\0"] {
        let code = rig.code("glob", json!({"pattern": pattern, "path": "/"})).await;
        assert_eq!(code, "InvalidPattern", "{pattern:?}");
    }
}

#[tokio::test]
async fn links_are_followed_but_never_in_circles() {
    let rig = tree();
    symlink("src", rig.work("link")).unwrap();
    symlink(rig.work(""), rig.work("src/up")).unwrap();
    symlink("nowhere", rig.work("broken")).unwrap();
    symlink("self", rig.work("self")).unwrap();
    let mut got = names(&rig, "**/c.rs").await;
    got.sort();
    assert_eq!(got, ["link/c.rs", "src/c.rs"]);
    assert_eq!(names(&rig, "src/up/src/up/*.txt").await, ["src/up/src/up/b.txt"]);
    assert_eq!(names(&rig, "bro*").await, ["broken"]);
}

#[tokio::test]
async fn odd_names_and_files_do_no_harm() {
    let rig = Rig::new();
    assert!(run("mkfifo", &[text(&rig.work("fifo"))]), "mkfifo is part of every system");
    put(&rig.work("").join(std::ffi::OsStr::from_bytes(b"n\xff\n")), "");
    let mut got = names(&rig, "*").await;
    got.sort();
    assert_eq!(got, ["fifo", "n\u{fffd}\n"]);
}

#[tokio::test]
async fn only_the_newest_are_returned_and_all_are_counted() {
    let rig = Rig::with(|config| config.limits.set("host.glob_results_max", 3).unwrap());
    for folder in 0..50 {
        for file in 0..4 {
            age(&rig.file(&format!("{folder}/{file}"), ""), 10 + folder * 4 + file);
        }
    }
    let got = rig.ok("glob", json!({"pattern": "**/*", "path": rig.work("")})).await;
    assert_eq!((&got["count"], &got["truncated"]), (&json!(250), &json!(true)));
    let got = rig.ok("glob", json!({"pattern": "*/*", "path": rig.work("")})).await;
    let newest: Vec<Value> = (0..3).map(|file| json!(rig.work(&format!("0/{file}")))).collect();
    assert_eq!(got, json!({"files": newest, "count": 200, "truncated": true}));
}

#[tokio::test]
async fn a_search_ends_with_its_call_and_leaves_the_kernels_files_alone() {
    let rig = Rig::new();
    let cx = Cx::new(Duration::ZERO, CancellationToken::new());
    let answer = rig.call_within(&cx, "glob", json!({"pattern": "/usr/**/*"})).await;
    assert_eq!(answer.text["error"], "TimeoutError", "{answer:?}");
    let got = rig.ok("glob", json!({"pattern": "**/cmdline", "path": "/proc/self/.."})).await;
    assert!(got["count"].as_u64().unwrap() > 0, "asked for by name");
    let got = rig.ok("glob", json!({"pattern": "/proc/sys/kernel/host*"})).await;
    assert_eq!(got["files"], json!(["/proc/sys/kernel/hostname"]));
    let got = rig.ok("glob", json!({"pattern": "/proc**/sys/kernel/hostname"})).await;
    assert_eq!(got["count"], 1);
}
