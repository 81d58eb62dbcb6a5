//! `rbac`: who may do what. Subjects, and the roles that they have on resources or for operations.
//!
//! Words that nobody knows are refused here, when a rule is written. Whoever decides (`hayward_auth`) doesn't rely on that: to
//! it, a rule that it doesn't understand grants nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Column, Descriptor, KINDS, Kept, Kind, MadeBy, Names, Reference, Scope, Section, find, none};
use crate::error::Error;
use crate::limits::spec::LIST;
use crate::member::{self, Spec, bounded, unknown, wrong};

/// The noun of what is recorded; it is no kind.
pub const AUDIT: &str = "audit";
/// Stands for every noun.
pub const EVERYTHING: &str = "*";

/// What somebody wants to do to resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// To look at them.
    View,
    /// To make them.
    Create,
    /// To change them.
    Edit,
    /// To delete them.
    Delete,
    /// To use what they offer.
    Run,
    /// To hand out what lets others reach them, e.g. the configuration of a client.
    Expose,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 6] = [Self::View, Self::Create, Self::Edit, Self::Delete, Self::Run, Self::Expose];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Create => "create",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Run => "run",
            Self::Expose => "expose",
        }
    }
}

/// What a subject is on the resources that a binding names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Views, makes, changes, deletes and exposes.
    Edit,
    /// Views.
    View,
    /// Makes.
    Create,
    /// Deletes.
    Delete,
    /// Uses, or does an operation.
    Run,
    /// Exposes and views.
    Expose,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [Self::Edit, Self::View, Self::Create, Self::Delete, Self::Run, Self::Expose];

    /// What it lets do.
    pub const fn verbs(self) -> &'static [Verb] {
        match self {
            Self::Edit => &[Verb::View, Verb::Create, Verb::Delete, Verb::Edit, Verb::Expose],
            Self::View => &[Verb::View],
            Self::Create => &[Verb::Create],
            Self::Delete => &[Verb::Delete],
            Self::Run => &[Verb::Run],
            Self::Expose => &[Verb::Expose, Verb::View],
        }
    }
}

/// What is done to the whole system instead of to resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// To act as another account.
    Impersonate,
    /// To take a backup, which holds everything.
    Backup,
    /// To put a backup in the place of everything.
    Restore,
    /// To delete what was recorded.
    AuditPurge,
    /// To read what instances write to their logs.
    Logs,
    /// To say, beside making or changing a server, which program starts on the machine of the daemon.
    DefineCommands,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 6] =
        [Self::Impersonate, Self::Backup, Self::Restore, Self::AuditPurge, Self::Logs, Self::DefineCommands];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Impersonate => "impersonate",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::AuditPurge => "audit-purge",
            Self::Logs => "logs",
            Self::DefineCommands => "define-commands",
        }
    }
}

/// The kinds of subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// A person, by the address of the account.
    User,
    /// All members of a group.
    Group,
    /// An account of a program.
    ServiceAccount,
}

/// Who is granted something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Subject {
    /// What it is.
    pub kind: SubjectKind,
    /// Its name; of people, their address.
    pub name: String,
}

/// What is granted: a role on resources, or an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RoleBinding {
    /// What the subjects are on these resources; `run` for operations.
    pub role: Role,
    /// The plural of a kind, `audit`, or `*` for all of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The one resource that is meant; all if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The project in which they have to be; anywhere if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The operation, instead of a resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Operation>,
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RbacSpec {
    /// Who is granted it.
    #[serde(default)]
    pub subjects: Vec<Subject>,
    /// What is granted.
    #[serde(default)]
    pub role_bindings: Vec<RoleBinding>,
}

/// Every noun that a binding can name.
pub fn nouns() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.plural).chain([AUDIT])
}

impl Spec for RbacSpec {
    fn settle(&mut self) -> Result<(), Error> {
        bounded("subjects", &self.subjects, LIST)?;
        bounded("roleBindings", &self.role_bindings, LIST)?;
        for (at, subject) in self.subjects.iter_mut().enumerate() {
            subject.settle().map_err(|error| error.at(&format!("subjects[{at}]")))?;
        }
        for (at, binding) in self.role_bindings.iter_mut().enumerate() {
            binding.settle().map_err(|error| error.at(&format!("roleBindings[{at}]")))?;
        }
        Ok(())
    }
}

impl Subject {
    fn settle(&mut self) -> Result<(), Error> {
        let names = if self.kind == SubjectKind::Group { Names::Plain } else { Names::Email };
        self.name = names.canonical(&self.name).map_err(|error| error.at("name"))?;
        Ok(())
    }
}

impl RoleBinding {
    fn settle(&mut self) -> Result<(), Error> {
        match (&self.resource, self.action) {
            (Some(_), Some(_)) => {
                let error = wrong("action", "a binding is for a resource or for an operation");
                return Err(error.with_hint("write two bindings"));
            }
            (None, None) => {
                let error = wrong("resource", "it is missing");
                return Err(error.with_hint("name e.g. `servers`, or `*` for everything"));
            }
            (None, Some(_)) if self.role != Role::Run => {
                let error = wrong("role", "operations have the role `run`");
                return Err(error.with_hint("write `role: run`"));
            }
            (None, Some(_)) if self.name.is_some() || self.project.is_some() => {
                return Err(wrong("action", "an operation has neither `name` nor `project`"));
            }
            _ => {}
        }
        self.settle_resource()
    }

    /// Whatever word was used for the kind, its plural is kept.
    fn settle_resource(&mut self) -> Result<(), Error> {
        let Some(word) = &self.resource else { return Ok(()) };
        if word == AUDIT && (self.name.is_some() || self.project.is_some()) {
            let field = if self.name.is_some() { "name" } else { "project" };
            let error = wrong(field, "what is recorded is granted as a whole");
            return Err(error.with_hint("leave it out"));
        }
        // Of everything, only people are called by addresses.
        let is_address = self.name.as_ref().is_some_and(|name| name.contains('@'));
        let mut names = if is_address { Names::Email } else { Names::Plain };
        if word != EVERYTHING && word != AUDIT {
            let known: Vec<&str> = nouns().chain([EVERYTHING]).collect();
            let kind = find(word).ok_or_else(|| unknown(word, "resource", &known).at("resource"))?;
            if self.project.is_some() && kind.scope == Scope::System {
                let error = wrong("project", format!("{} belong to no project", kind.plural));
                return Err(error.with_hint("leave it out, and name the resource instead"));
            }
            names = kind.names;
            self.resource = Some(kind.plural.to_owned());
        }
        for (field, name, names) in
            [("name", &mut self.name, names), ("project", &mut self.project, Names::Plain)]
        {
            if let Some(name) = name {
                *name = names.canonical(name).map_err(|error| error.at(field))?;
            }
        }
        Ok(())
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "rbac",
    plural: "rbac",
    route: "rbac-definitions",
    aliases: &["rbac-definition", "rbacs"],
    about: "Who may do what: subjects, and their roles on resources or for operations.",
    identity: "name",
    names: Names::Plain,
    scope: Scope::System,
    made_by: MadeBy::Anybody,
    kept: Kept::Stored,
    sensitive: &[],
    sets: &[],
    columns: &[
        Column::new("SUBJECTS", "subjects.name"),
        Column::new("ROLES", "roleBindings.role"),
        Column::wide("RESOURCES", "roleBindings.resource"),
    ],
    sections: &[
        Section { heading: "Subjects", paths: &["subjects"] },
        Section { heading: "Role bindings", paths: &["roleBindings"] },
    ],
    order: 80,
    builtins: Vec::new,
    read: member::read::<RbacSpec>,
    references,
    conditions: none,
    sample,
    schema: |generator| generator.subschema_for::<RbacSpec>(),
};

/// Subjects are there, so that nobody inherits what was granted to somebody who is gone.
fn references(spec: &Value) -> Vec<Reference> {
    let Ok(spec) = serde_json::from_value::<RbacSpec>(spec.clone()) else { return Vec::new() };
    let refers = |(at, subject): (usize, Subject)| Reference {
        kind: if subject.kind == SubjectKind::Group { "group" } else { "user" },
        name: subject.name,
        key: None,
        field: format!("subjects[{at}].name"),
    };
    spec.subjects.into_iter().enumerate().map(refers).collect()
}

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({
            "name": "operators",
            "subjects": [
                {"kind": "User", "name": "ann@example.org"}, {"kind": "Group", "name": "admins"},
                {"kind": "ServiceAccount", "name": "ci"}],
            "roleBindings": [
                {"role": "edit", "resource": "servers"}, {"role": "view", "resource": "secrets", "name": "ha-token"},
                {"role": "edit", "resource": "prompts", "name": "rules", "project": "home"},
                {"role": "run", "action": "audit-purge"}]})
}

impl Kind for RbacSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(spec: Value) -> String {
        (DESCRIPTOR.read)(spec).unwrap_err().field.unwrap_or_default()
    }

    #[test]
    fn any_word_for_a_kind_is_kept_as_its_plural() {
        let read = |word| (DESCRIPTOR.read)(json!({"roleBindings": [{"role": "view", "resource": word}]}));
        for (word, expect) in [("srv", "servers"), ("server", "servers"), ("*", "*"), ("audit", "audit")] {
            assert_eq!(read(word).unwrap()["roleBindings"][0]["resource"], expect);
        }
        let error = read("servrs").unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `servers`?"));
        assert_eq!(error.field.as_deref(), Some("roleBindings[0].resource"));
    }

    #[test]
    fn a_name_is_kept_as_its_kind_keeps_names() {
        for (resource, name, expect) in [
            ("servers", "My-Server", "My-Server"),
            ("secrets", "API", "API"),
            ("users", "Ann@Example.org", "ann@example.org"),
            ("users", "Robot", "robot"),
            ("*", "My-Server", "My-Server"),
            ("*", "Ann@Example.org", "ann@example.org"),
        ] {
            let binding = json!({"role": "view", "resource": resource, "name": name});
            let read = (DESCRIPTOR.read)(json!({"roleBindings": [binding]})).unwrap();
            assert_eq!(read["roleBindings"][0]["name"], expect, "{resource}");
        }
    }

    #[test]
    fn bindings_that_cannot_be_meant_are_refused_where_they_stand() {
        for (binding, at) in [
            (json!({"role": "views", "resource": "*"}), "role"),
            (json!({"role": "view"}), "resource"),
            (json!({"role": "view", "action": "logs"}), "role"),
            (json!({"role": "run", "action": "log"}), "action"),
            (json!({"role": "run", "action": "logs", "resource": "*"}), "action"),
            (json!({"role": "run", "action": "logs", "name": "x"}), "action"),
            (json!({"role": "view", "resource": "servers", "name": "*"}), "name"),
            (json!({"role": "view", "resource": "servers", "project": "p"}), "project"),
            (json!({"role": "view", "resource": "*", "project": "a b"}), "project"),
            (json!({"role": "view", "resource": "audit", "name": "x"}), "name"),
            (json!({"role": "view", "resource": "audit", "project": "p"}), "project"),
            (json!({"role": "view", "resource": "*", "verb": "x"}), "verb"),
        ] {
            assert_eq!(field(json!({"roleBindings": [binding]})), format!("roleBindings[0].{at}"));
        }
        assert_eq!(field(json!({"subjects": [{"kind": "user", "name": "a"}]})), "subjects[0].kind");
        assert_eq!(field(json!({"subjects": [{"kind": "User", "name": "a b"}]})), "subjects[0].name");
    }

    #[test]
    fn subjects_are_referred_to() {
        let spec =
            json!({"subjects": [{"kind": "User", "name": "Ann@x.org"}, {"kind": "Group", "name": "g"}]});
        let spec = (DESCRIPTOR.read)(spec).unwrap();
        let refers = references(&spec);
        assert_eq!((refers[0].kind, &*refers[0].name), ("user", "ann@x.org"));
        assert_eq!((refers[1].kind, &*refers[1].field), ("group", "subjects[1].name"));
    }
}
