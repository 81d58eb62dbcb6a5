//! Documents as they are shown: as a value, or as text where there are thousands.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{is_builtin, read_only};
use crate::kinds::Descriptor;
use crate::metadata::Metadata;
use crate::names::ResourceName;

/// What a document is made of. `J` is JSON as it is at hand: values, or texts.
#[derive(Clone, Copy)]
pub struct Parts<'a, J> {
    /// Its name.
    pub name: &'a str,
    /// Its project; none for the whole system.
    pub project: Option<&'a str>,
    /// What selectors ask for; none if there is nothing.
    pub labels: Option<J>,
    /// What people and tools note beside it; none if there is nothing.
    pub annotations: Option<J>,
    /// An object: what is wanted. It holds no secrets: whoever keeps them hides them.
    pub spec: J,
    /// Never changes and is never used again.
    pub uid: &'a str,
    /// Counts changes of the spec, from 1.
    pub generation: u64,
    /// The revision of the store at which it last changed.
    pub version: u64,
    /// When it was made (RFC 3339, UTC).
    pub created_at: &'a str,
    /// When it last changed (RFC 3339, UTC); empty where nobody kept it.
    pub updated_at: &'a str,
    /// The uid of the resource that it goes with.
    pub owner: Option<&'a str>,
    /// What is the case, if somebody said so.
    pub status: Option<J>,
}

/// What a member says.
enum Said<'a, J> {
    Text(&'a str),
    Number(u64),
    Yes,
    Json(J),
    /// All members of an object.
    Members(J),
}

/// The members of a document in the order in which they are shown.
fn said<'a, J>(
    kind: &'a Descriptor,
    parts: Parts<'a, J>,
) -> impl Iterator<Item = (&'static str, Said<'a, J>)> {
    let Parts { name, project, labels, annotations, spec, mut status, .. } = parts;
    let first = [
        (kind.identity, Some(Said::Text(name))),
        ("project", project.map(Said::Text)),
        ("labels", labels.map(Said::Json)),
        ("annotations", annotations.map(Said::Json)),
        ("spec", Some(Said::Members(spec))),
    ];
    let last = read_only(kind).map(move |member| {
        let said = match member {
            "id" => Some(Said::Text(parts.uid)),
            "generation" => Some(Said::Number(parts.generation)),
            "version" => Some(Said::Number(parts.version)),
            "createdAt" => Some(Said::Text(parts.created_at)),
            "updatedAt" => Some(Said::Text(parts.updated_at)).filter(|_| !parts.updated_at.is_empty()),
            "ownerId" => parts.owner.map(Said::Text),
            "builtin" => is_builtin(kind, name, project).then_some(Said::Yes),
            _ => status.take().map(Said::Json),
        };
        (member, said)
    });
    first.into_iter().chain(last).filter_map(|(member, said)| Some((member, said?)))
}

/// A resource as people read it. The spec holds no secrets: whoever keeps them hides them.
pub fn show(kind: &Descriptor, meta: &Metadata, spec: Value, status: Option<Value>) -> Value {
    let parts = Parts {
        name: meta.name.as_str(),
        project: meta.scope.as_ref().map(ResourceName::as_str),
        labels: Some(&meta.labels).filter(|labels| !labels.is_empty()).map(|labels| json!(labels)),
        annotations: Some(&meta.annotations).filter(|notes| !notes.is_empty()).map(|notes| json!(notes)),
        spec,
        uid: &meta.uid,
        generation: meta.generation,
        version: meta.resource_version,
        created_at: &meta.created_at,
        updated_at: &meta.updated_at,
        owner: meta.owner.as_deref(),
        status,
    };
    let mut shown = Map::new();
    for (member, said) in said(kind, parts) {
        let value = match said {
            Said::Text(text) => text.into(),
            Said::Number(number) => number.into(),
            Said::Yes => true.into(),
            Said::Json(value) => value,
            Said::Members(members) => {
                if let Value::Object(members) = members {
                    shown.extend(members);
                }
                continue;
            }
        };
        shown.insert(member.to_owned(), value);
    }
    Value::Object(shown)
}

/// Writes the same as JSON, of parts that are JSON already: none of them is read. If only some members are asked for, these,
/// with the name and the project in any case.
pub fn write(
    kind: &Descriptor,
    parts: Parts<'_, &str>,
    only: Option<&[String]>,
    out: &mut Vec<u8>,
) -> serde_json::Result<()> {
    let is_meant = |member: &str| only.is_none_or(|only| only.iter().any(|meant| meant == member));
    // The name comes first and is always there.
    let mut before = b'{';
    for (member, said) in said(kind, parts) {
        if let Said::Members(object) = said {
            write_members(object, only.is_some().then_some(&is_meant), out)?;
            continue;
        }
        if !is_meant(member) && member != kind.identity && member != "project" {
            continue;
        }
        out.push(before);
        before = b',';
        serde_json::to_writer(&mut *out, member)?;
        out.push(b':');
        match said {
            Said::Text(text) => serde_json::to_writer(&mut *out, text)?,
            Said::Number(number) => serde_json::to_writer(&mut *out, &number)?,
            Said::Yes => out.extend_from_slice(b"true"),
            Said::Json(text) | Said::Members(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
    out.push(b'}');
    Ok(())
}

/// Writes the members of an object behind others: all of them, or those that are meant.
fn write_members(
    object: &str,
    is_meant: Option<&impl Fn(&str) -> bool>,
    out: &mut Vec<u8>,
) -> serde_json::Result<()> {
    let Some(is_meant) = is_meant else {
        let members = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        if !members.is_empty() {
            out.push(b',');
            out.extend_from_slice(members.as_bytes());
        }
        return Ok(());
    };
    // None of our members is written with an escape.
    let members: BTreeMap<&str, &RawValue> = serde_json::from_str(object)?;
    for (member, value) in members.into_iter().filter(|(member, _)| is_meant(member)) {
        out.push(b',');
        serde_json::to_writer(&mut *out, member)?;
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
    }
    Ok(())
}
