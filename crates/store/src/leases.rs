//! Leases: who looks after something that only one process may, and until when.
//!
//! The clock is that of the database, so that no two processes disagree on what is over. A holder counts from the moment
//! *before* it asked, by a clock that never jumps: its end then comes before that of the database.

use std::time::Duration;

use crate::dialect;
use crate::error::StoreError;
use crate::sql::{assembled, query};
use crate::store::Store;

impl Store {
    /// Takes a lease for so long, or goes on with it; false if another holder has it.
    pub async fn acquire_lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, StoreError> {
        let now = dialect::now_ms(&self.pools.writer);
        let taken = assembled(format!(
            "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, {now} + $3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
             WHERE leases.holder = excluded.holder OR leases.expires_at <= {now}"
        ));
        let taken = taken.bind(name).bind(holder).bind(millis(ttl)).execute(&self.pools.writer).await;
        Ok(taken.map_err(StoreError::at("take a lease"))? == 1)
    }

    /// Goes on for so long with all leases of a holder that aren't over, and gives their names.
    pub async fn renew_leases(&self, holder: &str, ttl: Duration) -> Result<Vec<String>, StoreError> {
        let now = dialect::now_ms(&self.pools.writer);
        let renewed = assembled(format!(
            "UPDATE leases SET expires_at = {now} + $2 WHERE holder = $1 AND expires_at > {now} RETURNING name"
        ));
        let renewed = renewed.bind(holder).bind(millis(ttl)).fetch_all(&self.pools.writer).await;
        let renewed = renewed.map_err(StoreError::at("renew leases"))?;
        renewed.iter().map(|row| row.get("name").map_err(StoreError::at("renew leases"))).collect()
    }

    /// Gives a lease back, if this holder has it.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let released = query("DELETE FROM leases WHERE name = $1 AND holder = $2");
        let released = released.bind(name).bind(holder).execute(&self.pools.writer).await;
        released.map(drop).map_err(StoreError::at("give a lease back"))
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
