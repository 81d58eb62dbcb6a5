//! `read_file` on files of every kind.

use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use hayward_tool::Cx;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, run, text};

#[tokio::test]
async fn a_page_is_as_the_seed_returns_it() {
    let rig = Rig::new();
    let path = rig.file("x.txt", "a\nb\r\n\nd");
    let got = rig.ok("read_file", json!({"file_path": path})).await;
    let content = "   1\ta\n   2\tb\n   3\t\n   4\td";
    assert_eq!(got, json!({"content": content, "total_lines": 4, "truncated": false}));
    let got = rig.ok("read_file", json!({"file_path": path, "offset": 2, "limit": 1})).await;
    assert_eq!(got, json!({"content": "   2\tb", "total_lines": 4, "truncated": true}));
    let got = rig.ok("read_file", json!({"file_path": path, "offset": -1, "limit": 0})).await;
    assert_eq!(got["content"], "   1\ta");
    let got = rig.ok("read_file", json!({"file_path": path, "offset": 99})).await;
    assert_eq!(got, json!({"content": "", "total_lines": 4, "truncated": false}));
}

#[tokio::test]
async fn empty_binary_and_linked_files_are_read() {
    let rig = Rig::new();
    let empty = rig.file("empty", "");
    let got = rig.ok("read_file", json!({"file_path": empty})).await;
    assert_eq!(got, json!({"content": "", "total_lines": 0, "truncated": false}));
    let binary = rig.file("a\nb", b"\x00\x01\xff\n");
    symlink(&binary, rig.work("link")).unwrap();
    let got = rig.ok("read_file", json!({"file_path": rig.work("../work/link")})).await;
    assert_eq!(got["content"], "   1\t\0\u{1}\u{fffd}");
}

#[tokio::test]
async fn what_is_no_file_is_refused_without_being_opened() {
    let rig = Rig::new();
    let listener = UnixListener::bind(rig.work("socket")).unwrap();
    assert!(run("mkfifo", &[text(&rig.work("fifo"))]), "mkfifo is part of every system");
    for (path, code) in [
        (text(&rig.work("fifo")), "NotARegularFile"),
        (text(&rig.work("socket")), "NotARegularFile"),
        ("/dev/zero", "NotARegularFile"),
        ("/dev/tty", "NotARegularFile"),
        (text(&rig.work("")), "IsADirectoryError"),
        (text(&rig.work("none")), "FileNotFoundError"),
        (text(&rig.file("x", "").join("y")), "NotADirectoryError"),
    ] {
        assert_eq!(rig.code("read_file", json!({"file_path": path})).await, code, "{path}");
    }
    drop(listener);
}

#[tokio::test]
async fn the_words_of_the_seed_are_kept() {
    let rig = Rig::new();
    for (path, expect) in [
        (
            "/nope",
            json!({"success": false, "error": "FileNotFoundError", "message": "File not found: /nope",
                "suggestion": "Check the file path"}),
        ),
        (
            "/etc",
            json!({"success": false, "error": "IsADirectoryError", "message": "/etc is a directory",
                "suggestion": "Use glob to list directory contents"}),
        ),
    ] {
        assert_eq!(rig.call("read_file", json!({"file_path": path})).await.text, expect);
    }
}

#[tokio::test]
async fn oddities_of_proc_neither_hang_nor_crash() {
    let rig = Rig::new();
    let got = rig.ok("read_file", json!({"file_path": "/proc/meminfo", "limit": 1})).await;
    assert!(got["content"].as_str().unwrap().contains("MemTotal"), "{got}");
    // Some of these block, some need rights, some may not be there: all that counts is an answer.
    let odd = ["/proc/kmsg", "/proc/kcore", "/sys/kernel/debug/tracing/trace_pipe", "/proc/1/mem"];
    for path in odd {
        let answer = rig.call("read_file", json!({"file_path": path, "limit": 1})).await;
        assert!(answer.is_error, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_huge_file_costs_time_and_no_memory() {
    // What is measured is of a whole process, so this needs one of its own.
    if !is_alone() {
        return run_alone("reading::a_huge_file_costs_time_and_no_memory");
    }
    let rig = Rig::new();
    let path = rig.work("huge.log");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"first\n").unwrap();
    file.seek(SeekFrom::Start(1 << 29)).unwrap();
    file.write_all(b"\nlast\n").unwrap();
    let before = peak_kib();
    let arguments = json!({"file_path": path, "offset": 3, "limit": 1});
    let got = rig.ok("read_file", arguments).await;
    assert_eq!((&got["content"], &got["total_lines"]), (&json!("   3\tlast"), &json!(3)));
    let got = rig.ok("read_file", json!({"file_path": path, "limit": 2})).await;
    assert!(got["content"].as_str().unwrap().ends_with(" [LINE TRUNCATED]"));
    let grown = peak_kib() - before;
    assert!(grown < 16 << 10, "grown by {grown} KiB");
}

const ALONE: &str = "HAYWARD_TEST_ALONE";

fn is_alone() -> bool {
    #[expect(clippy::disallowed_methods, reason = "tells the child from the test that started it")]
    std::env::var_os(ALONE).is_some()
}

/// Runs this very test again in a process of its own.
fn run_alone(test: &str) {
    #[expect(clippy::disallowed_methods, reason = "a test of memory, not a job")]
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", "--nocapture", test]).env(ALONE, "1").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test]
async fn a_complete_page_is_returned_when_time_runs_out_while_counting() {
    let rig = Rig::new();
    let path = rig.work("huge.log");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"first\n").unwrap();
    file.set_len(1 << 43).unwrap();
    let cx = Cx::new(Duration::from_millis(200), CancellationToken::new());
    let answer = rig.call_within(&cx, "read_file", json!({"file_path": path, "limit": 1})).await;
    assert_eq!(answer.text["content"], "   1\tfirst", "{answer:?}");
    assert_eq!(answer.text["total_lines_is_lower_bound"], true);
    assert_eq!(answer.text["truncated"], true);
    let cx = Cx::new(Duration::from_millis(200), CancellationToken::new());
    let answer = rig.call_within(&cx, "read_file", json!({"file_path": path, "offset": 9})).await;
    assert_eq!(answer.text["error"], "TimeoutError", "{answer:?}");
}

#[tokio::test]
async fn a_full_page_says_where_to_go_on() {
    let rig = Rig::with(|config| config.limits.set("host.read_page_bytes_max", 65_536).unwrap());
    let path = rig.file("long", format!("{}\n", "x".repeat(30_000)).repeat(5));
    let got = rig.ok("read_file", json!({"file_path": path})).await;
    assert_eq!((&got["next_offset"], &got["truncated"]), (&json!(3), &json!(true)));
    let got = rig.ok("read_file", json!({"file_path": path, "offset": 5})).await;
    assert_eq!((&got["next_offset"], &got["truncated"]), (&json!(null), &json!(false)));
}

#[tokio::test]
async fn a_file_that_changes_or_goes_while_it_is_read_does_no_harm() {
    let rig = Rig::new();
    let path = rig.file("log", "line\n".repeat(100_000));
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let done = CancellationToken::new();
    let changes = {
        let (path, done) = (path.clone(), done.clone());
        std::thread::spawn(move || {
            for round in 0_u64.. {
                if done.is_cancelled() {
                    return;
                }
                file.set_len(round % 7 * 10_000).unwrap();
                file.write_all_at(b"line\n", round % 70_000).unwrap();
                if round % 5 == 0 {
                    std::fs::rename(&path, path.with_extension("1")).unwrap();
                    std::fs::rename(path.with_extension("1"), &path).unwrap();
                }
            }
        })
    };
    for _ in 0..200 {
        let answer = rig.call("read_file", json!({"file_path": path})).await;
        assert!(!answer.is_error || answer.text["error"] == "FileNotFoundError", "{answer:?}");
    }
    done.cancel();
    changes.join().unwrap();
}
