//! What every document has beside its spec.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{API_VERSION, Code, Descriptor, Error, Scope, find};
use crate::kinds::Names;
use crate::limits::spec::{ANNOTATION_BYTES, ANNOTATIONS, LABEL_BYTES, LABELS};

fn wrong(field: &str, why: &str) -> Error {
    Error::new(Code::Invalid, format!("`{field}`: {why}")).at(field)
}

fn text(members: &mut Map<String, Value>, field: &str) -> Result<Option<String>, Error> {
    match members.shift_remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(field, "it is no text")),
    }
}

/// A document says the kind that it is read as, if it says any.
pub(super) fn check_kind(kind: &Descriptor, members: &mut Map<String, Value>) -> Result<(), Error> {
    if let Some(version) = text(members, "apiVersion")?.filter(|version| version != API_VERSION) {
        let error = wrong("apiVersion", &format!("`{}` is not known", shown(&version)));
        return Err(error.with_hint(format!("write {API_VERSION}, or leave it out")));
    }
    match text(members, "kind")? {
        Some(word) if find(&word.to_lowercase()).is_none_or(|found| found.name != kind.name) => {
            Err(wrong("kind", &format!("this is `{}`, and a {} is wanted", shown(&word), kind.name)))
        }
        _ => Ok(()),
    }
}

pub(super) fn name(kind: &Descriptor, members: &mut Map<String, Value>) -> Result<String, Error> {
    let Some(name) = text(members, kind.identity)? else {
        let error = Error::new(Code::Invalid, format!("`{}` is missing", kind.identity)).at(kind.identity);
        return Err(error.with_hint(format!("every {} has one", kind.name)));
    };
    kind.names.canonical(&name).map_err(|error| error.at(kind.identity))
}

pub(super) fn project(kind: &Descriptor, members: &mut Map<String, Value>) -> Result<Option<String>, Error> {
    match (kind.scope, text(members, "project")?) {
        (Scope::System, Some(_)) => {
            Err(wrong("project", &format!("{} belong to no project", kind.plural)).with_hint("leave it out"))
        }
        (Scope::Project, None) => {
            let error = Error::new(Code::Invalid, "`project` is missing").at("project");
            Err(error.with_hint(format!("every {} belongs to one", kind.name)))
        }
        (_, Some(name)) => Names::Plain.canonical(&name).map(Some).map_err(|error| error.at("project")),
        (_, None) => Ok(None),
    }
}

/// The version that a document was written for.
pub(super) fn version(said: &Value) -> Result<Option<u64>, Error> {
    let number = said.as_u64().or_else(|| said.as_str()?.parse().ok());
    match (said, number) {
        (Value::Null, _) => Ok(None),
        (_, Some(number)) => Ok(Some(number)),
        _ => Err(wrong("version", "it is no version of a resource").with_hint("leave it out")),
    }
}

pub(super) fn labels(said: Option<Value>) -> Result<BTreeMap<String, String>, Error> {
    pairs("labels", said, LABELS, |value| {
        let is_plain =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b'@' | b':');
        value.len() <= LABEL_BYTES && value.bytes().all(is_plain)
    })
    .map_err(|error| error_hint(error, "values of labels are up to 128 letters, digits and `._-/@:`"))
}

pub(super) fn annotations(said: Option<Value>) -> Result<BTreeMap<String, String>, Error> {
    pairs("annotations", said, ANNOTATIONS, |value| value.len() <= ANNOTATION_BYTES && !value.contains('\0'))
}

fn error_hint(error: Error, hint: &str) -> Error {
    if error.hint.is_none() { error.with_hint(hint) } else { error }
}

fn pairs(
    field: &str,
    said: Option<Value>,
    max: usize,
    is_good: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, Error> {
    let members = match said {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(wrong(field, "it is no object")),
    };
    if members.len() > max {
        let message = format!("`{field}`: it has {} entries: use up to {max}", members.len());
        return Err(Error::new(Code::TooLarge, message).at(field));
    }
    let mut pairs = BTreeMap::new();
    for (key, value) in members {
        if !is_key(&key) {
            let error = wrong(field, &format!("`{}` is no key", shown(&key)));
            return Err(
                error.with_hint("use up to 128 letters, digits and `._-/`, starting with a letter or digit")
            );
        }
        match value {
            Value::String(value) if is_good(&value) => pairs.insert(key, value),
            Value::Number(_) | Value::Bool(_) => {
                let error = wrong(&format!("{field}.{key}"), &format!("it must be a text, and is `{value}`"));
                return Err(error.with_hint(format!("put it in quotes: `\"{value}\"`")));
            }
            _ => return Err(wrong(&format!("{field}.{key}"), "it is no such text, or too long")),
        };
    }
    Ok(pairs)
}

/// Whether labels and annotations may be called so.
pub(crate) fn is_key(key: &str) -> bool {
    (1..=LABEL_BYTES).contains(&key.len())
        && key.starts_with(|c: char| c.is_ascii_alphanumeric())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'))
}

fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}
