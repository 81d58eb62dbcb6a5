//! The real binary under a mix of calls for a while: nothing may grow, nothing may be left.
//!
//! `HAYWARD_TEST_SOAK_SECONDS` says for how long (`cargo xtask ci --full`: minutes); else some seconds.
#![cfg(test)]

use std::path::Path;
use std::time::{Duration, Instant};

use hayward_testkit::daemon::Daemon;
use serde_json::{Value, json};

#[expect(clippy::disallowed_methods, reason = "how the test command says for how long")]
fn duration() -> Duration {
    let seconds = std::env::var("HAYWARD_TEST_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// What the daemon may take at most with eighteen clients at once, in a build for tests.
const RESIDENT_KIB_MAX: u64 = 128 * 1024;

/// What a process holds.
#[derive(Debug)]
struct Holdings {
    descriptors: usize,
    children: usize,
    resident_kib: u64,
}

fn holdings(pid: u32) -> Holdings {
    let process = Path::new("/proc").join(pid.to_string());
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let threads = std::fs::read_dir(process.join("task")).unwrap().flatten();
    let children = threads.map(|thread| {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.split_whitespace().count()
    });
    Holdings {
        descriptors: std::fs::read_dir(process.join("fd")).unwrap().count(),
        children: children.sum(),
        resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}

/// One of the mix: good calls, refused ones, broken ones, and one whose client goes.
fn call_number(number: u64, dir: &Path) -> (&'static str, &'static str, Value) {
    let file = dir.join(format!("f{}", number % 7));
    match number % 9 {
        0 => ("rw", "write_file", json!({"file_path": file, "content": "a\nb\n".repeat(500)})),
        1 => ("ro", "read_file", json!({"file_path": file})),
        2 => ("rw", "edit_file", json!({"file_path": file, "old_string": "a", "new_string": "c"})),
        3 => ("ro", "grep", json!({"pattern": "b$", "path": dir})),
        4 => ("ro", "glob", json!({"pattern": "**/*", "path": dir})),
        5 => ("rw", "bash_execute", json!({"command": "seq 1 1000; (setsid sleep 60 &)"})),
        6 => ("rw", "bash_execute", json!({"command": "yes | head -c 300000; sleep 9", "timeout": 1})),
        7 => ("ro", "bash_execute", json!({"command": "id"})),
        _ => ("rw", "read_file", json!({"file_path": 7})),
    }
}

#[tokio::test]
async fn nothing_grows_and_nothing_is_left_over_time() {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let daemon = Daemon::start(env!("CARGO_BIN_EXE_hayward"), &dir.path().join("data"), &[]).unwrap();
    let (began, until) = (Instant::now(), Instant::now() + duration());
    let mut warm = None;
    let mut number = 0;
    while Instant::now() < until {
        let calls: Vec<_> = (number..number + 18).map(|number| call_number(number, &work)).collect();
        number += 18;
        let running = calls.into_iter().map(|(role, tool, arguments)| daemon.call(role, tool, arguments));
        for answer in futures_util::future::join_all(running).await {
            assert!(answer.unwrap()["content"].is_array());
        }
        // Automata, buffers and threads are made on the first occasion: what goes on growing after that is a leak.
        if began.elapsed() >= duration() / 3 {
            warm.get_or_insert_with(|| holdings(daemon.pid()));
        }
    }
    let end = holdings(daemon.pid());
    let warm = warm.expect("it went on for a while");
    eprintln!("{number} calls: {warm:?} {end:?}");
    assert!(end.descriptors <= warm.descriptors + 64, "{warm:?} {end:?}");
    // Idle supervisors are kept for the next commands, within their limit.
    assert!(end.children <= 16, "{warm:?} {end:?}");
    assert!(end.resident_kib <= RESIDENT_KIB_MAX, "{warm:?} {end:?}");
    // It takes most of a minute to come to rest; before that, growth says nothing.
    if duration() >= Duration::from_mins(1) {
        assert!(end.resident_kib <= warm.resident_kib + 24 * 1024, "{warm:?} {end:?}");
    }
    let record = std::fs::read_to_string(dir.path().join("data/audit/record.jsonl")).unwrap();
    let count = |kind: &str| record.matches(&format!("\"type\":\"{kind}\"")).count();
    assert_eq!(count("intent"), count("outcome"));
    assert_eq!((count("intent") + count("denied")) as u64, number);
}
