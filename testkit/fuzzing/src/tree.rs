//! JSON as `serde_json` reads it, with all that a `serde_json::Value` forgets: the text of numbers,
//! the order of members, and members that stand twice.
//!
//! It is what our own reader is compared with, so it must not use `hayward_mcp::json`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, to the letter.
    Number(String),
    /// What a string says.
    Text(String),
    /// The elements.
    Array(Vec<Tree>),
    /// The members, in order.
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Reads a document. Like ours, the reader refuses members that stand twice, lone surrogates and
    /// too many levels.
    pub fn read(json: &[u8], depth_max: usize) -> serde_json::Result<Self> {
        Self::of(serde_json::from_slice(json)?, depth_max)
    }

    fn of(raw: &RawValue, depth_left: usize) -> serde_json::Result<Self> {
        let text = raw.get();
        let inner = || depth_left.checked_sub(1).ok_or_else(|| serde_json::Error::custom("too deep"));
        Ok(match text.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Bool(text == "true"),
            Some(b'"') => Self::Text(serde_json::from_str(text)?),
            Some(b'[') => {
                let (inner, elements) = (inner()?, serde_json::from_str::<Vec<&RawValue>>(text)?);
                Self::Array(elements.into_iter().map(|raw| Self::of(raw, inner)).collect::<Result<_, _>>()?)
            }
            Some(b'{') => {
                let (inner, Members(members)) = (inner()?, serde_json::from_str(text)?);
                let read = |(key, raw)| Self::of(raw, inner).map(|value| (key, value));
                Self::Object(members.into_iter().map(read).collect::<Result<_, _>>()?)
            }
            _ => Self::Number(text.to_owned()),
        })
    }

    /// An object of these members.
    pub fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Object(members.map(|(key, value)| (key.to_owned(), value)).into())
    }

    /// A string.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A number.
    pub fn number(number: impl fmt::Display) -> Self {
        Self::Number(number.to_string())
    }

    /// The value of a member.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.members()?.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// What it says, if it is a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub fn members(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The same value with the members of the outermost object in the order of their keys.
    #[must_use]
    pub fn sorted(self) -> Self {
        match self {
            Self::Object(mut members) => {
                members.sort_by(|(one, _), (other, _)| one.cmp(other));
                Self::Object(members)
            }
            other => other,
        }
    }

    /// One line of ASCII that readers in other languages can write as well, to be compared with theirs.
    ///
    /// Everything beyond printable ASCII is escaped by UTF-16 units, members stand in the order of
    /// their text, and a number is its text with the bits of the double that it stands for: no reader
    /// may take another number for it, and JavaScript loses no digits in the comparison.
    pub fn canonical(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => {
                let double: f64 = number.parse().expect("a JSON number is a double");
                format!("{number}={:016x}", double.to_bits())
            }
            Self::Text(text) => quoted(text),
            Self::Array(elements) => {
                let elements: Vec<_> = elements.iter().map(Self::canonical).collect();
                format!("[{}]", elements.join(","))
            }
            Self::Object(members) => {
                let mut members: Vec<_> = members
                    .iter()
                    .map(|(key, value)| format!("{}:{}", quoted(key), value.canonical()))
                    .collect();
                members.sort_unstable();
                format!("{{{}}}", members.join(","))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ (b' '..=b'!' | b'#'..=b'[' | b']'..=b'~')) => out.push(byte.into()),
            _ => out += &format!("\\u{unit:04x}"),
        }
    }
    out + "\""
}

/// The members of one object as they stand; twice the same key is refused.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                let mut seen = std::collections::HashSet::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom("a member stands twice"));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_value_forgets_is_kept() {
        let tree = Tree::read(br#" {"b": 1.0e2, "a": ["\u00e9", null, true]} "#, 2).unwrap();
        let list = Tree::Array(vec![Tree::text("é"), Tree::Null, Tree::Bool(true)]);
        assert_eq!(tree, Tree::object([("b", Tree::number("1.0e2")), ("a", list)]));
    }

    #[test]
    fn what_readers_disagree_on_is_refused() {
        for text in [r#"{"a":1,"\u0061":2}"#, r#""\ud800""#, r#"{"\udc00":1}"#, "", "1 2", "01", "[[[]]]"] {
            assert!(Tree::read(text.as_bytes(), 2).is_err(), "{text}");
        }
        assert!(Tree::read(b"[[1]]", 2).is_ok());
    }

    #[test]
    fn the_canonical_form_is_ascii_in_one_order() {
        let tree = Tree::read("{\"😀\":[1,-0.0],\"a\\u007f\":\"\\n\\\"\"}".as_bytes(), 2).unwrap();
        let expect =
            r#"{"\ud83d\ude00":[1=3ff0000000000000,-0.0=8000000000000000],"a\u007f":"\u000a\u0022"}"#;
        assert_eq!(tree.canonical(), expect);
    }
}
