//! What handlers work with, put together once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hayward_api::Error;
use hayward_auth::{Credentials, Policies};
use hayward_runtime::Fleet;
use hayward_store::Store;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::guarded::Guarded;
use crate::limits::{BODIES_READ_MAX, Limits};
use crate::manifests::Told;
use crate::ports::{Gateway, Machine, Record};
use crate::sign_in::Entrance;
use crate::snapshots::Snapshots;

/// What the control plane is built with.
pub struct PlaneParts {
    /// Where everything is kept.
    pub store: Store,
    /// Who has which credential, at this moment.
    pub credentials: Arc<Credentials>,
    /// What rules grant, at this moment.
    pub policies: Arc<Policies>,
    /// Where everything is recorded.
    pub record: Arc<dyn Record>,
    /// What only the machine knows.
    pub machine: Arc<dyn Machine>,
    /// The instances that run on this node; none where none do.
    pub fleet: Option<Arc<Fleet>>,
    /// What the gateway sees of servers.
    pub gateway: Arc<dyn Gateway>,
    /// Where clients reach this server.
    pub reached: Reached,
    /// Sizes and times.
    pub limits: Limits,
    /// The version that is told.
    pub version: &'static str,
    /// Whether whoever comes first may make the first user, without the administrator's token.
    pub is_bootstrap_open: bool,
    /// Fires when nothing new is to begin.
    pub shutdown: CancellationToken,
}

/// Where clients reach a server.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Its address, without `/` at its end, if its operator said it.
    pub url: Option<String>,
    /// The scheme under which it listens: `http` or `https`.
    pub scheme: &'static str,
}

/// The control plane.
pub struct Plane {
    pub(crate) guarded: Guarded,
    pub(crate) entrance: Entrance,
    /// Whether whoever comes first may make the first user.
    pub(crate) is_bootstrap_open: bool,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) record: Arc<dyn Record>,
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) fleet: Option<Arc<Fleet>>,
    pub(crate) gateway: Arc<dyn Gateway>,
    pub(crate) reached: Reached,
    pub(crate) limits: Limits,
    pub(crate) version: &'static str,
    pub(crate) counters: Counters,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) manifests: Arc<Told>,
    pub(crate) shutdown: CancellationToken,
    /// Places for reading what takes long to read.
    pub(crate) reading: Arc<Semaphore>,
    /// Requests are answered here and not on the thread of their connection, which has calls to serve.
    pub(crate) runtime: Handle,
    pub(crate) tasks: TaskTracker,
}

impl Plane {
    /// Puts it together, and follows the store until the shutdown. Call it on the runtime that is to answer.
    pub async fn start(parts: PlaneParts) -> Result<Arc<Self>, Error> {
        let PlaneParts { store, credentials, policies, record, machine, limits, version, shutdown, .. } =
            parts;
        let PlaneParts { fleet, gateway, reached, is_bootstrap_open, .. } = parts;
        let snapshots =
            Snapshots::new(store.clone(), credentials, Arc::clone(&policies), Arc::clone(&record));
        let snapshots = Arc::new(snapshots);
        let guarded = Guarded::new(store.clone(), policies, Arc::clone(&snapshots));
        let from = snapshots.load().await?;
        let tasks = TaskTracker::new();
        let following = Arc::clone(&snapshots).follow(from, shutdown.clone());
        tasks.spawn(following);
        Ok(Arc::new(Self {
            guarded,
            entrance: Entrance::new(store, Arc::clone(&snapshots), &limits, shutdown.clone()),
            is_bootstrap_open,
            snapshots,
            record,
            machine,
            fleet,
            gateway,
            reached,
            version,
            counters: Counters::new(),
            watchers: Arc::new(Watchers::new(&limits)),
            limits,
            manifests: Arc::default(),
            shutdown,
            reading: Arc::new(Semaphore::new(BODIES_READ_MAX)),
            runtime: Handle::current(),
            tasks,
        }))
    }

    /// Requests in which something broke that must not, since the start.
    pub fn panics(&self) -> u64 {
        self.counters.panics.load(Ordering::Relaxed)
    }

    /// Watches that are open.
    pub fn watches(&self) -> u64 {
        self.watchers.open.load(Ordering::Relaxed)
    }

    /// Waits for what runs. The shutdown must have fired.
    pub async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What is counted of requests.
pub(crate) struct Counters {
    pub(crate) started: Instant,
    pub(crate) requests: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) panics: AtomicU64,
    last: Mutex<Option<Timestamp>>,
}

impl Counters {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            requests: AtomicU64::default(),
            refused: AtomicU64::default(),
            errors: AtomicU64::default(),
            panics: AtomicU64::default(),
            last: Mutex::default(),
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        match status {
            400..=499 => self.refused.fetch_add(1, Ordering::Relaxed),
            // What comes later is no fault of ours.
            501 => 0,
            500..=599 => self.errors.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Timestamp::now());
    }

    /// When the last answer left.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bounds how many watches are open.
pub(crate) struct Watchers {
    open: AtomicU64,
    max: u64,
    of_one_max: u64,
    by_credential: Mutex<HashMap<String, u64>>,
}

/// A watch that is open, until this is dropped.
pub(crate) struct Watching {
    watchers: Arc<Watchers>,
    credential: String,
}

impl Watchers {
    fn new(limits: &Limits) -> Self {
        Self {
            open: AtomicU64::default(),
            max: limits.watches_max,
            of_one_max: limits.watches_per_principal_max,
            by_credential: Mutex::default(),
        }
    }

    /// Opens one, unless there are as many as there may be.
    pub(crate) fn open(self: &Arc<Self>, credential: &str) -> Option<Watching> {
        let mut known = self.by_credential.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = known.get(credential).copied().unwrap_or_default();
        if self.open.load(Ordering::Relaxed) >= self.max || of_one >= self.of_one_max {
            return None;
        }
        known.insert(credential.to_owned(), of_one + 1);
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Watching { watchers: Arc::clone(self), credential: credential.to_owned() })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watchers.open.fetch_sub(1, Ordering::Relaxed);
        let mut known = self.watchers.by_credential.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = known.get_mut(&self.credential) {
            *count -= 1;
            if *count == 0 {
                known.remove(&self.credential);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_credential_does_not_take_every_place_and_gives_its_places_back() {
        let limits = Limits { watches_max: 3, watches_per_principal_max: 2, ..Limits::default() };
        let watchers = Arc::new(Watchers::new(&limits));
        let held: Vec<_> = (0..2).filter_map(|_| watchers.open("a")).collect();
        assert!(held.len() == 2 && watchers.open("a").is_none());
        let other = watchers.open("b");
        assert!(other.is_some() && watchers.open("c").is_none());
        drop(held);
        assert!(watchers.open("a").is_some());
        assert_eq!(watchers.by_credential.lock().unwrap().len(), 1, "who left is forgotten");
    }
}
