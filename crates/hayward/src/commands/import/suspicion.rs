//! Whether a value of the environment looks like a secret: by its name, or by its shape.

use hayward_audit::secrets::{RuleSet, Secrets, TagKey};

/// Words of a name that say so.
const WORDS: [&str; 17] = [
    "TOKEN",
    "KEY",
    "APIKEY",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWD",
    "PASS",
    "PASSPHRASE",
    "PWD",
    "PAT",
    "CREDENTIAL",
    "CREDENTIALS",
    "AUTH",
    "AUTHORIZATION",
    "COOKIE",
    "DSN",
];

/// Words at the end that say that it is only about one.
const ABOUT: [&str; 7] = ["FILE", "PATH", "URL", "ID", "NAME", "DIR", "TYPE"];

/// Whether a value of this name is to be a secret.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    !value.is_empty()
        && !is_switch(value)
        && (is_named_so(name) || is_in(value) || is_in(&format!("{name}={value}")))
}

/// Whether a text holds what the record would not show.
pub(super) fn is_in(text: &str) -> bool {
    let redaction = Secrets::new(TagKey::new([0; 32])).current();
    redaction.redact(text, RuleSet::ALL) != text
}

fn is_switch(value: &str) -> bool {
    ["true", "false", "yes", "no", "on", "off", "0", "1"].contains(&value.to_lowercase().as_str())
}

fn is_named_so(name: &str) -> bool {
    let words = words_of(name);
    let is_about = words.last().is_some_and(|last| ABOUT.contains(&last.as_str()));
    !is_about && words.iter().any(|word| WORDS.contains(&word.as_str()))
}

/// The words of `API_KEY`, `api-key` and `apiKey`, in capitals.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_uppercase());
        }
        was_lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_their_names_and_shapes() {
        for (name, value, expect) in [
            ("HOMEASSISTANT_TOKEN", "abc", true),
            ("apiKey", "abc", true),
            ("DB_PASSWORD", "x", true),
            ("SOME", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", true),
            ("DATABASE_URL", "postgres://u:hunter2hunter2@db/x", true),
            ("LOG_LEVEL", "debug", false),
            ("TOKEN_FILE", "/run/token", false),
            ("AUTH", "true", false),
            ("KEYBOARD", "de", false),
            ("API_KEY", "", false),
            ("URL", "https://nas.example.org", false),
        ] {
            assert_eq!(is_secret(name, value), expect, "{name}={value}");
        }
    }
}
