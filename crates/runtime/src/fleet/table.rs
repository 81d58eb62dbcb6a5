//! Which instances there are, and which of them a call goes to.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::PrivateKey;
use super::instance::Instance;
use crate::limits::PREVIOUS_LOGS_MAX;
use crate::log::Log;

#[derive(Default)]
pub(super) struct Table {
    by_name: HashMap<String, Arc<Instance>>,
    by_server: HashMap<Arc<str>, Vec<Arc<Instance>>>,
    /// Those that belong to one caller or session.
    private: HashMap<PrivateKey, Arc<Instance>>,
    /// What those said that are gone, by server and replica; the oldest first.
    previous: VecDeque<(Arc<str>, u32, Log)>,
}

impl Table {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Instance>> {
        self.by_name.get(name)
    }

    pub(super) fn all(&self) -> Vec<Arc<Instance>> {
        self.by_name.values().cloned().collect()
    }

    pub(super) fn of_server(&self, server: &str) -> &[Arc<Instance>] {
        self.by_server.get(server).map_or(&[], Vec::as_slice)
    }

    pub(super) fn insert(&mut self, instance: Arc<Instance>) {
        self.by_server.entry(Arc::clone(instance.server())).or_default().push(Arc::clone(&instance));
        self.by_name.insert(instance.name().to_owned(), instance);
    }

    /// Takes out one that is gone, and keeps what it said.
    pub(super) fn forget(&mut self, name: &str) {
        if !self.by_name.get(name).is_some_and(|instance| instance.is_ended()) {
            return;
        }
        let Some(instance) = self.by_name.remove(name) else { return };
        let server = instance.server();
        if let Some(of_server) = self.by_server.get_mut(server) {
            of_server.retain(|it| !Arc::ptr_eq(it, &instance));
            if of_server.is_empty() {
                self.by_server.remove(server);
            }
        }
        self.previous.retain(|(of, replica, _)| (of, *replica) != (server, instance.replica()));
        self.previous.push_back((Arc::clone(server), instance.replica(), instance.log()));
        if self.previous.len() > PREVIOUS_LOGS_MAX {
            self.previous.pop_front();
        }
    }

    /// The log of a replica, or of the first one that there is; of the one before it, if that is meant.
    pub(super) fn log(&self, server: &str, replica: Option<u32>, previous: bool) -> Option<Log> {
        let is_meant = |of: u32| replica.is_none_or(|replica| replica == of);
        if !previous {
            let meant = self.of_server(server).iter().filter(|it| is_meant(it.replica()));
            // Of two of the same replica, while one takes the place of the other, the newer one.
            let newest = meant.min_by_key(|it| (it.replica(), std::cmp::Reverse(it.started_at())));
            return newest.map(|it| it.log());
        }
        let gone = self.previous.iter().filter(|(of, replica, _)| &**of == server && is_meant(*replica));
        gone.min_by_key(|(_, replica, _)| *replica).map(|(_, _, log)| log.clone())
    }

    pub(super) fn private(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.private.values()
    }

    pub(super) fn get_private(&self, key: &PrivateKey) -> Option<&Arc<Instance>> {
        self.private.get(key)
    }

    pub(super) fn insert_private(&mut self, key: PrivateKey, instance: Arc<Instance>) {
        self.private.insert(key, instance);
    }

    /// Takes out those that are gone.
    pub(super) fn sweep_private(&mut self) {
        self.private.retain(|_, instance| !instance.is_ended());
    }
}

/// The one with the least calls in flight among those that run, and of these the one that has rested for longest; an unwell
/// one only if there is no other.
pub(super) fn pick(instances: &[Arc<Instance>]) -> Option<Arc<Instance>> {
    let running = instances.iter().filter(|it| it.is_running());
    let compared = |one: &&Arc<Instance>, other: &&Arc<Instance>| {
        let health = one.is_unhealthy().cmp(&other.is_unhealthy());
        let calls = health.then_with(|| one.calls().cmp(&other.calls()));
        calls.then_with(|| one.last_ended().cmp(&other.last_ended()))
    };
    running.min_by(compared).cloned()
}
