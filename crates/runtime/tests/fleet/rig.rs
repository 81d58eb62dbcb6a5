//! A fleet whose processes are small scripts, in a folder of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hayward_api::definition::Placement as Where;
use hayward_exec::{Choice, Config, Confined, Executor, Limits as ExecLimits, SupervisorCommand};
use hayward_mcp::json::Raw;
use hayward_mcp::upstream::{Outgoing, Upstream};
use hayward_runtime::Limits;
use hayward_runtime::fleet::{Fleet, FleetConfig, Instance, State, Wanted};
use hayward_runtime::placement::{End, Order, Placement};
use hayward_runtime::placements::process::Process;
use http::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

/// Longer than any step takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What a server of the legacy era does: `$1` is run at `server/discover`, and `$2` at `tools/call`, where `$id` is its number.
const SERVER: &str = r#"
say() { printf '{"jsonrpc":"2.0",%s}\n' "$1"; }
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case $line in
    *'"method":"server/discover"'*) echo asked >&2; eval "$1" ;;
    *'"method":"initialize"'*) say "\"id\":$id,\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"s\",\"version\":\"1\"}}" ;;
    *'"method":"ping"'*) say "\"id\":$id,\"result\":{}" ;;
    *'"method":"tools/call"'*) eval "$2" ;;
    *'"error"'*) echo "refused: $line" >&2 ;;
  esac
done
"#;

/// Refuses what it doesn't know.
pub(crate) const REFUSE: &str = r#"say "\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"no\"}""#;

/// Answers a call with nothing.
pub(crate) const ANSWER: &str = r#"say "\"id\":$id,\"result\":{\"content\":[]}""#;

pub(crate) struct Rig {
    pub(crate) folder: TempDir,
    executor: Executor,
    process: Process,
    pub(crate) fleet: Arc<Fleet>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Limits { drain_timeout_ms: 2_000, ..Limits::default() })
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let own = std::env::current_exe().unwrap();
        let program = own.parent().and_then(Path::parent).unwrap().join("examples/supervise");
        let executor = Executor::new(Config {
            supervisor: SupervisorCommand { program, args: Vec::new() },
            containment: Choice::Detect,
            limits: ExecLimits { grace_ms: 300, ..ExecLimits::default() },
            protected: Vec::new(),
            spool: None,
        });
        let folder = tempfile::Builder::new().prefix("fleet").tempdir_in("/var/tmp").unwrap();
        let process = Process::new(executor.clone(), folder.path().join("homes"), Confined::default());
        let placement: Arc<dyn Placement> = Arc::new(process.clone());
        let fleet = fleet(HashMap::from([(Where::Process, placement)]), limits);
        Self { folder, executor, process, fleet }
    }

    fn homes(&self) -> Vec<PathBuf> {
        let homes = std::fs::read_dir(self.folder.path().join("homes"));
        homes.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }

    /// Ends all, of which nothing is left.
    pub(crate) async fn end(self) {
        timeout(PATIENCE, self.fleet.close()).await.unwrap();
        assert!(self.fleet.all().iter().all(|instance| instance.is_ended()));
        timeout(PATIENCE, self.process.settle()).await.unwrap();
        let cgroup = self.executor.containment().path().map(Path::to_owned);
        self.executor.shutdown(Duration::from_millis(300)).await;
        assert!(cgroup.is_none_or(|path| !path.exists()), "a cgroup is left");
        assert_eq!(self.homes(), [] as [PathBuf; 0]);
    }
}

pub(crate) fn fleet(placements: HashMap<Where, Arc<dyn Placement>>, limits: Limits) -> Arc<Fleet> {
    let client = Raw::of(&json!({"name": "tests", "version": "1"})).unwrap();
    Fleet::new(FleetConfig { placements, grants: None, client, limits, hides: None })
}

/// An instance of a server that is this.
pub(crate) fn wanted(name: &str, server: &str, spec: &Value) -> Wanted {
    let spec = Arc::new(serde_json::from_value(spec.clone()).unwrap());
    let order = Order { name: name.to_owned(), spec, env: Vec::new() };
    Wanted {
        name: name.to_owned(),
        server: server.into(),
        generation: 1,
        replica: 0,
        order,
        is_left: false,
        headers: HeaderMap::new(),
    }
}

/// A server that does this when it is asked for its era, and when it is called.
pub(crate) fn server(discover: &str, call: &str) -> Value {
    json!({"command": ["bash", "-c", SERVER, "server"], "args": [discover, call]})
}

pub(crate) async fn runs(instance: &Instance) -> Arc<Upstream> {
    let running = timeout(PATIENCE, instance.running()).await.unwrap();
    running.unwrap_or_else(|| panic!("{:?} {:?}", instance.state(), instance.log().tail(10)))
}

pub(crate) async fn ended(instance: &Instance) -> End {
    let mut states = instance.states();
    let over = states.wait_for(|state| matches!(state, State::Ended { .. }));
    let state = timeout(PATIENCE, over).await.unwrap().unwrap().clone();
    let State::Ended { end, .. } = state else { unreachable!() };
    end
}

pub(crate) async fn call(upstream: &Upstream) -> Result<(), String> {
    let params = Raw::of(&json!({"name": "t", "arguments": {}})).unwrap();
    let outgoing = Outgoing::new("tools/call", Some(&params)).on("t");
    let exchange = upstream.request(&outgoing).await.map_err(|error| error.to_string())?;
    let answer = timeout(PATIENCE, exchange.response()).await.unwrap();
    answer.map_err(|error| error.to_string())?.map(drop).map_err(|error| error.as_str().to_owned())
}

pub(crate) fn said(instance: &Instance) -> Vec<String> {
    instance.log().tail(usize::MAX).into_iter().map(|line| line.text).collect()
}
