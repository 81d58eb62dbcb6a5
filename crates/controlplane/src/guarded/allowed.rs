//! Decisions about what is declared, and the proof of one.

use hayward_api::kinds::{Descriptor, KINDS, Scope};
use hayward_api::names::{ResourceName, is_uid};
use hayward_api::principal::PrincipalKind;
use hayward_api::{Caller, Code, Error, Principal};
use hayward_auth::{Action, Decision, Operation, Reason, Verb, Visible, decide};
use hayward_store::{Actor, ListScope, Resource, StoreError};

use super::Guarded;

/// The proof that a caller may do something: with certain resources of a kind, one by one, or with one of them.
#[derive(Clone, Debug)]
pub struct Allowed {
    caller: Caller,
    verb: Verb,
    noun: &'static str,
    /// The one that it is good for, by name and project; none: for some of the kind.
    one: Option<(String, Option<String>)>,
}

impl Allowed {
    /// Who may.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whom history names.
    pub fn actor(&self) -> Actor {
        Actor::from(&*self.caller.principal)
    }

    /// The account of whoever may, if it has one.
    pub(super) fn account(&self) -> Option<&str> {
        let principal = &self.caller.principal;
        let has_one = matches!(principal.kind, PrincipalKind::User | PrincipalKind::ServiceAccount);
        has_one.then_some(principal.name.as_str())
    }

    /// Whether it is a proof of this.
    pub(super) fn covers(
        &self,
        verb: Verb,
        kind: &Descriptor,
        name: &str,
        project: Option<&str>,
    ) -> Result<(), StoreError> {
        let is_one =
            self.one.as_ref().is_none_or(|(known, within)| known == name && within.as_deref() == project);
        if self.verb == verb && self.noun == kind.plural && is_one {
            return Ok(());
        }
        let detail =
            format!("a proof of {:?} {} was shown for {verb:?} {} `{name}`", self.verb, self.noun, kind.name);
        Err(StoreError::Invalid(Error::new(Code::Internal, "this was decided otherwise").with_detail(detail)))
    }

    /// Whether it is a proof that this server may be attached to this project, or detached from it.
    pub(super) fn covers_attachment(
        &self,
        project: &Descriptor,
        name: &str,
        server: &str,
    ) -> Result<(), StoreError> {
        if self.noun == project.plural {
            return self.covers(Verb::Edit, project, name, None);
        }
        let attachment = self.kind()?;
        let verb = if self.verb == Verb::Delete { Verb::Delete } else { Verb::Create };
        self.covers(verb, attachment, server, Some(name))
    }

    /// Whether it is a proof for some of this kind.
    pub(super) fn covers_some(&self, kind: &Descriptor) -> Result<(), StoreError> {
        if self.noun == kind.plural && self.one.is_none() {
            return Ok(());
        }
        Err(StoreError::Invalid(Error::new(Code::Internal, "this was decided otherwise")))
    }

    /// Whether it is a proof of this, of what isn't a kind.
    pub(super) fn covers_noun(&self, verb: Verb, noun: &str) -> Result<(), StoreError> {
        if self.verb == verb && self.noun == noun {
            return Ok(());
        }
        Err(StoreError::Invalid(Error::new(Code::Internal, "this was decided otherwise")))
    }

    /// The kind that it is about.
    pub(super) fn kind(&self) -> Result<&'static Descriptor, StoreError> {
        let known = KINDS.iter().copied().find(|kind| kind.plural == self.noun);
        known.ok_or_else(|| StoreError::Invalid(Error::new(Code::Internal, "this is about no kind")))
    }
}

/// That a caller may not.
#[derive(Debug)]
pub struct Denied {
    /// What the caller is told.
    pub error: Error,
    /// What was asked for, and why not, for the record; none where nothing was decided.
    pub decision: Option<(String, String)>,
}

impl Denied {
    fn unauthenticated() -> Self {
        let error = Error::new(Code::Unauthenticated, "this needs a credential")
            .with_hint("run `hayward login`, or send `Authorization: Bearer TOKEN`");
        Self { error, decision: None }
    }

    fn forbidden(what: String, reason: Reason) -> Self {
        let error = Error::new(Code::Forbidden, format!("not permitted to {what}"))
            .with_hint("an administrator can grant it with an rbac resource");
        Self { error, decision: Some((what, reason.to_string())) }
    }

    /// It is there, and nobody says so.
    fn hidden(kind: &Descriptor, word: &str, what: String, reason: Reason) -> Self {
        let error = StoreError::NotFound { kind: kind.name, name: word.to_owned() }.into();
        Self { error, decision: Some((what, reason.to_string())) }
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self { error: error.into(), decision: None }
    }
}

/// What is decided, in words.
fn told(verb: Verb, noun: &str, one: Option<(&str, Option<&str>)>) -> String {
    match one {
        None => format!("{} {noun}", verb.as_str()),
        Some((name, None)) => format!("{} {noun} `{name}`", verb.as_str()),
        Some((name, Some(project))) => format!("{} {noun} `{name}` of project `{project}`", verb.as_str()),
    }
}

impl Guarded {
    fn decide(&self, caller: &Caller, action: &Action<'_>) -> Decision {
        decide(&self.policies.current(), &caller.principal, action)
    }

    /// Whether somebody is known at all.
    pub fn known(caller: &Caller) -> Result<(), Denied> {
        match caller.principal.kind {
            PrincipalKind::Anonymous => Err(Denied::unauthenticated()),
            _ => Ok(()),
        }
    }

    /// Whether the caller may do this with any resource of the kind; which ones it is, is decided for each.
    pub fn some(&self, caller: &Caller, verb: Verb, kind: &'static Descriptor) -> Result<Allowed, Denied> {
        self.noun(caller, verb, kind.plural)
    }

    /// The same for what isn't a kind.
    pub fn noun(&self, caller: &Caller, verb: Verb, noun: &'static str) -> Result<Allowed, Denied> {
        Self::known(caller)?;
        let action = Action::Manage { verb, noun, name: None, project: None };
        match self.decide(caller, &action) {
            Decision::Allow => Ok(Allowed { caller: caller.clone(), verb, noun, one: None }),
            Decision::Deny { reason } => Err(Denied::forbidden(told(verb, noun, None), reason)),
        }
    }

    /// Whether the caller may do this.
    pub fn operation(&self, caller: &Caller, operation: Operation) -> Result<(), Denied> {
        Self::known(caller)?;
        match self.decide(caller, &Action::Operate(operation)) {
            Decision::Allow => Ok(()),
            Decision::Deny { reason } => Err(Denied::forbidden(operation.as_str().to_owned(), reason)),
        }
    }

    /// Whether the caller may have others use this server, or what is ours call it.
    pub(super) fn shares(&self, caller: &Caller, server: &str) -> Result<(), Denied> {
        match self.decide(caller, &Action::Share { toolset: server }) {
            Decision::Allow => Ok(()),
            Decision::Deny { reason } => {
                Err(Denied::forbidden(format!("have server `{}` used", server.escape_debug()), reason))
            }
        }
    }

    /// Whether the caller may do this with the resource of this name, which need not be there.
    pub fn named(
        &self,
        caller: &Caller,
        verb: Verb,
        kind: &'static Descriptor,
        (name, project): (&str, Option<&str>),
    ) -> Result<Allowed, Denied> {
        Self::known(caller)?;
        match self.decide(caller, &manage(verb, kind, name, project)) {
            Decision::Allow => Ok(proof(caller, verb, kind, name, project)),
            Decision::Deny { reason } => {
                Err(Denied::forbidden(told(verb, kind.plural, Some((name, project))), reason))
            }
        }
    }

    /// Refuses whoever signed in with something that was revoked meanwhile.
    pub(crate) fn still_known(&self, caller: &Caller) -> Result<(), Error> {
        if self.snapshots.is_current(caller) {
            return Ok(());
        }
        let error = Error::new(Code::Forbidden, "the credential was revoked");
        Err(error.with_hint("ask another administrator for a new token"))
    }

    /// Decides anew what was decided earlier.
    pub(super) fn still(&self, allowed: &Allowed) -> Result<(), Denied> {
        let Allowed { caller, verb, noun, one } = allowed;
        match one {
            Some((name, project)) => {
                self.named(caller, *verb, allowed.kind()?, (name, project.as_deref())).map(drop)
            }
            None => self.noun(caller, *verb, noun).map(drop),
        }
    }

    /// The resource that a word means, if the caller may do this with it. One that it may not see is not found.
    pub async fn one(
        &self,
        caller: &Caller,
        verb: Verb,
        kind: &'static Descriptor,
        (word, project): (&str, Option<&str>),
    ) -> Result<(Allowed, Resource), Denied> {
        Self::known(caller)?;
        let scope = match (kind.scope, project) {
            (Scope::System, _) => Some(None),
            (_, None) => None,
            (_, Some(project)) => Some(Some(project)),
        };
        if let Some(within) = scope.filter(|_| !is_uid(word))
            && let Decision::Deny { reason } = self.decide(caller, &manage(verb, kind, word, within))
            && !self.sees(caller, kind, word, within)
        {
            // Nobody looks whether it is there: so how long that takes tells nothing.
            let what = told(verb, kind.plural, Some((word, within)));
            return Err(Denied::hidden(kind, word, what, reason));
        }
        let resource = match self.store.find(kind, scope, word).await {
            Ok(resource) if scope.is_some() || self.reaches(caller, verb, kind, &resource) => resource,
            // What the caller may not see isn't in the way of what it may.
            Ok(hidden) => self.among_reached(caller, verb, kind, word).await?.unwrap_or(hidden),
            Err(StoreError::Ambiguous { .. }) => {
                let reached = self.among_reached(caller, verb, kind, word).await?;
                reached.ok_or_else(|| StoreError::NotFound { kind: kind.name, name: word.to_owned() })?
            }
            // Nothing to see. Whoever couldn't see it is decided about all the same, and as long.
            Err(StoreError::NotFound { .. }) => {
                let (one, what) = ((word, project), told(verb, kind.plural, Some((word, project))));
                let Decision::Deny { reason } = self.decide(caller, &manage(verb, kind, one.0, one.1)) else {
                    return Err(StoreError::NotFound { kind: kind.name, name: word.to_owned() }.into());
                };
                return Err(Denied::hidden(kind, word, what, reason));
            }
            Err(error) => return Err(error.into()),
        };
        let (name, project) = named(&resource);
        let Decision::Deny { reason } = self.decide(caller, &manage(verb, kind, name, project)) else {
            return Ok((proof(caller, verb, kind, name, project), resource));
        };
        let what = told(verb, kind.plural, Some((name, project)));
        Err(match self.decide(caller, &manage(Verb::View, kind, name, project)) {
            Decision::Allow => Denied::forbidden(what, reason),
            Decision::Deny { .. } => Denied::hidden(kind, word, what, reason),
        })
    }

    /// Whether the caller may do this to this resource.
    pub(super) fn may(
        &self,
        caller: &Caller,
        verb: Verb,
        kind: &Descriptor,
        (name, project): (&str, Option<&str>),
    ) -> bool {
        self.decide(caller, &manage(verb, kind, name, project)) == Decision::Allow
    }

    /// Whether a resource is there for the caller: it may do this with it, or see it.
    fn reaches(&self, caller: &Caller, verb: Verb, kind: &Descriptor, resource: &Resource) -> bool {
        let (name, project) = named(resource);
        self.decide(caller, &manage(verb, kind, name, project)) == Decision::Allow
            || self.sees(caller, kind, name, project)
    }

    /// The one of this name, in whatever project, that is there for the caller; that several are is told.
    async fn among_reached(
        &self,
        caller: &Caller,
        verb: Verb,
        kind: &'static Descriptor,
        word: &str,
    ) -> Result<Option<Resource>, StoreError> {
        let mut found = self.store.list(kind, ListScope::All).await?.items;
        found.retain(|resource| {
            resource.metadata.name.as_str() == word && self.reaches(caller, verb, kind, resource)
        });
        if let Some(at) = found.iter().position(|resource| resource.metadata.scope.is_none()) {
            return Ok(Some(found.swap_remove(at)));
        }
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(StoreError::Ambiguous { kind: kind.name, word: word.to_owned() }),
        }
    }

    /// Whether whoever made an invite may make this user still, and put it into these groups.
    pub(crate) fn may_still_invite(&self, maker: &Principal, email: &str, groups: &[&str]) -> bool {
        let policy = self.policies.current();
        let may = |verb, noun, name| {
            let action = Action::Manage { verb, noun, name: Some(name), project: None };
            decide(&policy, maker, &action) == Decision::Allow
        };
        may(Verb::Create, "users", email) && groups.iter().all(|group| may(Verb::Edit, "groups", group))
    }

    /// The project of this name, if the caller may see it, or some of this kind in it.
    pub(crate) async fn project_there(
        &self,
        caller: &Caller,
        name: &str,
        of: &'static Descriptor,
    ) -> Result<Resource, Denied> {
        Self::known(caller)?;
        let missing = || StoreError::NotFound { kind: "project", name: name.to_owned() };
        let kind = KINDS.iter().copied().find(|kind| kind.name == "project").ok_or_else(missing)?;
        let project = self.store.find(kind, Some(None), name).await?;
        let name = project.metadata.name.as_str();
        if self.sees(caller, kind, name, None) || self.sees_inside(caller, of, name).await? {
            return Ok(project);
        }
        Err(missing().into())
    }

    /// Whether the caller may see all of a kind in this project, or one that is in it. To be granted a name is not enough: it may
    /// be anywhere.
    async fn sees_inside(
        &self,
        caller: &Caller,
        kind: &'static Descriptor,
        project: &str,
    ) -> Result<bool, StoreError> {
        if kind.scope == Scope::System {
            return Ok(false);
        }
        let is_granted = match self.policies.current().scope(&caller.principal, Verb::View, kind.plural) {
            Visible::None => return Ok(false),
            Visible::All => true,
            Visible::Some(shown) => shown.projects.contains(project),
        };
        let sees = |found: &Resource| self.sees(caller, kind, found.metadata.name.as_str(), Some(project));
        Ok(is_granted || self.store.list(kind, ListScope::Project(project)).await?.items.iter().any(sees))
    }

    /// Whether the caller may see this resource.
    pub(crate) fn sees(&self, caller: &Caller, kind: &Descriptor, name: &str, project: Option<&str>) -> bool {
        self.may(caller, Verb::View, kind, (name, project))
    }
}

fn manage<'a>(verb: Verb, kind: &Descriptor, name: &'a str, project: Option<&'a str>) -> Action<'a> {
    Action::Manage { verb, noun: kind.plural, name: Some(name), project }
}

fn proof(caller: &Caller, verb: Verb, kind: &Descriptor, name: &str, project: Option<&str>) -> Allowed {
    let one = Some((name.to_owned(), project.map(ToOwned::to_owned)));
    Allowed { caller: caller.clone(), verb, noun: kind.plural, one }
}

/// The name and the project of a resource.
pub(crate) fn named(resource: &Resource) -> (&str, Option<&str>) {
    let metadata = &resource.metadata;
    (metadata.name.as_str(), metadata.scope.as_ref().map(ResourceName::as_str))
}
