//! From stored resources to what each account is granted.

use std::collections::HashMap;
use std::sync::Arc;

use hayward_api::Time;
use hayward_api::kinds::group::GroupSpec;
use hayward_api::kinds::rbac::{AUDIT, EVERYTHING, Role, RoleBinding, Subject, SubjectKind, nouns};
use hayward_api::kinds::user::UserSpec;
use serde::Deserialize as _;
use serde_json::Value;

use super::grants::{Grants, Verbs, noun_index};
use super::{Account, Operation, Policy};

/// Sets of groups whose grants are added up beforehand. Bounds the memory, not what is decided.
const SUMS: usize = 64;

/// What is understood of a binding.
enum Granted {
    /// Verbs on kinds.
    On { nouns: Vec<usize>, verbs: Verbs, name: Option<String>, project: Option<String> },
    /// An operation.
    To(Operation),
}

pub(super) fn policy<'a>(
    resources: impl IntoIterator<Item = (&'a str, &'a str, &'a Value)>,
    now_unix: i64,
) -> Policy {
    let mut people: HashMap<&str, UserSpec> = HashMap::new();
    let mut members: Vec<(&str, Vec<String>)> = Vec::new();
    let mut granted: HashMap<Subject, Grants> = HashMap::new();
    for (kind, name, spec) in resources {
        match kind {
            "user" => people.extend(active(spec, now_unix).map(|spec| (name, spec))),
            "group" => members.extend(GroupSpec::deserialize(spec).ok().map(|group| (name, group.members))),
            "rbac" => grant(spec, &mut granted),
            _ => {}
        }
    }
    let granted: HashMap<Subject, Arc<Grants>> =
        granted.into_iter().map(|(subject, grants)| (subject, Arc::new(grants))).collect();
    let of = |kind, name: &str| granted.get(&Subject { kind, name: name.to_owned() }).cloned();
    let mut accounts: HashMap<String, Account> = HashMap::new();
    for (name, spec) in &people {
        let kind = if spec.service_account { SubjectKind::ServiceAccount } else { SubjectKind::User };
        let grants = of(kind, name).into_iter().collect();
        accounts.insert((*name).to_owned(), Account { grants });
    }
    for (name, grants) in together(
        members
            .into_iter()
            .filter_map(|(group, names)| of(SubjectKind::Group, group).map(|grants| (grants, names))),
    ) {
        if let Some(account) = accounts.get_mut(&name) {
            account.grants.extend(grants);
        }
    }
    let until_unix = people.values().filter_map(|spec| spec.expires_at).map(Time::unix).min();
    Policy { accounts, until_unix }
}

/// What everybody is granted by groups. Those who are in the same ones share one sum of what these are granted, so that a decision
/// asks once; beyond [`SUMS`] different sets of groups, the groups are asked one by one.
fn together(groups: impl Iterator<Item = (Arc<Grants>, Vec<String>)>) -> HashMap<String, Vec<Arc<Grants>>> {
    let mut all = Vec::new();
    let mut of: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, (grants, names)) in groups.enumerate() {
        all.push(grants);
        for name in names {
            of.entry(name).or_default().push(at);
        }
    }
    let mut sums: HashMap<Vec<usize>, Arc<Grants>> = HashMap::new();
    let mut granted = HashMap::new();
    for (name, groups) in of {
        let parts = || groups.iter().map(|at| &all[*at]);
        let grants = match sums.get(&groups) {
            Some(sum) => vec![Arc::clone(sum)],
            None if groups.len() > 1 && sums.len() < SUMS => {
                let sum = Arc::new(parts().fold(Grants::default(), |sum, part| sum.with(part)));
                sums.insert(groups, Arc::clone(&sum));
                vec![sum]
            }
            None => parts().map(Arc::clone).collect(),
        };
        granted.insert(name, grants);
    }
    granted
}

/// What is stored of an account, if it may act.
fn active(spec: &Value, now_unix: i64) -> Option<UserSpec> {
    let spec = UserSpec::deserialize(spec).ok().filter(|spec| !spec.disabled)?;
    spec.expires_at.is_none_or(|end| now_unix < end.unix()).then_some(spec)
}

/// Adds what a rule grants, as far as it is understood.
fn grant(spec: &Value, granted: &mut HashMap<Subject, Grants>) {
    let list = |member: &str| spec.get(member).and_then(Value::as_array).into_iter().flatten();
    let bindings: Vec<Granted> = list("roleBindings")
        .filter_map(|binding| understood(&RoleBinding::deserialize(binding).ok()?))
        .collect();
    for subject in list("subjects").filter_map(|subject| Subject::deserialize(subject).ok()) {
        let grants = granted.entry(subject).or_default();
        for binding in &bindings {
            binding.add_to(grants);
        }
    }
}

impl Granted {
    fn add_to(&self, grants: &mut Grants) {
        match self {
            Self::To(operation) => grants.add_operation(*operation),
            Self::On { nouns, verbs, name, project } => {
                for noun in nouns {
                    grants.add(*noun, *verbs, name.as_deref(), project.as_deref());
                }
            }
        }
    }
}

/// What a binding grants; nothing if it says too much, too little, or what nobody knows.
fn understood(binding: &RoleBinding) -> Option<Granted> {
    match (binding.role, &binding.resource, binding.action) {
        (Role::Run, None, Some(operation)) if binding.name.is_none() && binding.project.is_none() => {
            Some(Granted::To(operation))
        }
        (role, Some(resource), None) => Some(Granted::On {
            nouns: nouns_of(resource, binding.name.is_none() && binding.project.is_none())?,
            verbs: Verbs::of(role.verbs()),
            name: binding.name.clone(),
            project: binding.project.clone(),
        }),
        _ => None,
    }
}

/// The nouns that a word stands for. What is recorded has neither names nor projects: it is granted as a whole, or not.
fn nouns_of(resource: &str, is_whole: bool) -> Option<Vec<usize>> {
    let named = if resource == EVERYTHING { nouns().collect() } else { vec![resource] };
    named.into_iter().filter(|noun| is_whole || *noun != AUDIT).map(noun_index).collect()
}
