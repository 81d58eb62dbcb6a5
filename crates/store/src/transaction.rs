//! A change: resource, credential and history together or not at all.
//!
//! There is one writer, so revisions are given out in the order of commits, without gaps: a watch
//! that reads them in order misses none.

use hayward_api::metadata::API_VERSION;
use hayward_auth::{Digest, TokenId};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::dialect::Engine;
use crate::error::StoreError;
use crate::resource::{Actor, Key, Resource, checked_spec, shown};
use crate::store;
use crate::watch::ChangeKind;

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
#[derive(Debug)]
pub struct Transaction {
    pub(crate) inner: sqlx::Transaction<'static, Engine>,
    wake: watch::Sender<u64>,
    commits: TaskTracker,
    history_rows_max: u64,
    last_revision: Option<i64>,
}

impl Transaction {
    pub(crate) fn new(
        inner: sqlx::Transaction<'static, Engine>,
        wake: watch::Sender<u64>,
        commits: TaskTracker,
        history_rows_max: u64,
    ) -> Self {
        Self { inner, wake, commits, history_rows_max, last_revision: None }
    }

    /// Stores a new resource.
    pub async fn create(
        &mut self,
        key: &Key<'_>,
        spec: &Value,
        actor: &Actor,
    ) -> Result<Resource, StoreError> {
        key.check()?;
        let text = checked_spec(key.kind, spec)?;
        let revision = self.next_revision().await?;
        let row = sqlx::query(
            "INSERT INTO resources (uid, kind, scope, name, api_version, generation,
                                    resource_version, spec, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8, $8) RETURNING *",
        )
        .bind(Uuid::now_v7().to_string())
        .bind(key.kind.name)
        .bind(key.scope_text())
        .bind(key.name)
        .bind(API_VERSION)
        .bind(revision)
        .bind(text)
        .bind(now())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(|error| match error.as_database_error() {
            Some(database) if database.is_unique_violation() => {
                StoreError::AlreadyExists { kind: key.kind.name, name: key.name.to_owned() }
            }
            _ => StoreError::at("create a resource")(error),
        })?;
        let resource = Resource::from_row(&row)?;
        let after = Some(shown(key.kind, spec));
        self.remember(&resource, &Entry { kind: ChangeKind::Created, actor, before: None, after }).await?;
        Ok(resource)
    }

    /// Replaces the spec of a resource that is still at this version; the same spec changes nothing.
    pub async fn update(
        &mut self,
        key: &Key<'_>,
        resource_version: u64,
        spec: &Value,
        actor: &Actor,
    ) -> Result<Resource, StoreError> {
        let old = self.find(key).await?;
        let current = old.metadata.resource_version;
        if current != resource_version {
            let name = old.metadata.name.to_string();
            return Err(StoreError::Conflict { kind: key.kind.name, name, current });
        }
        let text = checked_spec(key.kind, spec)?;
        if old.spec == *spec {
            return Ok(old);
        }
        let row = sqlx::query(
            "UPDATE resources SET spec = $2, generation = generation + 1, resource_version = $3,
                                  updated_at = $4
             WHERE uid = $1 RETURNING *",
        )
        .bind(&old.metadata.uid)
        .bind(text)
        .bind(self.next_revision().await?)
        .bind(now())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(StoreError::at("update a resource"))?;
        let resource = Resource::from_row(&row)?;
        let (before, after) = (Some(shown(key.kind, &old.spec)), Some(shown(key.kind, spec)));
        self.remember(&resource, &Entry { kind: ChangeKind::Updated, actor, before, after }).await?;
        Ok(resource)
    }

    /// Deletes a resource, with its credentials and its status, and returns what it was.
    pub async fn delete(&mut self, key: &Key<'_>, actor: &Actor) -> Result<Resource, StoreError> {
        let mut resource = self.find(key).await?;
        sqlx::query("DELETE FROM resources WHERE uid = $1")
            .bind(&resource.metadata.uid)
            .execute(&mut *self.inner)
            .await
            .map_err(StoreError::at("delete a resource"))?;
        resource.metadata.resource_version = self.next_revision().await?.cast_unsigned();
        let before = Some(shown(key.kind, &resource.spec));
        self.remember(&resource, &Entry { kind: ChangeKind::Deleted, actor, before, after: None }).await?;
        Ok(resource)
    }

    /// Gives the resource of this uid a credential.
    pub async fn put_credential(&mut self, uid: &str, credential: &NewCredential) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO credentials (id, uid, digest, expires_at) VALUES ($1, $2, $3, $4)")
            .bind(credential.id.as_str())
            .bind(uid)
            .bind(credential.digest.as_bytes().as_slice())
            .bind(credential.expires_at_unix)
            .execute(&mut *self.inner)
            .await
            .map(drop)
            .map_err(StoreError::at("store a credential"))
    }

    /// Makes the change, synced when this returns, and wakes the watches.
    ///
    /// Once begun, this runs to its end even if the caller goes away: a commit that happens while
    /// nobody waits must still be told to the watches.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if let Some(revision) = self.last_revision {
            sqlx::query("DELETE FROM history WHERE revision <= $1")
                .bind(revision.saturating_sub_unsigned(self.history_rows_max))
                .execute(&mut *self.inner)
                .await
                .map_err(StoreError::at("forget old history"))?;
        }
        let commit = self.commits.clone().spawn(async move {
            self.inner.commit().await?;
            if let Some(revision) = self.last_revision {
                self.wake.send_replace(revision.cast_unsigned());
            }
            Ok(())
        });
        commit
            .await
            .unwrap_or(Err(sqlx::Error::WorkerCrashed))
            .map_err(StoreError::at("make a change durable"))
    }

    async fn find(&mut self, key: &Key<'_>) -> Result<Resource, StoreError> {
        store::find(&mut *self.inner, key).await?.ok_or_else(|| key.not_found())
    }

    async fn next_revision(&mut self) -> Result<i64, StoreError> {
        let revision = sqlx::query_scalar("UPDATE revision SET value = value + 1 RETURNING value")
            .fetch_one(&mut *self.inner)
            .await
            .map_err(StoreError::at("count a revision"))?;
        self.last_revision = Some(revision);
        Ok(revision)
    }

    /// Writes the line of history of the revision that the resource just got.
    async fn remember(&mut self, resource: &Resource, entry: &Entry<'_>) -> Result<(), StoreError> {
        let metadata = &resource.metadata;
        sqlx::query(
            "INSERT INTO history (revision, uid, kind, scope, name, change, actor, at, before, after)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(metadata.resource_version.cast_signed())
        .bind(&metadata.uid)
        .bind(&resource.kind)
        .bind(metadata.scope.as_ref().map_or("", |scope| scope.as_str()))
        .bind(metadata.name.as_str())
        .bind(entry.kind.as_str())
        .bind(entry.actor.as_str())
        .bind(now())
        .bind(&entry.before)
        .bind(&entry.after)
        .execute(&mut *self.inner)
        .await
        .map(drop)
        .map_err(StoreError::at("write history"))
    }
}

/// What history says of a change, beside the resource.
struct Entry<'a> {
    kind: ChangeKind,
    actor: &'a Actor,
    before: Option<String>,
    after: Option<String>,
}

pub(crate) fn now() -> String {
    format!("{:.6}", Timestamp::now())
}
