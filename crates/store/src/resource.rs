//! A resource as it is stored: metadata and a spec, whatever its kind.

use std::collections::BTreeMap;

use hayward_api::kinds::{Descriptor, Names, Sensitive};
use hayward_api::metadata::API_VERSION;
use hayward_api::names::ResourceName;
use hayward_api::principal::PrincipalKind;
use hayward_api::{Code, Error, Kind, Metadata, Principal};
use serde_json::Value;
use sqlx::Row as _;

use crate::dialect::Row;
use crate::error::StoreError;
use crate::limits::SPEC_BYTES;

/// Stands for a value that must not be shown.
const HIDDEN: &str = "***";

/// Which resource: its kind, its scope, and its name (or, to find one, its uid).
#[derive(Clone, Copy)]
pub struct Key<'a> {
    /// Its kind.
    pub kind: &'static Descriptor,
    /// Its project; none for the whole system.
    pub scope: Option<&'a str>,
    /// Its name or uid.
    pub name: &'a str,
}

impl<'a> Key<'a> {
    /// A resource of the whole system.
    pub fn global(kind: &'static Descriptor, name: &'a str) -> Self {
        Self { kind, scope: None, name }
    }

    pub(crate) fn scope_text(&self) -> &'a str {
        self.scope.unwrap_or_default()
    }

    pub(crate) fn not_found(&self) -> StoreError {
        StoreError::NotFound { kind: self.kind.name, name: self.name.to_owned() }
    }

    /// Checks that a resource may be called so.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.scope
            .map_or(Ok(()), |name| Names::Plain.canonical(name).map(drop))
            .map_err(StoreError::Invalid)?;
        self.kind.names.canonical(self.name).map(drop).map_err(StoreError::Invalid)
    }
}

/// Who changes something, as history shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// The program itself.
    pub fn system() -> Self {
        Self("system".to_owned())
    }

    /// As text, e.g. `admin:root`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        let kind = match principal.kind {
            PrincipalKind::Anonymous => "anonymous",
            PrincipalKind::Token => "token",
            PrincipalKind::Admin => "admin",
            PrincipalKind::Metrics => "metrics",
            PrincipalKind::Local => "local",
            PrincipalKind::User => "user",
            PrincipalKind::ServiceAccount => "account",
        };
        Self(format!("{kind}:{}", principal.name))
    }
}

/// A stored resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The name of its kind.
    pub kind: String,
    /// What every resource has.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Value,
    /// When it last changed (RFC 3339, UTC).
    pub updated_at: String,
}

impl Resource {
    /// The spec as the type of its kind.
    pub fn spec<K: Kind>(&self) -> Result<K, StoreError> {
        K::deserialize(&self.spec).map_err(|error| StoreError::Corrupt {
            detail: format!("spec of {} `{}`: {error}", self.kind, self.metadata.name),
        })
    }

    pub(crate) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let text = |column: &str| row.try_get::<String, _>(column).map_err(StoreError::at("read a resource"));
        let number = |column: &str| -> Result<u64, StoreError> {
            let number: i64 = row.try_get(column).map_err(StoreError::at("read a resource"))?;
            u64::try_from(number).map_err(|_| damaged("a count below zero", column))
        };
        let api_version = text("api_version")?;
        if api_version != API_VERSION {
            return Err(damaged("an unknown version of a spec", &api_version));
        }
        let name = |text: String| ResourceName::parse(text).map_err(|error| damaged("a name", &error));
        let scope = text("scope")?;
        Ok(Self {
            kind: text("kind")?,
            metadata: Metadata {
                uid: text("uid")?,
                name: name(text("name")?)?,
                scope: if scope.is_empty() { None } else { Some(name(scope)?) },
                generation: number("generation")?,
                resource_version: number("resource_version")?,
                created_at: text("created_at")?,
                updated_at: text("updated_at")?,
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
                owner: None,
            },
            spec: parse(&text("spec")?)?,
            updated_at: text("updated_at")?,
        })
    }
}

fn damaged(what: &str, detail: &(impl ToString + ?Sized)) -> StoreError {
    StoreError::Corrupt { detail: format!("{what}: {}", detail.to_string()) }
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| damaged("stored JSON", &error))
}

/// The text of a spec that keeps the rules of its kind.
pub(crate) fn checked_spec(kind: &Descriptor, spec: &Value) -> Result<String, StoreError> {
    (kind.read)(spec.clone()).map_err(StoreError::Invalid)?;
    let text = spec.to_string();
    if text.len() > SPEC_BYTES {
        let message = format!("spec has {} bytes: use up to {SPEC_BYTES}", text.len());
        return Err(StoreError::Invalid(Error::new(Code::TooLarge, message)));
    }
    Ok(text)
}

/// A spec as history may keep it: without the values of sensitive members.
pub(crate) fn shown(kind: &Descriptor, spec: &Value) -> String {
    let mut spec = spec.clone();
    for member in kind.sensitive {
        match member {
            Sensitive::Values(name) => {
                if let Some(values) = spec.get_mut(*name).and_then(Value::as_object_mut) {
                    values.values_mut().for_each(|value| *value = Value::from(HIDDEN));
                }
            }
            Sensitive::Password(name) => {
                if let Some(members) = spec.as_object_mut() {
                    members.shift_remove(*name);
                }
            }
        }
    }
    spec.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_they_are_stored() {
        let kind = &hayward_api::kinds::token::DESCRIPTOR;
        assert!(Key::global(kind, "my-token").check().is_ok());
        assert!(Key::global(kind, "../x").check().is_err());
        assert!(Key { kind, scope: Some("a b"), name: "x" }.check().is_err());
    }
}
