//! How members of specs are read and checked: strictly, within bounds, and with the path of what is wrong.

use std::collections::HashSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Code, Error, did_you_mean};
use crate::limits::spec::{FREE_BYTES, LINE_BYTES, LIST, URL_BYTES, WORD_BYTES};

/// A spec that checks what its type can't say.
pub(crate) trait Spec: Serialize + DeserializeOwned {
    /// Brings it to the form in which it is kept, or says which member is wrong and why.
    fn settle(&mut self) -> Result<(), Error>;
}

/// The canonical form of what somebody wrote. A member that is null is one that wasn't said.
pub(crate) fn read<T: Spec>(mut spec: Value) -> Result<Value, Error> {
    if let Some(members) = spec.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    let mut spec: T = decode(spec)?;
    spec.settle()?;
    serde_json::to_value(spec)
        .map_err(|error| Error::new(Code::Internal, "a spec can't be written").with_detail(error.to_string()))
}

/// The value as a type; what doesn't fit is told with its path, and with what was probably meant. No value is said: it may be
/// a secret that somebody wrote without quotes.
pub fn decode<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "" } else { &path };
        explain(path, &error.inner().to_string())
    })
}

/// What serde says of a member, in our words.
fn explain(path: &str, said: &str) -> Error {
    let (what, expected) = said.split_once(", expected ").unwrap_or((said, ""));
    let what = what.strip_suffix(", there are no fields").unwrap_or(what);
    let words: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let wrong = |message: String| Error::new(Code::Invalid, message);
    let quoted = |what: &str, start: &str| {
        let word = what.strip_prefix(start)?.strip_prefix('`')?.strip_suffix('`')?;
        Some(word.chars().take(80).collect::<String>())
    };
    if let Some(word) = quoted(what, "unknown field ") {
        let at = if path.is_empty() { word.clone() } else { path.to_owned() };
        return unknown(&word, "member", &words).at(&at);
    }
    if let Some(word) = quoted(what, "unknown variant ") {
        return unknown(&word, "word", &words).at(path);
    }
    if let Some(word) = quoted(what, "missing field ") {
        let error = wrong(format!("`{word}` is missing"));
        return error.at(&word).at_all(path);
    }
    // What was found is named by its type alone: it may be a secret.
    let said = if let Some(found) = what.strip_prefix("invalid type: ") {
        let found = found.split([' ', '`', '"']).next().unwrap_or_default();
        format!("it must be {}, and is {}", wanted(expected), of_type(found))
    } else if what.starts_with("invalid value: ") {
        format!("it must be {}", in_range(what, expected))
    } else {
        said.to_owned()
    };
    let place = if path.is_empty() { "the document".to_owned() } else { format!("`{path}`") };
    let error = wrong(format!("{place}: {said}"));
    if path.is_empty() { error } else { error.at(path) }
}

/// What serde expected, in words for people.
fn wanted(expected: &str) -> String {
    match expected {
        // How great it may be is the member's own rule, which is narrower than its type.
        number if is_whole(number) => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a string" | "string" | "str" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        "a boolean" | "bool" => "true or false".to_owned(),
        other if other.starts_with("struct ") || other.starts_with("internally tagged enum ") => {
            "an object".to_owned()
        }
        other => other.to_owned(),
    }
}

/// What serde expected instead of a value of the right type, in words for people.
fn in_range(what: &str, expected: &str) -> String {
    match wanted(expected) {
        number if is_whole(expected) && what.contains('-') => format!("{number}, 0 or more"),
        number if is_whole(expected) => format!("{number}, and a smaller one"),
        other => other,
    }
}

fn is_whole(expected: &str) -> bool {
    ["u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64"].contains(&expected)
}

/// What was found, in words for people.
fn of_type(found: &str) -> &str {
    match found {
        "string" | "char" => "a text",
        "sequence" => "a list",
        "map" | "struct" => "an object",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "floating" => "a number with a fraction",
        "null" | "unit" | "Option" => "null",
        other => other,
    }
}

impl Error {
    fn at_all(self, path: &str) -> Self {
        if path.is_empty() { self } else { self.at(path) }
    }
}

/// A word that nobody knows, and the one that was probably meant.
pub(crate) fn unknown(word: &str, what: &str, known: &[&str]) -> Error {
    let shown: String = word.chars().take(80).flat_map(char::escape_debug).collect();
    let error = Error::new(Code::Invalid, format!("unknown {what} `{shown}`"));
    match did_you_mean(word, known.iter().copied()) {
        Some(meant) => error.with_hint(format!("did you mean `{meant}`?")),
        None if known.is_empty() => error,
        None => error.with_hint(format!("there are: {}", known.join(", "))),
    }
}

/// What is wrong with a member.
pub(crate) fn wrong(field: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Code::Invalid, format!("`{field}`: {why}")).at(field)
}

/// A text of so many bytes at most, that isn't empty.
pub(crate) fn text(field: &str, text: &str, bytes_max: usize) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(wrong(field, "it is empty").with_hint("leave it out, or say something"));
    }
    if text.len() > bytes_max {
        return Err(too_large(field, &format!("{} bytes", text.len()), bytes_max));
    }
    if text.contains('\0') {
        return Err(wrong(field, "it holds a NUL"));
    }
    Ok(())
}

/// A text, if there is one.
pub(crate) fn optional(field: &str, value: Option<&String>, bytes_max: usize) -> Result<(), Error> {
    value.map_or(Ok(()), |value| text(field, value, bytes_max))
}

/// A line: a short text without control characters.
pub(crate) fn line(field: &str, value: Option<&String>) -> Result<(), Error> {
    let Some(value) = value else { return Ok(()) };
    text(field, value, LINE_BYTES)?;
    if value.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(wrong(field, "it holds control characters"));
    }
    Ok(())
}

/// A number in a range.
pub(crate) fn within<N: PartialOrd + std::fmt::Display>(
    field: &str,
    value: Option<N>,
    range: std::ops::RangeInclusive<N>,
) -> Result<(), Error> {
    match value {
        Some(value) if !range.contains(&value) => {
            Err(wrong(field, format!("{value} is not within {} to {}", range.start(), range.end())))
        }
        _ => Ok(()),
    }
}

/// A list of so many entries at most.
pub(crate) fn bounded<T>(field: &str, list: &[T], max: usize) -> Result<(), Error> {
    if list.len() > max { Err(too_large(field, &format!("{} entries", list.len()), max)) } else { Ok(()) }
}

fn too_large(field: &str, has: &str, max: usize) -> Error {
    let message = format!("`{field}`: it has {has}: use up to {max}");
    Error::new(Code::TooLarge, message).at(field)
}

/// A list of texts, each checked.
pub(crate) fn each(
    field: &str,
    list: &[String],
    max: usize,
    check: impl Fn(&str, &str) -> Result<(), Error>,
) -> Result<(), Error> {
    bounded(field, list, max)?;
    list.iter().enumerate().try_for_each(|(at, entry)| check(&format!("{field}[{at}]"), entry))
}

/// Arguments of a program: any text without NUL, also an empty one.
pub(crate) fn arguments(field: &str, list: &[String]) -> Result<(), Error> {
    each(
        field,
        list,
        LIST,
        |field, entry| if entry.is_empty() { Ok(()) } else { text(field, entry, FREE_BYTES) },
    )
}

/// A list in which nothing stands twice.
pub(crate) fn distinct<'a>(field: &str, list: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for (at, entry) in list.into_iter().enumerate() {
        if !seen.insert(entry) {
            let shown: String = entry.chars().take(80).flat_map(char::escape_debug).collect();
            return Err(wrong(&format!("{field}[{at}]"), format!("`{shown}` stands there twice")));
        }
    }
    Ok(())
}

/// An object that is kept as it was said.
pub(crate) fn free(field: &str, value: Option<&Value>) -> Result<(), Error> {
    let Some(value) = value else { return Ok(()) };
    if !value.is_object() {
        return Err(wrong(field, "it is no object"));
    }
    let bytes = value.to_string().len();
    if bytes > FREE_BYTES { Err(too_large(field, &format!("{bytes} bytes"), FREE_BYTES)) } else { Ok(()) }
}

/// An address of the web without credentials in it.
pub(crate) fn url(field: &str, url: &str) -> Result<(), Error> {
    text(field, url, URL_BYTES)?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    match authority {
        Some(authority) if authority.contains('@') => {
            let error = wrong(field, "it holds a user or a password");
            Err(error.with_hint("put credentials into a secret"))
        }
        Some(authority) if !authority.is_empty() && is_plain => Ok(()),
        _ => Err(wrong(field, "it is no address").with_hint("write e.g. https://example.org/mcp")),
    }
}

/// A key of a secret.
pub(crate) fn key(field: &str, key: &str) -> Result<(), Error> {
    let is_good = (1..=WORD_BYTES).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if is_good {
        return Ok(());
    }
    let shown: String = key.chars().take(80).flat_map(char::escape_debug).collect();
    Err(wrong(field, format!("`{shown}` is no key: use letters, digits, `.`, `_` and `-`")))
}

/// The priority of what says none.
pub(crate) fn middle() -> u8 {
    5
}

/// Texts of a list, each of one line.
pub(crate) fn lines(field: &str, list: &[String]) -> Result<(), Error> {
    each(field, list, LIST, |field, entry| text(field, entry, LINE_BYTES))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "what is read is of no interest")]
    struct Sample {
        count: u32,
        names: Vec<String>,
        inner: Option<Box<Sample>>,
    }

    #[test]
    fn types_are_named_in_words_for_people_and_values_not_at_all() {
        for (value, expect) in [
            (json!({"count": "s3cret"}), "`count`: it must be a whole number, and is a text"),
            (json!({"count": -7}), "`count`: it must be a whole number, 0 or more"),
            (json!({"count": 5_000_000_000_u64}), "`count`: it must be a whole number, and a smaller one"),
            (json!({"count": 1, "names": "x"}), "`names`: it must be a list, and is a text"),
            (json!({"count": 1, "names": [1]}), "`names[0]`: it must be a text, and is a whole number"),
            (
                json!({"count": 1, "names": [], "inner": true}),
                "`inner`: it must be an object, and is true or false",
            ),
        ] {
            let error = decode::<Sample>(value).unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (Code::Invalid, expect));
        }
        decode::<Sample>(json!({"count": 7, "names": ["a"], "inner": null})).unwrap();
    }
}
