//! What mymcp 2.1.1 answers, asked of the real binary: its clients must not notice the change, but for
//! what `docs/guides/mymcp.md` lists.
#![cfg(test)]

use std::path::Path;

use hayward_testkit::daemon::{Daemon, text};
use serde_json::{Value, json};

fn daemon(dir: &Path) -> Daemon {
    Daemon::start(env!("CARGO_BIN_EXE_hayward"), &dir.join("data"), &[]).unwrap()
}

/// The text as mymcp's clients get it. A suggestion where mymcp has none is the only addition.
async fn check(daemon: &Daemon, (role, tool): (&str, &str), arguments: Value, expect: &str) {
    let result = daemon.call(role, tool, arguments.clone()).await.unwrap();
    let got = text(&result);
    let is_error = serde_json::from_str::<Value>(expect).unwrap()["success"] == false;
    assert_eq!(result["isError"], is_error, "{tool} {arguments}");
    if got == expect {
        return;
    }
    let (mut got, expect): (Value, Value) =
        (serde_json::from_str(got).unwrap(), serde_json::from_str(expect).unwrap());
    if expect.get("suggestion").is_none() {
        assert!(got["suggestion"].as_str().is_some_and(|hint| !hint.is_empty()), "{tool} {arguments}: {got}");
        got.as_object_mut().unwrap().remove("suggestion");
    }
    assert_eq!(got, expect, "{tool} {arguments}");
}

#[tokio::test]
async fn commands_answer_as_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path());
    let bash = ("rw", "bash_execute");
    for (arguments, expect) in [
        (
            json!({"command": "echo hi; echo err >&2; exit 3"}),
            r#"{"stdout": "hi\n", "stderr": "err\n", "exit_code": 3, "timed_out": false}"#,
        ),
        (
            json!({"command": "sleep 5", "timeout": 1}),
            r#"{"stdout": "", "stderr": "Command timed out after 1s", "exit_code": -1, "timed_out": true}"#,
        ),
        (
            json!({"command": "seq 1 100", "max_output_bytes": 10}),
            r#"{"stdout": "1\n2\n3\n4\n5\n\n[TRUNCATED: total 292 bytes, showing first 10 bytes]", "stderr": "", "exit_code": 0, "timed_out": false}"#,
        ),
        (
            json!({"command": "x", "working_dir": "/nope"}),
            r#"{"success": false, "error": "FileNotFoundError", "message": "Working directory not found: /nope", "suggestion": "Check that the working_dir path exists"}"#,
        ),
    ] {
        check(&daemon, bash, arguments, expect).await;
    }
    let refused = r#"{"success": false, "error": "PermissionDenied", "message": "Permission denied: tool 'bash_execute' requires rw role"}"#;
    check(&daemon, ("ro", "bash_execute"), json!({"command": "x"}), refused).await;
    let unknown = r#"{"success": false, "error": "PermissionDenied", "message": "Unknown tool: nope"}"#;
    check(&daemon, ("rw", "nope"), json!({}), unknown).await;
    let missing = daemon.call("rw", "bash_execute", json!({})).await.unwrap();
    assert_eq!(text(&missing), "Input validation error: 'command' is a required property");
    assert_eq!(missing["isError"], true);
}

#[tokio::test]
async fn files_answer_as_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path());
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (file, nowhere, protected) = (at("w/x.txt"), at("nope"), at("data"));
    for (tool, arguments, expect) in [
        (
            "read_file",
            json!({"file_path": "/nope"}),
            r#"{"success": false, "error": "FileNotFoundError", "message": "File not found: /nope", "suggestion": "Check the file path"}"#.to_owned(),
        ),
        (
            "read_file",
            json!({"file_path": "/etc"}),
            r#"{"success": false, "error": "IsADirectoryError", "message": "/etc is a directory", "suggestion": "Use glob to list directory contents"}"#.to_owned(),
        ),
        (
            "read_file",
            json!({"file_path": at("data/audit/record.jsonl")}),
            format!(r#"{{"success": false, "error": "ProtectedPath", "message": "Access denied: path is within protected directory {protected}"}}"#),
        ),
        ("write_file", json!({"file_path": file, "content": "a\nb\n"}), r#"{"success": true, "bytes_written": 4}"#.to_owned()),
        (
            "read_file",
            json!({"file_path": file, "limit": 1}),
            r#"{"content": "   1\ta", "total_lines": 2, "truncated": true}"#.to_owned(),
        ),
        (
            "edit_file",
            json!({"file_path": file, "old_string": "a", "new_string": "z"}),
            r#"{"success": true, "replacements": 1}"#.to_owned(),
        ),
        (
            "edit_file",
            json!({"file_path": file, "old_string": "q", "new_string": "z"}),
            r#"{"success": false, "error": "StringNotFound", "message": "old_string not found in file"}"#.to_owned(),
        ),
        (
            "edit_file",
            json!({"file_path": nowhere, "old_string": "q", "new_string": "z"}),
            format!(r#"{{"success": false, "error": "FileNotFoundError", "message": "File not found: {nowhere}"}}"#),
        ),
        (
            "glob",
            json!({"pattern": "**/*.txt", "path": dir.path()}),
            format!(r#"{{"files": ["{file}"], "count": 1, "truncated": false}}"#),
        ),
        (
            "grep",
            json!({"pattern": "z", "path": dir.path()}),
            format!(r#"{{"results": "{file}:1:z", "match_count": 1}}"#),
        ),
        (
            "grep",
            json!({"pattern": "z", "path": dir.path(), "output_mode": "files"}),
            format!(r#"{{"results": "{file}", "match_count": 1}}"#),
        ),
        (
            "grep",
            json!({"pattern": "z", "path": dir.path(), "output_mode": "count"}),
            format!(r#"{{"results": "{file}:1", "match_count": 1}}"#),
        ),
    ] {
        check(&daemon, ("rw", tool), arguments, &expect).await;
    }
}

#[tokio::test]
async fn what_mymcp_got_wrong_is_an_error_here() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path());
    for (tool, arguments, code) in [
        ("grep", json!({"pattern": "[", "path": dir.path()}), "InvalidRegex"),
        ("read_file", json!({"file_path": "a\u{0}b"}), "InvalidPath"),
        ("write_file", json!({"file_path": dir.path(), "content": "x"}), "IsADirectoryError"),
        ("bash_execute", json!({"command": "x", "working_dir": "/etc/passwd"}), "NotADirectoryError"),
    ] {
        let result = daemon.call("rw", tool, arguments).await.unwrap();
        let error: Value = serde_json::from_str(text(&result)).unwrap();
        assert_eq!(
            (error["error"].clone(), result["isError"].clone()),
            (json!(code), json!(true)),
            "{error}"
        );
        assert!(error["suggestion"].is_string(), "{error}");
    }
}

#[tokio::test]
async fn a_pattern_of_options_runs_nothing() {
    // Advisory: mymcp 2.1.1 passed the pattern to `rg` unguarded, so `--pre=SCRIPT` ran it for `ro`.
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path());
    let (script, marker) = (dir.path().join("run"), dir.path().join("ran"));
    std::fs::write(&script, format!("#!/bin/sh\ntouch {}\n", marker.display())).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for pattern in [format!("--pre={}", script.display()), "--files".to_owned(), "-e.".to_owned()] {
        let arguments = json!({"pattern": pattern, "path": dir.path().join("nothing-here"), "glob": "--pre"});
        daemon.call("ro", "grep", arguments).await.unwrap();
        let arguments = json!({"pattern": pattern, "path": dir.path()});
        daemon.call("ro", "grep", arguments).await.unwrap();
        assert!(!marker.exists(), "{pattern}");
    }
}

#[tokio::test]
async fn routes_answer_as_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path());
    let admin = daemon.token("admin");
    let health = daemon.send("GET", "/health", "", "").await.unwrap();
    assert_eq!((health.status, health.json()["status"].clone()), (200, json!("ok")));
    assert!(health.header("x-request-id").is_some());
    for (method, path, token, body, status, detail) in [
        ("GET", "/admin/tokens", "", "", 401, "Missing Bearer token"),
        ("GET", "/admin/tokens", "bad", "", 403, "Admin token required"),
        (
            "POST",
            "/admin/tokens",
            admin,
            r#"{"name":"n","role":"zz"}"#,
            400,
            "Invalid role: 'zz'. Must be 'ro' or 'rw'.",
        ),
        ("DELETE", "/admin/tokens/tok_zzz", admin, "", 404, "Token not found"),
        ("POST", "/mcp", "", "{}", 401, "Missing Bearer token"),
        ("POST", "/mcp", "bad", "{}", 401, "Invalid or disabled token"),
        ("POST", "/mcp", admin, "{}", 401, "Invalid or disabled token"),
        ("POST", "/mcp/", "bad", "{}", 404, "Not Found"),
    ] {
        let answer = daemon.send(method, path, token, body).await.unwrap();
        assert_eq!(
            (answer.status, answer.json()["detail"].clone()),
            (status, json!(detail)),
            "{method} {path}"
        );
    }
}
