//! Which servers this node runs, where several nodes share a database: those that it holds a lease of.
//!
//! ```text
//!  taken ──renewed, again and again──► …            the end of the lease
//!                        └─ not renewed ──► margin ─────────┤
//!                                           its instances end, and have ended by then
//! ```

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hayward_runtime::fleet::Fleet;
use hayward_store::Store;
use tokio::time::{Instant, sleep};

use super::world::Server;
use crate::limits::{LEASE_RENEWED, LEASE_SLACK};

/// How leases are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leasing {
    /// For how long.
    pub ttl: Duration,
    /// How long before its end the instances of one that wasn't renewed are ended. Longer than instances have for their end.
    pub margin: Duration,
}

impl Leasing {
    /// Leases that are long enough for instances that may take so long for their end.
    pub fn of_ends_within(end: Duration) -> Self {
        let margin = end + LEASE_SLACK;
        Self { ttl: margin + LEASE_RENEWED, margin }
    }

    /// How long it takes until leases are renewed, and others are asked for again.
    fn pause(&self) -> Duration {
        self.ttl.saturating_sub(self.margin) / 4
    }
}

/// The leases of this node.
#[derive(Clone)]
pub(super) struct Leases {
    store: Store,
    leasing: Leasing,
    /// This process, and no other one of the same node.
    holder: String,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    /// Until when, by the names of servers.
    until: HashMap<String, Lease>,
    /// The uids of servers that were asked for since the last ones were due.
    asked: HashSet<String>,
    /// When the next ones are due.
    due_at: Option<Instant>,
}

struct Lease {
    /// Of the server.
    uid: String,
    until: Instant,
}

impl Leases {
    pub(super) fn new(store: Store, leasing: Leasing, holder: String) -> Self {
        Self { store, leasing, holder, held: Arc::default() }
    }

    /// Renews what is held and takes what is free, if that is due or there are servers that weren't there before. What the store
    /// doesn't answer to changes nothing: it is over when it is over.
    pub(super) async fn keep(&self, servers: &[Server]) {
        let now = Instant::now();
        let is_due = self.held().due_at.is_none_or(|due_at| due_at <= now);
        if is_due {
            self.are_due_at(now + self.leasing.pause());
            self.renew(now).await;
        }
        self.give_back_unless(|name, uid| servers.iter().any(|it| it.name == name && it.uid == uid)).await;
        for server in servers {
            if self.is_to_be_asked_for(server) {
                self.take(server).await;
            }
        }
    }

    /// Whether this node runs a server at this moment, and may for a while.
    pub(super) fn is_held(&self, server: &str) -> bool {
        let end = Instant::now() + self.leasing.margin;
        self.held().until.get(server).is_some_and(|lease| lease.until > end)
    }

    /// When leases are to be renewed.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.held().due_at
    }

    /// Ends, for ever, instances of servers whose lease is about to be over, whether or not the store answers.
    pub(super) async fn guard(&self, fleet: &Fleet) {
        loop {
            for instance in fleet.all() {
                if !self.is_held(instance.server()) {
                    fleet.stop(instance.name());
                }
            }
            fleet.stop_private_unless(|instance| self.is_held(instance.server()));
            sleep(self.leasing.pause().min(Duration::from_secs(1))).await;
        }
    }

    /// Gives all back: nothing of theirs runs any more.
    pub(super) async fn give_back(&self) {
        self.give_back_unless(|_, _| false).await;
    }

    async fn renew(&self, now: Instant) {
        match self.store.renew_leases(&self.holder, self.leasing.ttl).await {
            Ok(names) => self.held().until.retain(|_, lease| {
                let is_renewed = names.contains(&name_of(&lease.uid));
                lease.until = now + self.leasing.ttl;
                is_renewed
            }),
            Err(error) => tracing::warn!(error = &error as &dyn Error, "leases can't be renewed"),
        }
    }

    fn are_due_at(&self, at: Instant) {
        let mut held = self.held();
        held.due_at = Some(at);
        held.asked.clear();
    }

    fn is_to_be_asked_for(&self, server: &Server) -> bool {
        let mut held = self.held();
        !held.until.contains_key(&server.name) && held.asked.insert(server.uid.clone())
    }

    async fn take(&self, server: &Server) {
        let now = Instant::now();
        match self.store.acquire_lease(&name_of(&server.uid), &self.holder, self.leasing.ttl).await {
            Ok(true) => {
                let lease = Lease { uid: server.uid.clone(), until: now + self.leasing.ttl };
                self.held().until.insert(server.name.clone(), lease);
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(error = &error as &dyn Error, "a lease can't be taken"),
        }
    }

    async fn give_back_unless(&self, is_kept: impl Fn(&str, &str) -> bool) {
        let mut gone = Vec::new();
        self.held().until.retain(|name, lease| {
            let is_kept = is_kept(name, &lease.uid);
            if !is_kept {
                gone.push(lease.uid.clone());
            }
            is_kept
        });
        for uid in gone {
            if let Err(error) = self.store.release_lease(&name_of(&uid), &self.holder).await {
                tracing::debug!(error = &error as &dyn Error, "a lease is left until it is over");
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of the lease of a server.
fn name_of(uid: &str) -> String {
    format!("servers/{uid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_have_ended_before_their_lease_is_over_however_long_they_may_take() {
        for end in [0, 12_000, 3_600_000].map(Duration::from_millis) {
            let leasing = Leasing::of_ends_within(end);
            assert!(leasing.margin > end && leasing.ttl > leasing.margin, "{leasing:?}");
            // It is renewed several times before anything has to end.
            assert!(leasing.pause() * 3 + leasing.margin < leasing.ttl, "{leasing:?}");
        }
    }
}
