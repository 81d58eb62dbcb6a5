//! Values of secrets: sealed beside the resource, versioned, and opened only for who needs them.
//!
//! ```text
//!  key of keys (file or credential, never in the database) ──wraps──► a data key per version ──seals──► the values
//!                                                         └─wraps──► the private half of the key pair that others seal for
//! ```
//!
//! What is sealed is bound to the uid, the name and the version of its secret, so that nothing in the database can be put in
//! the place of something else. In memory, values are wiped when they are dropped.

mod envelope;
mod keys;
mod letter;
mod rotate;
mod values;

use std::collections::BTreeMap;

use hayward_api::kinds::{Descriptor, Sensitive};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::history::Snapshot;
use crate::resource::{Resource, invalid};
use crate::sql::query;
use crate::store::Store;
use crate::transaction::Transaction;

pub(crate) use keys::KeyPlace;
pub use letter::PublicKey;
pub use rotate::{RotationStep, Verified};
use values::Stored;

/// Stands for a value that must not be shown.
pub const HIDDEN: &str = "***";

/// The values of a secret by their names.
pub type Values = BTreeMap<String, Zeroizing<String>>;

impl Store {
    /// The values of the secret of this uid.
    pub async fn secret_values(&self, uid: &str) -> Result<Values, StoreError> {
        let stored = Stored::newest(&self.pools.readers, uid, None).await?;
        match stored {
            Some(stored) => stored.open(&*self.keys.get()?),
            None => Ok(Values::new()),
        }
    }

    /// The values of a secret, each as text that only the owner of a key can open, and only in a secret of this name.
    pub async fn seal_to(
        &self,
        secret: &Resource,
        key: &PublicKey,
    ) -> Result<BTreeMap<String, String>, StoreError> {
        let values = self.secret_values(&secret.metadata.uid).await?;
        let seal = |name: &str, value: &Zeroizing<String>| {
            letter::seal(
                key,
                &letter::Place { secret: secret.metadata.name.as_str(), name },
                value.as_bytes(),
            )
        };
        Ok(values.iter().map(|(name, value)| (name.clone(), seal(name, value))).collect())
    }

    /// The key that others seal values for that this server is to open. The first time, it is made.
    pub async fn public_key(&self) -> Result<PublicKey, StoreError> {
        let mut change = self.begin().await?;
        let pair = change.key_pair().await?;
        change.commit().await?;
        Ok(PublicKey::from(&pair.private))
    }

    /// Every value of every secret there is, for whoever has to see to it that none is shown. One that can't be opened keeps
    /// none of the others from being told.
    pub async fn live_values(&self) -> Result<LiveValues, StoreError> {
        let mut live = LiveValues::default();
        for stored in Stored::all_newest(&self.pools.readers).await? {
            let name = stored.name.clone();
            match self.keys.get().and_then(|keys| stored.open(&keys)) {
                Ok(values) => {
                    let values =
                        values.into_iter().map(|(value_name, value)| (name.clone(), value_name, value));
                    live.values.extend(values);
                }
                Err(error) => live.unopened = live.unopened.or(Some(error)),
            }
        }
        Ok(live)
    }
}

/// The newest values of all secrets.
#[derive(Debug, Default)]
pub struct LiveValues {
    /// The name of the secret, the name of the value, the value.
    pub values: Vec<(String, String, Zeroizing<String>)>,
    /// Why some aren't among them, if some aren't.
    pub unopened: Option<StoreError>,
}

impl Transaction {
    /// Takes the values of secrets out of a spec. They are returned if they aren't what is there already.
    pub(crate) async fn take_values(
        &mut self,
        (kind, secret): (&Descriptor, &str),
        mut spec: Value,
        old: Option<&Resource>,
    ) -> Result<(Value, Option<Values>), StoreError> {
        let mut taken = None;
        for sensitive in kind.sensitive {
            match sensitive {
                Sensitive::Password(member) => {
                    drop(spec.as_object_mut().and_then(|all| all.shift_remove(*member)));
                }
                Sensitive::Values(member) => {
                    let values = take(&mut spec, member)?;
                    let old_names = old.and_then(|old| old.spec.get(*member)?.as_object());
                    let is_same = old_names.is_some_and(|old| same(old, &values));
                    if !is_same || values.values().any(|value| value.as_str() != HIDDEN) {
                        taken = self.settle((secret, member), values, old).await?;
                    }
                }
            }
        }
        Ok((spec, taken))
    }

    /// Puts values in the place of what stands for them; none if that is all there is already.
    async fn settle(
        &mut self,
        (secret, member): (&str, &str),
        mut values: Values,
        old: Option<&Resource>,
    ) -> Result<Option<Values>, StoreError> {
        let kept = match old {
            Some(old) => self.values_of(&old.metadata.uid, None).await?.unwrap_or_default(),
            None => Values::new(),
        };
        for (name, value) in &mut values {
            if value.as_str() == HIDDEN {
                let missing =
                    || invalid(format!("`{member}.{name}`: `{HIDDEN}` keeps a value, and there is none yet"));
                *value = kept.get(name).cloned().ok_or_else(missing)?;
            } else if value.starts_with(letter::PREFIX) {
                let pair = self.key_pair().await?;
                *value = letter::open(&pair.private, &letter::Place { secret, name }, value).ok_or_else(|| {
                    invalid(format!(
                        "`{member}.{name}`: not sealed for this server and for `{name}` of secret `{secret}`, or damaged"
                    ))
                })?;
            }
        }
        Ok(Some(values).filter(|values| old.is_none() || *values != kept))
    }

    /// Seals new values of a resource, at its version, and forgets the oldest.
    pub(crate) async fn seal_values(
        &mut self,
        resource: &Resource,
        values: Option<Values>,
    ) -> Result<(), StoreError> {
        let Some(values) = values else { return Ok(()) };
        let pair = self.key_pair().await?;
        let metadata = &resource.metadata;
        let (uid, name) = (metadata.uid.clone(), metadata.name.to_string());
        let keys = self.store.keys.get()?;
        let stored = Stored::seal((&keys, &pair.key_id), (uid, name), metadata.resource_version, &values)?;
        stored.insert(&mut self.tx).await?;
        query(
            "DELETE FROM sealed WHERE uid = $1 AND version NOT IN
                 (SELECT version FROM sealed WHERE uid = $1 ORDER BY version DESC LIMIT $2)",
        )
        .bind(&metadata.uid)
        .bind(self.store.limits.secret_versions_max)
        .execute(&mut self.tx)
        .await
        .map(drop)
        .map_err(StoreError::at("forget old values"))
    }

    async fn values_of(&mut self, uid: &str, up_to: Option<u64>) -> Result<Option<Values>, StoreError> {
        let stored = Stored::newest(&mut self.tx, uid, up_to).await?;
        stored.map(|stored| stored.open(&*self.store.keys.get()?)).transpose()
    }

    /// The spec of a snapshot with the values that it had.
    pub(crate) async fn with_values_of(
        &mut self,
        kind: &Descriptor,
        was: &Snapshot,
        revision: u64,
    ) -> Result<Value, StoreError> {
        let mut spec = was.spec.clone();
        for sensitive in kind.sensitive {
            let Sensitive::Values(member) = sensitive else { continue };
            let Some(shown) = spec.get_mut(*member).and_then(Value::as_object_mut) else { continue };
            if shown.is_empty() {
                continue;
            }
            let mut values = self.values_of(&was.metadata.uid, Some(revision)).await?.unwrap_or_default();
            for (name, value) in shown.iter_mut() {
                let forgotten =
                    || invalid(format!("the value `{name}` of version {revision} is not kept any more"));
                let found = values.remove(name).ok_or_else(forgotten)?;
                *value = Value::from(found.as_str());
            }
        }
        Ok(spec)
    }
}

/// A document, or what holds some, without values that must not be kept, wherever in it they stand.
pub(crate) fn hidden(kind: &Descriptor, mut document: Value) -> Value {
    hide(kind.sensitive, &mut document);
    document
}

fn hide(sensitive: &[Sensitive], value: &mut Value) {
    match value {
        Value::Array(entries) => entries.iter_mut().for_each(|entry| hide(sensitive, entry)),
        Value::Object(members) => {
            for member in sensitive {
                match member {
                    Sensitive::Password(member) => drop(members.shift_remove(*member)),
                    Sensitive::Values(member) => {
                        let values = members.get_mut(*member).and_then(Value::as_object_mut);
                        values.into_iter().flatten().for_each(|(_, value)| *value = HIDDEN.into());
                    }
                }
            }
            members.values_mut().for_each(|inner| hide(sensitive, inner));
        }
        _ => {}
    }
}

/// Takes the values out of a member and leaves what stands for them.
fn take(spec: &mut Value, member: &str) -> Result<Values, StoreError> {
    let Some(members) = spec.get_mut(member).and_then(Value::as_object_mut) else { return Ok(Values::new()) };
    let mut values = Values::new();
    for (name, value) in members.iter_mut() {
        match std::mem::replace(value, Value::from(HIDDEN)) {
            Value::String(text) => drop(values.insert(name.clone(), Zeroizing::new(text))),
            _ => return Err(invalid(format!("`{member}.{name}`: a value is text"))),
        }
    }
    Ok(values)
}

fn same(old: &serde_json::Map<String, Value>, values: &Values) -> bool {
    old.len() == values.len() && old.keys().all(|name| values.contains_key(name))
}
