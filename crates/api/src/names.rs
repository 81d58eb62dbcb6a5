//! Names that cross borders: parsed once, with the rule in the error.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a {what}: {rule}")]
pub struct InvalidName {
    /// What the name should have named.
    pub what: &'static str,
    /// The name as it was given, shortened and with control characters escaped.
    pub name: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, name: &str, rule: &'static str) -> Self {
        let name = name.chars().take(80).flat_map(char::escape_debug).collect();
        Self { what, name, rule }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            #[doc = concat!("Parses a ", $what, ": ", $rule, ".")]
            pub fn parse(name: impl Into<String>) -> Result<Self, InvalidName> {
                let name = name.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&name) {
                    Ok(Self(name.into()))
                } else {
                    Err(InvalidName::new($what, &name, $rule))
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::parse(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                (*name.0).to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a tool as clients see it.
    ///
    /// Stricter than the protocol's 128 characters with dots, because popular clients are
    /// stricter too and drop a whole server over one name.
    ToolName,
    "tool name",
    "use 1 to 60 of A-Z a-z 0-9 _ -",
    |name| (1..=60).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
);

name!(
    /// The name of a resource of any kind.
    ///
    /// Most kinds are stricter: they take [`is_plain`] names only ([`Names`](crate::kinds::Names)).
    ResourceName,
    "resource name",
    "use 1 to 100 of a-z A-Z 0-9 . _ -, starting with a letter or digit",
    |name| is_plain(name) || is_address(name)
);

/// Whether it is 1 to 100 letters, digits, `.`, `_` and `-`, of which the first is a letter or digit.
pub fn is_plain(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Whether it has the form of a uid: a UUID with its hyphens.
pub fn is_uid(name: &str) -> bool {
    name.len() == 36
        && name
            .bytes()
            .enumerate()
            .all(|(at, b)| if matches!(at, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

/// Whether it is an address of mail, as most of the world writes them: `local@domain` in ASCII, up to 254 bytes.
pub fn is_address(name: &str) -> bool {
    let Some((local, domain)) = name.split_once('@') else { return false };
    let is_local = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
    (1..=64).contains(&local.len())
        && name.len() <= 254
        && local.starts_with(|c: char| c.is_ascii_alphanumeric())
        && local.bytes().all(is_local)
        && domain.split('.').all(is_label)
}

/// A part of a domain's name between dots.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_names_are_what_every_client_digests() {
        for good in ["a", "read_file", "A-9", &"x".repeat(60)] {
            assert!(ToolName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a.b", "a/b", "a b", "ä", "a\n", &"x".repeat(61)] {
            assert!(ToolName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn resource_names_never_look_like_options_or_paths() {
        assert!(ResourceName::parse("my-claude.desktop").is_ok());
        for bad in ["-x", ".x", "a/b", "", "a\0", "../x"] {
            assert!(ResourceName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_address_of_mail_is_a_name_and_not_a_plain_one() {
        for good in ["ann@example.org", "a.b+c@host", "A_1@x-y.example.org"] {
            assert!(is_address(good) && ResourceName::parse(good).is_ok() && !is_plain(good), "{good}");
        }
        for bad in ["@x", "a@", "a@b@c", "-a@x", "a b@x", "a@-x", "a@x-", "a@x..y", "a@x/y", "ä@x", "a@x\n"]
        {
            assert!(!is_address(bad) && ResourceName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_shows_control_characters_escaped() {
        let error = ToolName::parse("a\u{1b}[31m").unwrap_err();
        assert!(error.to_string().contains("\\u{1b}"), "{error}");
    }
}
