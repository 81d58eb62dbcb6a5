//! A resource as it is stored: metadata and a spec, whatever its kind.

use std::collections::BTreeMap;

use hayward_api::kinds::{Descriptor, KINDS, Names, Scope};
use hayward_api::principal::PrincipalKind;
use hayward_api::{Code, Error, Kind, Metadata, Principal};
use hayward_auth::password::PasswordHash;
use serde_json::Value;

use crate::error::StoreError;
use crate::limits::SPEC_BYTES;
use crate::raw::RawResource;
use crate::sql::Row;
use crate::status::Status;

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

    /// Checks that a resource may be called so, there.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.scope
            .map_or(Ok(()), |name| Names::Plain.canonical(name).map(drop))
            .map_err(StoreError::Invalid)?;
        self.kind.names.canonical(self.name).map(drop).map_err(StoreError::Invalid)?;
        let kind = self.kind.name;
        match (self.kind.scope, self.scope) {
            (Scope::System, Some(_)) => Err(invalid(format!("a {kind} belongs to no project"))),
            (Scope::Project, None) => {
                Err(invalid(format!("a {kind} belongs to a project, and none is named")))
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn invalid(message: String) -> StoreError {
    StoreError::Invalid(Error::new(Code::Invalid, message))
}

/// Who changes something, as history shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// The program itself.
    pub fn system() -> Self {
        Self("system".to_owned())
    }

    /// Whom this text names: of whoever acted as another, that other. What was granted isn't in it; none if it is nobody who can
    /// be granted something.
    pub fn principal(text: &str) -> Option<Principal> {
        let (word, rest) = text.split_once(':')?;
        let name = rest.split_once(BY).map_or(rest, |(name, _)| name).to_owned();
        let kinds = [PrincipalKind::Admin, PrincipalKind::User, PrincipalKind::ServiceAccount];
        let kind = kinds.into_iter().find(|kind| word_of(*kind) == word)?;
        Some(Principal { kind, name, ..Principal::anonymous() })
    }

    /// As text, e.g. `admin:root`, or `user:bob by user:ann` if somebody acts as another.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        let by = principal.impersonator.as_ref().map(|by| format!("{BY}{by}")).unwrap_or_default();
        Self(format!("{}:{}{by}", word_of(principal.kind), principal.name))
    }
}

/// Stands between whoever was acted as and whoever did; no name has it.
const BY: &str = " by ";

fn word_of(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::Anonymous => "anonymous",
        PrincipalKind::Token => "token",
        PrincipalKind::Admin => "admin",
        PrincipalKind::Metrics => "metrics",
        PrincipalKind::Local => "local",
        PrincipalKind::User => "user",
        PrincipalKind::ServiceAccount => "account",
    }
}

/// A resource as somebody wants it to be.
#[derive(Clone)]
pub struct Desired<'a> {
    /// Its kind.
    pub kind: &'static Descriptor,
    /// Its project; none for the whole system.
    pub scope: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// What selectors find it by.
    pub labels: BTreeMap<String, String>,
    /// What people and tools have noted on it.
    pub annotations: BTreeMap<String, String>,
    /// What is wanted. Values of secrets stand in it as they are, as `***` (what is there is kept), or sealed for this
    /// server (`sealed:v1:…`).
    pub spec: Value,
    /// The uid of the resource that it goes with; on an update, none leaves it as it is.
    pub owner: Option<String>,
    /// The document that was applied, to compare with at the next time; on an update, none leaves it as it is.
    pub applied: Option<Value>,
    /// The hash of its password; on an update, none leaves it as it is.
    pub password: Option<PasswordHash>,
}

impl<'a> Desired<'a> {
    /// A resource with this spec and nothing else.
    pub fn new(kind: &'static Descriptor, scope: Option<&'a str>, name: &'a str, spec: Value) -> Self {
        Self {
            kind,
            scope,
            name,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            spec,
            owner: None,
            applied: None,
            password: None,
        }
    }

    /// Which resource it is.
    pub fn key(&self) -> Key<'a> {
        Key { kind: self.kind, scope: self.scope, name: self.name }
    }
}

/// A stored resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The name of its kind.
    pub kind: String,
    /// What every resource has.
    pub metadata: Metadata,
    /// What is wanted; values of secrets as `***`.
    pub spec: Value,
    /// The document that was last applied to it, as JSON; see [`Self::applied`].
    pub(crate) applied: Option<String>,
    /// What is the case, if somebody said so.
    pub status: Option<Status>,
}

impl Resource {
    /// The spec as the type of its kind.
    pub fn spec<K: Kind>(&self) -> Result<K, StoreError> {
        K::deserialize(&self.spec).map_err(|error| StoreError::Corrupt {
            detail: format!("spec of {} `{}`: {error}", self.kind, self.metadata.name),
        })
    }

    /// The document that was last applied to it, by whom the control plane says. It is read when it is asked for: lists have
    /// no use for it.
    pub fn applied(&self) -> Result<Option<Value>, StoreError> {
        self.applied.as_deref().map(parse).transpose()
    }

    /// Its kind.
    pub fn descriptor(&self) -> Result<&'static Descriptor, StoreError> {
        let known = KINDS.iter().copied().find(|kind| kind.name == self.kind);
        known.ok_or_else(|| damaged("an unknown kind", &self.kind))
    }

    /// Its project, as columns have it.
    pub(crate) fn scope_text(&self) -> &str {
        self.metadata.scope.as_ref().map_or("", |scope| scope.as_str())
    }

    /// The resource of a row, with its status if that is there.
    pub(crate) fn from_row(row: &Row) -> Result<Self, StoreError> {
        RawResource::from_row(row)?.ok_or_else(|| damaged("a row", "there is no resource in it"))?.read()
    }
}

pub(crate) fn damaged(what: &str, detail: &(impl ToString + ?Sized)) -> StoreError {
    StoreError::Corrupt { detail: format!("{what}: {}", detail.to_string()) }
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| damaged("stored JSON", &error))
}

/// A spec in canonical form, if it keeps the rules of its kind.
pub(crate) fn checked_spec(kind: &Descriptor, spec: &Value) -> Result<Value, StoreError> {
    let spec = (kind.read)(spec.clone()).map_err(StoreError::Invalid)?;
    let bytes = spec.to_string().len();
    if bytes > SPEC_BYTES {
        let message = format!("spec has {bytes} bytes: use up to {SPEC_BYTES}");
        return Err(StoreError::Invalid(Error::new(Code::TooLarge, message)));
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_names_who_acts_as_another() {
        let bob = Principal { kind: PrincipalKind::User, name: "bob".to_owned(), ..Principal::anonymous() };
        assert_eq!(Actor::from(&bob).as_str(), "user:bob");
        let acting = Principal { impersonator: Some("user:ann".to_owned()), ..bob };
        assert_eq!(Actor::from(&acting).as_str(), "user:bob by user:ann");
        let meant = Actor::principal(Actor::from(&acting).as_str()).unwrap();
        assert_eq!((meant.kind, meant.name.as_str()), (PrincipalKind::User, "bob"));
        for kind in [PrincipalKind::Admin, PrincipalKind::User, PrincipalKind::ServiceAccount] {
            let principal =
                Principal { kind, ..Principal { name: "x@y.z".to_owned(), ..Principal::anonymous() } };
            let meant = Actor::principal(Actor::from(&principal).as_str()).unwrap();
            assert_eq!((meant.kind, meant.name.as_str()), (kind, "x@y.z"));
        }
        for nobody in ["system", "local:manifests", "anonymous:", "token:t", ""] {
            assert!(Actor::principal(nobody).is_none(), "{nobody}");
        }
    }

    #[test]
    fn names_are_checked_before_they_are_stored() {
        let kind = &hayward_api::kinds::token::DESCRIPTOR;
        assert!(Key::global(kind, "my-token").check().is_ok());
        assert!(Key::global(kind, "../x").check().is_err());
        assert!(Key { kind, scope: Some("a b"), name: "x" }.check().is_err());
    }
}
