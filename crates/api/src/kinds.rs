//! The table of resource kinds: one file and two lines here for each.
//!
//! What follows from it comes by itself: routes, their description, nouns of permissions, words and tables of the command
//! line, the order of `apply`, reference pages, and the tests of all these.

use std::borrow::Cow;

use serde_json::Value;

use crate::error::{Code, Error};
use crate::names::{is_address, is_plain, is_uid};

pub mod group;
pub mod instance;
pub mod policy;
pub mod project;
pub mod prompt;
pub mod promptrequest;
pub mod proxymodel;
pub mod rbac;
pub mod samples;
pub mod secret;
pub mod server;
pub mod serverattachment;
pub mod template;
pub mod token;
pub mod user;

/// The condition of what asks for something that isn't done yet.
pub const NOT_ENFORCED: &str = "NotEnforced";

/// What the rest of the system needs to know of a kind.
pub struct Descriptor {
    /// The name in files and in the store, e.g. `token`.
    pub name: &'static str,
    /// The name in keyed lists, and the noun of permissions, e.g. `tokens`.
    pub plural: &'static str,
    /// The name in routes, e.g. `tokens`; most often the plural.
    pub route: &'static str,
    /// Short names that the command line accepts.
    pub aliases: &'static [&'static str],
    /// What it is for, as one sentence.
    pub about: &'static str,
    /// The member of a document that holds the name, e.g. `name`.
    pub identity: &'static str,
    /// What names look like.
    pub names: Names,
    /// Whether resources belong to a project.
    pub scope: Scope,
    /// Who makes them.
    pub made_by: MadeBy,
    /// Where they are kept.
    pub kept: Kept,
    /// Members of the spec that hold secrets; never in history, watches or files.
    pub sensitive: &'static [Sensitive],
    /// Members of the spec that are sets: lists in which each entry stands once, so that merging keeps the entries of others.
    pub sets: &'static [&'static str],
    /// The columns of `get`, after the name.
    pub columns: &'static [Column],
    /// The sections of `describe`.
    pub sections: &'static [Section],
    /// Its place in `apply`, in lists of all kinds and in backups: what others refer to comes first.
    pub order: u8,
    /// What is there from the beginning; deleting one of these resets it.
    pub builtins: fn() -> Vec<Builtin>,
    /// Reads a spec that somebody wrote: the same in canonical form, or what is wrong with it and where.
    pub read: fn(Value) -> Result<Value, Error>,
    /// What a canonical spec refers to.
    pub references: fn(&Value) -> Vec<Reference>,
    /// What is to be said of a canonical spec as it is, without a look at the world.
    pub conditions: fn(&Value) -> Vec<Condition>,
    /// A document in which every member is set that can be set with the others.
    pub sample: fn() -> Value,
    /// The JSON Schema of the spec.
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

/// A resource kind: the type of its spec, and its descriptor.
pub trait Kind: serde::Serialize + serde::de::DeserializeOwned {
    /// Its line in the table.
    const DESCRIPTOR: &'static Descriptor;
}

/// What names of a kind look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Letters, digits, `.`, `_` and `-`.
    Plain,
    /// An address of mail, or a plain name.
    Email,
}

impl Names {
    /// The name in the form in which it is kept, or the rule that it breaks. Addresses of mail are kept in lower case.
    ///
    /// What looks like a uid is no name: a word is to mean one resource.
    pub fn canonical(self, name: &str) -> Result<String, Error> {
        if is_uid(name) {
            let error = Error::new(
                Code::Invalid,
                format!("invalid name `{name}`: it looks like the uid of a resource"),
            );
            return Err(error.with_hint("use a name that is no UUID"));
        }
        let plain = "use 1 to 100 letters, digits, `.`, `_` and `-`, starting with a letter or digit";
        let rule = match self {
            _ if is_plain(name) && self == Self::Plain => return Ok(name.to_owned()),
            Self::Email if is_plain(name) || is_address(name) => return Ok(name.to_lowercase()),
            Self::Plain => plain.to_owned(),
            Self::Email => format!("write an address of mail, or {plain}"),
        };
        let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
        Err(Error::new(Code::Invalid, format!("invalid name `{shown}`")).with_hint(rule))
    }
}

/// Whether resources of a kind belong to a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Never: one name means one resource of the whole system.
    System,
    /// Always.
    Project,
    /// As they say.
    Either,
}

/// Who makes resources of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeBy {
    /// Whoever may.
    Anybody,
    /// The system itself, from what others want; people may look at them and delete them.
    Reconciliation,
}

/// Where resources of a kind are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In the table of resources.
    Stored,
    /// In the list `servers` of projects, of which they are another view.
    InProjects,
}

/// A member of a spec that holds secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitive {
    /// An object of this name, each of whose values is sealed and shown as `***`.
    Values(&'static str),
    /// A member of this name that is taken and never shown at all: only a digest of it is kept.
    Password(&'static str),
}

/// A column of `get`.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// What stands above it.
    pub heading: &'static str,
    /// What stands in it: a path into the document, e.g. `status.phase`; of a list, its entries; of an object, its keys.
    pub path: &'static str,
    /// Whether only `-o wide` shows it.
    pub is_wide: bool,
}

impl Column {
    /// A column that is always there.
    pub const fn new(heading: &'static str, path: &'static str) -> Self {
        Self { heading, path, is_wide: false }
    }

    /// A column of `-o wide`.
    pub const fn wide(heading: &'static str, path: &'static str) -> Self {
        Self { heading, path, is_wide: true }
    }
}

/// A section of `describe`.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What stands above it.
    pub heading: &'static str,
    /// The members that it shows, as paths into the document; lists of objects become tables.
    pub paths: &'static [&'static str],
}

/// A resource that is there from the beginning, for the whole system.
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// Its spec, in canonical form.
    pub spec: Value,
}

/// A resource that a spec refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name of its kind.
    pub kind: &'static str,
    /// Its name, in the same project or in none.
    pub name: String,
    /// The key in it that is meant, of a secret.
    pub key: Option<String>,
    /// The member that refers to it, e.g. `env[0].valueFrom.secretRef`.
    pub field: String,
}

/// What is the case for a resource, in the words of the field.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is said, e.g. `NotEnforced`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// Whether it holds: `True`, `False` or `Unknown`.
    pub status: Cow<'static, str>,
    /// Why, as one word.
    pub reason: Cow<'static, str>,
    /// Why, as a sentence with the way out.
    pub message: Cow<'static, str>,
}

impl Condition {
    /// What is the case.
    pub fn new(
        kind: &'static str,
        status: &'static str,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let [kind, status, reason] = [kind, status, reason].map(Cow::Borrowed);
        Self { kind, status, reason, message: message.into() }
    }
}

/// Every kind, in the order in which `apply` takes them.
pub static KINDS: &[&Descriptor] = &[
    &secret::DESCRIPTOR,
    &template::DESCRIPTOR,
    &proxymodel::DESCRIPTOR,
    &policy::DESCRIPTOR,
    &user::DESCRIPTOR,
    &group::DESCRIPTOR,
    &server::DESCRIPTOR,
    &instance::DESCRIPTOR,
    &project::DESCRIPTOR,
    &serverattachment::DESCRIPTOR,
    &prompt::DESCRIPTOR,
    &promptrequest::DESCRIPTOR,
    &rbac::DESCRIPTOR,
    &token::DESCRIPTOR,
];

/// The kind of this name, plural, route or alias.
pub fn find(word: &str) -> Option<&'static Descriptor> {
    KINDS.iter().copied().find(|kind| {
        kind.name == word || kind.plural == word || kind.route == word || kind.aliases.contains(&word)
    })
}

/// What a member of a canonical spec refers to, if it is the name of a resource of this kind or a list of such.
fn refer(spec: &Value, member: &str, kind: &'static str) -> Vec<Reference> {
    let to = |name: &str, field: String| Reference { kind, name: name.to_owned(), key: None, field };
    match spec.get(member) {
        Some(Value::String(name)) => vec![to(name, member.to_owned())],
        Some(Value::Array(names)) => {
            let named = names.iter().enumerate().filter_map(|(at, name)| Some((at, name.as_str()?)));
            named.map(|(at, name)| to(name, format!("{member}[{at}]"))).collect()
        }
        _ => Vec::new(),
    }
}

/// For kinds that have nothing of the sort.
pub fn none<T>(_spec: &Value) -> Vec<T> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_kinds_answer_to_one_word() {
        let mut seen = HashSet::new();
        for kind in KINDS {
            let words: HashSet<&str> =
                [kind.name, kind.plural, kind.route].iter().chain(kind.aliases).copied().collect();
            for word in words {
                assert!(seen.insert(word), "`{word}` is used twice");
                assert!(std::ptr::eq(find(word).unwrap(), *kind));
            }
        }
        assert!(find("nothing").is_none());
    }

    #[test]
    fn what_others_refer_to_comes_first() {
        assert!(KINDS.windows(2).all(|pair| pair[0].order < pair[1].order));
        for kind in KINDS {
            for reference in (kind.references)(&(kind.read)(samples::spec(kind)).unwrap()) {
                assert!(find(reference.kind).unwrap().order <= kind.order, "{} {reference:?}", kind.name);
            }
        }
    }

    #[test]
    fn what_is_built_in_is_canonical() {
        for kind in KINDS {
            let builtins = (kind.builtins)();
            let names: HashSet<&str> = builtins.iter().map(|builtin| builtin.name).collect();
            assert_eq!(names.len(), builtins.len(), "{}", kind.name);
            for Builtin { name, spec } in builtins {
                assert_eq!(kind.names.canonical(name).unwrap(), name);
                assert_eq!((kind.read)(spec.clone()).unwrap().to_string(), spec.to_string(), "{name}");
            }
        }
    }

    #[test]
    fn what_looks_like_a_uid_is_no_name_of_any_kind() {
        for kind in KINDS {
            for uid in ["0198c6a2-5b1e-7c3d-9e4f-0a1b2c3d4e5f", "0198C6A2-5B1E-7C3D-9E4F-0A1B2C3D4E5F"] {
                let error = kind.names.canonical(uid).unwrap_err();
                assert!(error.to_string().contains("looks like the uid"), "{}: {error}", kind.name);
            }
            for name in ["0198c6a2-5b1e-7c3d-9e4f-0a1b2c3d4e5", "0198c6a25b1e7c3d9e4f0a1b2c3d4e5f", "uid"] {
                assert!(kind.names.canonical(name).is_ok(), "{}: {name}", kind.name);
            }
        }
    }

    #[test]
    fn addresses_of_mail_are_names_of_accounts_only() {
        assert_eq!(Names::Email.canonical("Ann@Example.org").unwrap(), "ann@example.org");
        assert_eq!(Names::Plain.canonical("My-Server").unwrap(), "My-Server");
        assert!(Names::Plain.canonical("ann@example.org").unwrap_err().hint.is_some());
        assert!(Names::Email.canonical("ann @x").is_err() && Names::Email.canonical("").is_err());
    }
}
