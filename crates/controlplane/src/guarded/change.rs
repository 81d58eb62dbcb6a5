//! Changing, with a proof for each thing that changes.

use std::borrow::Cow;

use hayward_api::kinds::rbac::{RbacSpec, SubjectKind};
use hayward_api::kinds::user::UserSpec;
use hayward_api::kinds::{Descriptor, KINDS, MadeBy, Reference, find};
use hayward_api::names::ResourceName;
use hayward_api::principal::PrincipalKind;
use hayward_api::{Caller, Code, Error};
use hayward_auth::{Policy, Verb};
use hayward_store::{
    Deletion, Desired, Key, ListScope, NewCredential, Resource, StoreError, Transaction, keys_in,
};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;

use super::Guarded;
use super::allowed::{Allowed, Denied, named};
use super::servers::{PROJECT, SERVER};
use crate::snapshots::OF_RULES;

/// The kind of what is proposed, and the member that says by whom.
const PROPOSAL: &str = "promptrequest";
const PROPOSER: &str = "createdByUser";
/// The kind of rules.
const RULES: &str = "rbac";
/// The kind whose keys others name.
const SECRET: &str = "secret";
/// Who refers to something, for whoever may not see them.
const OTHERS: &str = "others, which you may not change";

/// A change of several things that happen together or not at all. Dropped, it is undone.
pub struct Change {
    inner: Transaction,
    pub(super) guarded: Guarded,
    is_operator: bool,
}

impl Guarded {
    /// Begins a change, for this caller and what it showed that it may: each thing that is done needs its own proof. All of it
    /// is decided anew when nobody else can change anything any more, as a right may be gone that was there before the wait.
    pub async fn begin(&self, caller: &Caller, proofs: &[&Allowed]) -> Result<Change, Denied> {
        // Whoever has the machine can always make somebody who may change rules.
        let is_operator = matches!(caller.principal.kind, PrincipalKind::Admin | PrincipalKind::Local);
        let change = Change { inner: self.snapshots.begin().await?, guarded: self.clone(), is_operator };
        self.still_known(caller).map_err(|error| Denied { error, decision: None })?;
        proofs.iter().try_for_each(|allowed| self.still(allowed))?;
        Ok(change)
    }
}

impl Change {
    /// Makes a resource.
    pub async fn create(&mut self, allowed: &Allowed, desired: &Desired<'_>) -> Result<Resource, StoreError> {
        allowed.covers(Verb::Create, desired.kind, desired.name, desired.scope)?;
        let desired = &*signed(desired, allowed.account());
        self.check_references(allowed, desired, None)?;
        self.check_server(allowed, desired, None)?;
        self.check_attached(allowed, desired, None)?;
        self.check_subjects(allowed, desired).await?;
        self.inner.create(desired, &allowed.actor()).await
    }

    /// Makes a resource what is desired, if it is still at this version.
    pub async fn update(
        &mut self,
        allowed: &Allowed,
        version: Option<u64>,
        desired: &Desired<'_>,
    ) -> Result<Resource, StoreError> {
        allowed.covers(Verb::Edit, desired.kind, desired.name, desired.scope)?;
        let is_apart = [PROPOSAL, SECRET, SERVER, PROJECT].contains(&desired.kind.name);
        if !is_apart && (desired.kind.references)(&desired.spec).is_empty() {
            return self.inner.update(&desired.key(), version, desired, &allowed.actor()).await;
        }
        let live = self.inner.get(&desired.key()).await?;
        let desired = &*signed(desired, live.spec.get(PROPOSER).and_then(Value::as_str));
        self.check_references(allowed, desired, Some(&live.spec))?;
        self.check_server(allowed, desired, Some(&live.spec))?;
        self.check_attached(allowed, desired, Some(&live.spec))?;
        self.check_subjects(allowed, desired).await?;
        let made = self.inner.update(&desired.key(), version, desired, &allowed.actor()).await?;
        self.check_lost_keys(allowed, &live, &made).await?;
        Ok(made)
    }

    /// Deletes a resource, if it is still at this version.
    pub async fn delete(
        &mut self,
        allowed: &Allowed,
        key: &Key<'_>,
        version: Option<u64>,
        deletion: Deletion,
    ) -> Result<Resource, StoreError> {
        allowed.covers(Verb::Delete, key.kind, key.name, key.scope)?;
        self.check_referrers(allowed, key, deletion).await?;
        self.inner.delete(key, version, deletion, &allowed.actor()).await
    }

    /// What a resource newly refers to is what the caller sees: to others it is not there.
    fn check_references(
        &self,
        allowed: &Allowed,
        desired: &Desired<'_>,
        before: Option<&Value>,
    ) -> Result<(), StoreError> {
        let known = before.map(|before| (desired.kind.references)(before)).unwrap_or_default();
        let is_same = |old: &Reference, new: &Reference| {
            (old.kind, &old.name, &old.key) == (new.kind, &new.name, &new.key)
        };
        let is_known = |new: &Reference| known.iter().any(|old| is_same(old, new));
        for reference in (desired.kind.references)(&desired.spec).into_iter().filter(|new| !is_known(new)) {
            let kind = find(reference.kind)
                .ok_or_else(|| StoreError::Corrupt { detail: reference.kind.to_owned() })?;
            let scopes = [None, desired.scope];
            let sees = |project| self.guarded.sees(allowed.caller(), kind, &reference.name, project);
            if !scopes.into_iter().any(sees) {
                let Reference { kind: of, name, field, .. } = reference;
                let (by, by_name) = (desired.kind.name, desired.name);
                // In the words of the store for what isn't there.
                let message = format!("{by} `{by_name}`: `{field}` names {of} `{name}`, which is not there");
                let error =
                    Error::new(Code::Invalid, message).with_hint("make it first, or in the same apply");
                return Err(StoreError::Invalid(error));
            }
        }
        Ok(())
    }

    /// A rule names accounts as what they are: to another kind of account it would grant nothing.
    async fn check_subjects(&mut self, allowed: &Allowed, desired: &Desired<'_>) -> Result<(), StoreError> {
        if desired.kind.name != RULES {
            return Ok(());
        }
        let kind = crate::sign_in::user_kind().map_err(StoreError::Invalid)?;
        let Ok(RbacSpec { subjects, .. }) = RbacSpec::deserialize(&desired.spec) else { return Ok(()) };
        for (at, subject) in subjects.iter().enumerate() {
            let is_program = subject.kind == SubjectKind::ServiceAccount;
            // What somebody may not see, they are told nothing of.
            if subject.kind == SubjectKind::Group
                || !self.guarded.sees(allowed.caller(), kind, &subject.name, None)
            {
                continue;
            }
            let Some(account) = self.find(kind, None, &subject.name).await? else { continue };
            let Ok(found) = account.spec::<UserSpec>() else { continue };
            if found.service_account != is_program {
                let (field, name) = (format!("subjects[{at}].kind"), &subject.name);
                let (whose, word) =
                    if is_program { ("a person", "User") } else { ("a program", "ServiceAccount") };
                let message = format!("`{field}`: `{name}` is the account of {whose}: write `{word}`");
                return Err(StoreError::Invalid(Error::new(Code::Invalid, message).at(&field)));
            }
        }
        Ok(())
    }

    /// What names a key that a secret lost is told only to whoever may see it.
    async fn check_lost_keys(
        &mut self,
        allowed: &Allowed,
        before: &Resource,
        after: &Resource,
    ) -> Result<(), StoreError> {
        if before.kind != SECRET {
            return Ok(());
        }
        let lost = keys_in(&before.spec).difference(&keys_in(&after.spec)).cloned().collect();
        let secret = after.metadata.name.as_str();
        for (by, key) in self.inner.referrers_of_keys(after.descriptor()?, secret, &lost).await? {
            if !self.guarded.sees(allowed.caller(), by.descriptor()?, by.metadata.name.as_str(), None) {
                return Err(StoreError::of_key(secret, &key, OTHERS.to_owned()));
            }
        }
        Ok(())
    }

    /// What refers to a resource is taken out of it only by whoever may edit it, and named only to whoever may see it. What goes
    /// with it goes for whoever may delete that.
    async fn check_referrers(
        &mut self,
        allowed: &Allowed,
        key: &Key<'_>,
        deletion: Deletion,
    ) -> Result<(), StoreError> {
        let verb = match deletion {
            Deletion::Refuse => Verb::View,
            Deletion::Detach => Verb::Edit,
        };
        let held = self.inner.referrers(key).await?.into_iter().map(|referrer| (referrer, verb));
        let dependents = self.inner.dependents(key).await?.into_iter();
        let dependents = dependents.map(|dependent| (dependent, Verb::Delete));
        for (resource, verb) in held.chain(dependents) {
            let kind = resource.descriptor()?;
            // What nobody makes goes with what it was made for.
            let is_made = kind.made_by == MadeBy::Anybody;
            if is_made && !self.guarded.may(allowed.caller(), verb, kind, named(&resource)) {
                let (kind, name) = (key.kind.name.to_owned(), key.name.to_owned());
                return Err(StoreError::Referred { kind, name, by: OTHERS.to_owned() });
            }
        }
        Ok(())
    }

    /// Whether anything refers to a resource that doesn't go with it.
    pub(crate) async fn is_referred_to(&mut self, key: &Key<'_>) -> Result<bool, StoreError> {
        let with_it = self.inner.dependents(key).await?;
        let goes = |uid: &str| with_it.iter().any(|dependent| dependent.metadata.uid == uid);
        Ok(self.inner.referrers(key).await?.iter().any(|referrer| !goes(&referrer.metadata.uid)))
    }

    /// Gives a resource that this change has made a credential.
    pub async fn put_credential(
        &mut self,
        allowed: &Allowed,
        resource: &Resource,
        credential: &NewCredential,
    ) -> Result<(), StoreError> {
        let (name, project) = named(resource);
        allowed.covers(Verb::Create, resource.descriptor()?, name, project)?;
        self.inner.put_credential(&resource.metadata.uid, credential).await
    }

    /// Makes a resource what it was at a version, for whoever may edit it, or, if it is gone, make it.
    pub async fn revert(
        &mut self,
        allowed: &Allowed,
        (kind, word, project): (&'static Descriptor, &str, Option<&str>),
        version: u64,
    ) -> Result<Resource, StoreError> {
        // What it referred to then is anew what it refers to now.
        let was = self.inner.at(kind, project, word, version).await?;
        let scope = was.metadata.scope.as_ref().map(ResourceName::as_str);
        // By the name that it bore, which another one may bear by now.
        let before = match self.inner.get(&Key { kind, scope, name: was.metadata.name.as_str() }).await {
            Ok(before) => Some(before),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let wanted = Desired::new(kind, scope, was.metadata.name.as_str(), was.spec);
        let live = before.as_ref().map(|before| &before.spec);
        let verb = if before.is_some() { Verb::Edit } else { Verb::Create };
        if allowed.covers(verb, kind, wanted.name, scope).is_err() {
            let message = format!("{} `{}` is another one by now, or gone", kind.name, wanted.name);
            let error =
                Error::new(Code::Conflict, message).with_hint("look at it, and repeat it with its name");
            return Err(StoreError::Invalid(error));
        }
        self.check_references(allowed, &wanted, live)?;
        self.check_server(allowed, &wanted, live)?;
        self.check_attached(allowed, &wanted, live)?;
        self.check_subjects(allowed, &wanted).await?;
        let resource = self.inner.revert(kind, project, word, version, &allowed.actor()).await?;
        if let Some(before) = before {
            self.check_lost_keys(allowed, &before, &resource).await?;
        }
        Ok(resource)
    }

    /// Gives a project other servers, for whoever may edit it, or may attach or detach this one.
    pub async fn set_servers(
        &mut self,
        allowed: &Allowed,
        (project, server): (&Resource, &str),
        servers: Vec<String>,
    ) -> Result<Resource, StoreError> {
        let name = project.metadata.name.as_str();
        allowed.covers_attachment(project.descriptor()?, name, server)?;
        let mut spec = project.spec.clone();
        if let Some(members) = spec.as_object_mut() {
            members.insert("servers".into(), servers.into());
        }
        let desired = Desired {
            labels: project.metadata.labels.clone(),
            annotations: project.metadata.annotations.clone(),
            ..Desired::new(project.descriptor()?, None, name, spec)
        };
        self.check_attached(allowed, &desired, Some(&project.spec))?;
        let version = Some(project.metadata.resource_version);
        self.inner.update(&desired.key(), version, &desired, &allowed.actor()).await
    }

    /// Approves the definition of this digest, which waits, of a tool of a server.
    pub async fn approve_tool(
        &mut self,
        allowed: &Allowed,
        server: &Resource,
        (tool, digest): (&str, &str),
    ) -> Result<(), StoreError> {
        let (name, project) = named(server);
        allowed.covers(Verb::Edit, server.descriptor()?, name, project)?;
        self.inner.approve_tool((&server.metadata.uid, name), tool, digest, &allowed.actor()).await
    }

    /// The revision that this change has come to.
    pub(crate) fn revision(&self) -> u64 {
        self.inner.revision()
    }

    /// The resource of this name as this change has it, for whoever is to be allowed to see it or change it.
    pub(crate) async fn find(
        &mut self,
        kind: &'static Descriptor,
        project: Option<&str>,
        name: &str,
    ) -> Result<Option<Resource>, StoreError> {
        match self.inner.find(kind, Some(project), name).await {
            Ok(resource) => Ok(Some(resource)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Resources of a kind as this change has them.
    pub(crate) async fn list(&mut self, kind: &'static Descriptor) -> Result<Vec<Resource>, StoreError> {
        Ok(self.inner.list(kind, ListScope::All).await?.items)
    }

    /// Whether everything that is referred to is there, and somebody who may change rules: what [`Self::commit`] asks, too.
    pub(crate) async fn check(&mut self) -> Result<(), StoreError> {
        self.inner.verify().await?;
        self.check_rulers().await
    }

    /// Whether somebody is left who may change rules, if there was before.
    async fn check_rulers(&mut self) -> Result<(), StoreError> {
        let is_of_rules = self.inner.kinds().iter().any(|kind| OF_RULES.contains(&kind.as_str()));
        if !is_of_rules || self.is_operator || !self.guarded.policies.current().has_ruler() {
            return Ok(());
        }
        let mut resources = Vec::new();
        for kind in KINDS.iter().copied().filter(|kind| OF_RULES.contains(&kind.name)) {
            resources.extend(self.list(kind).await?);
        }
        let resources = resources.iter().map(|it| (it.kind.as_str(), it.metadata.name.as_str(), &it.spec));
        if Policy::new(resources, Timestamp::now().as_second()).has_ruler() {
            return Ok(());
        }
        let error = Error::new(Code::Conflict, "after this, nobody could change rules any more");
        let hint =
            "give somebody else `edit` on `*` or `rbac` first, or do it with the administrator's token";
        Err(StoreError::Invalid(error.with_hint(hint)))
    }

    /// Makes it happen, and puts into force what follows from it.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.check_rulers().await?;
        self.guarded.snapshots.commit(self.inner).await
    }
}

/// The same, with a proposal saying whose it is: whoever made it, whatever the document says.
fn signed<'a, 'd>(desired: &'d Desired<'a>, account: Option<&str>) -> Cow<'d, Desired<'a>> {
    if desired.kind.name != PROPOSAL {
        return Cow::Borrowed(desired);
    }
    let mut desired = desired.clone();
    if let Some(members) = desired.spec.as_object_mut() {
        members.shift_remove(PROPOSER);
        members.extend(account.map(|account| (PROPOSER.to_owned(), account.into())));
    }
    Cow::Owned(desired)
}
