//! The store: opening, reading, and single changes.

use std::path::Path;
use std::sync::Arc;

use hayward_api::kinds::Descriptor;
use serde_json::Value;
use sqlx::Executor;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::dialect::{BEGIN_WRITE, Engine, Pools, Row};
use crate::error::StoreError;
use crate::limits::Limits;
use crate::resource::{Actor, Key, Resource};
use crate::transaction::Transaction;
use crate::watch::Watch;

pub(crate) const FILE: &str = "hayward.db";

/// How the store is kept.
#[derive(Clone, Debug, Default)]
pub struct StoreConfig {
    /// Sizes.
    pub limits: Limits,
}

/// The database, open. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pools: Pools,
    /// Says that there are changes to read, and which was the last.
    wake: watch::Sender<u64>,
    /// Commits that run to their end although nobody waits any more.
    commits: TaskTracker,
    pub(crate) limits: Limits,
    /// Tells this process from every other that has opened the database.
    pub(crate) process: Arc<str>,
}

impl Store {
    /// Opens the database in this folder, or makes it, and brings it up to this program.
    pub async fn open(dir: &Path, config: StoreConfig) -> Result<Self, StoreError> {
        let pools = Pools::open(&dir.join(FILE)).await?;
        Ok(Self {
            pools,
            wake: watch::Sender::new(0),
            commits: TaskTracker::new(),
            limits: config.limits,
            process: uuid::Uuid::now_v7().to_string().into(),
        })
    }

    /// Begins a change of several things that happen together or not at all.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let inner = self.pools.writer.begin_with(BEGIN_WRITE).await;
        let inner = inner.map_err(StoreError::at("begin a change"))?;
        Ok(Transaction::new(inner, self.wake.clone(), self.commits.clone(), self.limits.history_rows_max))
    }

    /// Stores a new resource.
    pub async fn create(&self, key: &Key<'_>, spec: &Value, actor: &Actor) -> Result<Resource, StoreError> {
        let mut change = self.begin().await?;
        let resource = change.create(key, spec, actor).await?;
        change.commit().await?;
        Ok(resource)
    }

    /// The resource of this name or uid.
    pub async fn get(&self, key: &Key<'_>) -> Result<Resource, StoreError> {
        find(&self.pools.readers, key).await?.ok_or_else(|| key.not_found())
    }

    /// Every resource of a kind in a scope (none: the whole system), by name.
    ///
    /// To follow them, take [`Store::revision`] first and watch from there.
    pub async fn list(&self, kind: &Descriptor, scope: Option<&str>) -> Result<Vec<Resource>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query("SELECT * FROM resources WHERE kind = $1 AND scope = $2 ORDER BY name")
                .bind(kind.name)
                .bind(scope.unwrap_or_default())
                .fetch_all(&self.pools.readers)
                .await
                .map_err(StoreError::at("list resources"))?;
        rows.iter().map(Resource::from_row).collect()
    }

    /// Replaces the spec of a resource that is still at this version.
    pub async fn update(
        &self,
        key: &Key<'_>,
        resource_version: u64,
        spec: &Value,
        actor: &Actor,
    ) -> Result<Resource, StoreError> {
        let mut change = self.begin().await?;
        let resource = change.update(key, resource_version, spec, actor).await?;
        change.commit().await?;
        Ok(resource)
    }

    /// Deletes a resource, with its credentials and its status, and returns what it was.
    pub async fn delete(&self, key: &Key<'_>, actor: &Actor) -> Result<Resource, StoreError> {
        let mut change = self.begin().await?;
        let resource = change.delete(key, actor).await?;
        change.commit().await?;
        Ok(resource)
    }

    /// The last revision that was given out.
    pub async fn revision(&self) -> Result<u64, StoreError> {
        let value: i64 = sqlx::query_scalar("SELECT value FROM revision")
            .fetch_one(&self.pools.readers)
            .await
            .map_err(StoreError::at("read the revision"))?;
        Ok(value.cast_unsigned())
    }

    /// Every change after this revision, those that come included.
    pub async fn watch(&self, from_revision: u64) -> Result<Watch, StoreError> {
        let wake = self.wake.subscribe();
        Watch::open(self.pools.readers.clone(), from_revision, wake).await
    }

    /// Waits for what is running, then closes every connection.
    pub async fn close(&self) {
        self.commits.close();
        self.commits.wait().await;
        self.pools.readers.close().await;
        self.pools.writer.close().await;
    }
}

/// The resource of this name or uid; a name wins over a uid.
pub(crate) async fn find<'e, E>(executor: E, key: &Key<'_>) -> Result<Option<Resource>, StoreError>
where
    E: Executor<'e, Database = Engine>,
{
    let row = sqlx::query(
        "SELECT * FROM resources WHERE kind = $1 AND scope = $2 AND (name = $3 OR uid = $3)
         ORDER BY (CASE WHEN name = $3 THEN 0 ELSE 1 END) LIMIT 1",
    )
    .bind(key.kind.name)
    .bind(key.scope_text())
    .bind(key.name)
    .fetch_optional(executor)
    .await
    .map_err(StoreError::at("read a resource"))?;
    row.as_ref().map(Resource::from_row).transpose()
}

#[cfg(test)]
mod tests;
