//! What is there from the beginning, of every kind.

use hayward_api::kinds::{Builtin, Descriptor, KINDS};
use serde_json::Value;

use crate::error::StoreError;
use crate::resource::{Actor, Desired, parse};
use crate::sql::query;
use crate::store::Store;
use crate::transaction::Transaction;

impl Store {
    /// Makes what is missing of what is built in. What is there and was never changed follows this program.
    pub(crate) async fn put_builtins(&self) -> Result<(), StoreError> {
        let known =
            KINDS.iter().flat_map(|kind| (kind.builtins)().into_iter().map(move |builtin| (*kind, builtin)));
        let rows =
            query("SELECT kind, name, builtin FROM resources WHERE scope = '' AND builtin IS NOT NULL")
                .fetch_all(&self.pools.readers)
                .await
                .map_err(StoreError::at("read what is built in"))?;
        let mut there = Vec::new();
        for row in &rows {
            let step = StoreError::at("read what is built in");
            let read = || {
                Ok((row.get::<String>("kind")?, row.get::<String>("name")?, row.get::<String>("builtin")?))
            };
            there.push(read().map_err(step)?);
        }
        let is_there = |(kind, builtin): &(&Descriptor, Builtin)| {
            let mut same = there.iter().filter(|(of, name, _)| of == kind.name && name == builtin.name);
            same.any(|(.., spec)| parse::<Value>(spec).is_ok_and(|spec| spec == builtin.spec))
        };
        let missing: Vec<_> = known.filter(|builtin| !is_there(builtin)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut change = self.begin().await?;
        for (kind, builtin) in &missing {
            change.put_builtin(kind, builtin).await?;
        }
        change.commit().await
    }
}

impl Transaction {
    async fn put_builtin(&mut self, kind: &'static Descriptor, builtin: &Builtin) -> Result<(), StoreError> {
        let mut desired = Desired::new(kind, None, builtin.name, builtin.spec.clone());
        let step = "store what is built in";
        match crate::list::get(&mut self.tx, &desired.key()).await? {
            None => drop(self.create(&desired, &Actor::system()).await?),
            Some(found) => {
                let row = query("SELECT builtin FROM resources WHERE uid = $1").bind(&found.metadata.uid);
                let row = row.fetch_one(&mut self.tx).await.map_err(StoreError::at(step))?;
                let was: Option<String> = row.get("builtin").map_err(StoreError::at(step))?;
                let was: Option<Value> = was.map(|was| parse(&was)).transpose()?;
                if was.as_ref() == Some(&found.spec) {
                    desired.labels.clone_from(&found.metadata.labels);
                    desired.annotations.clone_from(&found.metadata.annotations);
                    self.update(&desired.key(), None, &desired, &Actor::system()).await?;
                }
            }
        }
        query("UPDATE resources SET builtin = $3 WHERE kind = $1 AND scope = '' AND name = $2")
            .bind(kind.name)
            .bind(builtin.name)
            .bind(builtin.spec.to_string())
            .execute(&mut self.tx)
            .await
            .map(drop)
            .map_err(StoreError::at(step))
    }
}
