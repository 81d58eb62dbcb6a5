//! What is the case for a resource, as whoever looks after it last saw it.
//!
//! A row of its own, without history: it says nothing of what is wanted.

use std::collections::HashMap;

use hayward_api::kinds::Descriptor;
use serde_json::Value;
use tokio::sync::watch;

use crate::dialect::tell_of_status;
use crate::error::StoreError;
use crate::resource::parse;
use crate::sql::{Row, query};
use crate::store::Store;
use crate::transaction::now;

/// The status of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The generation of the spec that it speaks of.
    pub observed_generation: u64,
    /// What is the case.
    pub status: Value,
    /// When it last changed (RFC 3339, UTC).
    pub updated_at: String,
}

impl Status {
    /// The columns of a status beside a resource; none if it has none.
    pub(crate) fn from_row(row: &Row) -> Result<Option<Self>, StoreError> {
        let step = "read a status";
        let Some(status) = row.get::<Option<String>>("status").map_err(StoreError::at(step))? else {
            return Ok(None);
        };
        let generation: i64 = row.get("observed_generation").map_err(StoreError::at(step))?;
        Ok(Some(Self {
            observed_generation: generation.cast_unsigned(),
            status: parse(&status)?,
            updated_at: row.get("status_at").map_err(StoreError::at(step))?,
        }))
    }
}

impl Store {
    /// Writes the status of the resource of this uid, if it differs from what is there.
    pub async fn put_status(
        &self,
        uid: &str,
        observed_generation: u64,
        status: &Value,
    ) -> Result<(), StoreError> {
        let written = query(
            "INSERT INTO status (uid, observed_generation, status, updated_at)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (uid) DO UPDATE SET observed_generation = excluded.observed_generation,
                 status = excluded.status, updated_at = excluded.updated_at
             WHERE status.status <> excluded.status
                OR status.observed_generation <> excluded.observed_generation",
        )
        .bind(uid)
        .bind(observed_generation)
        .bind(status.to_string())
        .bind(now())
        .execute(&self.pools.writer)
        .await
        .map_err(|error| match error.as_database_error() {
            Some(database) if database.is_foreign_key_violation() => {
                StoreError::NotFound { kind: "resource", name: uid.to_owned() }
            }
            _ => StoreError::at("write a status")(error),
        })?;
        if written > 0 {
            self.feed.status_changed();
            // It is written; others look again before long whether or not they are told.
            tell_of_status(&self.pools.writer).await.ok();
        }
        Ok(())
    }

    /// Says whenever the status of anything is another one, here or, while there is a [`Watch`](crate::Watch), in another
    /// process. How many changed is not said.
    pub fn status_changes(&self) -> watch::Receiver<u64> {
        self.feed.statuses()
    }

    /// When the status of each resource of this kind last changed, by the uid of the resource.
    pub async fn statuses(&self, kind: &Descriptor) -> Result<HashMap<String, String>, StoreError> {
        let step = "list statuses";
        let rows = query(
            "SELECT s.uid, s.updated_at FROM status s JOIN resources r ON r.uid = s.uid WHERE r.kind = $1",
        )
        .bind(kind.name)
        .fetch_all(&self.pools.readers)
        .await
        .map_err(StoreError::at(step))?;
        let entry = |row: &Row| Ok((row.get("uid")?, row.get("updated_at")?));
        rows.iter().map(entry).collect::<Result<_, _>>().map_err(StoreError::at(step))
    }

    /// The status of the resource of this uid, if it has one.
    pub async fn status(&self, uid: &str) -> Result<Option<Status>, StoreError> {
        let row =
            query("SELECT observed_generation, status, updated_at AS status_at FROM status WHERE uid = $1")
                .bind(uid)
                .fetch_optional(&self.pools.readers)
                .await
                .map_err(StoreError::at("read a status"))?;
        row.map_or(Ok(None), |row| Status::from_row(&row))
    }
}
