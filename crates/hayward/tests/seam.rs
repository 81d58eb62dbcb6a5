//! The contract between gateway and toolsets holds over a byte stream: everything that crosses is a value.
#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use hayward_api::{Principal, Tier};
use hayward_exec::{Choice, Executor, SupervisorCommand};
use hayward_host::{Host, HostConfig};
use hayward_mcp::json::Raw;
use hayward_testkit::{fixture, seam};
use hayward_tool::{Call, Ending, Outcome, Progress, Reply, Toolset};
use serde_json::{Value, json};
use tokio::net::UnixStream;

fn host() -> Toolset {
    let executor = Executor::new(hayward_exec::Config {
        supervisor: SupervisorCommand {
            program: env!("CARGO_BIN_EXE_hayward").into(),
            args: vec!["__supervise".into()],
        },
        containment: Choice::Detect,
        limits: hayward_exec::Limits::default(),
        protected: Vec::new(),
        spool: None,
    });
    hayward_host::toolset(Arc::new(Host::new(HostConfig {
        transfers: Some(hayward_host::TransferConfig::default()),
        limits: hayward_host::limits::Limits::default(),
        protected: Vec::new(),
        extra_protected: Vec::new(),
        sync_files: true,
        shell: "/bin/sh".into(),
        executor,
        env: hayward_exec::inherited([]),
    })))
}

async fn cross(toolset: Toolset, tool: &str, arguments: Value, cancel: bool) -> (Outcome, Vec<Progress>) {
    let (near, far) = UnixStream::pair().unwrap();
    let served = tokio::spawn(seam::serve(toolset, far));
    let call = Call::of_tool(
        tool,
        Raw::of(&arguments).unwrap(),
        Principal::local("test", Tier::Operate),
        Duration::from_secs(30),
    );
    let crossed = seam::call(near, call, cancel).await.unwrap();
    served.await.unwrap().unwrap();
    crossed
}

fn structured(outcome: &Outcome) -> Value {
    let Reply::Result(raw) = &outcome.reply else { panic!("an error reply") };
    raw.view::<Value>().unwrap()["structuredContent"].clone()
}

#[tokio::test]
async fn every_host_tool_works_at_the_other_end_of_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.txt");
    for (tool, arguments, member, expect) in [
        ("bash_execute", json!({"command": "echo hi"}), "stdout", json!("hi\n")),
        ("write_file", json!({"file_path": path, "content": "a\n"}), "bytes_written", json!(2)),
        (
            "edit_file",
            json!({"file_path": path, "old_string": "a", "new_string": "é"}),
            "replacements",
            json!(1),
        ),
        ("read_file", json!({"file_path": path}), "content", json!("   1\té")),
        ("glob", json!({"pattern": "*.txt", "path": dir.path()}), "count", json!(1)),
        ("grep", json!({"pattern": "é", "path": dir.path()}), "match_count", json!(1)),
    ] {
        let (outcome, _) = cross(host(), tool, arguments, false).await;
        assert_eq!(
            (outcome.verdict.ending, structured(&outcome)[member].clone()),
            (Ending::Ok, expect),
            "{tool}"
        );
    }
    let (outcome, _) = cross(host(), "read_file", json!({"file_path": "/nope"}), false).await;
    assert_eq!(outcome.verdict.code.as_deref(), Some("FileNotFoundError"));
}

#[tokio::test]
async fn progress_crosses_in_order_and_a_cancellation_crosses_back() {
    for (toolset, tool, expect) in [
        (fixture::conformance(), "test_tool_with_progress", [0.0, 50.0, 100.0]),
        // Its answer comes with its news, at once.
        (fixture::unruly(), "tells", [1.0, 2.0, 3.0]),
    ] {
        let (_, told) = cross(toolset, tool, json!({}), false).await;
        let steps: Vec<f64> = told
            .iter()
            .map(|progress| match progress {
                Progress::Step { progress, .. } => *progress,
                Progress::Log { .. } | Progress::Rest { .. } => f64::NAN,
            })
            .collect();
        assert_eq!(steps, expect, "{tool}");
    }
    let (outcome, _) = cross(fixture::unruly(), "waits", json!({}), true).await;
    let Reply::Result(raw) = outcome.reply else { panic!("an error reply") };
    assert!(raw.as_str().contains("Cancelled"));
}
