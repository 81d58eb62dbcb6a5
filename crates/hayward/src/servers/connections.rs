//! Connections of one caller or one session each, kept for its next call: over HTTP a further connection to an instance, on
//! standard input and output a process of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hayward_gateway::upstreams::{Away, Link, Owner, Upstreams};
use hayward_mcp::upstream::Upstream;
use hayward_runtime::Fleet;
use hayward_runtime::fleet::{ConnectFailure, Instance, PrivateError};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// Connections of one owner each, all servers together.
const CONNECTIONS_MAX: usize = 4_096;
/// How long one is kept that nobody uses.
const CONNECTION_IDLE: Duration = Duration::from_mins(10);

/// The connections that are kept.
pub(super) struct Connections {
    fleet: Arc<Fleet>,
    kept: Mutex<HashMap<Key, Arc<Connection>>>,
    /// Held by whoever opens one, by server and owner: two calls at once share it.
    opening: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    tasks: TaskTracker,
}

/// Whose a connection is, and to which server.
type Key = (Arc<str>, Owner);

struct Connection {
    instance: Arc<Instance>,
    upstream: Arc<Upstream>,
    used: Mutex<Instant>,
}

impl Connection {
    fn is_good(&self) -> bool {
        self.instance.is_running()
    }

    fn is_idle(&self) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever has a link counts.
        Arc::strong_count(&self.upstream) <= 2 && used.elapsed() > CONNECTION_IDLE
    }

    fn link(self: &Arc<Self>) -> Link {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Link {
            upstream: Arc::clone(&self.upstream),
            hold: Box::new((self.instance.call(), Arc::clone(self))),
        }
    }
}

impl Connections {
    pub(super) fn new(fleet: Arc<Fleet>) -> Self {
        Self { fleet, kept: Mutex::default(), opening: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// The connection of this owner to the server of this instance; opened if it isn't there.
    pub(super) async fn link(
        &self,
        instance: &Arc<Instance>,
        owner: &Owner,
        upstreams: Option<Arc<Upstreams>>,
    ) -> Result<Link, Away> {
        let key: Key = (Arc::clone(instance.server()), owner.clone());
        let turn = Arc::clone(self.opening().entry(key.clone()).or_default());
        let guard = turn.lock().await;
        if let Some(known) = self.kept().get(&key).filter(|known| known.is_good()) {
            return Ok(known.link());
        }
        let opened = self.open(instance, owner, upstreams).await;
        drop(guard);
        self.opening().retain(|_, turn| Arc::strong_count(turn) > 1);
        let connection = Arc::new(opened?);
        let link = connection.link();
        let mut kept = self.kept();
        if kept.len() >= CONNECTIONS_MAX {
            kept.retain(|_, it| it.is_good() && !it.is_idle());
        }
        if kept.len() < CONNECTIONS_MAX {
            let replaced = kept.insert(key, connection);
            drop(kept);
            self.end(replaced);
        }
        Ok(link)
    }

    async fn open(
        &self,
        instance: &Arc<Instance>,
        owner: &Owner,
        upstreams: Option<Arc<Upstreams>>,
    ) -> Result<Connection, Away> {
        let used = Mutex::new(Instant::now());
        match instance.connect(owner.abilities).await {
            Ok((upstream, mut events)) => {
                let (server, heard) = (Arc::clone(instance.server()), Arc::downgrade(&upstream));
                self.tasks.spawn(async move {
                    while let Some(event) = events.next().await {
                        let (Some(upstreams), Some(upstream)) = (&upstreams, heard.upgrade()) else { return };
                        upstreams.heard(&server, &upstream, event);
                    }
                });
                Ok(Connection { instance: Arc::clone(instance), upstream, used })
            }
            Err(ConnectFailure::Single { .. }) => {
                let wanted = instance.wanted().clone();
                let owned = self.fleet.start_private(&name_of(owner), wanted, owner.abilities);
                let instance = owned.map_err(|error| Away {
                    is_full: matches!(error, PrivateError::Full { .. } | PrivateError::ServerFull { .. }),
                    why: error.to_string(),
                })?;
                let upstream = instance.running().await;
                let upstream =
                    upstream.ok_or_else(|| Away { why: super::links::why(&instance), is_full: false })?;
                Ok(Connection { instance, upstream, used })
            }
            Err(error) => Err(Away { why: hayward_gateway::upstreams::told(&error), is_full: false }),
        }
    }

    /// Ends the session of a connection that another one replaced.
    fn end(&self, replaced: Option<Arc<Connection>>) {
        if let Some(replaced) = replaced {
            self.tasks.spawn(async move { replaced.upstream.close().await });
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Arc<Connection>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opening(&self) -> MutexGuard<'_, HashMap<Key, Arc<tokio::sync::Mutex<()>>>> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An owner, as the fleet tells it from others.
fn name_of(owner: &Owner) -> String {
    format!("{} {}", owner.key, owner.abilities.to_capabilities().as_str())
}
