//! Instances of servers: as many run as are wanted, as they are wanted.
//!
//! ```text
//!  store ──┬─► look ──► World ──► plan ──► actions ──► store (instances, statuses)
//!  fleet ──┘                                      └──► fleet (start, stop, forget)
//! ```
//!
//! One look at a time, after a change of the store or of the fleet, and when a pause is over. Nothing is remembered from one look
//! to the next but crashes, and what was last wanted: whoever starts anew finds instances in the store that nobody runs, and
//! replaces them, unless what ran of one runs on and can be gone on with.

mod access;
mod crashes;
mod leases;
mod look;
mod plan;
mod status;
mod values;
mod world;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::FutureExt as _;
use hayward_api::kinds::instance::{self, InstanceSpec};
use hayward_api::kinds::server::ServerSpec;
use hayward_runtime::fleet::{Fleet, Wanted};
use hayward_runtime::placement::Order;
use hayward_store::{Actor, Deletion, Desired, Key, Resource, Store, StoreError, Watch};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::limits::{FOLLOW_PAUSE, INSTANCE_NAME_BYTES, INSTANCE_SUFFIX, LOOK_LATEST, LOOK_PAUSE};
use crashes::Crashes;
use leases::Leases;
use look::Looked;
use plan::{Action, plan};

pub(crate) use access::address;
pub use leases::Leasing;

/// Kinds that something follows from here.
const KINDS: [&str; 3] = ["server", "instance", "secret"];

/// What keeps instances running.
pub struct Instances {
    store: Store,
    fleet: Arc<Fleet>,
    /// The name of this node, as statuses tell it.
    node: String,
    /// Which servers are this node's, where there are others; all of them otherwise.
    leases: Option<Leases>,
    crashes: Crashes,
    /// The names of instances that a daemon that died has left, until the first look.
    left: HashSet<String>,
    /// When each server was last wanted or first seen, by its uid.
    demand: HashMap<String, Instant>,
    /// The statuses that were written last, by uid.
    written: HashMap<String, Value>,
}

/// What a node runs until it gives it back.
pub struct Held(Instances);

impl Held {
    /// Gives it back, so that other nodes need not wait for it: none of its instances runs any more, and that is written down.
    pub async fn give_back(mut self) {
        let told = async {
            let looked = self.0.look().await?;
            self.0.tell(&looked).await
        };
        if let Err(error) = told.await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "it isn't written down that no instance runs any more");
        }
        if let Some(leases) = &self.0.leases {
            leases.give_back().await;
        }
    }
}

impl Instances {
    /// Keeps the instances of the servers of this store running in this fleet.
    pub fn new(store: Store, fleet: Arc<Fleet>, node: String) -> Self {
        Self {
            store,
            fleet,
            node,
            leases: None,
            crashes: Crashes::default(),
            left: HashSet::new(),
            demand: HashMap::new(),
            written: HashMap::new(),
        }
    }

    /// The same where a daemon that died has left instances of these names, which run on: those that are wanted are gone on
    /// with, and the others removed.
    #[must_use]
    pub fn adopting(self, left: HashSet<String>) -> Self {
        Self { left, ..self }
    }

    /// The same where other nodes share the store: each server's instances run on one of them.
    #[must_use]
    pub fn among_others(mut self, leasing: Leasing) -> Self {
        let holder = format!("{}/{}/{}", self.node, std::process::id(), letters(suffix()));
        self.leases = Some(Leases::new(self.store.clone(), leasing, holder));
        self
    }

    /// Does so until the shutdown. The instances run on: whoever closes the fleet then gives back what this gives.
    pub async fn run(mut self, shutdown: CancellationToken) -> Held {
        let (fleet, leases) = (Arc::clone(&self.fleet), self.leases.clone());
        let guard = async {
            match &leases {
                Some(leases) => leases.guard(&fleet).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = guard => {}
            () = self.go_on() => {}
        }
        Held(self)
    }

    /// For ever.
    async fn go_on(&mut self) {
        let mut changed = self.fleet.changed();
        let mut access = self.fleet.grants().map(|grants| grants.changed());
        loop {
            let error = self.follow(&mut changed, access.as_mut()).await;
            tracing::warn!(error = &error as &dyn std::error::Error, "instances are looked at anew");
            sleep(FOLLOW_PAUSE).await;
        }
    }

    /// Follows the store and the fleet until the store can't be followed.
    async fn follow(
        &mut self,
        changed: &mut watch::Receiver<u64>,
        mut access: Option<&mut watch::Receiver<u64>>,
    ) -> StoreError {
        let watch = async {
            let revision = self.store.revision().await?;
            self.store.watch(revision).await
        };
        let mut watch = match watch.await {
            Ok(watch) => watch,
            Err(error) => return error,
        };
        loop {
            // What changes from here on is seen by the next look.
            changed.mark_unchanged();
            if let Some(access) = &mut access {
                access.mark_unchanged();
            }
            let look_at = match self.reconcile().await {
                Ok(look_at) => look_at,
                Err(error) => return error,
            };
            let latest = Instant::now() + LOOK_LATEST;
            let renew_at = self.leases.as_ref().and_then(Leases::due_at);
            let look_at = look_at.into_iter().chain(renew_at).min().map_or(latest, |at| at.min(latest));
            tokio::select! {
                told = next(&mut watch) => if let Err(error) = told { return error },
                // The fleet lives as long as this does.
                _ = changed.changed() => {}
                () = told(access.as_deref_mut()) => {}
                () = sleep_until(look_at) => {}
            }
            // Many changes at once are one look.
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Looks once and does what follows; says when to look again although nothing happens.
    pub async fn reconcile(&mut self) -> Result<Option<Instant>, StoreError> {
        let looked = self.look().await?;
        let plan = plan(&looked.world, Instant::now());
        self.tell(&looked).await?;
        for action in &plan.actions {
            if let Err(error) = self.act(action, &looked).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, ?action, "instances are not as they are wanted");
            }
        }
        // Nobody goes on with those that nobody wanted at the first look.
        for name in self.left.drain() {
            let is_adopted =
                |action: &Action| matches!(action, Action::Adopt { name: adopted, .. } if *adopted == name);
            if !plan.actions.iter().any(is_adopted) {
                self.fleet.discard(name);
            }
        }
        self.fleet.stop_private_unless(|instance| looked.is_current(instance));
        Ok(plan.look_at)
    }

    async fn act(&mut self, action: &Action, looked: &Looked) -> Result<(), StoreError> {
        tracing::debug!(?action, "an instance is to be otherwise");
        match action {
            Action::Create { server, replica } => self.start((server, *replica), None, looked).await?,
            Action::Adopt { server, name, replica } => {
                self.start((server, *replica), Some(name), looked).await?;
            }
            Action::Stop { name } => self.fleet.stop(name),
            Action::Forget { name } => self.fleet.forget(name),
            Action::Delete { name } => self.delete(name).await?,
        }
        Ok(())
    }

    /// Writes an instance down, and starts it; one that is left is written down already, and gone on with.
    async fn start(
        &mut self,
        (uid, replica): (&str, u32),
        left: Option<&str>,
        looked: &Looked,
    ) -> Result<(), StoreError> {
        let Some(server) = looked.servers.get(uid) else { return Ok(()) };
        let spec = server.spec::<ServerSpec>()?;
        // A secret may be another one by now: then the next look begins again with it.
        let Ok(resolved) = self.resolve(server, &spec, &looked.secrets).await? else { return Ok(()) };
        let metadata = &server.metadata;
        let name = match left {
            Some(left) => left.to_owned(),
            None => self.write_down(server, replica).await?,
        };
        let order = Order { name: name.clone(), spec: Arc::new(spec), env: resolved.env };
        self.fleet.start(Wanted {
            name,
            server: metadata.name.as_str().into(),
            generation: resolved.version,
            replica,
            order,
            is_left: left.is_some(),
            headers: resolved.headers,
        });
        Ok(())
    }

    /// Writes an instance of a server down, and gives its name.
    async fn write_down(&self, server: &Resource, replica: u32) -> Result<String, StoreError> {
        let metadata = &server.metadata;
        let name = name_of(metadata.name.as_str(), replica, suffix());
        let own = InstanceSpec {
            server: metadata.name.to_string(),
            replica,
            server_generation: Some(metadata.generation),
        };
        let mut desired = Desired::new(&instance::DESCRIPTOR, None, &name, json!(own));
        desired.owner = Some(metadata.uid.clone());
        self.store.create(&desired, &Actor::system()).await?;
        Ok(name)
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let key = Key::global(&instance::DESCRIPTOR, name);
        match self.store.delete(&key, None, Deletion::Refuse, &Actor::system()).await {
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes down what is the case, where it is something else than before.
    async fn tell(&mut self, looked: &Looked) -> Result<(), StoreError> {
        let (world, now) = (&looked.world, Instant::now());
        for kept in &world.kept {
            if let Some(status) = status::of_instance(world, kept, &self.node) {
                self.put(&kept.uid, kept.generation, status).await?;
            }
        }
        for server in world.servers.iter().filter(|server| server.is_ours) {
            let before = looked.servers.get(&server.uid).and_then(|it| it.status.as_ref());
            let conditions = status::of_server(world, server, now);
            let status = status::merged(before.map(|it| &it.status), &conditions);
            self.put(&server.uid, server.generation, status).await?;
        }
        let is_there =
            |uid: &String| looked.servers.contains_key(uid) || world.kept.iter().any(|kept| kept.uid == *uid);
        self.written.retain(|uid, _| is_there(uid));
        Ok(())
    }

    async fn put(&mut self, uid: &str, generation: u64, status: Value) -> Result<(), StoreError> {
        let told = json!([generation, status]);
        if self.written.get(uid) == Some(&told) {
            return Ok(());
        }
        match self.store.put_status(uid, generation, &status).await {
            // It is gone meanwhile.
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        self.written.insert(uid.to_owned(), told);
        Ok(())
    }
}

/// Waits until access to some server stands otherwise.
async fn told(access: Option<&mut watch::Receiver<u64>>) {
    match access {
        // Who tells lives as long as the fleet.
        Some(access) => drop(access.changed().await),
        None => std::future::pending().await,
    }
}

/// Waits for a change that matters, and takes all that came with it.
async fn next(watch: &mut Watch) -> Result<(), StoreError> {
    let mut is_news = false;
    while !is_news {
        is_news = KINDS.contains(&&*watch.next().await?.kind);
    }
    while let Some(more) = watch.next().now_or_never() {
        more?;
    }
    Ok(())
}

/// The name of an instance: that of its server, as far as there is room for it, its replica, and what tells it from those before.
fn name_of(server: &str, replica: u32, suffix: [u8; INSTANCE_SUFFIX]) -> String {
    let tail = format!("-{replica}-{}", letters(suffix));
    let room = server.floor_char_boundary(INSTANCE_NAME_BYTES - tail.len());
    format!("{}{tail}", &server[..room])
}

fn letters(suffix: [u8; INSTANCE_SUFFIX]) -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    suffix.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

/// By chance; without randomness of the system two instances may be called the same, and the second isn't made.
fn suffix() -> [u8; INSTANCE_SUFFIX] {
    let mut suffix = [0; INSTANCE_SUFFIX];
    // What failed is seen: the name is taken.
    getrandom::fill(&mut suffix).unwrap_or_default();
    suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_instance_fits_whatever_its_server_is_called() {
        assert_eq!(name_of("ha", 2, [0, 1, 25, 26, 71]), "ha-2-abz09");
        let long = name_of(&"x".repeat(100), 99, [0; INSTANCE_SUFFIX]);
        assert_eq!(long.len(), INSTANCE_NAME_BYTES);
        assert!(long.ends_with("x-99-aaaaa"));
        let name = name_of(&"ä".repeat(60), 0, suffix());
        assert!(name.len() <= INSTANCE_NAME_BYTES && name.starts_with('ä'));
    }
}
