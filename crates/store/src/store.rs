//! The store: opening it, and single changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::dialect::{DatabaseUrl, Pools};
use crate::error::StoreError;
use crate::limits::Limits;
use crate::resource::{Actor, Desired, Key, Resource};
use crate::sealed::KeyPlace;
use crate::sql::query;
use crate::transaction::{Deletion, Transaction};
use crate::watch::{Feed, Watch};

pub(crate) const FILE: &str = "hayward.db";

/// How the store is kept.
#[derive(Clone, Debug, Default)]
pub struct StoreConfig {
    /// Sizes.
    pub limits: Limits,
    /// The `PostgreSQL` database that is used instead of a file in the folder.
    pub database: Option<DatabaseUrl>,
    /// The folder in which systemd puts credentials; the key of secrets is taken from there if it is there.
    pub credentials: Option<PathBuf>,
}

/// The database, open. Clones share it.
#[derive(Clone)]
pub struct Store {
    pub(crate) pools: Pools,
    pub(crate) feed: Arc<Feed>,
    /// Commits that run to their end although nobody waits any more, and the reader of changes.
    pub(crate) tasks: TaskTracker,
    pub(crate) limits: Limits,
    pub(crate) keys: Arc<KeyPlace>,
    /// Tells this process from every other that has opened the database.
    pub(crate) process: Arc<str>,
    stop: CancellationToken,
    /// Stops the reader with the last clone.
    _guard: Arc<DropGuard>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store(…)")
    }
}

impl Store {
    /// Opens the database in this folder, or makes it, or the one that the configuration names, and brings it up to this
    /// program.
    pub async fn open(dir: &Path, config: StoreConfig) -> Result<Self, StoreError> {
        let pools = match &config.database {
            Some(url) => Pools::open_url(url).await?,
            None => Pools::open_file(&dir.join(FILE)).await?,
        };
        let stop = CancellationToken::new();
        let store = Self {
            feed: Feed::new(pools.readers.clone()),
            pools,
            tasks: TaskTracker::new(),
            limits: config.limits,
            keys: Arc::new(KeyPlace::new(dir.join("keys"), config.credentials)),
            process: uuid::Uuid::now_v7().to_string().into(),
            _guard: Arc::new(stop.clone().drop_guard()),
            stop,
        };
        store.check_key().await?;
        store.put_builtins().await?;
        Ok(store)
    }

    /// Begins a change of several things that happen together or not at all.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        Transaction::begin(self.clone()).await
    }

    /// Stores a new resource.
    pub async fn create(&self, desired: &Desired<'_>, actor: &Actor) -> Result<Resource, StoreError> {
        let mut change = self.begin().await?;
        let resource = change.create(desired, actor).await?;
        change.commit().await?;
        Ok(resource)
    }

    /// Changes a resource that is still at this version, if one is given.
    pub async fn update(
        &self,
        key: &Key<'_>,
        precondition: Option<u64>,
        desired: &Desired<'_>,
        actor: &Actor,
    ) -> Result<Resource, StoreError> {
        let mut change = self.begin().await?;
        let resource = change.update(key, precondition, desired, actor).await?;
        change.commit().await?;
        Ok(resource)
    }

    /// Deletes a resource, with all that goes with it, and returns what it was.
    pub async fn delete(
        &self,
        key: &Key<'_>,
        precondition: Option<u64>,
        deletion: Deletion,
        actor: &Actor,
    ) -> Result<Resource, StoreError> {
        let mut change = self.begin().await?;
        let resource = change.delete(key, precondition, deletion, actor).await?;
        change.commit().await?;
        Ok(resource)
    }

    /// The last revision that was given out.
    pub async fn revision(&self) -> Result<u64, StoreError> {
        let row = query("SELECT value FROM revision").fetch_one(&self.pools.readers).await;
        let value: i64 = row.and_then(|row| row.at(0)).map_err(StoreError::at("read the revision"))?;
        Ok(value.cast_unsigned())
    }

    /// Every change after this revision, those that come included.
    pub async fn watch(&self, from_revision: u64) -> Result<Watch, StoreError> {
        Watch::open(&self.feed, from_revision, &self.tasks, &self.stop).await
    }

    /// Waits for what is running, then closes every connection.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.pools.readers.close().await;
        self.pools.writer.close().await;
    }
}

#[cfg(test)]
mod tests;
