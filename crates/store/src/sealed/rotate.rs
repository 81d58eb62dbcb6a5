//! Other keys for what is sealed: in steps of which each leaves everything readable, wherever the process dies.
//!
//! ```text
//!  file: old          file: old, new        file: old, new           file: new
//!  database: old ──►  database: old   ──►   database: new      ──►   database: new
//! ```

use std::collections::BTreeSet;

use super::values::{Pair, Stored};
use crate::error::StoreError;
use crate::store::Store;

/// A step of a rotation that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationStep {
    /// The new key is in the file beside the old one.
    KeyAdded,
    /// Everything is wrapped by the new key, and not yet durable.
    Rewrapped,
    /// That is durable.
    Committed,
    /// The old key is gone.
    OldKeyGone,
}

/// What a look at everything that is sealed has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Versions of secrets that open.
    pub versions: u64,
    /// What doesn't open, and why.
    pub faults: Vec<String>,
    /// The ids of the keys in use.
    pub keys_used: BTreeSet<String>,
    /// The ids of keys that are there and wrap nothing: a rotation was interrupted.
    pub keys_unused: BTreeSet<String>,
}

impl Store {
    /// Puts another key of keys in the place of the one that is used; says its id. `after` is told of each step.
    ///
    /// A credential is not written: the newest key in it is taken.
    pub async fn rotate_key(&self, mut after: impl FnMut(RotationStep)) -> Result<String, StoreError> {
        let mut change = self.begin().await?;
        let pair = change.key_pair().await?;
        let keys = self.keys.get()?;
        if !self.keys.is_credential() {
            // What an interrupted rotation has left is not used: nobody knows where else it is.
            self.keys.write(&keys.only(&self.used(&pair).await?).with_fresh())?;
            after(RotationStep::KeyAdded);
        }
        let keys = self.keys.get()?;
        let Some((id, _)) = keys.newest().filter(|(id, _)| *id != pair.key_id) else {
            return Err(StoreError::Sealed {
                what: "the newest key of the credential is in use already".to_owned(),
                hint: "add a new key at the end of the credential's list, restart, then rotate",
            });
        };
        Pair { key_id: id.clone(), ..pair }.write(&mut change.tx, &keys).await?;
        for mut stored in Stored::all(&mut change.tx).await? {
            stored.rewrap(&keys, id)?;
            stored.insert(&mut change.tx).await?;
        }
        after(RotationStep::Rewrapped);
        change.commit().await?;
        after(RotationStep::Committed);
        if !self.keys.is_credential() {
            self.keys.write(&keys.only(&BTreeSet::from([id.clone()])))?;
            after(RotationStep::OldKeyGone);
        }
        Ok(id.clone())
    }

    /// Seals everything anew, each with another data key; says how many versions that were.
    pub async fn rekey(&self) -> Result<u64, StoreError> {
        let mut change = self.begin().await?;
        let pair = change.key_pair().await?;
        let keys = self.keys.get()?;
        let mut count = 0;
        for stored in Stored::all(&mut change.tx).await? {
            let values = stored.open(&keys)?;
            let (uid, name) = (stored.uid, stored.name);
            let anew = Stored::seal((&keys, &pair.key_id), (uid, name), stored.version, &values)?;
            anew.insert(&mut change.tx).await?;
            count += 1;
        }
        change.commit().await?;
        Ok(count)
    }

    /// Opens everything that is sealed.
    pub async fn verify_sealed(&self) -> Result<Verified, StoreError> {
        let readers = &self.pools.readers;
        let pair = Pair::read(readers, || self.keys.get()).await?;
        let mut found = Verified {
            versions: 0,
            faults: Vec::new(),
            keys_used: pair.into_iter().map(|pair| pair.key_id).collect(),
            keys_unused: BTreeSet::new(),
        };
        for stored in Stored::all(readers).await? {
            found.keys_used.insert(stored.key_id.clone());
            match self.keys.get().and_then(|keys| stored.open(&keys)) {
                Ok(_) => found.versions += 1,
                Err(error) => found.faults.push(format!("version {}: {error}", stored.version)),
            }
        }
        if let Some(keys) = self.keys.find()? {
            let unused = keys.ids().filter(|id| !found.keys_used.contains(*id));
            found.keys_unused = unused.map(str::to_owned).collect();
        }
        Ok(found)
    }

    /// Refuses to go on where the key isn't the one that sealed what is there.
    pub(crate) async fn check_key(&self) -> Result<(), StoreError> {
        Pair::read(&self.pools.readers, || self.keys.get()).await.map(drop)
    }

    async fn used(&self, pair: &Pair) -> Result<BTreeSet<String>, StoreError> {
        let stored = Stored::all(&self.pools.readers).await?;
        Ok(stored.into_iter().map(|stored| stored.key_id).chain([pair.key_id.clone()]).collect())
    }
}
