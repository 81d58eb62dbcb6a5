//! What rules grant, in a form that is asked thousands of times a second.
//!
//! It is built from stored `rbac`, `group` and `user` resources and replaced whole. Whoever builds it hands over what is stored,
//! and nothing is trusted there: an account that isn't known, a rule or a binding that isn't understood grants nothing, and
//! takes nothing from those beside it.

mod build;
mod grants;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hayward_api::Principal;
use hayward_api::principal::PrincipalKind;
use serde_json::Value;

use grants::{Grants, noun_index};

use crate::{Operation, Verb};

/// What rules grant to whom.
#[derive(Debug, Default)]
pub struct Policy {
    accounts: HashMap<String, Account>,
    until_unix: Option<i64>,
}

/// An account that may act, and what it was granted: by itself, and by each of its groups.
#[derive(Debug, Default)]
struct Account {
    grants: Vec<Arc<Grants>>,
}

/// What somebody may see of a kind, or do to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visible {
    /// Nothing.
    None,
    /// Some of it.
    Some(Shown),
    /// All of it.
    All,
}

/// Which resources of a kind are granted: those in any of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// By name, wherever they are.
    pub names: BTreeSet<String>,
    /// All of these projects.
    pub projects: BTreeSet<String>,
    /// By project and name.
    pub both: BTreeSet<(String, String)>,
}

impl Visible {
    /// Whether it holds the resource of this name in this project, or in none.
    pub fn shows(&self, name: &str, project: Option<&str>) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(shown) => {
                let in_project = |project: &str| {
                    shown.projects.contains(project)
                        || shown.both.contains(&(project.to_owned(), name.to_owned()))
                };
                shown.names.contains(name) || project.is_some_and(in_project)
            }
        }
    }
}

impl Policy {
    /// The rules in these stored resources: of each, the name of its kind, its own name, and its spec. Others are passed over.
    /// Accounts that are over at this second (Unix time) may do nothing.
    pub fn new<'a>(
        resources: impl IntoIterator<Item = (&'a str, &'a str, &'a Value)>,
        now_unix: i64,
    ) -> Self {
        build::policy(resources, now_unix)
    }

    /// When (Unix time) the next account is over: by then, the policy is built anew. Never if none will be.
    pub fn until_unix(&self) -> Option<i64> {
        self.until_unix
    }

    /// Whether any account may change every rule.
    pub fn has_ruler(&self) -> bool {
        let Some(rules) = noun_index("rbac") else { return false };
        let rules_all =
            |account: &Account| account.grants.iter().any(|grants| grants.everywhere(rules).has(Verb::Edit));
        self.accounts.values().any(rules_all)
    }

    /// What of a kind this principal may do this to; `noun` is its plural. It agrees with [`decide`](crate::decide()).
    pub fn scope(&self, principal: &Principal, verb: Verb, noun: &str) -> Visible {
        let Some(noun) = noun_index(noun) else { return Visible::None };
        if principal.kind == PrincipalKind::Admin {
            return Visible::All;
        }
        let mut shown = Shown::default();
        for grants in self.grants(principal) {
            if grants.everywhere(noun).has(verb) {
                return Visible::All;
            }
            grants.collect(noun, verb, &mut shown);
        }
        if shown == Shown::default() { Visible::None } else { Visible::Some(shown) }
    }

    /// Whether this may be done to the resource of this name in this project; without a name: to any that there might be.
    pub(crate) fn allows(
        &self,
        principal: &Principal,
        (verb, noun): (Verb, &str),
        (name, project): (Option<&str>, Option<&str>),
    ) -> bool {
        let Some(noun) = noun_index(noun) else { return false };
        principal.kind == PrincipalKind::Admin
            || self.grants(principal).iter().any(|grants| grants.verbs(noun, name, project).has(verb))
    }

    /// Whether this may be done to this resource because some rule names it, and not only because a rule names all.
    pub(crate) fn allows_by_name(
        &self,
        principal: &Principal,
        (verb, noun): (Verb, &str),
        name: &str,
    ) -> bool {
        let Some(noun) = noun_index(noun) else { return false };
        self.grants(principal).iter().any(|grants| grants.of_name(noun, name).has(verb))
    }

    pub(crate) fn allows_operation(&self, principal: &Principal, operation: Operation) -> bool {
        principal.kind == PrincipalKind::Admin
            || self.grants(principal).iter().any(|grants| grants.has_operation(operation))
    }

    /// What an account was granted. Accounts have one name each, so it is the account that says whether it is a person's or a
    /// program's, and which subjects it is; whoever shows a credential says its name only.
    fn grants(&self, principal: &Principal) -> &[Arc<Grants>] {
        match principal.kind {
            PrincipalKind::User | PrincipalKind::ServiceAccount => {
                self.accounts.get(&principal.name).map_or(&[], |account| &account.grants)
            }
            PrincipalKind::Anonymous
            | PrincipalKind::Token
            | PrincipalKind::Admin
            | PrincipalKind::Metrics
            | PrincipalKind::Local => &[],
        }
    }
}

/// The policy that holds at this moment, as a snapshot that is replaced whole.
#[derive(Debug, Default)]
pub struct Policies(ArcSwap<Policy>);

impl Policies {
    /// What holds now.
    pub fn current(&self) -> Arc<Policy> {
        self.0.load_full()
    }

    /// Puts this in its place.
    pub fn replace(&self, policy: Policy) {
        self.0.store(Arc::new(policy));
    }
}
