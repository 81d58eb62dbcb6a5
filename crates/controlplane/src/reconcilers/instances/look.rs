//! Looking at the store and the fleet.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;

use hayward_api::definition::Placement;
use hayward_api::kinds::instance::{self, InstanceSpec};
use hayward_api::kinds::secret;
use hayward_api::kinds::server::{self, ServerSpec};
use hayward_runtime::backoff::chance;
use hayward_runtime::fleet::Instance;
use hayward_store::{ListScope, Resource, StoreError, Values};
use tokio::time::Instant;

use super::Instances;
use super::values::{self, Resolved};
use super::world::{Kept, Observed, Server, World};

/// What there is at a moment.
pub(super) struct Looked {
    pub(super) world: World,
    /// The servers as they are stored, by uid.
    pub(super) servers: HashMap<String, Resource>,
    /// The uids of all secrets, by name.
    pub(super) secrets: HashMap<String, String>,
}

impl Looked {
    /// Whether an instance is one of a server as it is now, as far as that is known.
    pub(super) fn is_current(&self, instance: &Instance) -> bool {
        let server = self.world.servers.iter().find(|server| server.name == **instance.server());
        server.is_some_and(|server| server.version.as_ref().map_or(true, |it| *it == instance.generation()))
    }
}

impl Instances {
    /// Looks at everything once.
    pub(super) async fn look(&mut self) -> Result<Looked, StoreError> {
        let secrets = self.store.list(&secret::DESCRIPTOR, ListScope::All).await?.items;
        let secrets: HashMap<String, String> =
            secrets.into_iter().map(|it| (it.metadata.name.to_string(), it.metadata.uid)).collect();
        let (mut servers, mut stored) = (Vec::new(), HashMap::new());
        for resource in self.store.list(&server::DESCRIPTOR, ListScope::All).await?.items {
            if let Some(server) = self.server(&resource, &secrets).await? {
                servers.push(server);
                stored.insert(resource.metadata.uid.clone(), resource);
            }
        }
        if let Some(leases) = &self.leases {
            leases.keep(&servers).await;
            for server in &mut servers {
                server.is_ours = leases.is_held(&server.name);
            }
        }
        let kept = self.store.list(&instance::DESCRIPTOR, ListScope::All).await?.items;
        let kept: Vec<Kept> = kept.iter().map(kept_of).collect::<Result<_, _>>()?;
        let observed: HashMap<String, Observed> =
            self.fleet.all().iter().map(|it| (it.name().to_owned(), Observed::of(it))).collect();
        self.note(&servers, &kept, &observed);
        let demand =
            servers.iter().filter_map(|server| Some((server.name.clone(), *self.demand.get(&server.uid)?)));
        let world =
            World { demand: demand.collect(), servers, kept, observed, crashes: self.crashes.clone() };
        Ok(Looked { world, servers: stored, secrets })
    }

    /// A server that has instances.
    async fn server(
        &self,
        resource: &Resource,
        secrets: &HashMap<String, String>,
    ) -> Result<Option<Server>, StoreError> {
        let spec = resource.spec::<ServerSpec>()?;
        if spec.placement == Some(Placement::Builtin) {
            return Ok(None);
        }
        let version = self.resolve(resource, &spec, secrets).await?.map(|resolved| resolved.version);
        let metadata = &resource.metadata;
        Ok(Some(Server {
            uid: metadata.uid.clone(),
            name: metadata.name.to_string(),
            generation: metadata.generation,
            version,
            replicas: spec.replicas,
            idle_seconds: spec.idle_seconds,
            is_ours: true,
        }))
    }

    /// What a server is started with, or what is missing for that. A secret that can't be opened is missing: all else goes on.
    pub(super) async fn resolve(
        &self,
        resource: &Resource,
        spec: &ServerSpec,
        secrets: &HashMap<String, String>,
    ) -> Result<Result<Resolved, String>, StoreError> {
        let mut opened: HashMap<String, Values> = HashMap::new();
        for name in values::secrets(spec).collect::<BTreeSet<_>>() {
            let Some(uid) = secrets.get(name) else { continue };
            match self.store.secret_values(uid).await {
                Ok(values) => drop(opened.insert(name.to_owned(), values)),
                Err(error) => {
                    let error = &error as &dyn Error;
                    tracing::debug!(error, secret = name, "a secret can't be opened");
                }
            }
        }
        Ok(values::resolve((&resource.metadata.uid, &resource.spec, spec), &opened))
    }

    /// Remembers what crashed, and what was last wanted.
    fn note(&mut self, servers: &[Server], kept: &[Kept], observed: &HashMap<String, Observed>) {
        let now = Instant::now();
        self.crashes.keep(servers);
        for kept in kept {
            let server = servers.iter().find(|server| server.name == kept.server);
            if let (Some(server), Some(observed)) = (server, observed.get(&kept.name)) {
                self.crashes.note(server, (&kept.name, observed), (now, chance()));
            }
        }
        let names: Vec<&str> = servers.iter().map(|server| &*server.name).collect();
        let called = self.fleet.demand(&names);
        self.demand.retain(|uid, _| servers.iter().any(|server| server.uid == *uid));
        for server in servers {
            let last = self.demand.entry(server.uid.clone()).or_insert(now);
            *last = called.get(&*server.name).map_or(*last, |called| (*called).max(*last));
        }
    }
}

fn kept_of(resource: &Resource) -> Result<Kept, StoreError> {
    let spec = resource.spec::<InstanceSpec>()?;
    Ok(Kept {
        uid: resource.metadata.uid.clone(),
        name: resource.metadata.name.to_string(),
        server: spec.server,
        owner: resource.metadata.owner.clone(),
        replica: spec.replica,
        generation: resource.metadata.generation,
    })
}
