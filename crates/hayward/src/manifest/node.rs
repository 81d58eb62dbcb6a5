//! YAML (of which JSON is a part) as a tree that knows the line of each of its nodes.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use crate::output::path::{Step, steps};

/// A node, and the line that it begins on.
pub(crate) struct Node {
    pub(crate) line: u64,
    content: Content,
}

enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// What a text is that can't be read, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    line: u64,
    column: u64,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

/// The documents of a text; what is wrong and where, otherwise.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, Fault> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        budget: None,
    };
    serde_saphyr::from_multiple_with_options::<Node>(text, options).map_err(|error| fault(text, &error))
}

fn fault(text: &str, error: &serde_saphyr::Error) -> Fault {
    let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error.without_snippet() {
        return Fault { line, column, what: format!("`{key}` is given twice: leave one of them out") };
    }
    if let Some(fault) = fault_of_json(text) {
        return fault;
    }
    let told = error.to_string();
    // Where it is stands before it already.
    let what = told.split_once(" at line ").map_or(told.as_str(), |(what, _)| what);
    Fault { line, column, what: what.lines().next().unwrap_or_default().to_owned() }
}

/// What a reader of JSON says of a text that is to be JSON: it knows better what is missing.
fn fault_of_json(text: &str) -> Option<Fault> {
    let text = text.trim_start_matches('\u{feff}');
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let error = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
    let told = error.to_string();
    let what = told.split_once(" at line ").map_or(told.as_str(), |(what, _)| what).to_owned();
    // YAML takes it, so that it is not what is wrong.
    let is_allowed = what == "trailing comma";
    (!is_allowed).then(|| Fault { line: error.line() as u64, column: error.column().max(1) as u64, what })
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Null))
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn members(&self) -> Option<&[(String, Self)]> {
        match &self.content {
            Content::Map(members) => Some(members),
            _ => None,
        }
    }

    pub(crate) fn into_members(self) -> Vec<(String, Self)> {
        match self.content {
            Content::Map(members) => members,
            _ => Vec::new(),
        }
    }

    pub(crate) fn into_entries(self) -> Option<Vec<Self>> {
        match self.content {
            Content::List(entries) => Some(entries),
            _ => None,
        }
    }

    /// The same without lines.
    pub(crate) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(entries) => entries.iter().map(Self::value).collect(),
            Content::Map(members) => Value::Object(
                members.iter().map(|(name, node)| (name.clone(), node.value())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// The line of a member, or of what is nearest to it.
    pub(crate) fn line_of(&self, path: &str) -> u64 {
        let mut node = self;
        for step in steps(path).unwrap_or_default() {
            let next = match (step, &node.content) {
                (Step::Member(name), Content::Map(members)) => {
                    members.iter().find(|(member, _)| member == name).map(|(_, node)| node)
                }
                (Step::Index(index), Content::List(entries)) => entries.get(index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.line
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { line: spanned.referenced.line(), content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Content, E> {
        let number = serde_json::Number::from_f64(value);
        number.map(|number| Content::Scalar(number.into())).ok_or_else(|| E::custom("a number has an end"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some(member) = members.next_entry()? {
            map.push(member);
        }
        Ok(Content::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_knows_its_line_and_words_of_yes_and_no_are_text() {
        let nodes = read("a: 1\nb:\n  - c: x\n  - d:\n      e: no\nf: \"yes\"\n---\n- on\n").unwrap();
        let (first, second) = (&nodes[0], &nodes[1]);
        assert_eq!(
            first.value(),
            serde_json::json!({"a": 1, "b": [{"c": "x"}, {"d": {"e": "no"}}], "f": "yes"})
        );
        assert_eq!((first.line_of("b[0].c"), first.line_of("b[1].d.e"), first.line_of("f")), (3, 5, 6));
        assert_eq!((first.line_of("b[1].nothing"), first.line_of("b[7]")), (4, 3));
        assert_eq!(second.value(), serde_json::json!(["on"]));
    }

    #[test]
    fn json_is_read_and_what_is_neither_is_told_with_its_line() {
        assert_eq!(
            read("{\"a\": [1, 2.5, null, true]}").unwrap()[0].value(),
            serde_json::json!({"a": [1, 2.5, null, true]})
        );
        assert_eq!(read("{\n\t\"a\":\t1\n}").unwrap()[0].value(), serde_json::json!({"a": 1}));
        assert_eq!(read("").unwrap().iter().filter(|node| !node.is_null()).count(), 0);
        for (bad, line) in [("a: 1\nb: [", 2), ("a: 1\na: 2\n", 2), ("a: *x\n", 1)] {
            assert!(read(bad).err().is_some_and(|fault| fault.line >= line), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_in_json_is_told_with_its_place() {
        for (bad, expect) in [
            ("{\"a\": 1\n \"b\": 2}", "2:2: expected `,` or `}`"),
            ("\u{feff}{\"a\": [1, 2}", "1:12: expected `,` or `]`"),
            ("{\"a\": 1,\n\"b\": {", "2:6: EOF while parsing an object"),
            ("{\"p\": \"C:\\Users\"}", "1:11: invalid escape"),
            ("{\"a\": 1,\n \"a\": 2}", "2:2: `a` is given twice: leave one of them out"),
        ] {
            assert_eq!(read(bad).err().map(|fault| fault.to_string()).as_deref(), Some(expect), "{bad}");
        }
        let told = read("{\"a\": [1,], \"b\": \"x\"y}").err().map(|fault| fault.to_string());
        assert!(told.is_some_and(|told| told.starts_with("1:") && !told.contains("trailing comma")));
        assert!(read("{\"a\": [1,],}").is_ok());
    }
}
