//! What is another between two definitions, for a person who is to approve one of them: member by member, and with nothing in
//! it that people don't see and models do.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

/// A member that is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// Which, e.g. `inputSchema.properties.path.type`; empty for the whole.
    pub(crate) path: String,
    /// What it was, as JSON in which every character is seen; none if it wasn't there.
    pub(crate) before: Option<String>,
    /// What it is, in the same form; none if it isn't there any more.
    pub(crate) after: Option<String>,
}

/// What is another, in the order of the members. Of what wasn't there before, every member is.
pub(crate) fn differences(before: Option<&Value>, after: Option<&Value>) -> Vec<Difference> {
    let mut all = Vec::new();
    match (before, after) {
        (None, Some(Value::Object(members))) => {
            for (name, value) in members {
                compare(member("", name), None, Some(value), &mut all);
            }
        }
        (before, after) => compare(String::new(), before, after, &mut all),
    }
    all
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, all: &mut Vec<Difference>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for (name, value) in old {
                compare(member(&path, name), Some(value), new.get(name), all);
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                compare(member(&path, name), None, Some(value), all);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for at in 0..old.len().max(new.len()) {
                compare(format!("{path}[{at}]"), old.get(at), new.get(at), all);
            }
        }
        (before, after) => {
            let text = |value: &Value| visible(&value.to_string());
            all.push(Difference { path, before: before.map(text), after: after.map(text) });
        }
    }
}

/// The path of a member; a name that isn't plain stands in quotes.
fn member(path: &str, name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_plain) {
        return format!("{path}[{}]", visible(&Value::from(name).to_string()));
    }
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// JSON text with an escape for every character that nobody sees, or that changes how others are seen.
pub(crate) fn visible(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if is_seen(character) {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Memory takes it.
            write!(out, "\\u{unit:04x}").unwrap_or_default();
        }
    }
    out
}

/// Whether people see a character: none of the controls, the marks that join, hide or turn others, the blanks that look like
/// another one, the tags, and what means something only by agreement.
fn is_seen(character: char) -> bool {
    let is_hidden = matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{10ffff}'
    );
    character == ' ' || !(is_hidden || character.is_control() || character.is_whitespace())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(before: &[Value], after: &[Value], expect: &[(&str, Option<&str>, Option<&str>)]) {
        let found = differences(before.first(), after.first());
        let found: Vec<_> =
            found.iter().map(|it| (&*it.path, it.before.as_deref(), it.after.as_deref())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn what_is_another_is_told_member_by_member() {
        let before =
            json!({"name": "t", "description": "Reads.", "inputSchema": {"required": ["a"], "x": 1}});
        let after =
            json!({"name": "t", "description": "Reads!", "inputSchema": {"required": ["a", "b"]}, "n": null});
        check(
            std::slice::from_ref(&before),
            &[after],
            &[
                ("description", Some("\"Reads.\""), Some("\"Reads!\"")),
                ("inputSchema.required[1]", None, Some("\"b\"")),
                ("inputSchema.x", Some("1"), None),
                ("n", None, Some("null")),
            ],
        );
        check(std::slice::from_ref(&before), std::slice::from_ref(&before), &[]);
        check(&[], &[json!({"a": {"b": 1}})], &[("a", None, Some("{\"b\":1}"))]);
        check(&[json!("x")], &[json!(1)], &[("", Some("\"x\""), Some("1"))]);
        check(&[json!({"a b": 1})], &[json!({})], &[("[\"a b\"]", Some("1"), None)]);
    }

    #[test]
    fn what_nobody_sees_is_seen() {
        let hidden = "a\u{1b}[2Jb\u{200b}\u{202e}\u{e0041}\u{a0}\u{feff}\u{7f}ä\n";
        let told = visible(&json!(hidden).to_string());
        assert_eq!(told, "\"a\\u001b[2Jb\\u200b\\u202e\\udb40\\udc41\\u00a0\\ufeff\\u007fä\\n\"");
        assert_eq!(serde_json::from_str::<String>(&told).unwrap(), hidden);
        check(
            &[json!({"x\u{200b}": 1})],
            &[json!({"x": 1})],
            &[("[\"x\\u200b\"]", Some("1"), None), ("x", None, Some("1"))],
        );
    }
}
