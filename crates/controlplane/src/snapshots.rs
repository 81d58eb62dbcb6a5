//! What is decided with, in memory, in step with the store: rules and credentials, whoever changes them and on whichever node.
//!
//! A change made here is in force before its answer leaves; one made elsewhere as soon as the store tells of it, and at the
//! latest when the next change begins here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use hayward_api::kinds::{Condition, Descriptor, KINDS};
use hayward_api::{Caller, Principal};
use hayward_auth::{CredentialRecord, Credentials, Policies, Policy, TokenId};
use hayward_store::{LOGIN, ListScope, Store, StoreError, Transaction};
use jiff::Timestamp;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::limits::{FOLLOW_PAUSE, LONGEST_LOOK, SECRETS_LOOK, SHORTEST_LOOK};
use crate::ports::{Hidden, Record};

/// Kinds that rules follow from.
pub(crate) const OF_RULES: [&str; 3] = ["rbac", "group", "user"];
/// Kinds that credentials follow from.
const OF_CREDENTIALS: [&str; 3] = ["token", "user", LOGIN];
/// The kind whose values are hidden.
const OF_SECRETS: &str = "secret";
/// The condition while they can't be opened.
const SECRETS_UNAVAILABLE: &str = "SecretsUnavailable";

/// The snapshots, and how they follow the store.
pub struct Snapshots {
    store: Store,
    credentials: Arc<Credentials>,
    policies: Arc<Policies>,
    record: Arc<dyn Record>,
    /// Held from a look at the store to the change in memory, so that no older look comes last.
    known: Mutex<Known>,
    /// The revision up to which values of secrets are hidden. Held while they are opened.
    hidden: Mutex<u64>,
    /// Says that something is different.
    changed: watch::Sender<u64>,
    /// Why values of secrets can't be opened, while they can't.
    unavailable: std::sync::Mutex<Option<String>>,
}

/// What the last looks at the store have come to.
#[derive(Default)]
struct Known {
    /// The credentials that it had.
    records: HashMap<TokenId, CredentialRecord>,
    /// All rules and credentials up to this revision are in force.
    revision: u64,
}

/// What is to be looked at again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stale {
    rules: bool,
    credentials: bool,
    secrets: bool,
}

impl Stale {
    const ALL: Self = Self { rules: true, credentials: true, secrets: true };

    fn of(kind: &str) -> Self {
        let (rules, credentials) = (OF_RULES.contains(&kind), OF_CREDENTIALS.contains(&kind));
        Self { rules, credentials, secrets: kind == OF_SECRETS }
    }

    fn of_all(kinds: &BTreeSet<String>) -> Self {
        kinds.iter().fold(Self::default(), |stale, kind| stale.or(Self::of(kind)))
    }

    fn or(self, other: Self) -> Self {
        Self {
            rules: self.rules || other.rules,
            credentials: self.credentials || other.credentials,
            secrets: self.secrets || other.secrets,
        }
    }
}

impl Snapshots {
    pub(crate) fn new(
        store: Store,
        credentials: Arc<Credentials>,
        policies: Arc<Policies>,
        record: Arc<dyn Record>,
    ) -> Self {
        let (changed, unavailable) = (watch::Sender::new(0), std::sync::Mutex::default());
        let (known, hidden) = (Mutex::default(), Mutex::default());
        Self { store, credentials, policies, record, known, hidden, changed, unavailable }
    }

    /// Reads everything, and says as of which revision.
    pub(crate) async fn load(&self) -> Result<u64, StoreError> {
        let mut known = self.known.lock().await;
        let revision = self.store.revision().await?;
        self.refresh(&mut known, Stale::ALL).await?;
        known.revision = revision;
        drop(known);
        // The database may be another one by now.
        *self.hidden.lock().await = 0;
        self.hide(revision).await?;
        Ok(revision)
    }

    /// Begins a change, by which time nothing else can come between and these are in step with the store: what was taken
    /// away before, here or on another node, is not there any more for whoever decides now.
    pub(crate) async fn begin(&self) -> Result<Transaction, StoreError> {
        let mut change = self.store.begin().await?;
        let mut known = self.known.lock().await;
        if known.revision != change.begun_at() {
            let changed = change.kinds_since(known.revision).await?;
            self.refresh(&mut known, changed.as_ref().map_or(Stale::ALL, Stale::of_all)).await?;
            known.revision = change.begun_at();
        }
        drop(known);
        Ok(change)
    }

    /// Makes a change that was begun here. What it came to is in force when this returns; if the store doesn't answer, it is as
    /// soon as it does.
    pub(crate) async fn commit(&self, change: Transaction) -> Result<(), StoreError> {
        let (revision, stale) = (change.revision(), Stale::of_all(change.kinds()));
        change.commit().await?;
        if let Err(error) = self.follow_to(revision, stale).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "rules and credentials can't be read again yet");
        }
        Ok(())
    }

    /// Takes over what changed up to a revision, of which all that came before is in force, unless that was done already.
    async fn follow_to(&self, revision: u64, stale: Stale) -> Result<(), StoreError> {
        let mut known = self.known.lock().await;
        if known.revision < revision {
            self.refresh(&mut known, stale).await?;
            known.revision = revision;
        }
        drop(known);
        // To open all values takes long, and nobody is let in or kept out by one: whoever begins a change doesn't wait for it.
        if stale.secrets { self.hide(revision).await } else { Ok(()) }
    }

    /// Says when something is different.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether a caller that was identified earlier would be the same one now.
    pub(crate) fn is_current(&self, caller: &Caller) -> bool {
        self.credentials.is_current(&caller.principal, Timestamp::now().as_second())
    }

    /// Whoever has this credential, if it lets somebody in at this moment.
    pub(crate) fn principal(&self, id: TokenId) -> Option<Arc<Principal>> {
        self.credentials.principal(id, Timestamp::now().as_second())
    }

    /// Looks at rules and credentials in the store again.
    async fn refresh(&self, known: &mut Known, stale: Stale) -> Result<(), StoreError> {
        if !stale.rules && !stale.credentials {
            return Ok(());
        }
        if stale.rules {
            self.policies.replace(self.policy().await?);
        }
        if stale.credentials {
            // What is let in while the store is read is not gone because it wasn't there yet.
            let before = self.credentials.stored();
            let records = self.store.credential_records().await?;
            self.take(&mut known.records, before, records);
        }
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Has the values of secrets hidden that there are at a revision, unless that was done already. Rules and credentials don't
    /// wait for a key that isn't there: who can't open a value can't show it either.
    async fn hide(&self, revision: u64) -> Result<(), StoreError> {
        let mut hidden_at = self.hidden.lock().await;
        if *hidden_at >= revision && self.condition().is_none() {
            return Ok(());
        }
        let now = self.store.revision().await?;
        let live = self.store.live_values().await?;
        let hidden = live.values.into_iter();
        let hidden = hidden.map(|(secret, name, value)| Hidden { name: format!("{secret}.{name}"), value });
        self.record.hide(hidden.collect()).await;
        self.secrets_are(live.unopened.map(|error| error.to_string()));
        *hidden_at = now;
        Ok(())
    }

    /// Tells once of a reason why values of secrets can't be opened, and once that they can be again.
    fn secrets_are(&self, unavailable: Option<String>) {
        let mut known = self.unavailable.lock().unwrap_or_else(PoisonError::into_inner);
        match &unavailable {
            same if *same == *known => {}
            Some(reason) => tracing::error!(reason, "values of secrets can't be opened: all else goes on"),
            None => tracing::info!("values of secrets can be opened again"),
        }
        *known = unavailable;
    }

    /// What is wrong with secrets, if something is.
    pub(crate) fn condition(&self) -> Option<Condition> {
        let known = self.unavailable.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|reason| Condition::new(SECRETS_UNAVAILABLE, "True", "NotOpened", reason.clone()))
    }

    async fn policy(&self) -> Result<Policy, StoreError> {
        let mut resources = Vec::new();
        for kind in KINDS.iter().filter(|kind| OF_RULES.contains(&kind.name)) {
            let kind: &Descriptor = kind;
            resources.extend(self.store.list(kind, ListScope::All).await?.items);
        }
        let resources = resources.iter().map(|it| (it.kind.as_str(), it.metadata.name.as_str(), &it.spec));
        Ok(Policy::new(resources, Timestamp::now().as_second()))
    }

    /// Lets in whom the store knows and nobody else but who is here for a while, and ends what runs under those.
    fn take(
        &self,
        known: &mut HashMap<TokenId, CredentialRecord>,
        before: Vec<TokenId>,
        records: Vec<CredentialRecord>,
    ) {
        let records: HashMap<TokenId, CredentialRecord> =
            records.into_iter().map(|record| (record.id, record)).collect();
        let is_new =
            |record: &&CredentialRecord| known.get(&record.id).is_none_or(|old| !is_same(old, record));
        let is_gone = |id: &TokenId| !records.contains_key(id);
        let gone: Vec<TokenId> = before.into_iter().filter(is_gone).collect();
        let new: Vec<CredentialRecord> = records.values().filter(is_new).cloned().collect();
        let other: Vec<TokenId> =
            new.iter().map(|record| record.id).filter(|id| known.contains_key(id)).collect();
        // First nobody is let in under them any more, then what runs is ended.
        self.credentials.change(&gone, &new);
        gone.iter().chain(&other).for_each(|id| self.record.end(id.as_str()));
        *known = records;
    }

    /// Follows the store until the shutdown.
    pub(crate) async fn follow(self: Arc<Self>, mut from: u64, shutdown: CancellationToken) {
        loop {
            let followed = shutdown.run_until_cancelled(self.follow_from(&mut from)).await;
            let Some(Err(error)) = followed else { return };
            tracing::warn!(error = &error as &dyn std::error::Error, "rules and credentials are read anew");
            shutdown.run_until_cancelled(tokio::time::sleep(FOLLOW_PAUSE)).await;
            // Whatever was missed is in what there is.
            if let Ok(revision) = self.load().await {
                from = revision;
            }
        }
    }

    async fn follow_from(&self, from: &mut u64) -> Result<(), StoreError> {
        let mut changes = self.store.watch(*from).await?;
        loop {
            let Some(change) = self.until_a_look_is_due(changes.next()).await else {
                self.refresh(&mut *self.known.lock().await, Stale { rules: true, ..Stale::default() })
                    .await?;
                if self.condition().is_some() {
                    self.hide(0).await?;
                }
                continue;
            };
            let change = change?;
            let (mut newest, mut stale) = (change.revision, Stale::of(&change.kind));
            // Many changes at once are one look.
            while let Some(further) = changes.next().now_or_never() {
                let further = further?;
                (newest, stale) = (further.revision, stale.or(Stale::of(&further.kind)));
            }
            self.follow_to(newest, stale).await?;
            *from = newest;
        }
    }

    /// Waits for this; none if an account is over before, whose rules then grant nothing any more, or if the key of secrets
    /// may be there again.
    async fn until_a_look_is_due<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        let left = |until: i64| {
            let left = until.saturating_sub(Timestamp::now().as_second());
            // A clock that is set meanwhile is looked at again.
            Duration::from_secs(u64::try_from(left).unwrap_or_default()).clamp(SHORTEST_LOOK, LONGEST_LOOK)
        };
        let account = self.policies.current().until_unix().map(left);
        let secrets = self.condition().map(|_| SECRETS_LOOK);
        match account.into_iter().chain(secrets).min() {
            Some(left) => tokio::time::timeout(left, waiting).await.ok(),
            None => Some(waiting.await),
        }
    }
}

/// Whether a record says the same as another one.
fn is_same(a: &CredentialRecord, b: &CredentialRecord) -> bool {
    a.enabled == b.enabled
        && a.expires_at_unix == b.expires_at_unix
        && a.principal == b.principal
        && a.digest.as_bytes() == b.digest.as_bytes()
}
