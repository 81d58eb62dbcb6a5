//! What an upstream says that it wants (`WWW-Authenticate`, RFC 6750 and 9728).

use crate::limits::{OAUTH_SCOPES_MAX, OAUTH_WORD_BYTES_MAX};

/// What an upstream wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Where it says what it is.
    pub resource_metadata: Option<String>,
    /// What it wants to be allowed.
    pub scopes: Vec<String>,
}

impl Challenge {
    /// Reads the `Bearer` challenge of a header; whatever else it holds is of no weight.
    pub fn read(header: &str) -> Self {
        let mut challenge = Self::default();
        let mut is_bearer = false;
        for Parameter { scheme, name, value } in Parameters(header) {
            if let Some(scheme) = scheme {
                is_bearer = scheme.eq_ignore_ascii_case("bearer");
            }
            if !is_bearer || value.len() > OAUTH_WORD_BYTES_MAX {
                continue;
            }
            match name.to_ascii_lowercase().as_str() {
                "resource_metadata" => challenge.resource_metadata = Some(value),
                "scope" => challenge.scopes = words(&value),
                _ => {}
            }
        }
        challenge
    }
}

/// The scopes that a text names.
pub(super) fn words(text: &str) -> Vec<String> {
    let is_scope = |word: &&str| word.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    text.split(' ')
        .filter(|word| !word.is_empty())
        .filter(is_scope)
        .take(OAUTH_SCOPES_MAX)
        .map(Into::into)
        .collect()
}

/// One parameter, with the scheme if it is the first of one.
struct Parameter {
    scheme: Option<String>,
    name: String,
    value: String,
}

/// Walks over the parameters of all challenges.
struct Parameters<'a>(&'a str);

impl Iterator for Parameters<'_> {
    type Item = Parameter;

    fn next(&mut self) -> Option<Parameter> {
        let mut scheme = None;
        loop {
            self.0 = self.0.trim_start_matches([' ', '\t', ',']);
            let end =
                self.0.find(|c: char| c == '=' || c == ',' || c.is_whitespace()).unwrap_or(self.0.len());
            let (word, rest) = self.0.split_at(end);
            if word.is_empty() && rest.is_empty() {
                return None;
            }
            if let Some(value) = rest.trim_start().strip_prefix('=') {
                let value = self.value(value.trim_start());
                return Some(Parameter { scheme, name: word.to_owned(), value });
            }
            scheme = Some(word.to_owned());
            self.0 = rest;
        }
    }
}

impl<'a> Parameters<'a> {
    /// Takes a value off, quoted or not.
    fn value(&mut self, text: &'a str) -> String {
        let Some(quoted) = text.strip_prefix('"') else {
            let end = text.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(text.len());
            let (value, rest) = text.split_at(end);
            self.0 = rest;
            return value.to_owned();
        };
        let (mut value, mut is_escaped) = (String::new(), false);
        for (at, character) in quoted.char_indices() {
            match character {
                '"' if !is_escaped => {
                    self.0 = &quoted[at + 1..];
                    return value;
                }
                '\\' if !is_escaped => is_escaped = true,
                _ => {
                    is_escaped = false;
                    value.push(character);
                }
            }
        }
        self.0 = "";
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> (Option<String>, String) {
        let Challenge { resource_metadata, scopes } = Challenge::read(header);
        (resource_metadata, scopes.join("+"))
    }

    #[test]
    fn a_challenge_says_where_and_what() {
        let some = |text: &str| Some(text.to_owned());
        for (header, expect) in [
            ("Bearer", (None, "")),
            ("", (None, "")),
            ("Bearer scope=\"a b\"", (None, "a+b")),
            (
                "bearer realm=\"x\", resource_metadata=\"https://a/b?c=d,e\" , error=insufficient_scope",
                (some("https://a/b?c=d,e"), ""),
            ),
            ("Basic realm=\"scope=x\", scope=\"no\"", (None, "")),
            ("Basic realm=x, Bearer scope=y", (None, "y")),
            ("Bearer scope=\"a\\\"b c\"", (None, "c")),
            ("Bearer scope=\"never closed", (None, "never+closed")),
            ("Bearer resource_metadata=\"a\\\\b\"", (some("a\\b"), "")),
            // Nothing says whose parameter it is.
            ("Bearer = , =, scope = z", (None, "")),
        ] {
            let (at, scopes) = read(header);
            assert_eq!((at, scopes.as_str()), expect, "{header}");
        }
    }

    #[test]
    fn what_is_too_long_or_no_scope_is_left_out() {
        let long = format!("Bearer resource_metadata=\"{}\"", "x".repeat(OAUTH_WORD_BYTES_MAX + 1));
        assert_eq!(read(&long).0, None);
        assert_eq!(words("a  b \u{e4} c\"d \\ e"), ["a", "b", "e"]);
        assert_eq!(words(&"a ".repeat(1_000)).len(), OAUTH_SCOPES_MAX);
    }
}
