//! What one subject is granted: sets of verbs, by kind, name and project.
//!
//! Names are few and looked up by their hash; what counts for a whole kind is an index into an array.

use std::collections::HashMap;

use hayward_api::kinds::rbac::nouns;

use super::Shown;
use crate::{Operation, Verb};

/// A set of verbs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verbs(u8);

impl Verbs {
    pub(super) fn of(verbs: &[Verb]) -> Self {
        verbs.iter().fold(Self::default(), |all, verb| all.with(Self(bit(*verb as u32))))
    }

    pub(super) fn has(self, verb: Verb) -> bool {
        self.0 & bit(verb as u32) != 0
    }

    #[must_use]
    pub(super) fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    fn add(&mut self, more: Self) {
        *self = self.with(more);
    }
}

fn bit(at: u32) -> u8 {
    1_u8.checked_shl(at).unwrap_or(0)
}

/// Where a noun stands among all of them.
pub(super) fn noun_index(noun: &str) -> Option<usize> {
    nouns().position(|known| known == noun)
}

/// What is granted of one kind.
#[derive(Clone, Debug, Default)]
struct OfKind {
    everywhere: Verbs,
    names: HashMap<String, Verbs>,
    projects: HashMap<String, InProject>,
}

/// What is granted of one kind in one project.
#[derive(Clone, Debug, Default)]
struct InProject {
    all: Verbs,
    names: HashMap<String, Verbs>,
    /// Those of the names together.
    some: Verbs,
}

/// What one subject is granted.
#[derive(Clone, Debug)]
pub(super) struct Grants {
    kinds: Vec<OfKind>,
    /// For each kind: what some name is granted, wherever it is.
    some: Vec<Verbs>,
    operations: u8,
}

impl Default for Grants {
    fn default() -> Self {
        let count = nouns().count();
        Self { kinds: vec![OfKind::default(); count], some: vec![Verbs::default(); count], operations: 0 }
    }
}

impl Grants {
    /// Grants these verbs on one kind, narrowed to a name, to a project, or to both.
    pub(super) fn add(&mut self, noun: usize, verbs: Verbs, name: Option<&str>, project: Option<&str>) {
        let kind = &mut self.kinds[noun];
        match (name, project) {
            (None, None) => kind.everywhere.add(verbs),
            (Some(name), None) => {
                kind.names.entry(name.to_owned()).or_default().add(verbs);
                self.some[noun].add(verbs);
            }
            (None, Some(project)) => kind.projects.entry(project.to_owned()).or_default().all.add(verbs),
            (Some(name), Some(project)) => {
                let inside = kind.projects.entry(project.to_owned()).or_default();
                inside.names.entry(name.to_owned()).or_default().add(verbs);
                inside.some.add(verbs);
            }
        }
    }

    /// The sum of both.
    #[must_use]
    pub(super) fn with(mut self, more: &Self) -> Self {
        self.operations |= more.operations;
        for (noun, kind) in more.kinds.iter().enumerate() {
            self.add(noun, kind.everywhere, None, None);
            for (name, verbs) in &kind.names {
                self.add(noun, *verbs, Some(name), None);
            }
            for (project, inside) in &kind.projects {
                self.add(noun, inside.all, None, Some(project));
                for (name, verbs) in &inside.names {
                    self.add(noun, *verbs, Some(name), Some(project));
                }
            }
        }
        self
    }

    pub(super) fn add_operation(&mut self, operation: Operation) {
        self.operations |= bit(operation as u32);
    }

    pub(super) fn has_operation(&self, operation: Operation) -> bool {
        self.operations & bit(operation as u32) != 0
    }

    /// What counts for the whole kind.
    pub(super) fn everywhere(&self, noun: usize) -> Verbs {
        self.kinds[noun].everywhere
    }

    /// What may be done to the one of this name; without a name, to any that there might be.
    pub(super) fn verbs(&self, noun: usize, name: Option<&str>, project: Option<&str>) -> Verbs {
        let kind = &self.kinds[noun];
        let of = |names: &HashMap<String, Verbs>, some: Verbs| match name {
            Some(name) if names.is_empty() || name.is_empty() => Verbs::default(),
            Some(name) => names.get(name).copied().unwrap_or_default(),
            None => some,
        };
        let inside = |inside: &InProject| inside.all.with(of(&inside.names, inside.some));
        let projects = match (project, name) {
            _ if kind.projects.is_empty() => Verbs::default(),
            (Some(project), _) => kind.projects.get(project).map_or_else(Verbs::default, inside),
            (None, Some(_)) => Verbs::default(),
            (None, None) => kind.projects.values().fold(Verbs::default(), |all, it| all.with(inside(it))),
        };
        kind.everywhere.with(of(&kind.names, self.some[noun])).with(projects)
    }

    /// What rules that name this one let do to it, wherever it is.
    pub(super) fn of_name(&self, noun: usize, name: &str) -> Verbs {
        self.kinds[noun].names.get(name).copied().unwrap_or_default()
    }

    /// Adds the names and projects for which a verb is granted on a kind.
    pub(super) fn collect(&self, noun: usize, verb: Verb, shown: &mut Shown) {
        let kind = &self.kinds[noun];
        let granted = |names: &HashMap<String, Verbs>| -> Vec<String> {
            names.iter().filter(|(_, verbs)| verbs.has(verb)).map(|(name, _)| name.clone()).collect()
        };
        shown.names.extend(granted(&kind.names));
        for (project, inside) in &kind.projects {
            if inside.all.has(verb) {
                shown.projects.insert(project.clone());
            }
            shown.both.extend(granted(&inside.names).into_iter().map(|name| (project.clone(), name)));
        }
    }
}
