//! Instances that are containers of a Docker engine, held tightly: no capability, nothing written but `/tmp`, a bounded share of
//! the machine.
//!
//! ```text
//!  STDIO ──► no network, unless the server says so        attached before it starts: its standard input and output, its log
//!  HTTP  ──► a network of ours without a way out, or the  reached at the address that the engine gave it; its log is followed
//!            one with, if the server says so
//! ```
//!
//! A container carries who started it (`hayward.owner`). What a daemon that died has left is removed before the first start; what
//! is spoken to over HTTP can be adopted instead, as nothing of it was lost.

mod container;
mod engine;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use hayward_api::definition::Transport;
use hayward_mcp::upstream::{BoxFuture, Connect};
use tokio::io::DuplexStream;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::limits::DOCKER_LOG_STREAM_BYTES;
use crate::log::Log;
use crate::mounts::{self, Shown};
use crate::placement::{Access, Address, End, Order, Placement, PlacementError, Running, Streams};
use container::NAME_LABEL;
use engine::{Attached, Engine};

pub use engine::{EngineError, Executed};

/// Which engine, and who we are there.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its socket.
    pub socket: PathBuf,
    /// Whose containers these are: letters, digits, `-`, `_` and `.`; nobody else of the engine has this name.
    pub owner: String,
    /// The network of containers that are spoken to over HTTP, or have a way out. That of those without is called the same,
    /// with `-internal` behind.
    pub network: String,
    /// What no container is shown, whatever its server says.
    pub hidden: Vec<PathBuf>,
}

/// Instances that are containers.
#[derive(Clone)]
pub struct Docker {
    engine: Engine,
    connect: Arc<dyn Connect>,
    options: Arc<Options>,
    /// Held by whoever looks for a network, and makes it if it isn't there.
    networks: Arc<Mutex<()>>,
    tasks: TaskTracker,
}

/// A container of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name of its instance.
    pub instance: String,
    /// Its id.
    pub id: String,
    /// Whether it runs.
    pub is_running: bool,
}

impl Docker {
    /// Containers of this engine; over HTTP they are reached over this.
    pub fn new(options: Options, connect: Arc<dyn Connect>) -> Result<Self, EngineError> {
        let engine = Engine::at(&options.socket)?;
        Ok(Self {
            engine,
            connect,
            options: Arc::new(options),
            networks: Arc::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Whether the engine is there.
    pub async fn ping(&self) -> Result<(), EngineError> {
        self.engine.ping().await
    }

    /// All containers of ours, also those that ended.
    pub async fn list(&self) -> Result<Vec<Found>, EngineError> {
        self.engine.list(&self.options.owner).await
    }

    /// Removes what a daemon that died has left, but what is to be adopted: the instances of these names. Before the first
    /// start.
    pub async fn clean_up(&self, keep: &[&str]) -> Result<(), EngineError> {
        for found in self.list().await? {
            if !found.is_running || !keep.contains(&found.instance.as_str()) {
                self.engine.remove(&found.id).await?;
            }
        }
        Ok(())
    }

    /// Goes on with an instance that a daemon that died has left. None if there is none that runs, is spoken to over HTTP and is
    /// what would be started now; one that isn't is removed, so that another one can have its name.
    async fn find(&self, order: &Order, stop: &CancellationToken) -> Result<Option<Running>, PlacementError> {
        check(order)?;
        let name = container::name(&self.options.owner, &order.name);
        let Some(found) = self.engine.find(&name).await? else { return Ok(None) };
        let Some(id) = found.id.clone() else { return Ok(None) };
        let is_http = transport(order) != Transport::Stdio;
        if !is_http || !is_running(&found) || !container::is_of(&found, order) {
            self.engine.remove(&id).await?;
            return Ok(None);
        }
        let access = self.address(order, &found)?;
        Ok(Some(self.follow(id, access, None, stop.child_token())))
    }

    /// Runs a program in the container of an instance, e.g. to see whether it is well.
    pub async fn exec(&self, instance: &str, command: &[String]) -> Result<Executed, EngineError> {
        self.engine.exec(&container::name(&self.options.owner, instance), command).await
    }

    /// Waits until all instances are gone, which were stopped before.
    pub async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn begin(&self, order: Order, stop: CancellationToken) -> Result<Running, PlacementError> {
        check(&order)?;
        // What can't be shown is told before an image is fetched for it.
        self.shown(&order).await?;
        let stop = stop.child_token();
        let (this, stops_when_dropped) = (self.clone(), stop.clone().drop_guard());
        // What was begun is tidied up, also if nobody waits for it any more.
        let task = self.tasks.spawn(async move {
            let Some(prepared) = stop.run_until_cancelled(Box::pin(this.prepare(&order))).await else {
                return Err(PlacementError::Stopped);
            };
            prepared?;
            // Fetching an image may have taken minutes: what counts is how it is when the engine opens it.
            let shown = this.shown(&order).await?;
            let id = this.create(&order, &shown).await?;
            match this.launch(&order, &id).await {
                Ok((access, attached)) => Ok(this.follow(id, access, attached, stop)),
                Err(error) => {
                    this.remove(&id).await;
                    Err(error)
                }
            }
        });
        let started = task.await.unwrap_or(Err(PlacementError::Stopped));
        stops_when_dropped.disarm();
        started
    }

    /// What the container sees of the machine.
    async fn shown(&self, order: &Order) -> Result<Vec<Shown>, PlacementError> {
        let (mounts, hidden) = (order.spec.mounts.clone(), self.options.hidden.clone());
        let shown = self.tasks.spawn_blocking(move || mounts::shown("docker", &mounts, &hidden)).await;
        shown.map_err(|error| PlacementError::Folder(io::Error::other(error)))?
    }

    /// What has to be there before a container can be.
    async fn prepare(&self, order: &Order) -> Result<(), EngineError> {
        self.engine.agree().await?;
        self.engine.pull(order.spec.docker_image.as_deref().unwrap_or_default()).await?;
        if let Some((name, has_way_out)) = container::network(&self.options, order, transport(order)) {
            let _turn = self.networks.lock().await;
            self.engine.network(&name, has_way_out).await?;
        }
        Ok(())
    }

    async fn create(&self, order: &Order, shown: &[Shown]) -> Result<String, EngineError> {
        let name = container::name(&self.options.owner, &order.name);
        self.engine.create(&name, container::body(&self.options, order, shown)).await
    }

    /// Starts a container that was made, and says how it is spoken to.
    async fn launch(
        &self,
        order: &Order,
        id: &str,
    ) -> Result<(Access, Option<(Attached, DuplexStream)>), PlacementError> {
        if transport(order) != Transport::Stdio {
            self.engine.start(id).await?;
            let found = self.engine.inspect(id).await?;
            return Ok((self.address(order, &found)?, None));
        }
        let (attached, input) = self.engine.attach(id).await?;
        self.engine.start(id).await?;
        let (said, output) = tokio::io::duplex(DOCKER_LOG_STREAM_BYTES);
        let streams = Streams { output: Box::new(output), input };
        Ok((Access::Lines(Some(streams).into()), Some((attached, said))))
    }

    /// Follows a container that runs to its end, and removes it.
    fn follow(
        &self,
        id: String,
        access: Access,
        attached: Option<(Attached, DuplexStream)>,
        stop: CancellationToken,
    ) -> Running {
        let (this, log) = (self.clone(), Log::default());
        let (filling, stopping) = (log.clone(), stop.clone());
        let task = self.tasks.spawn(async move {
            let hearing = this.engine.hear(&id, attached, &filling);
            let end = Log::until(this.engine.end(&id, &stopping), hearing).await;
            filling.close();
            this.remove(&id).await;
            end
        });
        let stops_when_dropped = stop.drop_guard();
        let ended = Box::pin(async move {
            let _stops_when_dropped = stops_when_dropped;
            task.await.unwrap_or_else(|error| End::Failed { why: error.to_string() })
        });
        Running { access, log, ended }
    }

    async fn remove(&self, id: &str) {
        if let Err(error) = self.engine.remove(id).await {
            // The next start removes it.
            tracing::warn!(%error, id, "a container is left");
        }
    }

    /// Where it is reached.
    fn address(&self, order: &Order, found: &ContainerInspectResponse) -> Result<Access, PlacementError> {
        let unfit = |what: &str| PlacementError::unfit("docker", what);
        let ip =
            container::ip(found).ok_or_else(|| unfit("its container has no address: it ended at once"))?;
        let port = order.spec.container_port.ok_or_else(|| unfit("it has no `containerPort`"))?;
        let transport = transport(order);
        let path = if transport == Transport::Sse { "sse" } else { "mcp" };
        let url =
            Url::parse(&format!("http://{ip}:{port}/{path}")).map_err(|error| unfit(&error.to_string()))?;
        let address = Address { connect: Arc::clone(&self.connect), url };
        Ok(if transport == Transport::Sse { Access::Sse(address) } else { Access::Http(address) })
    }
}

impl Placement for Docker {
    fn start(&self, order: Order, stop: CancellationToken) -> BoxFuture<'_, Result<Running, PlacementError>> {
        Box::pin(self.begin(order, stop))
    }

    fn adopt(
        &self,
        order: Order,
        stop: CancellationToken,
    ) -> BoxFuture<'_, Result<Option<Running>, PlacementError>> {
        Box::pin(async move { self.find(&order, &stop).await })
    }

    fn discard<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match self.engine.find(&container::name(&self.options.owner, name)).await {
                Ok(Some(ContainerInspectResponse { id: Some(id), .. })) => self.remove(&id).await,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, name, "a container may be left"),
            }
        })
    }

    fn exec(&self, name: &str, argv: &[String]) -> BoxFuture<'_, Result<i32, PlacementError>> {
        let (name, argv) = (name.to_owned(), argv.to_vec());
        Box::pin(async move {
            let executed = Docker::exec(self, &name, &argv).await?;
            Ok(executed.code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1))
        })
    }
}

fn transport(order: &Order) -> Transport {
    order.spec.transport.unwrap_or(Transport::Stdio)
}

/// Refuses what no container of ours can be.
fn check(order: &Order) -> Result<(), PlacementError> {
    let unfit = |what: &str| Err(PlacementError::unfit("docker", what));
    let spec = &order.spec;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if order.name.is_empty() || order.name.starts_with('.') || !order.name.bytes().all(is_plain) {
        return unfit(&format!("`{}` is no name of an instance", order.name.escape_debug()));
    }
    if spec.external_url.is_some() || spec.package_name.is_some() {
        return unfit("it starts from a package or runs elsewhere");
    }
    if spec.docker_image.as_ref().is_none_or(String::is_empty) {
        return unfit("it has no `dockerImage`");
    }
    if transport(order) != Transport::Stdio && spec.container_port.is_none() {
        return unfit("it has no `containerPort`, and is spoken to over HTTP");
    }
    match order.env.iter().find(|(name, value)| name.contains(['=', '\0']) || value.contains('\0')) {
        Some((name, _)) => unfit(&format!("`{}` is no variable of an environment", name.escape_debug())),
        None => Ok(()),
    }
}

fn is_running(found: &ContainerInspectResponse) -> bool {
    let status = found.state.as_ref().and_then(|state| state.status);
    status == Some(ContainerStateStatusEnum::RUNNING)
}

/// The instance that a container is.
fn instance(labels: Option<HashMap<String, String>>) -> Option<String> {
    labels?.remove(NAME_LABEL)
}
