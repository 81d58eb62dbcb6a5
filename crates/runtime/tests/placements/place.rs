//! Where the instances of these tests run, and how they are spoken to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hayward_api::kinds::server::ServerSpec;
use hayward_exec::{Choice, Config, Confined, Executor, Limits, SupervisorCommand};
use hayward_mcp::json::Raw;
use hayward_mcp::upstream::{Options, Outgoing, Upstream, UpstreamError};
use hayward_runtime::log::Log;
use hayward_runtime::placement::{End, Order, Placement, Running};
use hayward_runtime::placements::process::Process;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longer than any step takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A placement in a folder of its own.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) executor: Executor,
}

impl Place {
    pub(crate) fn new() -> Self {
        let own = std::env::current_exe().unwrap();
        let program = own.parent().and_then(Path::parent).unwrap().join("examples/supervise");
        let executor = Executor::new(Config {
            supervisor: SupervisorCommand { program, args: Vec::new() },
            containment: Choice::Detect,
            limits: Limits { grace_ms: 300, ..Limits::default() },
            protected: Vec::new(),
            spool: None,
        });
        Self {
            folder: tempfile::Builder::new().prefix("instances").tempdir_in("/var/tmp").unwrap(),
            executor,
        }
    }

    pub(crate) fn placement(&self, confined: Confined) -> Process {
        Process::new(self.executor.clone(), self.folder.path().join("homes"), confined)
    }

    pub(crate) fn homes(&self) -> Vec<PathBuf> {
        let homes = std::fs::read_dir(self.folder.path().join("homes"));
        homes.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }

    pub(crate) async fn end(self) {
        self.executor.shutdown(Duration::from_millis(300)).await;
        assert_eq!(self.homes(), [] as [PathBuf; 0]);
    }
}

pub(crate) fn order(name: &str, spec: &Value) -> Order {
    let spec: ServerSpec = serde_json::from_value(spec.clone()).unwrap();
    Order { name: name.to_owned(), spec: Arc::new(spec), env: Vec::new() }
}

pub(crate) fn sh(name: &str, script: &str) -> Order {
    order(name, &json!({"command": ["sh", "-c", script]}))
}

pub(crate) async fn start(placement: &dyn Placement, order: Order) -> (Running, CancellationToken) {
    let stop = CancellationToken::new();
    (placement.start(order, stop.clone()).await.unwrap(), stop)
}

pub(crate) async fn ended(running: Running) -> (End, Log) {
    let Running { access: _access, log, ended } = running;
    (timeout(PATIENCE, ended).await.unwrap(), log)
}

pub(crate) fn said(log: &Log) -> Vec<String> {
    log.tail(usize::MAX).into_iter().map(|line| line.text).collect()
}

pub(crate) async fn connect(running: &Running) -> Result<Upstream, UpstreamError> {
    let (wire, mut events, driver) = running.access.wire(4 << 20).unwrap();
    tokio::spawn(driver);
    tokio::spawn(async move { while events.next().await.is_some() {} });
    let client = Raw::of(&json!({"name": "tests", "version": "1"})).unwrap();
    let options = Options { handshake_timeout: PATIENCE, probe_timeout: PATIENCE, ..Options::new(client) };
    Upstream::connect(wire, options).await
}

pub(crate) async fn call(upstream: &Upstream, tool: &str, arguments: Value) -> Value {
    let params = Raw::of(&json!({"name": tool, "arguments": arguments})).unwrap();
    let exchange = upstream.request(&Outgoing::new("tools/call", Some(&params)).on(tool)).await.unwrap();
    timeout(PATIENCE, exchange.response()).await.unwrap().unwrap().unwrap().view().unwrap()
}
