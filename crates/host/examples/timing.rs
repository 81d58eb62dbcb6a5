//! What a call of each tool costs without a network, for a first look: `TREE` is a source tree.
//!
//! `cargo run --release -p hayward-host --example timing -- TREE [PATTERN [TOOL]]`
#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hayward_api::{Principal, Tier};
use hayward_exec::{Choice, Config, Executor, SupervisorCommand, supervise};
use hayward_host::{Host, HostConfig, Limits, toolset};
use hayward_mcp::json::Raw;
use hayward_tool::{Call, Cx, Reply, Toolset};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Calls of a kind that are timed.
const CALLS: usize = 300;

fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(1);
    let tree = args.next().unwrap_or_else(|| ".".to_owned());
    if tree == "supervise" {
        return supervise();
    }
    let pattern = args.next().unwrap_or_else(|| "fn main".to_owned());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(&tree, &pattern, args.next().as_deref()));
    std::process::ExitCode::SUCCESS
}

async fn measure(tree: &str, pattern: &str, only: Option<&str>) {
    let root = TempDir::new().expect("a directory");
    let executor = Executor::new(Config {
        supervisor: SupervisorCommand {
            program: std::env::current_exe().expect("our own path"),
            args: vec!["supervise".into()],
        },
        containment: Choice::Detect,
        limits: hayward_exec::Limits::default(),
        protected: Vec::new(),
        spool: None,
    });
    let tools = tools(root.path(), executor.clone());
    let path = root.path().join("work/x");
    let big = root.path().join("work/big");
    let line = format!("{}\n", "x".repeat(60));
    let write = json!({"file_path": path, "content": "x".repeat(1024)});
    let edit = json!({"file_path": path, "old_string": "x", "new_string": "x", "replace_all": true});
    call(&tools, "write_file", &json!({"file_path": big, "content": line.repeat(2000)})).await;
    call(&tools, "write_file", &write).await;
    for (tool, arguments) in [
        ("write_file", write),
        ("read_file", json!({"file_path": path})),
        ("read_file", json!({"file_path": big, "limit": 1})),
        ("read_file", json!({"file_path": big})),
        ("edit_file", edit),
        ("glob", json!({"pattern": "**/*.rs", "path": tree})),
        ("grep", json!({"pattern": pattern, "path": tree})),
        ("grep", json!({"pattern": "zzz_not_there", "path": tree})),
        ("bash_execute", json!({"command": "true"})),
    ] {
        if only.is_none_or(|only| only == tool) {
            time(&tools, tool, &arguments).await;
        }
    }
    executor.shutdown(Duration::from_secs(1)).await;
}

fn tools(root: &Path, executor: Executor) -> Toolset {
    let data: PathBuf = root.join("data");
    std::fs::create_dir_all(&data).expect("a directory");
    toolset(Arc::new(Host::new(HostConfig {
        transfers: Some(hayward_host::TransferConfig::default()),
        limits: Limits::default(),
        protected: vec![data],
        extra_protected: Vec::new(),
        sync_files: false,
        shell: "/bin/sh".into(),
        executor,
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
    })))
}

async fn time(tools: &Toolset, name: &str, arguments: &Value) {
    let mut times = Vec::with_capacity(CALLS);
    let until = Instant::now() + Duration::from_secs(10);
    let mut bytes = 0;
    while times.len() < CALLS && Instant::now() < until {
        let since = Instant::now();
        bytes = call(tools, name, arguments).await;
        times.push(since.elapsed());
    }
    times.sort_unstable();
    let (count, median, least) = (times.len(), times[times.len() / 2], times[0]);
    println!("{name:13} p50 {median:9.1?}  least {least:9.1?}  {count} calls, result {bytes} bytes");
}

async fn call(tools: &Toolset, name: &str, arguments: &Value) -> usize {
    let tool = tools.tools.iter().find(|tool| tool.descriptor().name.as_str() == name);
    let tool = tool.expect("a tool of the table");
    let call = Call::of_tool(
        name,
        Raw::of(arguments).expect("plain JSON"),
        Principal::local("timing", Tier::Operate),
        Duration::from_mins(1),
    );
    let cx = Cx::new(Duration::from_mins(1), CancellationToken::new());
    match tool.call(&cx, call).await.reply {
        Reply::Result(result) => result.as_bytes().len(),
        _ => 0,
    }
}
