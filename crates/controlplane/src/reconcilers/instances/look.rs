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
use serde_json::Value;
use tokio::time::Instant;

use super::Instances;
use super::status::UNREADABLE;
use super::values::{self, Resolved};
use super::world::{Kept, Observed, Problem, Server, World};

/// What there is at a moment.
pub(super) struct Looked {
    pub(super) world: World,
    /// The servers as they are stored, by uid.
    pub(super) servers: HashMap<String, Resource>,
    /// All secrets.
    pub(super) secrets: Secrets,
}

/// The secrets that there are.
#[derive(Default)]
pub(super) struct Secrets {
    /// Their uids, by name.
    by_name: HashMap<String, String>,
    /// The name and the uid of the one that goes with a server, by the uid of that: what was granted for it.
    granted: HashMap<String, (String, String)>,
}

impl Secrets {
    fn of(all: Vec<Resource>) -> Self {
        let mut secrets = Self::default();
        for Resource { metadata, .. } in all {
            let named = (metadata.name.to_string(), metadata.uid);
            if let Some(owner) = metadata.owner {
                secrets.granted.insert(owner, named.clone());
            }
            secrets.by_name.insert(named.0, named.1);
        }
        secrets
    }
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
        let secrets = Secrets::of(self.store.list(&secret::DESCRIPTOR, ListScope::All).await?.items);
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
        let kept: Vec<Kept> = kept.iter().filter_map(kept_of).collect();
        if let Some(grants) = self.fleet.grants() {
            grants.retain(|name| servers.iter().any(|server| server.name == name));
        }
        let observed: HashMap<String, Observed> =
            self.fleet.all().iter().map(|it| (it.name().to_owned(), Observed::of(it))).collect();
        self.note(&servers, &kept, &observed);
        let demand =
            servers.iter().filter_map(|server| Some((server.name.clone(), *self.demand.get(&server.uid)?)));
        let world = World {
            demand: demand.collect(),
            servers,
            kept,
            observed,
            left: self.left.clone(),
            crashes: self.crashes.clone(),
        };
        Ok(Looked { world, servers: stored, secrets })
    }

    /// A server that has instances.
    async fn server(&self, resource: &Resource, secrets: &Secrets) -> Result<Option<Server>, StoreError> {
        let metadata = &resource.metadata;
        let spec = match resource.spec::<ServerSpec>() {
            Ok(spec) => spec,
            // One that can't be read keeps no other one from running.
            Err(error) => return Ok(Some(unreadable(resource, &error))),
        };
        if spec.placement == Some(Placement::Builtin) {
            return Ok(None);
        }
        let version = self.resolve(resource, &spec, secrets).await?.map(|resolved| resolved.version);
        let problem = self.access_to(metadata.name.as_str());
        Ok(Some(Server {
            uid: metadata.uid.clone(),
            name: metadata.name.to_string(),
            generation: metadata.generation,
            version,
            replicas: spec.replicas,
            idle_seconds: spec.idle_seconds,
            is_ours: true,
            problem,
        }))
    }

    /// What a server is started with, or what is missing for that.
    pub(super) async fn resolve(
        &self,
        resource: &Resource,
        spec: &ServerSpec,
        secrets: &Secrets,
    ) -> Result<Result<Resolved, String>, StoreError> {
        let mut opened: HashMap<String, Values> = HashMap::new();
        for name in values::secrets(spec).collect::<BTreeSet<_>>() {
            let Some(uid) = secrets.by_name.get(name) else { continue };
            if let Some(values) = self.open(name, uid).await {
                opened.insert(name.to_owned(), values);
            }
        }
        let metadata = &resource.metadata;
        let granted = match secrets.granted.get(&metadata.uid) {
            Some((name, uid)) => self.open(name, uid).await.map(|values| (name.clone(), uid.clone(), values)),
            None => None,
        };
        let granted = self.declare((metadata.name.as_str(), spec), &opened, granted);
        Ok(values::resolve((&metadata.uid, &resource.spec, spec), &opened, granted.as_deref()))
    }

    /// The values of a secret. One that can't be opened is missing: all else goes on.
    async fn open(&self, name: &str, uid: &str) -> Option<Values> {
        let opened = self.store.secret_values(uid).await;
        if let Err(error) = &opened {
            tracing::debug!(error = error as &dyn Error, secret = name, "a secret can't be opened");
        }
        opened.ok()
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

/// A server whose spec can't be read: what runs of it runs on.
fn unreadable(resource: &Resource, error: &StoreError) -> Server {
    let message = format!("what is stored of it can't be read: {error}; hint: apply it again");
    let Resource { metadata, spec, .. } = resource;
    let replicas = spec.get("replicas").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
    Server {
        uid: metadata.uid.clone(),
        name: metadata.name.to_string(),
        generation: metadata.generation,
        version: Err(message.clone()),
        replicas: replicas.unwrap_or(1),
        idle_seconds: None,
        is_ours: true,
        problem: Some(Problem { kind: UNREADABLE, reason: "Unreadable", message }),
    }
}

/// An instance; none of one that can't be read, which is told.
fn kept_of(resource: &Resource) -> Option<Kept> {
    let spec = match resource.spec::<InstanceSpec>() {
        Ok(spec) => spec,
        Err(error) => {
            let (error, instance) = (&error as &dyn Error, resource.metadata.name.as_str());
            tracing::warn!(error, instance, "what is stored of an instance can't be read");
            return None;
        }
    };
    Some(Kept {
        uid: resource.metadata.uid.clone(),
        name: resource.metadata.name.to_string(),
        server: spec.server,
        owner: resource.metadata.owner.clone(),
        replica: spec.replica,
        generation: resource.metadata.generation,
    })
}
