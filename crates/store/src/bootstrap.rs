//! The first user, once.

use crate::error::StoreError;
use crate::resource::{Actor, Desired, Resource};
use crate::sql::query;
use crate::store::Store;
use crate::transaction::Transaction;

impl Store {
    /// Whether there is a user already.
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        let step = StoreError::at("look for users");
        let row = query(ANY_USER).fetch_one(&self.pools.readers).await;
        row.and_then(|row| row.at(0)).map_err(step)
    }
}

impl Transaction {
    /// Stores the first user, and what goes with it, in this order, if there is no user yet: of many who try at once, one
    /// succeeds.
    pub async fn bootstrap(
        &mut self,
        wanted: &[Desired<'_>],
        actor: &Actor,
    ) -> Result<Vec<Resource>, StoreError> {
        let row = query(ANY_USER).fetch_one(&mut self.tx).await;
        if row.and_then(|row| row.at(0)).map_err(StoreError::at("look for users"))? {
            return Err(StoreError::Done { what: "there is a first user already" });
        }
        let mut made = Vec::new();
        for desired in wanted {
            made.push(self.create(desired, actor).await?);
        }
        Ok(made)
    }
}

const ANY_USER: &str = "SELECT EXISTS (SELECT 1 FROM resources WHERE kind = 'user')";
