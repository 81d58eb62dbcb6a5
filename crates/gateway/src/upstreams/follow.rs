//! What was declared, read from the store and followed.

use std::sync::Arc;

use futures_util::FutureExt as _;
use hayward_api::kinds::project::ProjectSpec;
use hayward_api::kinds::server::ServerSpec;
use hayward_api::kinds::{Kind, project, secret, server};
use hayward_store::{ListScope, Resource, StoreError, TOOL_PIN};
use tokio_util::sync::CancellationToken;

use super::{Declared, Upstreams, Why};
use crate::limits::{FOLLOW_PAUSE, REFRESH_PAUSE};

/// What has changed since it was last read.
#[derive(Clone, Copy, Debug, Default)]
struct Stale {
    declared: bool,
    approved: bool,
    secret: bool,
}

impl Stale {
    fn add(&mut self, kind: &str) {
        self.declared |= kind == server::DESCRIPTOR.name || kind == project::DESCRIPTOR.name;
        self.approved |= kind == TOOL_PIN;
        self.secret |= kind == secret::DESCRIPTOR.name;
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
                self.ask_again();
            }
        }
    }

    async fn follow_from(self: &Arc<Self>, from: &mut u64) -> Result<(), StoreError> {
        let mut changes = self.store.watch(*from).await?;
        loop {
            let change = changes.next().await?;
            let (mut newest, mut stale) = (change.revision, Stale::default());
            stale.add(&change.kind);
            // Many changes at once are one look.
            while let Some(further) = changes.next().now_or_never() {
                let further = further?;
                newest = further.revision;
                stale.add(&further.kind);
            }
            if stale.declared {
                self.load().await?;
            }
            if stale.declared || stale.approved {
                self.ask_again();
            } else if stale.secret {
                // What holds a new secret is shown without it from now on. Nobody is asked for that: access that is renewed is a
                // secret as well, and asking may be what renews it.
                self.look_again();
            }
            *from = newest;
        }
    }

    /// Asks all servers again that can be asked: by now something else may be shown of them.
    fn ask_again(self: &Arc<Self>) {
        let servers: Vec<Arc<str>> = self.catalog.load().servers.keys().cloned().collect();
        for server in servers {
            self.refresh_soon(&server, Why::WeLook);
        }
    }

    /// Looks again at what all servers said, once for all that changes within a moment.
    fn look_again(self: &Arc<Self>) {
        for server in self.catalog.load().servers.values().filter(|server| server.claim_look()) {
            let (this, server) = (Arc::clone(self), Arc::clone(server));
            self.watching.spawn(async move {
                tokio::time::sleep(REFRESH_PAUSE).await;
                let _turn = server.refreshing.lock().await;
                server.release_look();
                this.look(&server).await;
            });
        }
    }
}
