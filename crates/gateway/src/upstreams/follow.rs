//! What was declared, read from the store and followed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use hayward_api::kinds::project::ProjectSpec;
use hayward_api::kinds::server::ServerSpec;
use hayward_api::kinds::{Kind, project, server};
use hayward_store::{Change as StoreChange, ListScope, Resource, StoreError, TOOL_PIN};
use tokio_util::sync::CancellationToken;

use super::server::Server;
use super::{Declared, Upstreams, Why};
use crate::limits::{FOLLOW_PAUSE, FOLLOW_REST, REFRESH_PAUSE, REFRESH_RETRY};

/// What has changed since it was last read.
#[derive(Debug, Default)]
struct Stale {
    declared: bool,
    /// The servers of which something was approved, or waits.
    approved: HashSet<String>,
}

impl Stale {
    fn add(&mut self, change: &StoreChange) {
        self.declared |= change.kind == server::DESCRIPTOR.name || change.kind == project::DESCRIPTOR.name;
        if change.kind == TOOL_PIN {
            self.approved.insert(change.name.clone());
        }
    }
}

/// What was declared; none of what this version can't read, which keeps nothing else from being served.
fn read<K: Kind>(resource: &Resource) -> Option<K> {
    let spec = resource.spec::<K>();
    spec.inspect_err(|error| {
        let (kind, name) = (&resource.kind, resource.metadata.name.as_str());
        tracing::error!(%error, kind, name, "it can't be read, so it is not served");
    })
    .ok()
}

impl Upstreams {
    /// Reads what is declared, and says as of which revision.
    pub async fn load(&self) -> Result<u64, StoreError> {
        let revision = self.store.revision().await?;
        let servers = self.store.list(&server::DESCRIPTOR, ListScope::All).await?.items;
        let projects = self.store.list(&project::DESCRIPTOR, ListScope::All).await?.items;
        let (mut declared, before) = (Declared::default(), self.catalog.load_full());
        let approved = self.store.servers_with_tool_pins().await?;
        for resource in servers {
            let Some(spec) = read::<ServerSpec>(&resource) else { continue };
            let uid = &resource.metadata.uid;
            let known = before.servers.get(resource.metadata.name.as_str());
            let is_heard = known.is_some_and(|known| *known.uid == **uid && known.is_heard());
            if !is_heard && approved.contains(uid) {
                declared.approved.insert(uid.clone(), self.store.tool_pins(uid).await?);
            }
            declared.servers.push((resource.metadata.name.to_string(), resource.metadata.uid, spec));
        }
        for resource in projects {
            let Some(spec) = read::<ProjectSpec>(&resource) else { continue };
            declared.projects.push((resource.metadata.name.to_string(), spec));
        }
        self.declare(declared);
        Ok(revision)
    }

    /// Follows the store from a revision until the shutdown.
    pub async fn follow(self: Arc<Self>, mut from: u64, shutdown: CancellationToken) {
        loop {
            let followed = shutdown.run_until_cancelled(self.follow_from(&mut from)).await;
            let Some(Err(error)) = followed else { return };
            tracing::warn!(error = &error as &dyn std::error::Error, "what is declared is read anew");
            shutdown.run_until_cancelled(tokio::time::sleep(FOLLOW_PAUSE)).await;
            if let Ok(revision) = self.load().await {
                from = revision;
                self.ask_again(|_| true);
            }
        }
    }

    async fn follow_from(self: &Arc<Self>, from: &mut u64) -> Result<(), StoreError> {
        let mut changes = self.store.watch(*from).await?;
        loop {
            let change = changes.next().await?;
            let (mut newest, mut stale) = (change.revision, Stale::default());
            stale.add(&change);
            // Many changes at once are one look.
            while let Some(further) = changes.next().now_or_never() {
                let further = further?;
                newest = further.revision;
                stale.add(&further);
            }
            let (before, begun) = (self.catalog.load_full(), Instant::now());
            if stale.declared {
                self.load().await?;
            }
            *from = newest;
            // Of the others nothing else may be shown by now.
            self.ask_again(|server| {
                let is_same = before.servers.get(&server.name).is_some_and(|it| Arc::ptr_eq(it, server));
                !is_same || stale.approved.contains(&*server.name)
            });
            if stale.declared {
                // To read thousands takes a good part of a second: what changes meanwhile is one look.
                tokio::time::sleep((begun.elapsed() * FOLLOW_REST).min(FOLLOW_PAUSE)).await;
            }
        }
    }

    /// Asks those servers again that can be asked: by now something else may be shown of them.
    fn ask_again(self: &Arc<Self>, which: impl Fn(&Arc<Server>) -> bool) {
        let catalog = self.catalog.load_full();
        for server in catalog.servers.values().filter(|server| which(server)) {
            self.refresh_soon(&server.name, Why::WeLook);
        }
    }

    /// Other secrets are held from now on: what holds one is shown without it. Looks again at what all servers said, once for all
    /// that changes within a moment. None is asked: access that is renewed is a secret as well, and asking may be what renews it.
    pub fn look_again(self: &Arc<Self>) {
        for server in self.catalog.load().servers.values().filter(|server| server.claim_look()) {
            let (this, server) = (Arc::clone(self), Arc::clone(server));
            self.watching.spawn(async move {
                let mut pause = REFRESH_PAUSE;
                loop {
                    tokio::time::sleep(pause).await;
                    let turn = server.refreshing.lock().await;
                    server.release_look();
                    let has_looked = server.is_unknown() || this.look(&server).await;
                    drop(turn);
                    // Somebody else may be about to.
                    if has_looked || !server.claim_look() {
                        return;
                    }
                    pause = REFRESH_RETRY;
                }
            });
        }
    }
}
