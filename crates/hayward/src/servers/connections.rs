//! Connections of one caller or one session each, kept for its next call: over HTTP a further connection to an instance, on
//! standard input and output a process of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hayward_api::error::with_sources;
use hayward_gateway::upstreams::{Away, Link, On, Owner, Upstreams};
use hayward_mcp::upstream::Upstream;
use hayward_runtime::Fleet;
use hayward_runtime::fleet::{ConnectFailure, Instance, PrivateError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{
    CLOSE_PATIENCE, CONNECTION_IDLE, CONNECTIONS_MAX, CONNECTIONS_PER_CREDENTIAL_MAX, SWEEP_INTERVAL,
};

/// The connections that are kept.
pub(super) struct Connections {
    fleet: Arc<Fleet>,
    kept: Mutex<HashMap<Key, Arc<Connection>>>,
    /// Held by whoever opens one, by server and owner: two calls at once share it.
    opening: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    processes: Processes,
    /// Hear what servers say beside their answers.
    tasks: TaskTracker,
    /// End sessions.
    endings: TaskTracker,
    closing: CancellationToken,
}

/// Whose a connection is, and to which server.
type Key = (Arc<str>, Owner);

struct Connection {
    instance: Arc<Instance>,
    upstream: Arc<Upstream>,
    /// The process of its own, if it has one.
    _process: Option<Process>,
    used: Mutex<Instant>,
    endings: TaskTracker,
}

/// How many connections have each of the processes that belong to one owner.
type Processes = Arc<Mutex<HashMap<Arc<str>, usize>>>;

/// A process that belongs to one owner: it is stopped when the last of its connections lets go of it.
struct Process {
    processes: Processes,
    fleet: Arc<Fleet>,
    instance: Arc<Instance>,
}

impl Process {
    /// The process that this starts or finds.
    fn of<E>(
        processes: &Processes,
        fleet: &Arc<Fleet>,
        start: impl FnOnce() -> Result<Arc<Instance>, E>,
    ) -> Result<Self, E> {
        // Nobody lets go of the one that is found before it is counted here.
        let mut counts = processes.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = start()?;
        *counts.entry(instance.name().into()).or_default() += 1;
        drop(counts);
        Ok(Self { processes: Arc::clone(processes), fleet: Arc::clone(fleet), instance })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut counts = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = counts.get_mut(self.instance.name()) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(self.instance.name());
            self.fleet.stop_private(&self.instance);
        }
    }
}

impl Connection {
    fn is_good(&self) -> bool {
        self.instance.is_running()
    }

    fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(self: &Arc<Self>, is_new: bool) -> Link {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Link {
            upstream: Arc::clone(&self.upstream),
            instance: self.instance.name().into(),
            is_new,
            hold: Box::new((self.instance.call(), Arc::clone(self))),
        }
    }
}

/// Ends when nobody keeps it and no call uses it: its session is ended.
impl Drop for Connection {
    fn drop(&mut self) {
        let upstream = Arc::clone(&self.upstream);
        self.endings.spawn(async move { upstream.close().await });
    }
}

impl Connections {
    pub(super) fn new(fleet: Arc<Fleet>) -> Self {
        Self {
            fleet,
            kept: Mutex::default(),
            opening: Mutex::default(),
            processes: Processes::default(),
            tasks: TaskTracker::new(),
            endings: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// The connection of this owner to the server of this instance; opened if it isn't there.
    pub(super) async fn link(
        &self,
        instance: &Arc<Instance>,
        owner: &Owner,
        upstreams: Option<Arc<Upstreams>>,
    ) -> Result<Link, Away> {
        let key: Key = (Arc::clone(instance.server()), owner.clone());
        if let Some(link) = self.known(&key) {
            return Ok(link);
        }
        let turn = Arc::clone(self.opening().entry(key.clone()).or_default());
        let guard = turn.lock().await;
        if let Some(link) = self.known(&key) {
            return Ok(link);
        }
        self.make_room(owner);
        let opened = Box::pin(self.open(instance, owner, upstreams)).await;
        drop(guard);
        drop(turn);
        self.opening().retain(|_, turn| Arc::strong_count(turn) > 1);
        let connection = Arc::new(opened?);
        let link = connection.link(true);
        let mut kept = self.kept();
        if kept.len() < CONNECTIONS_MAX {
            let replaced = kept.insert(key, connection);
            drop(kept);
            drop(replaced);
        }
        Ok(link)
    }

    fn known(&self, key: &Key) -> Option<Link> {
        self.kept().get(key).filter(|known| known.is_good()).map(|known| known.link(false))
    }

    /// Lets go of the idlest ones of a credential that has as many as it may.
    fn make_room(&self, owner: &Owner) {
        let credential = credential(&owner.key);
        let mut kept = self.kept();
        let mut own: Vec<(Key, Instant)> = kept
            .iter()
            .filter(|((_, other), _)| self::credential(&other.key) == credential)
            .map(|(key, connection)| (key.clone(), connection.used()))
            .collect();
        own.sort_by_key(|(_, used)| *used);
        let many = (own.len() + 1).saturating_sub(CONNECTIONS_PER_CREDENTIAL_MAX);
        let gone: Vec<_> = own.iter().take(many).filter_map(|(key, _)| kept.remove(key)).collect();
        drop(kept);
        drop(gone);
    }

    /// Keeps a connection no longer that has failed.
    pub(super) fn forget(&self, upstream: &Arc<Upstream>) {
        self.let_go(|connection| Arc::ptr_eq(&connection.upstream, upstream));
    }

    /// Lets go of what nobody uses, again and again until it is closed.
    pub(super) async fn sweep(&self) {
        while self.closing.run_until_cancelled(sleep(SWEEP_INTERVAL)).await.is_some() {
            self.let_go(|connection| {
                // Whoever uses it has it, too.
                let is_used = Arc::strong_count(connection) > 1;
                !connection.is_good() || (!is_used && connection.used().elapsed() > CONNECTION_IDLE)
            });
        }
    }

    /// Lets go of all of them, and waits until servers know of it, if that doesn't take long.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.let_go(|_| true);
        self.endings.close();
        drop(timeout(CLOSE_PATIENCE, self.endings.wait()).await);
    }

    fn let_go(&self, is_gone: impl Fn(&Arc<Connection>) -> bool) {
        let mut kept = self.kept();
        let gone: Vec<_> = kept.extract_if(|_, connection| is_gone(connection)).collect();
        drop(kept);
        drop(gone);
    }

    async fn open(
        &self,
        instance: &Arc<Instance>,
        owner: &Owner,
        upstreams: Option<Arc<Upstreams>>,
    ) -> Result<Connection, Away> {
        let made = |instance: Arc<Instance>, upstream, process| Connection {
            instance,
            upstream,
            _process: process,
            used: Mutex::new(Instant::now()),
            endings: self.endings.clone(),
        };
        match instance.connect(owner.abilities).await {
            Ok((upstream, mut events)) => {
                let (server, heard) = (Arc::clone(instance.server()), Arc::downgrade(&upstream));
                self.tasks.spawn(async move {
                    while let Some(event) = events.next().await {
                        let (Some(upstreams), Some(upstream)) = (&upstreams, heard.upgrade()) else { return };
                        upstreams.heard(&server, (&upstream, On::Own), event);
                    }
                });
                Ok(made(Arc::clone(instance), upstream, None))
            }
            Err(ConnectFailure::Single { .. }) => {
                let name = name_of(instance.server(), owner);
                let start = || self.fleet.start_private(&name, instance.wanted().clone(), owner.abilities);
                let process = Process::of(&self.processes, &self.fleet, start).map_err(|error| Away {
                    is_full: matches!(error, PrivateError::Full { .. } | PrivateError::ServerFull { .. }),
                    why: error.to_string(),
                })?;
                let instance = Arc::clone(&process.instance);
                let upstream = instance.running().await;
                let upstream =
                    upstream.ok_or_else(|| Away { why: super::links::why(&instance), is_full: false })?;
                Ok(made(instance, upstream, Some(process)))
            }
            Err(error) => Err(Away { why: with_sources(&error), is_full: false }),
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Arc<Connection>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opening(&self) -> MutexGuard<'_, HashMap<Key, Arc<tokio::sync::Mutex<()>>>> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The credential of an owner, which may be one of its sessions.
fn credential(key: &str) -> &str {
    key.split_once('/').map_or(key, |(credential, _)| credential)
}

/// An owner, as the fleet tells it from others.
fn name_of(server: &str, owner: &Owner) -> String {
    format!("{server} {} {}", owner.key, owner.abilities.to_capabilities().as_str())
}
