//! Whether a value, an argument or an address looks like a secret: by its name, or by its shape.

use hayward_audit::secrets::{RuleSet, Secrets, TagKey};

/// Words of a name that say so.
const WORDS: [&str; 21] = [
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
    "BEARER",
    "SESSION",
    "JWT",
    "CREDS",
];

/// Words at the end that say that it is only about one.
const ABOUT: [&str; 11] =
    ["FILE", "PATH", "URL", "ID", "NAME", "DIR", "TYPE", "TIMEOUT", "TTL", "LIMIT", "LENGTH"];

/// Whether a value of this name is to be a secret.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    !value.is_empty()
        && !is_switch(value)
        && (is_named_so(name) || is_in(value) || is_in(&format!("{name}={value}")))
}

/// Whether a text holds a secret: what the record would not show, or the value of a name that says so.
pub(super) fn is_in(text: &str) -> bool {
    let redaction = Secrets::new(TagKey::new([0; 32])).current();
    redaction.redact(text, RuleSet::ALL) != text || has_password(text) || is_header(text) || has_pair(text)
}

/// Whether the word behind this argument is a secret: `--token`, `--api-key`.
pub(super) fn is_flag_of_one(word: &str) -> bool {
    let name = word.trim_start_matches('-');
    let is_negative = words_of(name).first().is_some_and(|first| first == "NO");
    word.starts_with('-') && is_name(name) && !is_negative && is_named_so(name)
}

/// Whether this is a value that somebody chose, and not a switch or what a client fills in.
pub(super) fn is_chosen(value: &str) -> bool {
    !value.is_empty() && !is_switch(value) && (!value.contains("${") || value.contains(":-"))
}

/// `https://user:password@host`
fn has_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| is_chosen(password))
}

/// `Authorization: Bearer …`, `X-Api-Key:…`
fn is_header(text: &str) -> bool {
    let pair = text.split_once(':').filter(|(name, _)| is_name(name) && is_named_so(name));
    pair.is_some_and(|(_, value)| is_chosen(value.trim()))
}

/// `?api_key=…`, `User=x;Password=…`, `--env=TOKEN=…`
fn has_pair(text: &str) -> bool {
    let apart = |c: char| c.is_whitespace() || "?&;,#".contains(c);
    text.split(apart).any(|piece| {
        let words: Vec<&str> = piece.split('=').collect();
        words.windows(2).any(|pair| is_name(pair[0]) && is_named_so(pair[0]) && is_chosen(pair[1]))
    })
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "._-".contains(c))
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
            ("CONN", "Server=x;User=y;Password=hunter2", true),
            ("BEARER", "x", true),
            ("SESSION", "x", true),
            ("DB_PASSWD", "x", true),
            ("SESSION_TIMEOUT", "30", false),
        ] {
            assert_eq!(is_secret(name, value), expect, "{name}={value}");
        }
    }

    #[test]
    fn secrets_in_arguments_and_addresses_are_told_whatever_they_look_like() {
        for (text, expect) in [
            ("https://host/mcp?api_key=x", true),
            ("https://host/mcp?a=1&token=x", true),
            ("https://u:p@host/mcp", true),
            ("Authorization: Bearer sk-123", true),
            ("X-Api-Key:x", true),
            ("--password=x", true),
            ("--env=TOKEN=x", true),
            ("host=db password=x", true),
            ("Authorization: Bearer ${TOKEN}", false),
            ("Authorization: ${TOKEN:-x}", true),
            ("https://host:8080/token/x", false),
            ("https://u@host/mcp", false),
            ("--token-file=/run/token", false),
            ("--auth=true", false),
            ("GITHUB_TOKEN", false),
            ("@example/token-counter", false),
            ("mode=fast", false),
        ] {
            assert_eq!(is_in(text), expect, "{text}");
        }
        for (word, expect) in [
            ("--password", true),
            ("--api-key", true),
            ("--apiKey", true),
            ("--token-file", false),
            ("--no-auth", false),
            ("token", false),
        ] {
            assert_eq!(is_flag_of_one(word), expect, "{word}");
        }
    }
}
