//! Which resources are meant: by their labels, or by members of their documents.
//!
//! A selector that can't be read is an error. It never means everything: not even an empty one does.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::document::{READ_ONLY, is_key, leads, members};
use crate::error::{Code, Error, did_you_mean};
use crate::kinds::Descriptor;
use crate::limits::spec::{LABEL_BYTES, REQUIREMENTS, SELECTOR_BYTES};

/// Labels that are wanted: `a=b,c!=d,e in (x,y),f notin (z),!g,h`. All of it has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    /// Values of which it has one; none where it is enough that the label is there.
    values: Option<Vec<String>>,
    /// Whether the opposite is wanted.
    is_not: bool,
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let is = value.is_some_and(|value| {
            self.values.as_ref().is_none_or(|values| values.iter().any(|wanted| wanted == value))
        });
        is != self.is_not
    }
}

impl Labels {
    /// Reads a selector.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let requirements = split(text)?.into_iter().map(requirement).collect::<Result<_, _>>()?;
        Ok(Self(requirements))
    }

    /// Whether a resource with these labels is meant. Who has no such label is among those who don't have that value.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|wanted| wanted.holds(labels.get(&wanted.key).map(String::as_str)))
    }
}

/// The requirements between commas, but for commas in parentheses.
fn split(text: &str) -> Result<Vec<&str>, Error> {
    if text.len() > SELECTOR_BYTES {
        return Err(Error::new(Code::TooLarge, format!("a selector has up to {SELECTOR_BYTES} bytes")));
    }
    let (mut parts, mut start, mut is_inside) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' if is_inside => return Err(wrong(text)),
            '(' => is_inside = true,
            ')' if !is_inside => return Err(wrong(text)),
            ')' => is_inside = false,
            ',' if !is_inside => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    if is_inside || parts.len() > REQUIREMENTS || parts.iter().any(|part| part.is_empty()) {
        return Err(wrong(text));
    }
    Ok(parts)
}

fn wrong(text: &str) -> Error {
    let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    Error::new(Code::Invalid, format!("invalid selector `{shown}`"))
        .with_hint("write e.g. `a=b,c!=d,e in (x,y),!f`")
}

fn requirement(part: &str) -> Result<Requirement, Error> {
    let (key, values, is_not) = if let Some(key) = part.strip_prefix('!') {
        (key, None, true)
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, Some(vec![value.trim()]), true)
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Some(vec![value.trim()]), false)
    } else if let Some((words, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values.split(',').map(str::trim).collect();
        match words.split_whitespace().collect::<Vec<_>>()[..] {
            [key, "in"] => (key, Some(values), false),
            [key, "notin"] => (key, Some(values), true),
            _ => return Err(wrong(part)),
        }
    } else {
        (part, None, false)
    };
    let key = key.trim();
    if !is_key(key) || !values.iter().flatten().all(|value| is_value(value)) {
        return Err(wrong(part));
    }
    let values = values.map(|values| values.into_iter().map(ToOwned::to_owned).collect());
    Ok(Requirement { key: key.to_owned(), values, is_not })
}

/// What labels can have as their value, `=`, `(` and the like excepted.
fn is_value(value: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b'@' | b':');
    value.len() <= LABEL_BYTES && value.bytes().all(is_plain)
}

/// Members that are wanted: `transport=STDIO,metadata.name!=x`. All of it has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields(Vec<Field>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    path: Vec<String>,
    value: String,
    is_not: bool,
}

impl Fields {
    /// Reads a selector for documents of this kind. A member that they don't have is an error.
    pub fn parse(kind: &Descriptor, text: &str) -> Result<Self, Error> {
        let fields = split(text)?.into_iter().map(|part| field(kind, part)).collect::<Result<_, _>>()?;
        Ok(Self(fields))
    }

    /// Whether the resource of this document, as it is shown, is meant. A member that isn't there has the value of nothing.
    pub fn matches(&self, document: &Value) -> bool {
        self.0.iter().all(|field| {
            let found = field.path.iter().try_fold(document, |value, member| value.get(member));
            text_of(found).is_some_and(|text| text == field.value) != field.is_not
        })
    }
}

/// A value as selectors compare it; none for lists and objects, which no selector means.
fn text_of(value: Option<&Value>) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        None | Some(Value::Null) => Some("".into()),
        Some(Value::String(text)) => Some(text.as_str().into()),
        Some(Value::Bool(is)) => Some(is.to_string().into()),
        Some(Value::Number(number)) => Some(number.to_string().into()),
        Some(Value::Array(_) | Value::Object(_)) => None,
    }
}

fn field(kind: &Descriptor, part: &str) -> Result<Field, Error> {
    let (path, value, is_not) = part
        .split_once("!=")
        .map(|(path, value)| (path, value, true))
        .or_else(|| {
            part.split_once("==").or_else(|| part.split_once('=')).map(|(path, value)| (path, value, false))
        })
        .ok_or_else(|| wrong(part).with_hint("write e.g. `transport=STDIO`"))?;
    let path = match path.trim() {
        "metadata.name" | "name" if kind.identity != "name" && !has(kind, path.trim()) => kind.identity,
        "metadata.name" => kind.identity,
        "metadata.namespace" | "metadata.project" => "project",
        path => path.strip_prefix("spec.").unwrap_or(path),
    };
    let path: Vec<String> = path.split('.').map(ToOwned::to_owned).collect();
    let first = path.first().map(String::as_str).unwrap_or_default();
    if !has(kind, first) || path.iter().any(String::is_empty) {
        return Err(unknown(kind, first));
    }
    if !leads(kind, &path) {
        let shown: String = path.join(".").chars().take(80).flat_map(char::escape_debug).collect();
        let error = Error::new(Code::Invalid, format!("{} have no single value at `{shown}`", kind.plural));
        return Err(
            error.with_hint("name a member that is a text, a number or a switch, as documents show it")
        );
    }
    let value = value.trim();
    if value.contains(['=', '(', ')', '!']) {
        return Err(wrong(part));
    }
    Ok(Field { path, value: value.to_owned(), is_not })
}

/// Whether documents of this kind have such a member.
fn has(kind: &Descriptor, member: &str) -> bool {
    known(kind).any(|known| known == member)
}

fn known(kind: &Descriptor) -> impl Iterator<Item = &str> {
    let common = [kind.identity, "project", "labels", "annotations"];
    members(kind).iter().map(String::as_str).chain(common).chain(READ_ONLY)
}

fn unknown(kind: &Descriptor, member: &str) -> Error {
    let shown: String = member.chars().take(80).flat_map(char::escape_debug).collect();
    let error = Error::new(Code::Invalid, format!("{} have no member `{shown}`", kind.plural));
    match did_you_mean(member, known(kind)) {
        Some(meant) => error.with_hint(format!("did you mean `{meant}`?")),
        None => error.with_hint("name a member as documents show it, e.g. `name`"),
    }
}

#[cfg(test)]
mod tests;
