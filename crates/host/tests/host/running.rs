//! `bash_execute` on real processes.

use std::time::{Duration, Instant};

use hayward_tool::{Cx, Ending, Progress, ProgressQueue};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, text};

#[tokio::test]
async fn the_answers_of_the_seed_are_kept() {
    let rig = Rig::new();
    for (arguments, expect) in [
        (
            json!({"command": "echo hi; echo err >&2; exit 3"}),
            json!({"stdout": "hi\n", "stderr": "err\n", "exit_code": 3, "timed_out": false}),
        ),
        (
            json!({"command": "seq 1 100", "max_output_bytes": 10}),
            json!({"stdout": "1\n2\n3\n4\n5\n\n[TRUNCATED: total 292 bytes, showing first 10 bytes]",
                "stderr": "", "exit_code": 0, "timed_out": false}),
        ),
        (json!({"command": ""}), json!({"stdout": "", "stderr": "", "exit_code": 0, "timed_out": false})),
        (
            json!({"command": "kill -9 $$"}),
            json!({"stdout": "", "stderr": "", "exit_code": -9, "timed_out": false}),
        ),
        (
            json!({"command": "pwd"}),
            json!({"stdout": "/\n", "stderr": "", "exit_code": 0, "timed_out": false}),
        ),
        (
            json!({"command": "printf x", "timeout": -5, "max_output_bytes": 0}),
            json!({"stdout": "x", "stderr": "", "exit_code": 0, "timed_out": false}),
        ),
    ] {
        assert_eq!(rig.ok("bash_execute", arguments).await, expect);
    }
}

#[tokio::test]
async fn the_record_says_how_it_ended() {
    let rig = Rig::new();
    for (command, ending, code) in [
        ("true", Ending::Ok, None),
        ("exit 3", Ending::Error, Some("ExitCode:3")),
        ("kill -9 $$", Ending::Error, Some("ExitCode:-9")),
        ("sleep 9", Ending::Timeout, Some("TimeoutError")),
    ] {
        let answer = rig.call("bash_execute", json!({"command": command, "timeout": 1})).await;
        assert!(!answer.is_error);
        assert_eq!((answer.verdict.ending, answer.verdict.code.as_deref()), (ending, code), "{command}");
    }
}

#[tokio::test]
async fn a_timeout_keeps_the_output_and_ends_the_tree() {
    let rig = Rig::new();
    let pid_file = rig.work("pid");
    let command = format!(
        "echo out; printf err >&2; (setsid sh -c 'echo $$ >{}; trap \"\" TERM; sleep 600; sleep 600' &) ; sleep 600",
        text(&pid_file)
    );
    let got = rig.ok("bash_execute", json!({"command": command, "timeout": 1})).await;
    assert_eq!(
        (&got["stdout"], &got["stderr"]),
        (&json!("out\n"), &json!("err\nCommand timed out after 1s"))
    );
    assert_eq!((&got["exit_code"], &got["timed_out"]), (&json!(-1), &json!(true)));
    let pid = std::fs::read_to_string(pid_file).unwrap();
    assert!(!is_alive(pid.trim()), "{pid}");
}

fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn survivors_are_ended_and_named_or_left_when_asked_for() {
    let rig = Rig::new();
    let command = "nohup setsid sleep 601 >/dev/null 2>&1 & echo $!";
    for (background, fate) in [(false, "ended"), (true, "left")] {
        let got = rig.ok("bash_execute", json!({"command": command, "background": background})).await;
        let survivors = got["survivors"].as_array().unwrap();
        assert_eq!(survivors[0]["fate"], fate, "{got}");
        assert!(survivors[0]["command"].as_str().unwrap().contains("sleep 601"), "{got}");
        let pid = survivors[0]["pid"].to_string();
        assert_eq!(is_alive(&pid), background);
        if background {
            rig.ok("bash_execute", json!({"command": format!("kill {pid}")})).await;
        }
    }
}

#[tokio::test]
async fn both_pipes_may_be_flooded() {
    let rig = Rig::new();
    let command =
        "head -c 30000000 /dev/zero | tr '\\0' o & head -c 30000000 /dev/zero | tr '\\0' e >&2; wait";
    let got = rig.ok("bash_execute", json!({"command": command, "max_output_bytes": 9_999_999})).await;
    for (stream, letter) in [("stdout", "o"), ("stderr", "e")] {
        let expect = "\n[TRUNCATED: total 30000000 bytes, showing first 1048576 bytes]";
        let text = got[stream].as_str().unwrap();
        assert!(text.starts_with(letter) && text.ends_with(expect), "{stream}: {}", text.len());
        assert_eq!(text.len(), 1_048_576 + expect.len());
    }
}

#[tokio::test]
async fn a_pipe_held_open_does_not_hold_the_answer() {
    let rig = Rig::new();
    let since = Instant::now();
    let got = rig.ok("bash_execute", json!({"command": "(trap '' TERM HUP; sleep 602) & echo done"})).await;
    assert_eq!(got["stdout"], "done\n");
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
}

#[tokio::test]
async fn what_can_not_be_run_is_an_error_with_a_hint() {
    let rig = Rig::new();
    let file = rig.file("file", "");
    for (arguments, code) in [
        (json!({"command": "x", "working_dir": "/nope"}), "FileNotFoundError"),
        (json!({"command": "x", "working_dir": ""}), "FileNotFoundError"),
        (json!({"command": "x", "working_dir": file}), "NotADirectoryError"),
        (json!({"command": "a\0b"}), "InvalidArgument"),
        (json!({"command": "x".repeat(131_001)}), "CommandTooLong"),
    ] {
        assert_eq!(rig.code("bash_execute", arguments.clone()).await, code);
    }
    let answer = rig.call("bash_execute", json!({"command": "x", "working_dir": "/nope"})).await;
    assert_eq!(
        answer.text,
        json!({"success": false, "error": "FileNotFoundError", "message": "Working directory not found: /nope",
            "suggestion": "Check that the working_dir path exists"})
    );
    let long = format!(": {}", "x".repeat(130_000));
    assert_eq!(rig.ok("bash_execute", json!({"command": long})).await["exit_code"], 0);
}

#[tokio::test]
async fn a_working_directory_that_goes_is_an_error_or_no_matter() {
    let rig = Rig::new();
    let directory = rig.work("gone");
    std::fs::create_dir(&directory).unwrap();
    let command = "rmdir \"$PWD\" && echo removed";
    let got = rig.ok("bash_execute", json!({"command": command, "working_dir": directory})).await;
    assert_eq!(got["stdout"], "removed\n");
    let arguments = json!({"command": "echo ran", "working_dir": directory});
    assert_eq!(rig.code("bash_execute", arguments.clone()).await, "FileNotFoundError");
    // One that comes and goes while commands start in it.
    let done = CancellationToken::new();
    let changes = {
        let (directory, done) = (directory.clone(), done.clone());
        std::thread::spawn(move || {
            while !done.is_cancelled() {
                std::fs::create_dir(&directory).unwrap();
                std::thread::yield_now();
                std::fs::remove_dir(&directory).unwrap();
            }
        })
    };
    for _ in 0..50 {
        let answer = rig.call("bash_execute", arguments.clone()).await;
        let has_run = !answer.is_error && answer.text["stdout"] == "ran\n";
        assert!(has_run || answer.text["error"] == "FileNotFoundError", "{answer:?}");
    }
    done.cancel();
    changes.join().unwrap();
    let got = rig.ok("bash_execute", json!({"command": "echo ran", "working_dir": rig.work("")})).await;
    assert_eq!(got["stdout"], "ran\n");
}

#[tokio::test]
async fn a_command_has_its_own_environment_and_no_input() {
    let rig = Rig::new();
    let got = rig.ok("bash_execute", json!({"command": "env; cat"})).await;
    let names: Vec<&str> =
        got["stdout"].as_str().unwrap().lines().filter_map(|line| line.split('=').next()).collect();
    for name in &names {
        assert!(["PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(name), "{names:?}");
    }
}

#[tokio::test]
async fn a_cancelled_command_is_ended() {
    let rig = Rig::new();
    let pid_file = rig.work("pid");
    let command = format!("echo $$ >{}; sleep 603", text(&pid_file));
    let cancel = CancellationToken::new();
    let cx = Cx::new(Duration::from_mins(1), cancel.clone());
    let watch = async {
        while !std::fs::read_to_string(&pid_file).is_ok_and(|pid| pid.ends_with('\n')) {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (answer, ()) = tokio::join!(rig.call_within(&cx, "bash_execute", json!({"command": command})), watch);
    assert_eq!(answer.verdict.ending, Ending::Cancelled, "{answer:?}");
    assert!(!is_alive(std::fs::read_to_string(pid_file).unwrap().trim()));
    rig.executor.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_listener_hears_that_a_long_command_runs() {
    let rig = Rig::new();
    let queue = ProgressQueue::default();
    let cx = Cx::new(Duration::from_mins(1), CancellationToken::new()).with_progress(queue.clone());
    rig.call_within(&cx, "bash_execute", json!({"command": "sleep 6"})).await;
    let Progress::Step { progress, total, message } = queue.next().await else {
        panic!("nothing was heard");
    };
    assert!((5.0..6.0).contains(&progress) && total.is_none() && message.is_some());
}
