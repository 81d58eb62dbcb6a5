//! What somebody wrote, made ready to be stored: read, and, when its writer may, with passwords hashed and tokens checked.

use std::collections::BTreeMap;

use hayward_api::document::{self, Document};
use hayward_api::kinds::token::TokenSpec;
use hayward_api::kinds::{Descriptor, Sensitive};
use hayward_api::{Code, Time};
use hayward_auth::Token;
use hayward_auth::password::PasswordHash;
use hayward_store::{Desired, NewCredential, Resource};
use serde_json::Value;

use crate::guarded::{Allowed, Change};
use crate::plane::Plane;
use crate::refusal::Refusal;
use crate::sign_in::bearable;

/// A document that can be stored.
pub(crate) struct Prepared {
    pub(crate) kind: &'static Descriptor,
    pub(crate) name: String,
    pub(crate) project: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) spec: Value,
    /// The version that the live one must be at.
    pub(crate) version: Option<u64>,
    /// The password that was given, until it is hashed.
    given: Option<String>,
    /// The digest of its password, if it has a new one.
    password: Option<PasswordHash>,
}

impl Prepared {
    /// Reads a document of a kind. It is made ready when it is decided that the caller may: see [`Self::ready`].
    pub(crate) fn read(kind: &'static Descriptor, value: Value) -> Result<Self, Refusal> {
        Ok(Self::of(kind, document::read(kind, value)?))
    }

    /// The same of a document that was read.
    pub(crate) fn of(kind: &'static Descriptor, document: Document) -> Self {
        let Document { name, project, labels, annotations, mut spec, version, .. } = document;
        let given = take_password(kind, &mut spec);
        Self { kind, name, project, labels, annotations, spec, version, given, password: None }
    }

    /// The digest of the password that a patch gives, if it is a new one. It is taken out.
    pub(crate) async fn password_of(
        plane: &Plane,
        kind: &Descriptor,
        name: &str,
        (patch, is_dry): (&mut Value, bool),
    ) -> Result<Option<PasswordHash>, Refusal> {
        match take_password(kind, patch) {
            Some(password) => digest(plane, name, password, is_dry).await,
            None => Ok(None),
        }
    }

    /// The same with this password.
    pub(crate) fn with(self, password: Option<PasswordHash>) -> Self {
        Self { password, ..self }
    }

    /// Whether there is a password to hash.
    pub(crate) fn has_password(&self) -> bool {
        self.given.is_some()
    }

    /// Whether making it ready takes time, or tells something of this machine.
    pub(crate) fn is_dear(&self) -> bool {
        self.has_password() || self.kind.name == "token"
    }

    /// Hashes its password, and looks at the paths of a token. Only for whoever may make or change it: the time that it
    /// takes and what it says are not for others.
    /// A dry run goes without the password.
    pub(crate) async fn ready_for(
        &mut self,
        plane: &Plane,
        live: Option<&Resource>,
        is_dry: bool,
    ) -> Result<(), Refusal> {
        if let Some(password) = self.given.take() {
            self.password = digest(plane, &self.name, password, is_dry).await?;
        }
        if self.kind.name == "token" {
            self.spec = checked_token(plane, std::mem::take(&mut self.spec), live)?;
        }
        Ok(())
    }

    /// Its name and its project.
    pub(crate) fn named(&self) -> (&str, Option<&str>) {
        (&self.name, self.project.as_deref())
    }

    /// What the store is to make of it.
    pub(crate) fn desired(&self, applied: Option<Value>) -> Desired<'_> {
        Desired {
            kind: self.kind,
            scope: self.project.as_deref(),
            name: &self.name,
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            spec: self.spec.clone(),
            owner: None,
            applied,
            password: self.password.clone(),
        }
    }

    /// Makes it, with the credential that goes with it; that is shown once.
    pub(crate) async fn create(
        &self,
        change: &mut Change,
        allowed: &Allowed,
        applied: Option<Value>,
    ) -> Result<(Resource, Option<Token>), Refusal> {
        let resource = change.create(allowed, &self.desired(applied)).await?;
        if self.kind.name != "token" {
            return Ok((resource, None));
        }
        let spec: TokenSpec = resource.spec()?;
        let token = Token::mint(spec.role);
        let credential = NewCredential {
            id: token.id(),
            digest: token.digest(),
            expires_at_unix: spec.expires_at.map(Time::unix),
        };
        change.put_credential(allowed, &resource, &credential).await?;
        Ok((resource, Some(token)))
    }
}

/// The digest of a password, if it is a new one. In a dry run none is: whether it is would be told as often as one likes.
async fn digest(
    plane: &Plane,
    name: &str,
    password: String,
    is_dry: bool,
) -> Result<Option<PasswordHash>, Refusal> {
    if is_dry {
        bearable(&password)?;
        return Ok(None);
    }
    plane.entrance.fresh(name, password).await
}

/// The password in a spec, which isn't kept there.
fn take_password(kind: &Descriptor, spec: &mut Value) -> Option<String> {
    let members = spec.as_object_mut()?;
    kind.sensitive.iter().find_map(|member| match member {
        // What isn't text stays: whoever reads the document says so.
        Sensitive::Password(name) => {
            let password = members.get(*name)?.as_str()?.to_owned();
            members.shift_remove(*name);
            Some(password)
        }
        Sensitive::Values(_) => None,
    })
}

/// The spec of a token that this machine can grant.
fn checked_token(plane: &Plane, spec: Value, live: Option<&Resource>) -> Result<Value, Refusal> {
    let spec: TokenSpec = hayward_api::decode(spec)?;
    let live: Option<TokenSpec> = live.map(Resource::spec).transpose()?;
    let spec = plane.machine.token(spec, live.as_ref())?;
    serde_json::to_value(spec).map_err(|error| Refusal::new(Code::Internal, error.to_string()))
}
