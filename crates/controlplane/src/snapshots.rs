//! What is decided with, in memory, in step with the store: rules and credentials, whoever changes them and on whichever node.
//!
//! A change made here is in force before its answer leaves; one made elsewhere as soon as the store tells of it, and at the
//! latest when the next change begins here.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// What the store had at the last look: others than these, e.g. temporary ones, are not ours to take away. Held from a
    /// look at the store to the change in memory, so that no older look comes last.
    known: Mutex<HashMap<TokenId, CredentialRecord>>,
    /// The revision whose rules and credentials are in these at least.
    seen: AtomicU64,
    /// Says that something is different.
    changed: watch::Sender<u64>,
    /// Why values of secrets can't be opened, while they can't.
    unavailable: std::sync::Mutex<Option<String>>,
}

/// What is to be looked at again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stale {
    rules: bool,
    credentials: bool,
    secrets: bool,
}

impl Stale {
    fn of(kind: &str) -> Self {
        let (rules, credentials) = (OF_RULES.contains(&kind), OF_CREDENTIALS.contains(&kind));
        Self { rules, credentials, secrets: kind == OF_SECRETS }
    }

    fn of_all<'a>(kinds: impl IntoIterator<Item = &'a str>) -> Self {
        kinds.into_iter().fold(Self::default(), |stale, kind| stale.or(Self::of(kind)))
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
        let (known, seen) = (Mutex::default(), AtomicU64::default());
        Self { store, credentials, policies, record, known, seen, changed, unavailable }
    }

    /// Reads everything, and says as of which revision.
    pub(crate) async fn load(&self) -> Result<u64, StoreError> {
        let revision = self.store.revision().await?;
        self.refresh(Stale { rules: true, credentials: true, secrets: true }).await?;
        self.seen.store(revision, Ordering::Release);
        Ok(revision)
    }

    /// Begins a change, by which time nothing else can come between and these are in step with the store: what was taken
    /// away before, here or on another node, is not there any more for whoever decides now.
    pub(crate) async fn begin(&self) -> Result<Transaction, StoreError> {
        let mut change = self.store.begin().await?;
        let changed = change.kinds_since(self.seen.load(Ordering::Acquire)).await?;
        let stale = match &changed {
            Some(kinds) => Stale::of_all(kinds.iter().map(String::as_str)),
            None => Stale { rules: true, credentials: true, secrets: false },
        };
        // Nobody is let in or kept out by a secret, and to open all takes long.
        self.refresh(Stale { secrets: false, ..stale }).await?;
        self.seen.store(change.begun_at(), Ordering::Release);
        Ok(change)
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

    /// What a change of these kinds, begun here, came to is in force when this returns. If the store doesn't answer, it is as
    /// soon as it does.
    pub(crate) async fn follow_change(&self, kinds: &BTreeSet<String>, revision: u64) {
        // These were in step with what was before it.
        if self.is_refreshed(Stale::of_all(kinds.iter().map(String::as_str))).await {
            self.seen.fetch_max(revision, Ordering::AcqRel);
        }
    }

    /// The same for what else changed these kinds.
    pub(crate) async fn refresh_for(&self, kinds: &[&str]) {
        self.is_refreshed(Stale::of_all(kinds.iter().copied())).await;
    }

    async fn is_refreshed(&self, stale: Stale) -> bool {
        let refreshed = self.refresh(stale).await;
        if let Err(error) = &refreshed {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "rules and credentials can't be read again yet"
            );
        }
        refreshed.is_ok()
    }

    async fn refresh(&self, stale: Stale) -> Result<(), StoreError> {
        if stale == Stale::default() {
            return Ok(());
        }
        let mut known = self.known.lock().await;
        if stale.rules {
            self.policies.replace(self.policy().await?);
        }
        if stale.credentials {
            let records = self.store.credential_records().await?;
            self.take(&mut known, records);
        }
        if stale.secrets {
            self.hide().await?;
        }
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Has values of secrets hidden. Rules and credentials don't wait for a key that isn't there: who can't open a value
    /// can't show it either.
    async fn hide(&self) -> Result<(), StoreError> {
        let live = self.store.live_values().await?;
        let hidden = live.values.into_iter();
        let hidden = hidden.map(|(secret, name, value)| Hidden { name: format!("{secret}.{name}"), value });
        self.record.hide(hidden.collect()).await;
        self.secrets_are(live.unopened.map(|error| error.to_string()));
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

    /// Lets in whom the store knows and nobody else of those it knew, and ends what runs under those.
    fn take(&self, known: &mut HashMap<TokenId, CredentialRecord>, records: Vec<CredentialRecord>) {
        let records: HashMap<TokenId, CredentialRecord> =
            records.into_iter().map(|record| (record.id, record)).collect();
        let is_new =
            |record: &&CredentialRecord| known.get(&record.id).is_none_or(|old| !is_same(old, record));
        let gone: Vec<TokenId> = known.keys().filter(|id| !records.contains_key(id)).copied().collect();
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
                let secrets = self.condition().is_some();
                self.refresh(Stale { rules: true, secrets, ..Stale::default() }).await?;
                continue;
            };
            let change = change?;
            let (mut newest, mut stale) = (change.revision, Stale::of(&change.kind));
            // Many changes at once are one look.
            while let Some(further) = changes.next().now_or_never() {
                let further = further?;
                (newest, stale) = (further.revision, stale.or(Stale::of(&further.kind)));
            }
            self.refresh(stale).await?;
            self.seen.fetch_max(newest, Ordering::AcqRel);
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
