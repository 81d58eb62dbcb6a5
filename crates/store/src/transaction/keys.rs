//! Keys of secrets: what names one names one that is there, and one that is named stays.

use std::collections::{BTreeSet, HashMap};

use hayward_api::kinds::Descriptor;
use hayward_api::{Code, Error};
use serde_json::Value;

use super::Transaction;
use crate::error::StoreError;
use crate::list::{self, from_rows};
use crate::raw::packed;
use crate::resource::{Key, Resource, damaged};
use crate::sql::query;

/// The kind whose keys are named.
const SECRET: &str = "secret";

/// Keys of a secret; none if there is no such secret.
type Keys = Option<BTreeSet<String>>;

impl Transaction {
    pub(super) async fn check_keys(&mut self) -> Result<(), StoreError> {
        let Some(kind) = hayward_api::kinds::find(SECRET) else { return Ok(()) };
        self.check_named_keys(kind).await?;
        self.check_lost_keys(kind).await
    }

    /// What was changed names keys that are there.
    async fn check_named_keys(&mut self, kind: &'static Descriptor) -> Result<(), StoreError> {
        // Their kind is no way to find references: by it, all that there are to secrets would be looked through for each.
        let rows = query(concat!(
            "SELECT ",
            packed!(),
            "FROM resources r WHERE r.resource_version > $1
               AND EXISTS (SELECT 1 FROM refs f WHERE f.uid = r.uid AND f.kind || '' = 'secret')",
        ))
        .bind(self.begun_at)
        .fetch_all(&mut self.tx)
        .await
        .map_err(StoreError::at("check references"))?;
        let mut known: HashMap<String, Keys> = HashMap::new();
        for resource in from_rows(&rows)? {
            for (secret, key, field) in named(&resource)? {
                if !known.contains_key(&secret) {
                    known.insert(secret.clone(), self.keys_of(kind, &secret).await?);
                }
                let keys = known.get(&secret).and_then(Option::as_ref);
                if keys.is_some_and(|keys| !keys.contains(&key)) {
                    let (by, by_name) = (&resource.kind, &resource.metadata.name);
                    let message = format!(
                        "{by} `{by_name}`: `{field}` names key `{key}` of secret `{secret}`, which is not there"
                    );
                    let error = Error::new(Code::Invalid, message);
                    return Err(StoreError::Invalid(
                        error.with_hint("put it into the secret first, or in the same apply"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Keys that secrets lost are named by nobody.
    async fn check_lost_keys(&mut self, kind: &'static Descriptor) -> Result<(), StoreError> {
        let rows = query(
            "SELECT name, before FROM history
             WHERE revision > $1 AND kind = 'secret' AND before IS NOT NULL ORDER BY revision",
        )
        .bind(self.begun_at)
        .fetch_all(&mut self.tx)
        .await
        .map_err(StoreError::at("check references"))?;
        for row in &rows {
            let text = |column| row.get::<String>(column).map_err(|error| damaged("history", &error));
            let (secret, before) = (text("name")?, text("before")?);
            let before: Value = serde_json::from_str(&before).map_err(|error| damaged("history", &error))?;
            // Whether all of it may be gone is asked elsewhere.
            let Some(keys) = self.keys_of(kind, &secret).await? else { continue };
            let lost: BTreeSet<String> = keys_in(&before["spec"]).difference(&keys).cloned().collect();
            let referrers = self.referrers_of_keys(kind, &secret, &lost).await?;
            let unchanged =
                |(by, _): &&(Resource, String)| by.metadata.resource_version <= self.begun_at.cast_unsigned();
            let by: Vec<_> = referrers.iter().filter(unchanged).collect();
            let Some((_, key)) = by.first() else { continue };
            let of_key = by.iter().filter(|(_, named)| named == key);
            let by: Vec<String> =
                of_key.map(|(by, _)| format!("{} `{}`", by.kind, by.metadata.name)).collect();
            return Err(StoreError::of_key(&secret, key, by.join(", ")));
        }
        Ok(())
    }

    /// What refers to one of these keys of a secret that is there, and to which.
    pub async fn referrers_of_keys(
        &mut self,
        kind: &'static Descriptor,
        secret: &str,
        keys: &BTreeSet<String>,
    ) -> Result<Vec<(Resource, String)>, StoreError> {
        let mut found = Vec::new();
        if keys.is_empty() {
            return Ok(found);
        }
        for resource in self.referrers(&Key { kind, scope: None, name: secret }).await? {
            let meant =
                named(&resource)?.into_iter().find(|(name, key, _)| name == secret && keys.contains(key));
            if let Some((_, key, _)) = meant {
                found.push((resource, key));
            }
        }
        Ok(found)
    }

    async fn keys_of(&mut self, kind: &'static Descriptor, secret: &str) -> Result<Keys, StoreError> {
        let found = list::get(&mut self.tx, &Key { kind, scope: None, name: secret }).await?;
        Ok(found.map(|secret| keys_in(&secret.spec)))
    }
}

/// The keys in the spec of a secret.
pub fn keys_in(spec: &Value) -> BTreeSet<String> {
    let data = spec.get("data").and_then(Value::as_object);
    data.into_iter().flat_map(|data| data.keys().cloned()).collect()
}

/// The keys that a resource names: the secret, the key, and the member that does.
fn named(resource: &Resource) -> Result<Vec<(String, String, String)>, StoreError> {
    let references = (resource.descriptor()?.references)(&resource.spec).into_iter();
    Ok(references.filter_map(|it| Some((it.name, it.key?, it.field))).collect())
}
