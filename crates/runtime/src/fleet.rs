//! The instances that run on this node: one table, which whoever decides what runs writes, and whoever has calls reads.
//!
//! ```text
//!  the reconciler ── start, stop, forget ──► Fleet ◄── take, connect, Hears ── the gateway
//!                 ◄── all, changed ─────────   │
//!                                              └─► life.rs: one task per instance
//! ```
//!
//! Nothing is decided here but which instance a call goes to: what isn't told to run doesn't, and what ended is not started
//! again. What runs elsewhere and can't be reached is the exception: it is connected to again, by and by.

mod eras;
mod ground;
mod hearing;
mod instance;
mod life;
mod private;
mod table;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use hayward_api::definition::{HealthCheck, Placement as Where};
use hayward_api::kinds::server::ServerSpec;
use hayward_mcp::abilities::Abilities;
use hayward_mcp::json::Raw;
use hayward_mcp::upstream::{BoxFuture, Event, Upstream};
use http::HeaderMap;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::grants::Grants;
use crate::limits::Limits;
use crate::log::Log;
use crate::placement::{End, Order, Placement};
use eras::Eras;
use ground::Ground;
use life::Life;
pub(crate) use life::trouble_of;
use table::Table;

pub use instance::{ConnectFailure, InFlight, Instance, State};
pub use private::{PrivateError, PrivateKey};

/// What a fleet is built with.
pub struct FleetConfig {
    /// Where instances can run here.
    pub placements: HashMap<Where, Arc<dyn Placement>>,
    /// Access to those that run elsewhere; without, they are shown nothing but their headers.
    pub grants: Option<Arc<Grants>>,
    /// Who we are: an `Implementation` object, with `name` and `version`.
    pub client: Raw,
    /// Sizes and times.
    pub limits: Limits,
    /// What takes out of all that is told of instances what nobody is to see; without, nothing is taken out.
    pub hides: Option<Arc<dyn Hides>>,
}

/// What takes out of a text what nobody is to see, such as a secret that an instance was handed and says in an error.
pub trait Hides: Send + Sync {
    /// The text without it.
    fn hide<'t>(&self, text: &'t str) -> Cow<'t, str>;
}

/// An instance that is to run.
#[derive(Clone)]
pub struct Wanted {
    /// Its name, which is nobody else's.
    pub name: String,
    /// The name of its server.
    pub server: Arc<str>,
    /// The generation of its server; two instances of the same one are the same.
    pub generation: u64,
    /// Which of the copies it is, from 0.
    pub replica: u32,
    /// What starts.
    pub order: Order,
    /// Whether it is one that a daemon that died has left: it is gone on with, or ends at once.
    pub is_left: bool,
    /// What everything carries that is sent to it over HTTP.
    pub headers: HeaderMap,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("name", &self.name)
            .field("server", &self.server)
            .field("generation", &self.generation)
            .field("replica", &self.replica)
            .finish_non_exhaustive()
    }
}

/// Who hears what instances say beside their answers.
pub trait Hears: Send + Sync {
    /// An instance says something on its first connection. Whoever hears it answers what it asks, or it waits for ever; and must not block, because
    /// nothing else of this instance is heard meanwhile.
    fn heard(&self, instance: &Arc<Instance>, upstream: &Arc<Upstream>, event: Event);
}

/// Who records that a tool is called to see whether an instance is well.
pub trait RecordsProbes: Send + Sync {
    /// Records it before the first call of an instance: every further one is the same. If this fails, none is made, and the
    /// error says why.
    fn begin<'a>(
        &'a self,
        server: &'a str,
        instance: &'a str,
        check: &'a HealthCheck,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// The instances that run on this node.
pub struct Fleet {
    placements: HashMap<Where, Arc<dyn Placement>>,
    table: RwLock<Table>,
    /// When somebody last wanted each server.
    demand: Mutex<HashMap<Arc<str>, Instant>>,
    ground: Arc<Ground>,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("instances", &self.all()).finish_non_exhaustive()
    }
}

impl Fleet {
    /// An empty fleet.
    pub fn new(config: FleetConfig) -> Arc<Self> {
        let ground = Ground {
            client: config.client,
            limits: config.limits,
            grants: config.grants,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            eras: Eras::default(),
            hears: OnceLock::new(),
            probes: OnceLock::new(),
            changed: watch::Sender::new(0),
            hides: config.hides,
        };
        Arc::new(Self {
            placements: config.placements,
            table: RwLock::default(),
            demand: Mutex::default(),
            ground: Arc::new(ground),
        })
    }

    /// From the next connection on, this hears what instances say. Once only: who comes second isn't heard of.
    pub fn heard_by(&self, hears: Arc<dyn Hears>) {
        if self.ground.hears.set(hears).is_err() {
            tracing::error!("somebody hears what instances say already");
        }
    }

    /// From now on, this records which tools are called to see whether instances are well; before, nobody does. Once only.
    pub fn probes_recorded_by(&self, records: Arc<dyn RecordsProbes>) {
        if self.ground.probes.set(records).is_err() {
            tracing::error!("somebody records the calls of health checks already");
        }
    }

    /// Starts an instance, unless there is one of this name. Returns at once.
    pub fn start(&self, wanted: Wanted) {
        let mut table = self.write();
        if table.get(&wanted.name).is_none() {
            table.insert(self.begin(wanted, None, (Abilities::default(), None)));
        }
    }

    /// Has an instance end: it gets no more calls, and those in flight have a while.
    pub fn stop(&self, name: &str) {
        if let Some(instance) = self.instance(name) {
            instance.stop();
        }
    }

    /// Removes what a daemon that died has left of an instance, with which nobody goes on.
    pub fn discard(&self, name: String) {
        let placements: Vec<_> = self.placements.values().cloned().collect();
        self.ground.tasks.spawn(async move {
            for placement in placements {
                placement.discard(&name).await;
            }
        });
    }

    /// Forgets an instance that has ended. What it said is kept as the log of the one before.
    pub fn forget(&self, name: &str) {
        self.write().forget(name);
        self.ground.tick();
    }

    /// Access to instances that run elsewhere and want OAuth.
    pub fn grants(&self) -> Option<&Arc<Grants>> {
        self.ground.grants.as_ref()
    }

    /// All instances that aren't forgotten, in no order; those that belong to one owner are [`Fleet::private`].
    pub fn all(&self) -> Vec<Arc<Instance>> {
        self.read().all()
    }

    /// Says when an instance is something else, or a server is wanted that nothing runs of.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.ground.changed.subscribe()
    }

    /// The instance of a server that the next call goes to: of those that run and are well, the one with the least calls in
    /// flight that has rested for longest. One that is unwell only if there is no other.
    pub fn pick(&self, server: &str) -> Option<Arc<Instance>> {
        table::pick(self.read().of_server(server))
    }

    /// The next call to a server, counted, and where it goes: see [`Fleet::pick`].
    pub fn take(&self, server: &str) -> Option<InFlight> {
        loop {
            // One that began to stop meanwhile is picked no more.
            if let Some(call) = self.pick(server)?.try_call() {
                return Some(call);
            }
        }
    }

    /// The instance of this name.
    pub fn instance(&self, name: &str) -> Option<Arc<Instance>> {
        self.read().get(name).cloned()
    }

    /// Where an instance runs, as a server says it in `placement`.
    pub fn placement_of(&self, instance: &Instance) -> &'static str {
        word(place(&instance.wanted().order.spec))
    }

    /// What an instance of a server says beside its protocol: this replica or the first one, or the one that ended before it.
    pub fn logs(&self, server: &str, replica: Option<u32>, previous: bool) -> Option<Log> {
        self.read().log(server, replica, previous)
    }

    /// Notes that somebody wants to call a server, so that one that was stopped as nobody did is started.
    pub fn wanted(&self, server: &str) {
        let now = Instant::now();
        let mut demand = self.demand.lock().unwrap_or_else(PoisonError::into_inner);
        match demand.get_mut(server) {
            Some(last) => *last = now,
            None => drop(demand.insert(server.into(), now)),
        }
        drop(demand);
        if self.read().of_server(server).is_empty() {
            self.ground.tick();
        }
    }

    /// When each of these servers was last wanted or called; what is noted of others is forgotten.
    pub fn demand(&self, servers: &[&str]) -> HashMap<Arc<str>, Instant> {
        let mut demand = self.demand.lock().unwrap_or_else(PoisonError::into_inner);
        demand.retain(|server, _| servers.contains(&&**server));
        let mut latest = demand.clone();
        drop(demand);
        for instance in self.all() {
            let called = instance.last_call();
            let last = latest.entry(Arc::clone(instance.server())).or_insert(called);
            *last = called.max(*last);
        }
        latest
    }

    /// Stops all instances, and waits until they are gone.
    pub async fn close(&self) {
        self.ground.closing.cancel();
        self.all().iter().for_each(|instance| instance.stop());
        self.stop_private_unless(|_| false);
        self.ground.tasks.close();
        self.ground.tasks.wait().await;
        if let Some(grants) = &self.ground.grants {
            grants.settle().await;
        }
    }

    /// Begins the life of an instance, for a client that can do this when it is asked, until there has been no call for so long.
    fn begin(
        &self,
        wanted: Wanted,
        private: Option<PrivateKey>,
        (abilities, idle): (Abilities, Option<Duration>),
    ) -> Arc<Instance> {
        let place = place(&wanted.order.spec);
        let placement = self.placements.get(&place).cloned();
        let instance = Arc::new(Instance::new(Arc::clone(&self.ground), wanted, private));
        self.ground.tick();
        let Some(placement) = placement else {
            let why = match place {
                Where::Docker => {
                    "placement `docker` is not set up here; `hayward serve --docker-socket FILE` does that"
                        .to_owned()
                }
                place => format!("placement `{}` is not set up here", word(place)),
            };
            instance.has_ended(End::Failed { why });
            return instance;
        };
        let life = Life {
            ground: Arc::clone(&self.ground),
            instance: Arc::clone(&instance),
            placement,
            is_ours: place != Where::Remote,
            abilities,
            idle,
        };
        let (living, tasks) = (Arc::clone(&instance), self.ground.tasks.clone());
        self.ground.tasks.spawn(async move {
            if let Err(error) = tasks.spawn(life.run()).await {
                living.has_ended(End::Failed { why: error.to_string() });
            }
        });
        instance
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where instances of a server run.
fn place(spec: &ServerSpec) -> Where {
    match spec.placement.unwrap_or_default() {
        Where::Auto if spec.external_url.is_some() => Where::Remote,
        // What is no image has none to run in.
        Where::Auto if spec.docker_image.is_some() => Where::Docker,
        Where::Auto => Where::Process,
        place => place,
    }
}

fn word(place: Where) -> &'static str {
    match place {
        Where::Auto => "auto",
        Where::Builtin => "builtin",
        Where::Process => "process",
        Where::Docker => "docker",
        Where::Kubernetes => "kubernetes",
        Where::Remote => "remote",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: Value) -> Where {
        place(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn a_server_runs_where_it_says_or_where_it_can() {
        assert_eq!(of(json!({"externalUrl": "http://x"})), Where::Remote);
        assert_eq!(of(json!({"dockerImage": "x"})), Where::Docker);
        assert_eq!(of(json!({"command": ["x"]})), Where::Process);
        assert_eq!(of(json!({"packageName": "x@1.0.0"})), Where::Process);
        assert_eq!(of(json!({"command": ["x"], "placement": "process"})), Where::Process);
        assert_eq!(of(json!({"command": ["x"], "placement": "docker"})), Where::Docker);
    }
}
