//! A change: resources, credentials and history together or not at all.
//!
//! Whoever has begun a change is the only one, so revisions are given out in the order of commits, without gaps: a watch
//! that reads them in order misses none. What history says, and what specs refer to, is written at the end, all at once.

mod check;
mod delete;
mod keys;
mod revert;
mod write;

use std::collections::BTreeSet;

use hayward_auth::{Digest, TokenId};
use jiff::Timestamp;
use sqlx::Error as SqlError;

use crate::dialect;
use crate::error::StoreError;
use crate::history::{ChangeKind, LOGIN, Snapshot};
use crate::resource::{Actor, Resource};
use crate::sql::{Argument, Tx, insert_all, query};
use crate::store::Store;

pub use delete::Deletion;
pub use keys::keys_in;

/// Old history is forgotten whenever so much of the limit is new: a hundredth.
const FORGET_PART: u64 = 100;

/// A credential that a resource is to have.
#[derive(Clone, Copy, Debug)]
pub struct NewCredential {
    /// Its public id.
    pub id: TokenId,
    /// The digest of its secret.
    pub digest: Digest,
    /// From this second on (Unix time) it is refused.
    pub expires_at_unix: Option<i64>,
}

/// A change that is being made. Nothing of it happens before [`Transaction::commit`], and all of
/// it is undone if it is dropped.
pub struct Transaction {
    pub(crate) tx: Tx,
    pub(crate) store: Store,
    /// The last revision before this change.
    begun_at: i64,
    last_revision: i64,
    history: Vec<[Argument; 10]>,
    refs: Vec<[Argument; 5]>,
    has_deleted: bool,
    kinds: BTreeSet<String>,
}

impl Transaction {
    pub(crate) async fn begin(store: Store) -> Result<Self, StoreError> {
        let (tx, begun_at) = store.pools.begin().await.map_err(StoreError::at(store.pools.begins()))?;
        Ok(Self {
            tx,
            store,
            begun_at,
            last_revision: begun_at,
            history: Vec::new(),
            refs: Vec::new(),
            has_deleted: false,
            kinds: BTreeSet::new(),
        })
    }

    /// Gives the resource of this uid a credential.
    pub async fn put_credential(&mut self, uid: &str, credential: &NewCredential) -> Result<(), StoreError> {
        query("INSERT INTO credentials (id, uid, digest, expires_at) VALUES ($1, $2, $3, $4)")
            .bind(credential.id.as_str())
            .bind(uid)
            .bind(credential.digest.as_bytes().as_slice())
            .bind(credential.expires_at_unix)
            .execute(&mut self.tx)
            .await
            .map(drop)
            .map_err(StoreError::at("store a credential"))
    }

    /// Checks what the change has come to without making it: for dry runs, which then drop it.
    pub async fn verify(&mut self) -> Result<(), StoreError> {
        self.flush().await?;
        self.check().await
    }

    /// Makes the change, synced when this returns, and wakes the watches. What dangles after it is refused.
    ///
    /// Once begun, this runs to its end even if the caller goes away: a commit that happens while
    /// nobody waits must still be told to the watches.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.verify().await?;
        let is_change = self.last_revision != self.begun_at;
        if is_change {
            self.forget().await?;
            dialect::tell(&mut self.tx).await.map_err(StoreError::at("tell of a change"))?;
        }
        let Self { tx, store, .. } = self;
        let commit = store.tasks.clone().spawn(async move {
            tx.commit().await?;
            if is_change {
                store.feed.wake();
            }
            Ok(())
        });
        commit.await.unwrap_or(Err(SqlError::WorkerCrashed)).map_err(StoreError::at("make a change durable"))
    }

    /// The revision after which it began: nobody else changes anything from there on.
    pub fn begun_at(&self) -> u64 {
        self.begun_at.cast_unsigned()
    }

    /// The kinds of what changed after this revision and before this change, [`LOGIN`] among them; none if history doesn't
    /// tell all of it.
    pub async fn kinds_since(&mut self, revision: u64) -> Result<Option<BTreeSet<String>>, StoreError> {
        let Some(missed) = self.begun_at().checked_sub(revision) else { return Ok(None) };
        if missed == 0 {
            return Ok(Some(BTreeSet::new()));
        }
        let step = "look for what changed meanwhile";
        let rows = query("SELECT kind, COUNT(*) AS changes FROM history WHERE revision > $1 GROUP BY kind")
            .bind(revision)
            .fetch_all(&mut self.tx)
            .await
            .map_err(StoreError::at(step))?;
        let (mut kinds, mut told) = (BTreeSet::new(), 0);
        for row in &rows {
            kinds.insert(row.get("kind").map_err(StoreError::at(step))?);
            told += row.get::<i64>("changes").map_err(StoreError::at(step))?.cast_unsigned();
        }
        Ok((told == missed).then_some(kinds))
    }

    /// The kinds of all that it changed so far, [`LOGIN`] among them.
    pub fn kinds(&self) -> &BTreeSet<String> {
        &self.kinds
    }

    /// The revision that this change has come to.
    pub fn revision(&self) -> u64 {
        self.last_revision.cast_unsigned()
    }

    fn next_revision(&mut self) -> i64 {
        self.last_revision += 1;
        self.last_revision
    }

    /// Keeps the line of history of the revision that the resource just got.
    fn remember(
        &mut self,
        kind: ChangeKind,
        before: Option<&Resource>,
        after: Option<&Resource>,
        actor: &Actor,
    ) {
        let Some(resource) = after.or(before) else { return };
        let metadata = &resource.metadata;
        self.kinds.insert(resource.kind.clone());
        self.history.push([
            self.last_revision.into(),
            (&metadata.uid).into(),
            (&resource.kind).into(),
            resource.scope_text().into(),
            metadata.name.as_str().into(),
            kind.as_str().into(),
            actor.as_str().into(),
            now().into(),
            before.map(Snapshot::text).into(),
            after.map(Snapshot::text).into(),
        ]);
    }

    /// Keeps a line of history that only says that a login began or ended.
    pub(crate) fn signal(&mut self, change: ChangeKind, resource: (&str, &str), actor: &Actor) {
        self.signal_of(LOGIN, change, resource, actor);
    }

    /// The same of something else that is no resource, by its word.
    pub(crate) fn signal_of(
        &mut self,
        kind: &str,
        change: ChangeKind,
        (uid, name): (&str, &str),
        actor: &Actor,
    ) {
        let revision = self.next_revision();
        self.kinds.insert(kind.to_owned());
        self.history.push([
            revision.into(),
            uid.into(),
            kind.into(),
            "".into(),
            name.into(),
            change.as_str().into(),
            actor.as_str().into(),
            now().into(),
            Argument::Text(None),
            Argument::Text(None),
        ]);
    }

    /// Writes what was kept for the end.
    async fn flush(&mut self) -> Result<(), StoreError> {
        const HISTORY: &str = "INSERT INTO history (revision, uid, kind, scope, name, change, actor, at, before, after) VALUES ";
        const REFS: &str = "INSERT INTO refs (uid, kind, scope, name, field) VALUES ";
        let (history, refs) = (std::mem::take(&mut self.history), std::mem::take(&mut self.refs));
        if !history.is_empty() {
            let counted = query("UPDATE revision SET value = $1").bind(self.last_revision);
            counted.execute(&mut self.tx).await.map_err(StoreError::at("count a revision"))?;
        }
        insert_all(&mut self.tx, HISTORY, history).await.map_err(StoreError::at("write history"))?;
        insert_all(&mut self.tx, REFS, refs).await.map_err(StoreError::at("write references"))
    }

    /// Forgets what is older than it is to be kept, and the values of secrets that only that could have brought back. Logins
    /// come and go all the time: they push out no history of resources.
    async fn forget(&mut self) -> Result<(), StoreError> {
        let max = self.store.limits.history_rows_max;
        // To count what there is takes long: a little more is kept for a while.
        let step = (max / FORGET_PART).max(1).cast_signed();
        if self.last_revision / step == self.begun_at / step {
            return Ok(());
        }
        for of_logins in [true, false] {
            let oldest = query(
                "SELECT MAX(revision) FROM (SELECT revision FROM history WHERE (kind = $1) = $2
                     ORDER BY revision DESC LIMIT 1 OFFSET $3) AS oldest",
            );
            let oldest = oldest.bind(LOGIN).bind(of_logins).bind(max).fetch_one(&mut self.tx).await;
            let oldest: Option<i64> =
                oldest.and_then(|row| row.at(0)).map_err(StoreError::at("look for old history"))?;
            let Some(oldest) = oldest else { continue };
            for statement in [
                "DELETE FROM sealed
                 WHERE uid IN (SELECT uid FROM history WHERE revision <= $1 AND (kind = $2) = $3)
                     AND NOT EXISTS (SELECT 1 FROM resources r WHERE r.uid = sealed.uid)
                     AND NOT EXISTS (SELECT 1 FROM history h WHERE h.uid = sealed.uid AND h.revision > $1)",
                "DELETE FROM history WHERE revision <= $1 AND (kind = $2) = $3",
            ] {
                let forgotten = query(statement).bind(oldest).bind(LOGIN).bind(of_logins);
                let forgotten = forgotten.execute(&mut self.tx).await;
                forgotten.map_err(StoreError::at("forget old history"))?;
            }
        }
        Ok(())
    }
}

pub(crate) fn now() -> String {
    format!("{:.6}", Timestamp::now())
}
