//! Whether something that a server offers may be shown to anybody.
//!
//! A model reads every string of a tool as if we had said it, so each is looked at, wherever in the object it stands; what the
//! administrator approved is the whole object, to the letter of its canonical form; and what a server says of its own risk
//! counts only where it is trusted.

use std::collections::{HashMap, HashSet};
use std::fmt;

use hayward_api::Tier;
use hayward_api::definition::Trust;
use hayward_mcp::json::{Object, Raw};
use hayward_mcp::param_headers::ParamHeaders;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::limits::{OFFERED_BYTES_MAX, OFFERED_NAME_CHARS_MAX, OFFERED_STRING_BYTES_MAX};

/// The digest of a whole object in its canonical form, in hexadecimal.
pub(crate) type Pin = String;

/// What was approved of one server: the digest of each thing, by its name.
pub(crate) type Pins = HashMap<String, Pin>;

/// Under what the instructions of a server are approved: no tool has this name.
pub(crate) const INSTRUCTIONS: &str = "@instructions";

/// Why something is not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Objection {
    /// It can't be read.
    #[error("it is not what the protocol says: {0}")]
    Shape(&'static str),
    /// A string of it hides something from whoever reads it.
    #[error("`{at}` holds {what}, which people don't see and models do")]
    Hidden {
        /// Where in the object.
        at: String,
        /// What.
        what: String,
    },
    /// Too much text.
    #[error("`{at}` has more than {max} bytes")]
    Long {
        /// Where in the object.
        at: String,
        /// How many it may have.
        max: usize,
    },
    /// A header would show a secret to every proxy.
    #[error("the argument `{argument}` looks like a secret, and its value would be sent in a header")]
    SecretHeader {
        /// The argument.
        argument: String,
    },
    /// Another name of the same server differs from it in the case of letters alone.
    #[error("`{other}` is the same name but for the case of its letters")]
    SameName {
        /// The other one.
        other: String,
    },
    /// Its server lists the name twice.
    #[error("its server lists this name more than once")]
    Double,
    /// It was never approved.
    #[error("it waits for somebody to approve it")]
    New,
    /// It is another one than was approved.
    #[error("it is not what was approved any more")]
    Changed,
}

/// Looks for what speaks against showing this whole list, by what was approved: for each of its objects an objection, or none.
/// They come as they are shown, and as their server said them: a secret that we hold since then makes no other tool of one.
pub(crate) fn objections(
    (tools, said): (&[Raw], &[Raw]),
    trust: Trust,
    pins: &Pins,
    is_first: bool,
) -> Vec<Result<Admitted, (String, Objection)>> {
    let names: Vec<String> = tools.iter().map(name_of).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in &names {
        *counts.entry(name).or_default() += 1;
    }
    let mut by_case: HashMap<String, HashSet<&str>> = HashMap::new();
    for name in &names {
        by_case.entry(name.to_lowercase()).or_default().insert(name);
    }
    let same = |name: &String| {
        let others = by_case.get(&name.to_lowercase())?;
        others.iter().find(|other| **other != name).map(|other| (*other).to_owned())
    };
    let one = |((tool, said), name): ((&Raw, &Raw), &String)| {
        let admitted = look(tool, name).map_err(|objection| (name.clone(), objection))?;
        // Which of them was approved, and which is shown, could be two things.
        if counts.get(name.as_str()).is_some_and(|count| *count > 1) {
            return Err((name.clone(), Objection::Double));
        }
        if let Some(other) = same(name) {
            return Err((name.clone(), Objection::SameName { other }));
        }
        let approval = match (pins.get(name), trust) {
            (Some(pin), Trust::Pin | Trust::Review) if *pin != admitted.pin && !is_pinned(said, pin) => {
                Err(Objection::Changed)
            }
            (None, Trust::Review) => Err(Objection::New),
            (None, Trust::Pin) if !is_first => Err(Objection::New),
            (_, Trust::Pin | Trust::Review | Trust::Follow) => Ok(()),
        };
        approval.map(|()| admitted).map_err(|objection| (name.clone(), objection))
    };
    tools.iter().zip(said).zip(&names).map(one).collect()
}

/// Whether this is what was approved under a digest.
fn is_pinned(said: &Raw, by: &Pin) -> bool {
    said.view().is_ok_and(|value: Value| pin(&value) == *by)
}

impl Objection {
    /// Whether somebody can approve it in spite of this.
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Self::New | Self::Changed)
    }
}

/// A tool that nothing speaks against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// Its own name.
    pub(crate) name: String,
    /// What it is approved by.
    pub(crate) pin: Pin,
}

/// The name of an offered thing; empty if it has none.
pub(crate) fn name_of(tool: &Raw) -> String {
    Object::of(tool)
        .and_then(|tool| tool.get_str("name").map(std::borrow::Cow::into_owned))
        .unwrap_or_default()
}

/// Looks at one object by itself.
fn look(tool: &Raw, name: &str) -> Result<Admitted, Objection> {
    if tool.as_bytes().len() > OFFERED_BYTES_MAX {
        return Err(Objection::Long { at: String::new(), max: OFFERED_BYTES_MAX });
    }
    let is_name = (1..=OFFERED_NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && !name.starts_with('@');
    if !is_name {
        return Err(Objection::Shape("a name has 1 to 128 visible ASCII characters, and begins with no `@`"));
    }
    let value: Value = tool.view().map_err(|_| Objection::Shape("it is no object"))?;
    let schema = value.get("inputSchema");
    if !schema.is_some_and(Value::is_object) {
        return Err(Objection::Shape("`inputSchema` is no object"));
    }
    look_at_strings(&value, At::Top(""))?;
    if let Some(argument) = secret_in_headers(tool) {
        return Err(Objection::SecretHeader { argument });
    }
    Ok(Admitted { name: name.to_owned(), pin: pin(&value) })
}

/// The digest of a value in its canonical form: members in order, nothing between them (after RFC 8785).
pub(crate) fn pin(value: &Value) -> Pin {
    let mut hasher = Sha256::new();
    canonical(value, &mut |bytes| hasher.update(bytes));
    super::hex(&hasher.finalize())
}

fn canonical(value: &Value, write: &mut impl FnMut(&[u8])) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            write(b"{");
            for (at, (key, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    write(b",");
                }
                canonical(&Value::String(key.clone()), write);
                write(b":");
                canonical(value, write);
            }
            write(b"}");
        }
        Value::Array(elements) => {
            write(b"[");
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    write(b",");
                }
                canonical(element, write);
            }
            write(b"]");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            write(value.to_string().as_bytes());
        }
    }
}

/// Where something stands in a definition. It is written out only where something is objected to: keys may be long and deep, and
/// elements many.
#[derive(Clone, Copy)]
pub(crate) enum At<'a> {
    /// At the top, under this name; empty for the whole.
    Top(&'a str),
    /// The value of a member.
    Member(&'a Self, &'a str),
    /// An element of an array.
    Element(&'a Self, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Top(name) => f.write_str(name),
            At::Member(At::Top(""), key) => f.write_str(key),
            At::Member(of, key) => write!(f, "{of}.{key}"),
            At::Element(of, n) => write!(f, "{of}[{n}]"),
        }
    }
}

/// Looks at every string of a value, keys included.
pub(crate) fn look_at_strings(value: &Value, at: At<'_>) -> Result<(), Objection> {
    match value {
        Value::String(text) => look_at_text(text, at),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .try_for_each(|(n, element)| look_at_strings(element, At::Element(&at, n))),
        Value::Object(members) => members.iter().try_for_each(|(key, value)| {
            let at = At::Member(&at, key);
            look_at_text(key, at)?;
            look_at_strings(value, at)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Looks at one text.
pub(crate) fn look_at_text(text: &str, at: At<'_>) -> Result<(), Objection> {
    let shown = || at.to_string().chars().take(80).flat_map(char::escape_debug).collect::<String>();
    if text.len() > OFFERED_STRING_BYTES_MAX {
        return Err(Objection::Long { at: shown(), max: OFFERED_STRING_BYTES_MAX });
    }
    match text.chars().find(|c| is_hidden(*c)) {
        Some(c) => Err(Objection::Hidden { at: shown(), what: format!("U+{:04X}", u32::from(c)) }),
        None => Ok(()),
    }
}

/// Whether a character changes what is read without being seen: control and escape characters, tags, joiners and spaces of no
/// width, marks of direction, variation selectors, fillers, separators of lines.
pub(crate) fn is_hidden(c: char) -> bool {
    matches!(
        u32::from(c),
        0x00..=0x08
            | 0x0b..=0x0c
            | 0x0e..=0x1f
            | 0x7f..=0x9f
            | 0xad
            | 0x034f
            | 0x061c
            | 0x115f..=0x1160
            | 0x17b4..=0x17b5
            | 0x180b..=0x180f
            | 0x200b..=0x200f
            | 0x2028..=0x202e
            | 0x2060..=0x206f
            | 0x3164
            | 0xfe00..=0xfe0e
            | 0xfeff
            | 0xffa0
            | 0xfff0..=0xfffb
            | 0x1_bca0..=0x1_bca3
            | 0x1_d173..=0x1_d17a
            | 0xe_0000..=0xe_0fff
    )
}

/// An argument that looks like a secret and would be repeated in a header.
fn secret_in_headers(tool: &Raw) -> Option<String> {
    const WORDS: [&str; 10] = [
        "password",
        "passwd",
        "secret",
        "token",
        "apikey",
        "api_key",
        "api-key",
        "credential",
        "private_key",
        "authorization",
    ];
    let schema = Object::of(tool)?.get("inputSchema")?;
    ParamHeaders::of(&schema).ok().filter(|headers| !headers.is_empty())?;
    let value: Value = schema.view().ok()?;
    let mut found = None;
    seek(&value, &mut |name, schema| {
        let lower = name.to_lowercase();
        let is_secret = WORDS.iter().any(|word| lower.contains(word))
            || schema.get("format").is_some_and(|format| format == "password")
            || schema.get("writeOnly") == Some(&Value::Bool(true));
        if is_secret && schema.get("x-mcp-header").is_some() {
            found.get_or_insert_with(|| name.to_owned());
        }
    });
    found
}

/// Every property of a schema, however deep.
fn seek(schema: &Value, found: &mut impl FnMut(&str, &Value)) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                if let ("properties", Value::Object(properties)) = (key.as_str(), value) {
                    properties.iter().for_each(|(name, schema)| found(name, schema));
                }
                seek(value, found);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| seek(element, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How risky a tool is: what the administrator says, else what its hints say if its server is trusted, else `operate`. No hint
/// makes a tool more dangerous than the one above by itself, so that `danger` is a person's word.
pub(crate) fn tier(tool: &Raw, said: Option<Tier>, trust: Trust) -> Tier {
    let hints = Object::of(tool).and_then(|tool| tool.get_object("annotations"));
    let is_read_only =
        hints.and_then(|hints| hints.get("readOnlyHint")).is_some_and(|hint| hint.as_str() == "true");
    match said {
        Some(tier) => tier,
        None if trust == Trust::Follow && is_read_only => Tier::Read,
        None => Tier::Operate,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The same of a list that holds no secret.
    fn of_all(
        tools: &[Raw],
        trust: Trust,
        pins: &Pins,
        is_first: bool,
    ) -> Vec<Result<Admitted, (String, Objection)>> {
        objections((tools, tools), trust, pins, is_first)
    }

    fn raw(value: &Value) -> Raw {
        Raw::of(value).unwrap()
    }

    fn tool(name: &str) -> Value {
        json!({"name": name, "description": "Does it.", "inputSchema": {"type": "object", "properties": {
            "a": {"type": "string", "description": "what", "enum": ["x"], "default": "x"}}}})
    }

    fn objection(tool: &Value) -> Option<Objection> {
        let told = of_all(&[raw(tool)], Trust::Follow, &Pins::new(), true);
        told.into_iter().next().unwrap().err().map(|(_, objection)| objection)
    }

    #[test]
    fn what_is_plain_is_shown() {
        let mut plain = tool("turn-on");
        plain["description"] = json!("Tabs\tand\r\nlines, Ümläute, 日本語, and 👍\u{fe0f}.");
        assert_eq!(objection(&plain), None);
    }

    /// Every character that hides something, in every place where a string can stand.
    #[test]
    fn a_poisoned_string_is_found_wherever_it_stands() {
        let hidden = [
            '\u{0}',
            '\u{7}',
            '\u{1b}',
            '\u{7f}',
            '\u{9b}',
            '\u{ad}',
            '\u{200b}',
            '\u{200e}',
            '\u{202e}',
            '\u{2028}',
            '\u{2060}',
            '\u{2066}',
            '\u{3164}',
            '\u{fe00}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{115f}',
            '\u{ffa0}',
        ];
        for c in hidden {
            for text in [format!("{c}ab"), format!("a{c}b"), format!("ab{c}")] {
                for (pointer, value) in [
                    ("/description", json!(text)),
                    ("/title", json!(text)),
                    ("/inputSchema/properties/a/description", json!(text)),
                    ("/inputSchema/properties/a/enum", json!([text])),
                    ("/inputSchema/properties/a/default", json!(text)),
                    ("/inputSchema/properties", json!({text.clone(): {}})),
                    ("/annotations", json!({"title": text})),
                    ("/_meta", json!({"x": [{"y": text}]})),
                ] {
                    let mut poisoned = tool("t");
                    poisoned["title"] = json!("");
                    poisoned["annotations"] = json!({});
                    poisoned["_meta"] = json!({});
                    *poisoned.pointer_mut(pointer).unwrap() = value;
                    assert!(
                        matches!(objection(&poisoned), Some(Objection::Hidden { .. })),
                        "U+{:04X} in {pointer}",
                        u32::from(c)
                    );
                }
            }
        }
    }

    #[test]
    fn what_has_no_form_or_too_much_text_is_not_shown() {
        for bad in [
            json!({"inputSchema": {}}),
            json!({"name": "", "inputSchema": {}}),
            json!({"name": "t"}),
            json!({"name": "t", "inputSchema": []}),
            json!({"name": "x".repeat(129), "inputSchema": {}}),
            json!({"name": "тool", "inputSchema": {}}),
            json!({"name": INSTRUCTIONS, "inputSchema": {}}),
            json!({"name": "a\u{0}", "inputSchema": {}}),
        ] {
            assert!(matches!(objection(&bad), Some(Objection::Shape(_))), "{bad}");
        }
        let mut long = tool("t");
        long["description"] = json!("x".repeat(OFFERED_STRING_BYTES_MAX + 1));
        assert!(matches!(objection(&long), Some(Objection::Long { .. })));
    }

    /// What is approved under a name would otherwise be the last of them, and what is shown the first.
    #[test]
    fn a_name_that_is_listed_twice_is_shown_for_none_of_them() {
        let mut other = tool("t");
        other["description"] = json!("Something else.");
        let told = of_all(&[raw(&tool("t")), raw(&other)], Trust::Pin, &Pins::new(), true);
        assert!(told.iter().all(|one| matches!(one, Err((_, Objection::Double)))), "{told:?}");
    }

    #[test]
    fn names_that_differ_in_case_alone_are_both_refused() {
        let tools = [raw(&tool("Read")), raw(&tool("read")), raw(&tool("write"))];
        let told = of_all(&tools, Trust::Follow, &Pins::new(), true);
        let same = |at: usize| matches!(&told[at], Err((_, Objection::SameName { .. })));
        assert!(same(0) && same(1) && told[2].is_ok());
    }

    #[test]
    fn a_secret_that_is_held_since_then_makes_no_other_tool_of_one() {
        let said = raw(&tool("t"));
        let shown = raw(&serde_json::from_str(&said.as_str().replace("Does it.", "[redacted:x].")).unwrap());
        assert_ne!(shown, said);
        let told = |pinned: &Raw, said: &Raw| {
            let pins = Pins::from([("t".to_owned(), pin(&pinned.view().unwrap()))]);
            objections((std::slice::from_ref(&shown), std::slice::from_ref(said)), Trust::Pin, &pins, false)
                .remove(0)
                .map(|admitted| admitted.name)
                .map_err(|(_, objection)| objection)
        };
        assert_eq!(told(&said, &said), Ok("t".to_owned()), "approved before the secret was known");
        assert_eq!(told(&shown, &said), Ok("t".to_owned()), "approved with its tag");
        let other = raw(&serde_json::from_str(&said.as_str().replace("Does it.", "Does more.")).unwrap());
        assert_eq!(told(&said, &other), Err(Objection::Changed));
    }

    #[test]
    fn a_changed_byte_anywhere_undoes_the_approval() {
        let approved = tool("t");
        let admitted = of_all(&[raw(&approved)], Trust::Pin, &Pins::new(), true);
        let pins = Pins::from([("t".to_owned(), admitted[0].as_ref().unwrap().pin.clone())]);
        let told = |tool: &Value, trust| {
            of_all(&[raw(tool)], trust, &pins, false).remove(0).err().map(|(_, objection)| objection)
        };
        let reordered: Value = serde_json::from_str(
            r#"{"inputSchema": {"properties": {"a": {"default": "x", "enum": ["x"], "description": "what",
                "type": "string"}}, "type": "object"}, "description": "Does it.", "name": "t"}"#,
        )
        .unwrap();
        for trust in [Trust::Pin, Trust::Review, Trust::Follow] {
            assert_eq!(told(&approved, trust), None);
            assert_eq!(told(&reordered, trust), None, "the order of members says nothing");
        }
        for (pointer, value) in [
            ("/description", json!("Does it!")),
            ("/inputSchema/properties/a/enum", json!(["x", "y"])),
            ("/inputSchema/properties/a/default", json!("y")),
            ("/inputSchema/type", json!("object ")),
        ] {
            let mut changed = tool("t");
            *changed.pointer_mut(pointer).unwrap() = value;
            assert_eq!(told(&changed, Trust::Pin), Some(Objection::Changed), "{pointer}");
            assert_eq!(told(&changed, Trust::Review), Some(Objection::Changed), "{pointer}");
            assert_eq!(told(&changed, Trust::Follow), None, "{pointer}");
        }
    }

    #[test]
    fn what_is_new_is_taken_at_first_and_waits_later() {
        let told = |trust, is_first| {
            let told = of_all(&[raw(&tool("t"))], trust, &Pins::new(), is_first);
            told.into_iter().next().unwrap().err().map(|(_, objection)| objection)
        };
        assert_eq!(told(Trust::Pin, true), None);
        assert_eq!(told(Trust::Pin, false), Some(Objection::New));
        assert_eq!(told(Trust::Review, true), Some(Objection::New));
        assert_eq!(told(Trust::Follow, false), None);
    }

    #[test]
    fn a_secret_is_not_repeated_in_a_header() {
        let with = |name: &str| {
            json!({"name": "t", "inputSchema": {"type": "object", "properties": {
                name: {"type": "string", "x-mcp-header": "Key"}}}})
        };
        assert_eq!(objection(&with("region")), None);
        for name in ["api_key", "apiKey", "GITHUB_TOKEN", "password"] {
            assert!(matches!(objection(&with(name)), Some(Objection::SecretHeader { .. })), "{name}");
        }
    }

    #[test]
    fn hints_count_where_a_server_is_trusted_and_never_beyond_what_a_person_says() {
        let read_only = raw(&json!({"name": "t", "annotations": {"readOnlyHint": true}}));
        let silent = raw(&json!({"name": "t"}));
        for (tool, said, trust, expected) in [
            (&read_only, None, Trust::Pin, Tier::Operate),
            (&read_only, None, Trust::Review, Tier::Operate),
            (&read_only, None, Trust::Follow, Tier::Read),
            (&silent, None, Trust::Follow, Tier::Operate),
            (&read_only, Some(Tier::Danger), Trust::Follow, Tier::Danger),
            (&silent, Some(Tier::Read), Trust::Pin, Tier::Read),
        ] {
            assert_eq!(super::tier(tool, said, trust), expected);
        }
    }
}
