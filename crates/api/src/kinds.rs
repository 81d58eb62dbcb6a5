//! The table of resource kinds: one file and two lines here for each.

use crate::error::Error;

pub mod token;

/// What the rest of the system needs to know of a kind.
pub struct Descriptor {
    /// The name in files and in the store, e.g. `token`.
    pub name: &'static str,
    /// The name in routes and in keyed lists, e.g. `tokens`.
    pub plural: &'static str,
    /// Short names that the command line accepts.
    pub aliases: &'static [&'static str],
    /// Fields of the spec that hold secrets; never in history, watches or YAML.
    pub sensitive: &'static [&'static str],
    /// Checks a spec that is about to be stored.
    pub validate: fn(&serde_json::Value) -> Result<(), Error>,
}

/// A resource kind: the type of its spec, and its descriptor.
pub trait Kind: serde::Serialize + serde::de::DeserializeOwned {
    /// Its line in the table.
    const DESCRIPTOR: &'static Descriptor;
}

/// Every kind.
pub static KINDS: &[&Descriptor] = &[&token::DESCRIPTOR];

/// The kind of this name, plural or alias.
pub fn find(word: &str) -> Option<&'static Descriptor> {
    KINDS
        .iter()
        .copied()
        .find(|kind| kind.name == word || kind.plural == word || kind.aliases.contains(&word))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_kinds_answer_to_one_word() {
        let mut seen = HashSet::new();
        for kind in KINDS {
            for word in [kind.name, kind.plural].iter().chain(kind.aliases) {
                assert!(seen.insert(*word), "`{word}` is used twice");
                assert!(std::ptr::eq(find(word).unwrap(), *kind));
            }
        }
        assert!(find("nothing").is_none());
    }
}
