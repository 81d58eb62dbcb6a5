//! Reading, with a proof.

use std::collections::{HashMap, HashSet};

use hayward_api::kinds::rbac::AUDIT;
use hayward_api::kinds::user::UserSpec;
use hayward_api::kinds::{Condition, Descriptor, KINDS, Scope};
use hayward_api::names::is_uid;
use hayward_api::{Caller, Code, Error};
use hayward_auth::{Verb, Visible};
use hayward_store::{
    Change, Claim, ClaimFilter, ClaimedSession, ListScope, Listed, Part, PublicKey, RawResource, Resource,
    Status, StoreError, ToolPin, Watch,
};

use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Guarded;
use super::allowed::{Allowed, named};
use crate::managers;
use crate::manifests::BROKEN;

/// The condition of a person without a password.
const NO_PASSWORD: &str = "NoPassword";

impl Guarded {
    /// Resources of the kind that the proof is about: those that its holder may see.
    pub async fn list(&self, allowed: &Allowed, scope: ListScope<'_>) -> Result<Listed, StoreError> {
        let kind = allowed.kind()?;
        allowed.covers_some(kind)?;
        let mut listed = self.store.list(kind, scope).await?;
        listed.items.retain(|resource| {
            let (name, project) = named(resource);
            self.sees(allowed.caller(), kind, name, project)
        });
        Ok(listed)
    }

    /// The same unread, to be handed on; a part of it may hold fewer than it could.
    pub(crate) async fn list_raw(
        &self,
        allowed: &Allowed,
        scope: ListScope<'_>,
        part: Option<&Part>,
    ) -> Result<Listed<RawResource>, StoreError> {
        let kind = allowed.kind()?;
        allowed.covers_some(kind)?;
        let mut listed = self.store.list_raw(kind, scope, part).await?;
        listed.items.retain(|resource| self.sees(allowed.caller(), kind, resource.name(), resource.scope()));
        Ok(listed)
    }

    /// Projects, for whoever may see which servers are attached to some of them.
    pub(crate) async fn projects_of_attachments(&self, allowed: &Allowed) -> Result<Listed, StoreError> {
        let kind = allowed.kind()?;
        if kind.kept != hayward_api::kinds::Kept::InProjects {
            allowed.covers_some(kind)?;
        }
        self.store.list(project_kind()?, ListScope::All).await
    }

    /// The project of this name or id, for whoever may do something with attachments: it decides which.
    pub(crate) async fn project_of_attachment(
        &self,
        _allowed: &Allowed,
        word: &str,
    ) -> Result<Resource, StoreError> {
        self.store.find(project_kind()?, Some(None), word).await
    }

    /// The name of the project that a word means. An id stands for its project to whoever may see that; to others, it is a word
    /// like any other.
    pub(crate) async fn project_name(&self, caller: &Caller, word: &str) -> String {
        if is_uid(word)
            && Self::known(caller).is_ok()
            && let Ok(kind) = project_kind()
            && let Ok(found) = self.store.find(kind, Some(None), word).await
            && self.sees(caller, kind, found.metadata.name.as_str(), None)
        {
            return found.metadata.name.to_string();
        }
        word.to_owned()
    }

    /// Resources of a kind that this caller may see, whatever it is asked for beside.
    pub(crate) async fn visible(
        &self,
        caller: &Caller,
        kind: &'static Descriptor,
        scope: ListScope<'_>,
    ) -> Result<Vec<Resource>, StoreError> {
        match self.some(caller, Verb::View, kind) {
            Ok(allowed) => Ok(self.list(&allowed, scope).await?.items),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// What others claimed.
    pub(crate) async fn claims(
        &self,
        allowed: &Allowed,
        filter: &ClaimFilter,
    ) -> Result<Vec<Claim>, StoreError> {
        allowed.covers_noun(Verb::View, AUDIT)?;
        self.store.claims(filter).await
    }

    /// The sessions of what others claimed.
    pub(crate) async fn sessions(
        &self,
        allowed: &Allowed,
        filter: &ClaimFilter,
    ) -> Result<Vec<ClaimedSession>, StoreError> {
        allowed.covers_noun(Verb::View, AUDIT)?;
        self.store.claimed_sessions(filter).await
    }

    /// Keeps what somebody claims.
    pub(crate) async fn claim(&self, allowed: &Allowed, claims: &[Claim]) -> Result<(), StoreError> {
        allowed.covers_noun(Verb::Create, AUDIT)?;
        self.store.put_claims(claims).await
    }

    /// Whether anything is there that this manager applied, or that can't be known.
    pub(crate) async fn has_applied(&self, manager: &str) -> bool {
        for kind in KINDS.iter().copied().filter(|kind| kind.kept == hayward_api::kinds::Kept::Stored) {
            let Ok(listed) = self.store.list(kind, ListScope::All).await else { return true };
            let is_of_manager = |resource: &Resource| {
                resource.applied().map_or(true, |applied| managers::last(applied.as_ref(), manager).is_some())
            };
            if listed.items.iter().any(is_of_manager) {
                return true;
            }
        }
        false
    }

    /// Says of what this manager applied from broken files that they are, and takes that back of everything else. What is
    /// said here allows nothing and changes nothing that is wanted.
    pub(crate) async fn tell_broken(
        &self,
        manager: &str,
        broken: &[(String, Condition)],
    ) -> Result<(), StoreError> {
        for kind in KINDS.iter().copied().filter(|kind| kind.kept == hayward_api::kinds::Kept::Stored) {
            for resource in self.store.list(kind, ListScope::All).await?.items {
                let applied = resource.applied()?;
                let Some(last) = managers::last(applied.as_ref(), manager) else { continue };
                let from = last.get("file").and_then(Value::as_str);
                let condition = broken.iter().find(|(file, _)| from == Some(file)).map(|(_, told)| told);
                if let Some(status) = with_condition(&resource, condition) {
                    self.store
                        .put_status(&resource.metadata.uid, resource.metadata.generation, &status)
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// Who has a password, if this is the kind of those who have any.
    pub(crate) async fn passwords(&self, kind: &Descriptor) -> Result<Passwords, StoreError> {
        let known = match kind.name {
            "user" => Some(self.store.users_with_password().await?),
            _ => None,
        };
        Ok(Passwords(known))
    }

    /// Has somebody who has no password say so, as it is shown.
    pub(crate) async fn tell_password(&self, resource: &mut Resource) -> Result<(), StoreError> {
        let passwords = self.passwords(resource.descriptor()?).await?;
        let (uid, name) = (&resource.metadata.uid, resource.metadata.name.as_str());
        let Some(condition) = passwords.missing(uid, name, &resource.spec) else { return Ok(()) };
        let (generation, at) = (resource.metadata.generation, resource.metadata.updated_at.clone());
        let status = resource.status.get_or_insert_with(|| Status {
            observed_generation: generation,
            status: json!({}),
            updated_at: at,
        });
        if let Some(status) = status.status.as_object_mut() {
            let conditions = status.entry("conditions").or_insert_with(|| json!([]));
            conditions.as_array_mut().into_iter().for_each(|all| all.push(json!(condition)));
        }
        Ok(())
    }

    /// What is known of the tools of a server, for whoever was given the server.
    pub(crate) async fn tool_pins(&self, server: &Resource) -> Result<Vec<ToolPin>, StoreError> {
        self.store.tool_pins(&server.metadata.uid).await
    }

    /// Whether the store answers.
    pub(crate) async fn is_well(&self) -> bool {
        self.store.revision().await.is_ok()
    }

    /// What happened to a resource; to see it is enough.
    pub async fn history(
        &self,
        allowed: &Allowed,
        (word, project): (&str, Option<&str>),
    ) -> Result<Vec<Change>, StoreError> {
        let kind = allowed.kind()?;
        let project = project.filter(|_| kind.scope != Scope::System);
        let changes = self.store.history(kind, project, word).await?;
        // A uid may have borne other names.
        Ok(changes
            .into_iter()
            .filter(|change| self.sees(allowed.caller(), kind, &change.name, change.scope.as_deref()))
            .collect())
    }

    /// What last happened to a resource, if the caller may see it.
    pub(crate) async fn last_change(
        &self,
        allowed: &Allowed,
        (word, project): (&str, Option<&str>),
    ) -> Result<Option<Change>, StoreError> {
        let kind = allowed.kind()?;
        let last = self.store.last_change(kind, project, word).await?;
        let seen = |change: &Change| self.sees(allowed.caller(), kind, &change.name, change.scope.as_deref());
        Ok(last.filter(seen))
    }

    /// Whether a resource is there that the caller may see.
    pub(crate) async fn is_visible(&self, allowed: &Allowed, (word, project): (&str, Option<&str>)) -> bool {
        let Ok(kind) = allowed.kind() else { return false };
        self.one(allowed.caller(), Verb::View, kind, (word, project)).await.is_ok()
    }

    /// All there is of a kind, for whoever decides of each by itself.
    pub(crate) async fn stored(&self, kind: &Descriptor) -> Result<Vec<Resource>, StoreError> {
        Ok(self.store.list(kind, ListScope::All).await?.items)
    }

    /// Says whenever some status is another one.
    pub(crate) fn status_changes(&self) -> watch::Receiver<u64> {
        self.store.status_changes()
    }

    /// When the status of each of a kind was written, by its uid.
    pub(crate) async fn statuses(&self, kind: &Descriptor) -> Result<HashMap<String, String>, StoreError> {
        self.store.statuses(kind).await
    }

    /// What is stored of this uid, for whoever then asks what may be seen of it.
    pub(crate) async fn stored_by_uid(
        &self,
        kind: &'static Descriptor,
        uid: &str,
    ) -> Result<Option<Resource>, StoreError> {
        match self.store.find(kind, None, uid).await {
            Ok(resource) => Ok(Some(resource)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The status of what has this uid.
    pub(crate) async fn status_of(&self, uid: &str) -> Result<Option<Status>, StoreError> {
        self.store.status(uid).await
    }

    /// What of a kind a caller may see, as rules are now.
    pub(crate) fn shown_to(&self, caller: &Caller, kind: &Descriptor) -> Visible {
        self.policies.current().scope(&caller.principal, Verb::View, kind.plural)
    }

    /// Changes after this revision of whatever there is; [`Self::sees`] says which the caller may see.
    pub async fn watch(&self, _allowed: &Allowed, from: u64) -> Result<Watch, StoreError> {
        self.store.watch(from).await
    }

    /// The values of a secret, sealed to a public key. Whoever calls this has also decided that a backup may be made.
    pub async fn seal(
        &self,
        allowed: &Allowed,
        resource: &Resource,
        to: &PublicKey,
    ) -> Result<Value, StoreError> {
        let (name, project) = named(resource);
        allowed.covers(Verb::View, allowed.kind()?, name, project)?;
        Ok(json!(self.store.seal_to(resource, to).await?))
    }
}

/// The uids of those who have a password; none of what never has one.
pub(crate) struct Passwords(Option<HashSet<String>>);

impl Passwords {
    /// What people without a password say: whoever brought one back, or made one without, reads it there.
    pub(crate) fn missing(&self, uid: &str, name: &str, spec: &Value) -> Option<Condition> {
        let is_missing = self.0.as_ref().is_some_and(|known| !known.contains(uid))
            && UserSpec::deserialize(spec).is_ok_and(|spec| !spec.service_account);
        let message = || {
            format!(
                "it can't log in: `hayward patch user {name} --patch @FILE` sets the `password` of a file"
            )
        };
        is_missing.then(|| Condition::new(NO_PASSWORD, "True", "NotSet", message()))
    }
}

/// The status of a resource with this condition in the place of the one before; none if that changes nothing.
fn with_condition(resource: &Resource, condition: Option<&Condition>) -> Option<Value> {
    let mut status = resource.status.as_ref().map_or_else(|| json!({}), |status| status.status.clone());
    let known = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut wanted: Vec<Value> = known.iter().filter(|it| it["type"] != BROKEN).cloned().collect();
    wanted.extend(condition.map(|condition| json!(condition)));
    if wanted == known {
        return None;
    }
    status["conditions"] = wanted.into();
    Some(status)
}

fn project_kind() -> Result<&'static Descriptor, StoreError> {
    let known = KINDS.iter().copied().find(|kind| kind.name == "project");
    known.ok_or_else(|| StoreError::Invalid(Error::new(Code::Internal, "there are no projects")))
}
