//! Servers of a real store become real processes, and what becomes of these when something changes.

#![cfg(test)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hayward_api::definition::Placement as Where;
use hayward_api::kinds::{Descriptor, instance, secret, server};
use hayward_controlplane::reconcilers::instances::{Held, Instances, Leasing};
use hayward_exec::{Choice, Config, Confined, Executor, Limits as ExecLimits, SupervisorCommand};
use hayward_mcp::json::Raw;
use hayward_mcp::upstream::Outgoing;
use hayward_runtime::Limits;
use hayward_runtime::fleet::{Fleet, FleetConfig, Instance};
use hayward_runtime::placement::Placement;
use hayward_runtime::placements::process::Process;
use hayward_store::{Actor, Deletion, Desired, Key, ListScope, Resource, Store, StoreConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server of the legacy era that says its token, and exits when it is called.
const SERVER: &str = r#"
say() { printf '{"jsonrpc":"2.0",%s}\n' "$1"; }
echo "token: $TOKEN" >&2
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case $line in
    *'"method":"initialize"'*) say "\"id\":$id,\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"s\",\"version\":\"1\"}}" ;;
    *'"method":"tools/call"'*) exit 7 ;;
  esac
done
"#;

fn spec(more: &Value) -> Value {
    let mut spec = json!({"command": ["bash", "-c", SERVER], "era": "legacy"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// A node: its reconciler, its fleet, and where they put things.
struct Node {
    store: Store,
    fleet: Arc<Fleet>,
    executor: Executor,
    shutdown: CancellationToken,
    running: JoinHandle<Held>,
}

impl Node {
    async fn start(folder: &TempDir, name: &str) -> Self {
        let store = Store::open(folder.path(), StoreConfig::default()).await.unwrap();
        Self::on(store, folder, (name, None))
    }

    /// One of this name on a store, which others share if there are leases.
    fn on(store: Store, folder: &TempDir, (name, leasing): (&str, Option<Leasing>)) -> Self {
        let own = std::env::current_exe().unwrap();
        let examples = own.parent().and_then(Path::parent).unwrap().join("examples");
        let executor = Executor::new(Config {
            supervisor: SupervisorCommand { program: examples.join("supervise_instances"), args: Vec::new() },
            containment: Choice::Detect,
            limits: ExecLimits { grace_ms: 300, ..ExecLimits::default() },
            protected: Vec::new(),
            spool: None,
        });
        let process = Process::new(executor.clone(), folder.path().join(name), Confined::default());
        let placement: Arc<dyn Placement> = Arc::new(process);
        let fleet = Fleet::new(FleetConfig {
            placements: HashMap::from([(Where::Process, placement)]),
            grants: None,
            client: Raw::of(&json!({"name": "tests", "version": "1"})).unwrap(),
            limits: Limits { handshake_timeout_ms: 5_000, drain_timeout_ms: 500, ..Limits::default() },
            hides: None,
        });
        let shutdown = CancellationToken::new();
        let instances = Instances::new(store.clone(), Arc::clone(&fleet), name.to_owned());
        let instances = leasing.into_iter().fold(instances, Instances::among_others);
        let running = tokio::spawn(instances.run(shutdown.clone()));
        Self { store, fleet, executor, shutdown, running }
    }

    /// Ends all that runs, and leaves what is written down.
    async fn end(self) {
        self.shutdown.cancel();
        let held = self.running.await.unwrap();
        timeout(PATIENCE, self.fleet.close()).await.unwrap();
        held.give_back().await;
        self.executor.shutdown(Duration::from_millis(300)).await;
        self.store.close().await;
    }

    async fn put(&self, kind: &'static Descriptor, name: &str, spec: Value) {
        let desired = Desired::new(kind, None, name, spec);
        let actor = Actor::system();
        match self.store.get(&desired.key()).await {
            Ok(_) => self.store.update(&desired.key(), None, &desired, &actor).await.unwrap(),
            Err(_) => self.store.create(&desired, &actor).await.unwrap(),
        };
    }

    async fn delete(&self, kind: &'static Descriptor, name: &str) {
        self.store.delete(&Key::global(kind, name), None, Deletion::Refuse, &Actor::system()).await.unwrap();
    }

    async fn instances(&self) -> Vec<Resource> {
        self.store.list(&instance::DESCRIPTOR, ListScope::All).await.unwrap().items
    }

    /// Waits until the instances of the store look like this.
    async fn until(&self, what: &str, is_so: impl Fn(&[Resource]) -> bool) -> Vec<Resource> {
        let waiting = async {
            loop {
                let instances = self.instances().await;
                if is_so(&instances) {
                    return instances;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let seen = timeout(PATIENCE, waiting).await.ok();
        let (now, fleet) = (self.instances().await, &self.fleet);
        seen.unwrap_or_else(|| panic!("{what}: {now:?} {fleet:?}"))
    }

    /// Waits until there is one instance, which runs.
    async fn one(&self) -> Arc<Instance> {
        let is_one = |all: &[Resource]| all.len() == 1 && phase(&all[0]) == "RUNNING";
        let instances = self.until("one runs", is_one).await;
        self.fleet.instance(instances[0].metadata.name.as_str()).unwrap()
    }

    /// Waits until one runs that is not this one.
    async fn other_than(&self, old: &str) -> Arc<Instance> {
        let is_other = |all: &[Resource]| {
            all.len() == 1 && all[0].metadata.name.as_str() != old && phase(&all[0]) == "RUNNING"
        };
        let instances = self.until("another one runs", is_other).await;
        self.fleet.instance(instances[0].metadata.name.as_str()).unwrap()
    }

    async fn condition(&self, kind: &str, status: &str, reason: &str) {
        let waiting = async {
            loop {
                let server = self.store.get(&Key::global(&server::DESCRIPTOR, "s")).await.unwrap();
                let said =
                    server.status.map(|status| status.status["conditions"].clone()).unwrap_or_default();
                let is_it =
                    |it: &Value| it["type"] == kind && it["status"] == status && it["reason"] == reason;
                if said.as_array().is_some_and(|all| all.iter().any(is_it)) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let server = timeout(PATIENCE, waiting).await;
        assert!(server.is_ok(), "{:?}", self.store.get(&Key::global(&server::DESCRIPTOR, "s")).await);
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("instances").tempdir_in("/var/tmp").unwrap()
}

fn phase(resource: &Resource) -> String {
    let phase = resource.status.as_ref().map(|status| status.status["phase"].clone());
    phase.unwrap_or_default().as_str().unwrap_or_default().to_owned()
}

/// Calls an instance, which then exits.
async fn kill(instance: &Instance) {
    let upstream = instance.upstream().unwrap();
    let params = Raw::of(&json!({"name": "t"})).unwrap();
    let exchange = upstream.request(&Outgoing::new("tools/call", Some(&params))).await.unwrap();
    assert!(timeout(PATIENCE, exchange.response()).await.unwrap().is_err());
}

fn said(instance: &Instance) -> String {
    instance.log().tail(1).into_iter().map(|line| line.text).collect()
}

#[tokio::test]
async fn a_server_runs_as_it_is_written_and_is_gone_when_it_is_deleted() {
    let folder = folder();
    let node = Node::start(&folder, "node").await;
    node.put(&server::DESCRIPTOR, "s", spec(&json!({"replicas": 2}))).await;
    let two = |all: &[Resource]| all.len() == 2 && all.iter().all(|it| phase(it) == "RUNNING");
    let instances = node.until("two run", two).await;
    node.condition("Ready", "True", "AllReady").await;
    for (replica, instance) in instances.iter().enumerate() {
        let name = instance.metadata.name.as_str();
        assert!(name.starts_with(&format!("s-{replica}-")), "{name}");
        assert_eq!(instance.spec["serverGeneration"], 1);
        let status = &instance.status.as_ref().unwrap().status;
        assert_eq!(
            (&status["node"], &status["health"], &status["restarts"]),
            (&json!("node"), &json!("unknown"), &json!(0))
        );
        assert!(status["startedAt"].is_string() && status.get("reason").is_none(), "{status}");
    }
    // Fewer of them is no reason to start others.
    node.put(&server::DESCRIPTOR, "s", spec(&json!({"replicas": 1}))).await;
    let left = node.one().await;
    assert_eq!(left.name(), instances[0].metadata.name.as_str());
    node.delete(&server::DESCRIPTOR, "s").await;
    node.until("none is left", <[Resource]>::is_empty).await;
    while !node.fleet.all().is_empty() {
        timeout(PATIENCE, node.fleet.changed().changed()).await.unwrap().unwrap();
    }
    node.end().await;
}

#[tokio::test]
async fn one_that_dies_is_told_and_another_one_takes_its_place() {
    let folder = folder();
    let node = Node::start(&folder, "node").await;
    node.put(&server::DESCRIPTOR, "s", spec(&json!({}))).await;
    let first = node.one().await;
    kill(&first).await;
    let failed = node.until("it is told", |all| all.len() == 1 && phase(&all[0]) == "ERROR").await;
    let status = &failed[0].status.as_ref().unwrap().status;
    assert_eq!((&status["reason"], &status["restarts"]), (&json!("it exited with 7"), &json!(1)));
    node.condition("Ready", "False", "Crashed").await;
    let second = node.other_than(first.name()).await;
    node.condition("Ready", "True", "AllReady").await;
    assert_eq!(second.replica(), 0);
    assert!(node.fleet.instance(first.name()).is_none() && node.fleet.logs("s", Some(0), true).is_some());
    node.end().await;
}

#[tokio::test]
async fn another_spec_or_secret_takes_over_without_a_gap() {
    let folder = folder();
    let node = Node::start(&folder, "node").await;
    node.put(&secret::DESCRIPTOR, "k", json!({"data": {"TOKEN": "t0k3n-1"}})).await;
    let env = json!([{"name": "TOKEN", "valueFrom": {"secretRef": {"name": "k", "key": "TOKEN"}}}]);
    node.put(&server::DESCRIPTOR, "s", spec(&json!({"env": env}))).await;
    let first = node.one().await;
    assert_eq!(said(&first), "token: t0k3n-1");
    // As long as there is no other one, the first one is there.
    let watching = tokio::spawn({
        let fleet = Arc::clone(&node.fleet);
        async move {
            loop {
                assert!(fleet.pick("s").is_some());
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
    node.put(&secret::DESCRIPTOR, "k", json!({"data": {"TOKEN": "t0k3n-2"}})).await;
    let second = node.other_than(first.name()).await;
    assert_eq!(said(&second), "token: t0k3n-2");
    node.put(&server::DESCRIPTOR, "s", spec(&json!({"env": env, "args": ["x"]}))).await;
    let third = node.other_than(second.name()).await;
    // What changes nothing of how it runs starts nothing.
    node.put(&server::DESCRIPTOR, "s", spec(&json!({"env": env, "args": ["x"], "description": "d"}))).await;
    // One that doesn't start takes no other's place.
    node.put(&server::DESCRIPTOR, "s", json!({"command": ["false"], "env": env})).await;
    let failed = |all: &[Resource]| all.iter().any(|it| phase(it) == "ERROR");
    let both = node.until("the new one fails", failed).await;
    assert!(both.iter().any(|it| it.metadata.name.as_str() == third.name()), "{both:?}");
    assert!(third.is_running() && !watching.is_finished());
    watching.abort();
    // No value is written down.
    let stored = serde_json::to_string(&json!(
        both.iter().map(|it| (&it.spec, it.status.as_ref().map(|it| &it.status))).collect::<Vec<_>>()
    ))
    .unwrap();
    assert!(!stored.contains("t0k3n"), "{stored}");
    node.end().await;
}

#[tokio::test]
async fn what_a_dead_node_left_is_replaced() {
    let folder = folder();
    let node = Node::start(&folder, "node").await;
    node.put(&server::DESCRIPTOR, "s", spec(&json!({}))).await;
    let before = node.one().await;
    node.end().await;
    let store = Store::open(folder.path(), StoreConfig::default()).await.unwrap();
    let left = store.list(&instance::DESCRIPTOR, ListScope::All).await.unwrap().items;
    assert_eq!(left.iter().map(phase).collect::<Vec<_>>(), ["STOPPED"]);
    let node = Node::start(&folder, "node").await;
    let after = node.other_than(before.name()).await;
    assert!(after.is_running());
    node.end().await;
}

/// Makes the stored spec of a server one that only another version of Hayward reads.
const FROM_TOMORROW: &str = r#"
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=30) as database:
    database.execute("UPDATE resources SET spec = '{\"command\": [\"x\"], \"fromTomorrow\": 1}' WHERE kind = 'server' AND name = 's'")
"#;

#[expect(clippy::disallowed_methods, reason = "nothing of ours writes what isn't read again")]
fn python3(words: &[&str]) -> std::io::Result<std::process::Output> {
    std::process::Command::new("python3").args(words).output()
}

#[tokio::test]
async fn one_that_cannot_be_read_keeps_no_other_one_from_running() {
    let folder = folder();
    let node = Node::start(&folder, "node").await;
    node.put(&server::DESCRIPTOR, "s", spec(&json!({}))).await;
    let before = node.one().await;
    let database = folder.path().join("hayward.db");
    let python = python3(&["-c", FROM_TOMORROW, &database.display().to_string()]);
    let Ok(python) = python else {
        println!("skipped: `python3` is not there");
        return node.end().await;
    };
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    node.put(&server::DESCRIPTOR, "t", spec(&json!({}))).await;
    let both = |all: &[Resource]| all.len() == 2 && all.iter().all(|it| phase(it) == "RUNNING");
    node.until("the other one runs", both).await;
    node.condition("SpecUnreadable", "True", "Unreadable").await;
    // What runs of it runs on.
    assert!(before.is_running() && node.fleet.pick("t").is_some());
    node.end().await;
}

#[tokio::test]
async fn what_nobody_calls_stops_and_starts_when_it_is_wanted() {
    let folder = folder();
    let node = Node::start(&folder, "node").await;
    node.put(&server::DESCRIPTOR, "s", spec(&json!({"idleSeconds": 2}))).await;
    let first = node.one().await;
    node.until("it is idle", <[Resource]>::is_empty).await;
    assert!(first.is_ended());
    node.condition("Ready", "True", "Idle").await;
    node.fleet.wanted("s");
    node.other_than(first.name()).await;
    node.end().await;
}

/// Short ones.
const LEASING: Leasing = Leasing { ttl: Duration::from_secs(8), margin: Duration::from_secs(4) };

/// How many instances of a server each of two nodes runs.
fn counts(nodes: &[Node; 2], server: &str) -> [usize; 2] {
    [0, 1].map(|at| {
        nodes[at].fleet.all().iter().filter(|it| &**it.server() == server && !it.is_ended()).count()
    })
}

async fn two_nodes_share(stores: [Store; 2], folder: &TempDir) {
    let [a, b] = stores;
    let first = Node::on(a, folder, ("a", Some(LEASING)));
    first.put(&server::DESCRIPTOR, "s", spec(&json!({}))).await;
    let instance = first.one().await;
    let nodes = [first, Node::on(b, folder, ("b", Some(LEASING)))];
    // It is seen again and again by both, and runs on one.
    nodes[1].put(&server::DESCRIPTOR, "t", spec(&json!({}))).await;
    let both_run = |all: &[Resource]| all.len() == 2 && all.iter().all(|it| phase(it) == "RUNNING");
    nodes[1].until("both run", both_run).await;
    sleep(LEASING.ttl + Duration::from_secs(1)).await;
    assert_eq!(counts(&nodes, "s"), [1, 0]);
    assert_eq!(counts(&nodes, "t").iter().sum::<usize>(), 1);
    assert!(instance.is_running());
    // A node that can't renew ends what it runs before the other one begins.
    let [stuck, other] = nodes;
    stuck.store.close().await;
    let is_moved = |all: &[Resource]| {
        let node = |it: &Resource| it.status.as_ref().map(|it| it.status["node"].clone());
        all.len() == 2 && all.iter().all(|it| phase(it) == "RUNNING" && node(it) == Some(json!("b")))
    };
    let watching = async {
        while !other.fleet.all().iter().any(|it| &**it.server() == "s") {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(instance.is_ended(), "two of them ran");
    };
    let (_, watched) =
        tokio::join!(other.until("it runs on the other node", is_moved), timeout(PATIENCE, watching));
    watched.unwrap();
    assert!(stuck.fleet.all().iter().all(|it| !it.is_running()));
    stuck.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_server_runs_on_one_of_two_nodes_and_moves_when_that_is_cut_off() {
    let folder = folder();
    let mut stores = Vec::new();
    for _ in 0..2 {
        stores.push(Store::open(folder.path(), StoreConfig::default()).await.unwrap());
    }
    two_nodes_share(stores.try_into().unwrap(), &folder).await;
}

/// The database that the test command says, if it says one. No other test writes to it: they make databases of their own there.
#[expect(
    clippy::disallowed_methods,
    reason = "the test command says by variables what there is to test with"
)]
fn postgres() -> Option<StoreConfig> {
    let Ok(server) = std::env::var("HAYWARD_TEST_POSTGRES") else {
        assert!(std::env::var("HAYWARD_TEST_REQUIRED").is_err(), "there is no server");
        println!("skipped: HAYWARD_TEST_POSTGRES names no server");
        return None;
    };
    Some(StoreConfig { database: Some(server.parse().unwrap()), ..StoreConfig::default() })
}

#[tokio::test]
async fn nodes_share_a_database_on_a_server_just_so() {
    let Some(config) = postgres() else { return };
    // What one node seals another one opens.
    let folder = folder();
    let open = || Store::open(folder.path(), config.clone());
    let store = open().await.unwrap();
    for left in store.list(&server::DESCRIPTOR, ListScope::All).await.unwrap().items {
        let key = Key::global(&server::DESCRIPTOR, left.metadata.name.as_str());
        store.delete(&key, None, Deletion::Refuse, &Actor::system()).await.unwrap();
    }
    two_nodes_share([store, open().await.unwrap()], &folder).await;
}

#[tokio::test]
async fn a_node_that_goes_gives_its_servers_to_the_other_before_its_leases_are_over() {
    let folder = folder();
    let long = Leasing { ttl: Duration::from_mins(10), margin: Duration::from_secs(580) };
    let mut nodes = Vec::new();
    let mut before = String::new();
    for name in ["a", "b"] {
        let store = Store::open(folder.path(), StoreConfig::default()).await.unwrap();
        nodes.push(Node::on(store, &folder, (name, Some(long))));
        nodes[0].put(&server::DESCRIPTOR, "s", spec(&json!({}))).await;
        before = nodes[0].one().await.name().to_owned();
    }
    let (second, first) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    assert!(first.fleet.pick("s").is_some() && second.fleet.all().is_empty());
    first.end().await;
    second.other_than(&before).await;
    second.end().await;
}
