//! `/metrics` of the real binary: its tokens, its prefix, what it counts of commands.
#![cfg(test)]

use std::path::Path;

use hayward_testkit::daemon::{Daemon, command};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

fn cli(data: &Path, action: &str) -> String {
    let run = command(BINARY, ["token", action, "--data-dir", data.to_str().unwrap()]).output().unwrap();
    assert!(run.status.success(), "{run:?}");
    String::from_utf8(run.stdout).unwrap().trim().to_owned()
}

async fn metrics(daemon: &Daemon, token: &str) -> (u16, String) {
    let answer = daemon.send("GET", "/metrics", token, "").await.unwrap();
    (answer.status, answer.body)
}

#[tokio::test]
async fn stored_metrics_tokens_are_rotated_and_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let admin = cli(&data, "rotate-admin");
    let other_admin = cli(&data, "rotate-admin");
    assert!(admin.starts_with("hwd_admin_") && admin != other_admin);
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    assert!(daemon.ready.get("metrics_token").is_none());
    assert_eq!(metrics(&daemon, &other_admin).await.0, 503);
    assert_eq!(daemon.send("GET", "/admin/tokens", &admin, "").await.unwrap().status, 403);
    assert_eq!(daemon.send("GET", "/admin/tokens", &other_admin, "").await.unwrap().status, 200);
    drop(daemon);

    let (first, second) = (cli(&data, "rotate-metrics"), cli(&data, "rotate-metrics"));
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    assert_eq!(metrics(&daemon, &first).await.0, 401);
    let (status, text) = metrics(&daemon, &second).await;
    assert_eq!(status, 200);
    assert!(text.contains("hayward_tokens_count{role=\"admin\"} 1\n"), "{text}");
    drop(daemon);

    assert_eq!(cli(&data, "disable-metrics"), "revoked 1 metrics token(s): /metrics is off");
    assert_eq!(cli(&data, "disable-metrics"), "there is no metrics token: /metrics is off");
    let daemon = Daemon::start(BINARY, &data, &[]).unwrap();
    assert_eq!(metrics(&daemon, &second).await.0, 503);
}

#[tokio::test]
async fn commands_are_counted_while_they_run_and_old_dashboards_keep_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(BINARY, &dir.path().join("data"), &["--metrics-prefix", "mymcp_"]).unwrap();
    let token = daemon.token("metrics").to_owned();
    let go = dir.path().join("go");
    let wait = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let running = daemon.call("rw", "bash_execute", json!({"command": wait}));
    let watching = async {
        while !metrics(&daemon, &token).await.1.contains("mymcp_bash_inflight_processes 1\n") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        std::fs::write(&go, "").unwrap();
    };
    let (ran, ()) = tokio::join!(running, watching);
    ran.unwrap();
    daemon.call("rw", "bash_execute", json!({"command": "exit 3"})).await.unwrap();
    let text = metrics(&daemon, &token).await.1;
    for expect in [
        "mymcp_bash_inflight_processes 0\n",
        "mymcp_tool_calls_total{tool=\"bash_execute\",role=\"rw\",result=\"ok\"} 1\n",
        "mymcp_tool_calls_total{tool=\"bash_execute\",role=\"rw\",result=\"error\"} 1\n",
        "process_start_time_seconds ",
    ] {
        assert!(text.contains(expect), "{expect}\n{text}");
    }
    assert!(!text.contains("hayward_"), "{text}");
}

#[test]
fn a_prefix_that_no_name_begins_with_is_refused() {
    let run = command(BINARY, ["serve", "--port", "0", "--metrics-prefix", "a-b"]).output().unwrap();
    assert!(!run.status.success());
    assert!(String::from_utf8_lossy(&run.stderr).contains("letters, digits and underscores"), "{run:?}");
}
