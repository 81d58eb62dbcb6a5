//! What becomes of each object, worked out in the change itself.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use hayward_api::document::{self, HIDDEN};
use hayward_api::kinds::{Descriptor, KINDS, Kept, Sensitive};
use hayward_api::{Caller, Error};
use hayward_auth::Verb;
use hayward_store::{Deletion, Key, Resource, StoreError};
use serde_json::{Value, json};

use super::super::attachments;
use super::{Action, Applied, Applying, Item, Prune};
use crate::attach::servers;
use crate::guarded::{Allowed, Change, Denied, named};
use crate::managers;
use crate::manifests::MANAGER;
use crate::plane::Plane;
use crate::refusal::Refusal;
use crate::wire::prepare::Prepared;
use crate::wire::show::shown;

/// A change that grows object by object.
pub(super) struct Planning<'a> {
    plane: &'a Plane,
    caller: &'a Caller,
    applying: &'a Applying,
    change: Change,
    results: Vec<Applied>,
    /// What was said, so that it isn't pruned: kind, project, name.
    said: HashSet<(&'static str, Option<String>, String)>,
}

impl<'a> Planning<'a> {
    /// Begins for this caller; the credential is that of whoever the record names.
    pub(super) async fn begin(
        plane: &'a Plane,
        (caller, recorded_as): (&'a Caller, &Caller),
        applying: &'a Applying,
    ) -> Result<Self, Refusal> {
        let change = plane.guarded.begin(recorded_as, &[]).await.map_err(|denied| denied.error)?;
        Ok(Self { plane, caller, applying, change, results: Vec::new(), said: HashSet::new() })
    }

    pub(super) fn ended(self) -> (Change, Vec<Applied>) {
        (self.change, self.results)
    }

    /// Decides of one object whether the caller may make it what it is to be, and does nothing.
    pub(super) async fn decide(&mut self, item: &Item) -> Result<Option<Resource>, Refusal> {
        let (kind, (name, project)) = (item.prepared.kind, item.prepared.named());
        let live = match kind.kept {
            Kept::InProjects => None,
            Kept::Stored => self.change.find(kind, project, name).await?,
        };
        let verb = if live.is_none() { Verb::Create } else { Verb::Edit };
        self.may(verb, kind, (name, project)).await.map_err(|refusal| refusal.at(&item.place))?;
        Ok(live)
    }

    /// Makes one object what it is to be; what is wrong is told with its place.
    pub(super) async fn take(&mut self, item: Item) -> Result<(), Refusal> {
        let place = item.place.clone();
        let taken = match item.prepared.kind.kept {
            Kept::Stored => self.apply(item).await,
            Kept::InProjects => self.attach(&item.prepared).await,
        };
        taken.map_err(|refusal| if refusal.error.field.is_some() { refusal } else { refusal.at(&place) })
    }

    async fn apply(&mut self, Item { mut prepared, said, file, .. }: Item) -> Result<(), Refusal> {
        let (kind, wanted) = (prepared.kind, written(&prepared, &said));
        let (name, project) = (prepared.name.clone(), prepared.project.clone());
        self.said.insert((kind.name, project.clone(), name.clone()));
        let document = hidden(kind.sensitive, &wanted);
        let manager = self.applying.manager.as_str();
        let applied = |before: Option<&Value>| managers::with(before, manager, file.as_deref(), &document);
        let Some(live) = self.change.find(kind, project.as_deref(), &name).await? else {
            let allowed = self.may(Verb::Create, prepared.kind, prepared.named()).await?;
            if kind.name == "token" && manager == MANAGER {
                // Its secret would be shown to nobody.
                self.note((kind.name, name, project), Action::LeftOut, (None, None), None);
                return Ok(());
            }
            let (made, token) = prepared.create(&mut self.change, &allowed, Some(applied(None)?)).await?;
            let token = token.filter(|_| !self.applying.is_dry).map(|token| token.reveal().to_owned());
            let after = shown(kind, &made);
            self.note((kind.name, name, project), Action::Created, (None, Some(after)), token);
            return Ok(());
        };
        let allowed = self.may(Verb::Edit, kind, prepared.named()).await?;
        let before = shown(kind, &live);
        let mut stripped = before.clone();
        document::strip(kind, &mut stripped);
        let kept = live.applied()?;
        let last = managers::last(kept.as_ref(), manager).and_then(|last| last.get("document"));
        if let Some(last) = last {
            forget_defaults(kind, last, &mut stripped);
        }
        let merged = document::read(kind, document::merge3(kind, last, &wanted, &stripped))?;
        prepared.labels = merged.labels;
        prepared.annotations = merged.annotations;
        prepared.spec = merged.spec;
        let desired = prepared.desired(Some(applied(kept.as_ref())?));
        let made = self.change.update(&allowed, prepared.version, &desired).await?;
        let is_same = made.metadata.resource_version == live.metadata.resource_version;
        let action = if is_same { Action::Unchanged } else { Action::Updated };
        let after = shown(kind, &made);
        self.note((kind.name, name, project), action, (Some(before), Some(after)), None);
        Ok(())
    }

    async fn attach(&mut self, wanted: &Prepared) -> Result<(), Refusal> {
        let (kind, server) = (wanted.kind, wanted.name.as_str());
        let name = wanted.project.as_deref().ok_or_else(|| Refusal::invalid("`project` is missing"))?;
        let allowed = self.may(Verb::Create, kind, (server, Some(name))).await?;
        // In the words of the route that attaches one.
        if !self.plane.guarded.sees(self.caller, crate::wire::kind("server")?, server, None) {
            return Err(StoreError::NotFound { kind: "server", name: server.to_owned() }.into());
        }
        let project = crate::wire::kind("project")?;
        let live = self.change.find(project, None, name).await?;
        let mut live = live.ok_or_else(|| Refusal::invalid(format!("project `{name}` not found")))?;
        let mut attached = servers(&live);
        let action = if attached.iter().any(|known| known == server) {
            Action::Unchanged
        } else {
            attached.push(server.to_owned());
            live = self.change.set_servers(&allowed, (&live, server), attached).await?;
            Action::Created
        };
        let after = Some(attachments::shown(kind, &live, server)?);
        let before = after.clone().filter(|_| action == Action::Unchanged);
        self.note((kind.name, server.to_owned(), Some(name.to_owned())), action, (before, after), None);
        Ok(())
    }

    /// Deletes what this manager applied earlier and didn't say now.
    pub(super) async fn prune(&mut self) -> Result<(), Refusal> {
        let labels = match self.applying.prune.clone() {
            Prune::Nothing => return Ok(()),
            Prune::Everything => None,
            Prune::With(labels) => Some(labels),
        };
        for kind in KINDS.iter().rev().copied().filter(|kind| kind.kept == Kept::Stored) {
            for resource in self.change.list(kind).await? {
                let is_meant = labels.as_ref().is_none_or(|labels| labels.matches(&resource.metadata.labels));
                let (name, project) = named(&resource);
                // What the caller may not see isn't there for it: neither deleted nor named.
                let is_seen = self.plane.guarded.sees(self.caller, kind, name, project);
                if is_meant && is_seen && self.is_left(kind.name, &resource)? {
                    self.delete(kind, resource).await?;
                }
            }
        }
        Ok(())
    }

    fn is_left(&self, kind: &'static str, resource: &Resource) -> Result<bool, StoreError> {
        let applied = resource.applied()?;
        if managers::last(applied.as_ref(), &self.applying.manager).is_none() {
            return Ok(false);
        }
        let (name, project) = named(resource);
        Ok(!self.said.contains(&(kind, project.map(ToOwned::to_owned), name.to_owned())))
    }

    async fn delete(&mut self, kind: &'static Descriptor, resource: Resource) -> Result<(), Refusal> {
        let (name, scope) = named(&resource);
        // What belonged to a project that was pruned just now is gone already.
        if self.change.find(kind, scope, name).await?.is_none() {
            return Ok(());
        }
        let allowed = self.may(Verb::Delete, kind, (name, scope)).await?;
        let key = Key { kind, scope, name };
        let (before, owned) = (shown(kind, &resource), (name.to_owned(), scope.map(ToOwned::to_owned)));
        // What others refer to holds nothing else of the directory up.
        let is_kept = self.applying.manager == MANAGER && self.change.is_referred_to(&key).await?;
        if !is_kept {
            self.change.delete(&allowed, &key, None, Deletion::Refuse).await?;
        }
        let action = if is_kept { Action::Kept } else { Action::Deleted };
        self.note((kind.name, owned.0, owned.1), action, (Some(before), None), None);
        Ok(())
    }

    /// Whether the caller may. Whether something is there isn't told to whoever may not.
    async fn may(
        &self,
        verb: Verb,
        kind: &'static Descriptor,
        name: (&str, Option<&str>),
    ) -> Result<Allowed, Refusal> {
        match self.plane.guarded.named(self.caller, verb, kind, name) {
            Ok(allowed) => Ok(allowed),
            Err(Denied { error, decision }) => {
                if let Some((what, reason)) = decision {
                    self.applying.noted.store(true, Ordering::Relaxed);
                    self.plane.record.denied(self.caller.clone(), what, reason).await;
                }
                let message = format!("not permitted to apply {} `{}`", kind.plural, name.0);
                Err(Error { message, ..error }.into())
            }
        }
    }

    fn note(
        &mut self,
        (kind, name, project): (&'static str, String, Option<String>),
        action: Action,
        (before, after): (Option<Value>, Option<Value>),
        token: Option<String>,
    ) {
        let is_dry = self.applying.is_dry;
        let (before, after) = (before.filter(|_| is_dry), after.filter(|_| is_dry));
        self.results.push(Applied { kind, name, project, action, before, after, token });
    }
}

/// What was written, in canonical form. A default that nobody wrote is nobody's wish: it would undo what others set.
fn written(prepared: &Prepared, said: &HashSet<String>) -> Value {
    let members = document::members(prepared.kind);
    // Under an old key something may be said that has another name in canonical form.
    let has_aliases =
        said.iter().any(|name| !members.contains(name) && !is_common(prepared.kind.identity, name));
    let mut document = serde_json::Map::new();
    document.insert(prepared.kind.identity.to_owned(), prepared.name.as_str().into());
    if let Some(project) = &prepared.project {
        document.insert("project".into(), project.as_str().into());
    }
    for (member, pairs) in [("labels", &prepared.labels), ("annotations", &prepared.annotations)] {
        if !pairs.is_empty() {
            document.insert(member.into(), json!(pairs));
        }
    }
    let spec = prepared.spec.as_object().into_iter().flatten();
    let spec = spec.filter(|(name, _)| has_aliases || said.contains(*name));
    document.extend(spec.map(|(name, value)| (name.clone(), value.clone())));
    document.into()
}

/// Takes out of a live document what followed from what was applied last: it follows anew from what is applied now.
fn forget_defaults(kind: &Descriptor, last: &Value, live: &mut Value) {
    let Ok(read) = document::read(kind, last.clone()) else { return };
    let Some(live) = live.as_object_mut() else { return };
    for (name, value) in read.spec.as_object().into_iter().flatten() {
        if last.get(name).is_none() && live.get(name) == Some(value) {
            live.shift_remove(name);
        }
    }
}

/// Whether it is a member that every document may have.
fn is_common(identity: &str, name: &str) -> bool {
    let common = ["project", "labels", "annotations", "kind", "apiVersion"];
    name == identity || common.contains(&name) || document::READ_ONLY.contains(&name)
}

/// The same as it may be kept.
fn hidden(sensitive: &[Sensitive], document: &Value) -> Value {
    let mut document = document.clone();
    for member in sensitive {
        if let Sensitive::Values(name) = member
            && let Some(values) = document.get_mut(*name).and_then(Value::as_object_mut)
        {
            values.values_mut().for_each(|value| *value = HIDDEN.into());
        }
    }
    document
}
