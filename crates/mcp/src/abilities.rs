//! What a client can do when it is asked, as it declares in its capabilities.

use serde::{Deserialize, Serialize};

use crate::json::{Object, ObjectWriter, Raw};

/// The name of the tasks extension (SEP-2663).
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// One thing that a client can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ability {
    /// Show its user a form.
    ElicitForm,
    /// Send its user to a page.
    ElicitUrl,
    /// Let its model write.
    Sample,
    /// Let its model write and use tools that the server names.
    SampleWithTools,
    /// Say which folders it works in.
    ListRoots,
    /// Ask later for what a call comes to.
    Tasks,
}

/// Everything that a client can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Abilities(u8);

impl Ability {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl From<Ability> for Abilities {
    fn from(ability: Ability) -> Self {
        Self(ability.bit())
    }
}

impl FromIterator<Ability> for Abilities {
    fn from_iter<T: IntoIterator<Item = Ability>>(abilities: T) -> Self {
        abilities.into_iter().fold(Self::default(), Self::with)
    }
}

impl Abilities {
    /// Reads a `ClientCapabilities` object. Whatever else it holds is of no weight here.
    pub fn of(capabilities: &Raw) -> Self {
        let capabilities = Object::of(capabilities).unwrap_or_else(Object::empty);
        let mut abilities = Self::default();
        if let Some(elicitation) = capabilities.get_object("elicitation") {
            // An empty object means forms, as it did before there was anything else.
            abilities.set(Ability::ElicitForm, elicitation.has("form") || !elicitation.has("url"));
            abilities.set(Ability::ElicitUrl, elicitation.has("url"));
        }
        if let Some(sampling) = capabilities.get_object("sampling") {
            abilities.set(Ability::Sample, true);
            abilities.set(Ability::SampleWithTools, sampling.has("tools"));
        }
        abilities.set(Ability::ListRoots, capabilities.has("roots"));
        let extensions = capabilities.get_object("extensions");
        abilities.set(Ability::Tasks, extensions.is_some_and(|extensions| extensions.has(TASKS_EXTENSION)));
        abilities
    }

    /// The capabilities object that a client declares all of these with.
    pub fn to_capabilities(self) -> Raw {
        let mut capabilities = ObjectWriter::new(128);
        // Forms alone are what an empty object means.
        let form = self.has(Ability::ElicitForm) && self.has(Ability::ElicitUrl);
        for (key, is_declared, within) in [
            (
                "elicitation",
                self.has(Ability::ElicitForm) || self.has(Ability::ElicitUrl),
                &[("form", form), ("url", self.has(Ability::ElicitUrl))][..],
            ),
            (
                "sampling",
                self.has(Ability::Sample) || self.has(Ability::SampleWithTools),
                &[("tools", self.has(Ability::SampleWithTools))],
            ),
            ("roots", self.has(Ability::ListRoots), &[]),
            ("extensions", self.has(Ability::Tasks), &[(TASKS_EXTENSION, true)]),
        ] {
            if is_declared {
                let named = within.iter().filter(|(_, is_named)| *is_named);
                let inner = named
                    .fold(ObjectWriter::new(48), |object, (name, _)| object.raw(name, &Raw::empty_object()));
                capabilities = capabilities.raw(key, &inner.end());
            }
        }
        capabilities.end()
    }

    /// Whether the client can do nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the client can do this.
    pub const fn has(self, ability: Ability) -> bool {
        self.0 & ability.bit() != 0
    }

    /// The same abilities and one more.
    #[must_use]
    pub const fn with(self, ability: Ability) -> Self {
        Self(self.0 | ability.bit())
    }

    /// The same abilities without one.
    #[must_use]
    pub const fn without(self, ability: Ability) -> Self {
        Self(self.0 & !ability.bit())
    }

    fn set(&mut self, ability: Ability, has: bool) {
        if has {
            *self = self.with(ability);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Ability; 6] = [
        Ability::ElicitForm,
        Ability::ElicitUrl,
        Ability::Sample,
        Ability::SampleWithTools,
        Ability::ListRoots,
        Ability::Tasks,
    ];

    fn of(text: &str) -> Vec<Ability> {
        let abilities = Abilities::of(&Raw::parse(text.to_owned(), crate::limits::JSON).unwrap());
        ALL.into_iter().filter(|ability| abilities.has(*ability)).collect()
    }

    #[test]
    fn an_ability_is_what_its_capability_declares() {
        for ability in ALL {
            let declared = of(Abilities::from(ability).to_capabilities().as_str());
            assert!(declared.contains(&ability), "{ability:?}: {declared:?}");
        }
    }

    #[test]
    fn whatever_a_client_can_do_is_declared_by_its_capabilities() {
        for bits in 0..1_usize << ALL.len() {
            let all = ALL.into_iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
            let abilities: Abilities = all.map(|(_, ability)| ability).collect();
            let declared = Abilities::of(&abilities.to_capabilities());
            // Who lets its model use tools lets it write.
            let implied = abilities.has(Ability::SampleWithTools).then_some(Ability::Sample);
            assert_eq!(declared, implied.into_iter().fold(abilities, Abilities::with), "{abilities:?}");
        }
        assert!(Abilities::default().is_empty());
        let url = Abilities::from(Ability::ElicitUrl);
        assert_eq!(url.to_capabilities().as_str(), r#"{"elicitation":{"url":{}}}"#);
        assert_eq!(
            url.with(Ability::Tasks).to_capabilities().as_str(),
            r#"{"elicitation":{"url":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#
        );
    }

    #[test]
    fn empty_elicitation_means_forms_and_nothing_more() {
        assert_eq!(of(r#"{"elicitation":{}}"#), [Ability::ElicitForm]);
        assert_eq!(of(r#"{"elicitation":{"url":{}}}"#), [Ability::ElicitUrl]);
        assert_eq!(of(r#"{"elicitation":{"url":{},"form":{}}}"#), [Ability::ElicitForm, Ability::ElicitUrl]);
    }

    #[test]
    fn what_is_not_declared_is_not_there() {
        for nothing in ["{}", "[]", r#"{"elicitation":true,"sampling":1}"#, r#"{"extensions":{"x":{}}}"#] {
            assert_eq!(of(nothing), [], "{nothing}");
        }
    }
}
