//! Servers of others, wired: what runs them, what decides what runs, and how the road reaches them.
//!
//! ```text
//!  store ──► reconciler ──► fleet ──► links.rs ──► the road
//!                             └────► follow: who can be spoken to, who is gone, what they say ──► the road
//! ```

mod connections;
mod left;
mod links;
mod packages;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hayward_api::definition::Placement as Where;
use hayward_audit::secrets::{RuleSet, Secrets};
use hayward_controlplane::reconcilers::instances::{Instances, Leasing};
use hayward_egress::{Client, Options, Reach, Trust};
use hayward_exec::{Confined, Executor};
use hayward_gateway::upstreams::{Links, On, Upstreams};
use hayward_mcp::json::{ObjectWriter, Raw};
use hayward_mcp::state::digest;
use hayward_mcp::upstream::{Connect, Event, Upstream};
use hayward_runtime::fleet::{FleetConfig, Hears, Hides, Instance, State};
use hayward_runtime::placement::Placement;
use hayward_runtime::placements::docker::{Docker, Options as DockerOptions};
use hayward_runtime::placements::process::Process;
use hayward_runtime::placements::remote::Remote;
use hayward_runtime::{Dial, Fleet, Grants, Limits, Packages};
use hayward_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::limits::{CONNECT_TIMEOUT, IDLE_CONNECTIONS_MAX, SILENCE_TIMEOUT};
use crate::stack::VERSION;
use links::FleetLinks;

/// The folder of the data directory in which instances have their homes, and that of packages.
const INSTANCES: &str = "instances";
const PACKAGES: &str = "packages";

/// Servers of others, running or to be run.
pub(crate) struct Servers {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) upstreams: Arc<Upstreams>,
    process: Process,
    docker: Option<Docker>,
    links: Arc<FleetLinks>,
    /// How long an instance may take for its end.
    end: Duration,
    /// After how long a package is removed that no server is any more.
    package_unused: Duration,
    tasks: TaskTracker,
}

/// Whether servers run, and what runs them.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Runners {
    /// Whether declared servers run here and are reached from here; without, this node only manages
    #[arg(long, env = "HAYWARD_RUN_SERVERS", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) run_servers: bool,

    /// Socket of a Docker engine, e.g. /var/run/docker.sock: servers that are images then run as containers
    #[arg(long, env = "HAYWARD_DOCKER_SOCKET", value_name = "FILE")]
    pub(crate) docker_socket: Option<PathBuf>,

    /// Network of the containers of servers
    #[arg(long, env = "HAYWARD_DOCKER_NETWORK", value_name = "NAME", default_value = "mcp-servers")]
    docker_network: String,

    /// Registry of npm that packages of servers come from, instead of the public one
    #[arg(long, env = "HAYWARD_NPM_REGISTRY", value_name = "URL")]
    npm_registry: Option<String>,

    /// Index of Python packages that servers come from, instead of the public one
    #[arg(long, env = "HAYWARD_PYTHON_INDEX", value_name = "URL")]
    python_index: Option<String>,

    /// File of certificates (PEM) that registries of packages are trusted by, beside those of the system
    #[arg(long, env = "HAYWARD_PACKAGE_CERTIFICATES", value_name = "FILE")]
    pub(crate) package_certificates: Option<PathBuf>,
}

/// Takes secrets that are held out of what is told of instances.
struct Hiding(Arc<Secrets>);

impl Hides for Hiding {
    fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.0.current().redact(text, RuleSet::NONE)
    }
}

impl Servers {
    /// None runs yet.
    pub(crate) fn new(
        executor: &Executor,
        data_dir: &Path,
        (limits, grace_ms): (&Limits, u64),
        runners: Runners,
        (store, secrets): (Store, Arc<Secrets>),
    ) -> Result<Self, Failure> {
        // They see their home, their package and what is mounted, which holds nothing of ours.
        let executor = executor.protecting(Vec::new());
        // Keys, the record, what is stored: nobody gives them away by a mistake in a document.
        let own: Vec<_> = std::iter::once(data_dir.to_owned()).chain(runners.docker_socket.clone()).collect();
        let packages = Packages {
            folder: data_dir.join(PACKAGES),
            npm_registry: runners.npm_registry,
            python_index: runners.python_index,
            certificates: runners.package_certificates,
        };
        let process = Process::new(executor, data_dir.join(INSTANCES), Confined::default())
            .with_packages(packages)
            .hiding(own.clone());
        let client = Client::with(&egress(Reach::Anywhere)).map_err(Failure::unavailable)?;
        let public = Client::with(&egress(Reach::Public)).map_err(Failure::unavailable)?;
        let mut placements: HashMap<Where, Arc<dyn Placement>> = HashMap::new();
        placements.insert(Where::Process, Arc::new(process.clone()));
        let dial = Arc::new(Dial::new(client));
        placements.insert(Where::Remote, Arc::new(Remote::new(Arc::clone(&dial) as Arc<dyn Connect>)));
        let grants = Grants::new(Arc::clone(&dial) as Arc<dyn Connect>, Arc::new(Dial::new(public)));
        let docker = runners.docker_socket.map(|socket| {
            let options = DockerOptions {
                socket,
                owner: node_name(data_dir),
                network: runners.docker_network.clone(),
                hidden: own.clone(),
            };
            Docker::new(options, dial)
        });
        let docker = docker.transpose().map_err(|error| {
            Failure::unavailable(error).hint("start the Docker engine, or leave out `--docker-socket`")
        })?;
        if let Some(docker) = &docker {
            placements.insert(Where::Docker, Arc::new(docker.clone()));
        }
        let fleet = Fleet::new(FleetConfig {
            placements,
            grants: Some(grants),
            client: client_info(),
            limits: limits.clone(),
            hides: Some(Arc::new(Hiding(Arc::clone(&secrets)))),
        });
        let links = Arc::new(FleetLinks::new(Arc::clone(&fleet)));
        let upstreams = Upstreams::new(Arc::clone(&links) as Arc<dyn Links>, store, secrets);
        links.tell(&upstreams);
        let tasks = TaskTracker::new();
        let sweeping = Arc::clone(&links);
        tasks.spawn(async move { sweeping.sweep().await });
        fleet.heard_by(Arc::new(ToRoad(Arc::downgrade(&upstreams))));
        let end = Duration::from_millis(limits.drain_timeout_ms.saturating_add(grace_ms));
        let package_unused = Duration::from_millis(limits.package_unused_ms);
        Ok(Self { fleet, upstreams, process, docker, links, end, package_unused, tasks })
    }

    /// Begins to run what is declared, and follows it until the shutdown. On a database that others share, a server runs on one
    /// node.
    pub(crate) async fn start(
        &self,
        store: &Store,
        (node, is_shared): (String, bool),
        shutdown: &CancellationToken,
    ) -> Result<(), Failure> {
        // What a daemon left that died.
        self.process.clean_up().await;
        let left = left::of(self.docker.as_ref(), store).await;
        let from = self.upstreams.load().await.map_err(hayward_api::Error::from)?;
        self.tasks.spawn(Arc::clone(&self.upstreams).follow(from, shutdown.clone()));
        self.tasks.spawn(follow(Arc::clone(&self.fleet), Arc::clone(&self.upstreams), shutdown.clone()));
        let reconciler = Instances::new(store.clone(), Arc::clone(&self.fleet), node).adopting(left);
        let leasing = Leasing::of_ends_within(self.end);
        let reconciler = if is_shared { reconciler.among_others(leasing) } else { reconciler };
        let sweeping = packages::sweep(self.process.clone(), store.clone(), self.package_unused);
        let until = shutdown.clone();
        self.tasks.spawn(async move { until.run_until_cancelled(sweeping).await });
        let (fleet, shutdown) = (Arc::clone(&self.fleet), shutdown.clone());
        self.tasks.spawn(async move {
            let held = reconciler.run(shutdown).await;
            // Other nodes may run them once none of them runs here.
            fleet.close().await;
            held.give_back().await;
        });
        Ok(())
    }

    /// Ends all of them. The shutdown must have fired.
    pub(crate) async fn close(&self) {
        self.upstreams.close().await;
        self.links.close().await;
        self.fleet.close().await;
        self.process.settle().await;
        if let Some(docker) = &self.docker {
            docker.settle().await;
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// How servers that run elsewhere are reached. Where they are, whoever may declare them says, and may name a machine of the
/// house, and whom a server names is a stranger; how long a call may take, the road says.
fn egress(reach: Reach) -> Options {
    Options {
        connect_timeout: CONNECT_TIMEOUT,
        silence_timeout: SILENCE_TIMEOUT,
        trust: Trust::System,
        idle_connections_max: IDLE_CONNECTIONS_MAX,
        reach,
    }
}

/// The name of this node, which is the same after a restart and no other daemon's: that of the machine, and a digest of which
/// machine and data directory it is.
pub(crate) fn node_name(data_dir: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (host, machine) = (read("/proc/sys/kernel/hostname"), read("/etc/machine-id"));
    let digest = digest(machine.trim(), &data_dir.to_string_lossy(), host.as_bytes());
    let digest = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let host: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    format!("{host}-{digest:08x}")
}

/// Who we are, as servers are told.
fn client_info() -> Raw {
    ObjectWriter::new(64).str("name", "hayward").str("version", VERSION).end()
}

/// Tells the road what instances say.
struct ToRoad(Weak<Upstreams>);

impl Hears for ToRoad {
    fn heard(&self, instance: &Arc<Instance>, upstream: &Arc<Upstream>, event: Event) {
        if let Some(upstreams) = self.0.upgrade() {
            let on = if instance.private().is_some() { On::Own } else { On::Shared };
            upstreams.heard(instance.server(), (upstream, on), event);
        }
    }
}

/// Tells the road who can be spoken to and who can't any more.
async fn follow(fleet: Arc<Fleet>, upstreams: Arc<Upstreams>, shutdown: CancellationToken) {
    let mut changed = fleet.changed();
    // By name of the instance: the connection that was told last.
    let mut told: HashMap<String, Weak<Upstream>> = HashMap::new();
    let mut reached: HashSet<Arc<str>> = HashSet::new();
    // As which generation a server was told to begin.
    let mut begun: HashMap<Arc<str>, u64> = HashMap::new();
    loop {
        let instances = fleet.all();
        told.retain(|name, _| instances.iter().any(|instance| instance.name() == name));
        let mut now: HashMap<Arc<str>, Standing> = HashMap::new();
        for instance in &instances {
            let standing = now.entry(Arc::clone(instance.server())).or_default();
            let Some(upstream) = instance.upstream().filter(|_| instance.is_running()) else {
                standing.add(instance);
                continue;
            };
            standing.is_reached = true;
            let is_known = told.get(instance.name()).is_some_and(|it| it.as_ptr() == Arc::as_ptr(&upstream));
            if !is_known {
                told.insert(instance.name().to_owned(), Arc::downgrade(&upstream));
                upstreams.connected(instance.server(), &upstream);
            }
        }
        begun.retain(|server, _| now.contains_key(server));
        for server in reached.iter().filter(|server| !now.contains_key(*server)) {
            upstreams.gone(server, "no instance of it runs");
        }
        for (server, standing) in &now {
            // One that only begins may be reached in a moment; one that was reached isn't any more.
            match standing.why.as_ref().filter(|_| !standing.is_reached) {
                Some(why) if standing.has_failed || reached.contains(server) => upstreams.gone(server, why),
                Some(_)
                    if begun.insert(Arc::clone(server), standing.generation) != Some(standing.generation) =>
                {
                    upstreams.begins(server);
                }
                Some(_) | None => {}
            }
        }
        reached = now.iter().filter(|(_, it)| it.is_reached).map(|(server, _)| Arc::clone(server)).collect();
        tokio::select! {
            () = shutdown.cancelled() => return,
            told = changed.changed() => if told.is_err() { return },
        }
    }
}

/// How a server stands, by its instances.
#[derive(Default)]
struct Standing {
    is_reached: bool,
    /// Of the newest of its instances: what is said of others says nothing of what is declared now.
    generation: u64,
    /// What is the matter with one that can't be spoken to.
    why: Option<String>,
    /// Whether one has failed, and doesn't only begin.
    has_failed: bool,
}

impl Standing {
    fn add(&mut self, instance: &Instance) {
        match instance.generation().cmp(&self.generation) {
            Ordering::Less => return,
            Ordering::Equal => {}
            Ordering::Greater => {
                (self.generation, self.why, self.has_failed) = (instance.generation(), None, false);
            }
        }
        let is_beginning = instance.state() == State::Starting && instance.trouble().is_none();
        if !is_beginning || self.why.is_none() {
            self.why = Some(links::why(instance));
        }
        self.has_failed |= !is_beginning;
    }
}
