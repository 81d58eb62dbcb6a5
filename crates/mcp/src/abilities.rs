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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities(u8);

impl Ability {
    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The capabilities object that a client declares this with.
    pub fn to_capabilities(self) -> Raw {
        let within = |outer: &str, inner: Raw| ObjectWriter::new(48).raw(outer, &inner).end();
        let empty = Raw::empty_object;
        match self {
            Self::ElicitForm => within("elicitation", empty()),
            Self::ElicitUrl => within("elicitation", within("url", empty())),
            Self::Sample => within("sampling", empty()),
            Self::SampleWithTools => within("sampling", within("tools", empty())),
            Self::ListRoots => within("roots", empty()),
            Self::Tasks => within("extensions", within(TASKS_EXTENSION, empty())),
        }
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
            let declared = of(ability.to_capabilities().as_str());
            assert!(declared.contains(&ability), "{ability:?}: {declared:?}");
        }
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
