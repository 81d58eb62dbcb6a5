//! Documents: what people write and read. A flat object with the name, what every resource has, and the members of the spec.
//!
//! ```text
//! { "name": "ha", "labels": {…}, "command": ["serve"], …,                  what people say
//!   "id": …, "generation": 1, "version": 57, "createdAt": …, "status": … }  what the system says; ignored where it is read
//! ```
//!
//! Where a kind has a member of its own with the name of one that the system says (`version` of templates), the kind's is meant.

mod merge;
mod meta;
mod show;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use serde_json::Value;

use crate::error::{Code, Error, did_you_mean};
use crate::kinds::{Descriptor, KINDS, Scope, find};
use crate::metadata::API_VERSION;

pub use merge::{merge, merge3};
pub(crate) use meta::is_key;
pub use show::{Parts, show, write};

/// Stands for a value that must not be shown; where it is read, it means the value that is there.
pub const HIDDEN: &str = "***";

/// Members that the system says, in the order in which they are shown.
pub const READ_ONLY: [&str; 8] =
    ["id", "generation", "version", "createdAt", "updatedAt", "ownerId", "builtin", "status"];

/// A document that was read.
#[derive(Clone, PartialEq)]
pub struct Document {
    /// Its name, in the form in which it is kept.
    pub name: String,
    /// Its project; none for the whole system.
    pub project: Option<String>,
    /// What selectors ask for.
    pub labels: BTreeMap<String, String>,
    /// What people and tools note beside it.
    pub annotations: BTreeMap<String, String>,
    /// Its spec, in canonical form; members that are sensitive are as they were said, `***` included.
    pub spec: Value,
    /// The version that it was written for, if it says one.
    pub version: Option<u64>,
    /// The uid that it says it has.
    pub id: Option<String>,
}

/// Without the spec, which may hold secrets.
impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Document");
        shown.field("name", &self.name).field("project", &self.project).field("version", &self.version);
        shown.finish_non_exhaustive()
    }
}

/// The schema of the spec of a kind, whole.
fn schema(kind: &Descriptor) -> Value {
    let mut settings = schemars::generate::SchemaSettings::default();
    settings.inline_subschemas = true;
    (kind.schema)(&mut settings.into_generator()).to_value()
}

/// The members of the specs of each kind, by the name of the kind.
static MEMBERS: LazyLock<HashMap<&str, Vec<String>>> = LazyLock::new(|| {
    let members = |kind: &Descriptor| {
        let schema = schema(kind);
        let properties = schema.get("properties").and_then(Value::as_object);
        properties.map(|members| members.keys().cloned().collect()).unwrap_or_default()
    };
    KINDS.iter().map(|kind| (kind.name, members(kind))).collect()
});

/// Whether documents of a kind can have a single value at this path: text, a number, a switch.
pub(crate) fn leads(kind: &Descriptor, path: &[String]) -> bool {
    let [first, rest @ ..] = path else { return false };
    if members(kind).iter().any(|own| own == first) {
        return schema(kind)["properties"].get(first).is_some_and(|schema| leads_in(schema, rest));
    }
    match first.as_str() {
        "labels" | "annotations" => rest.len() == 1,
        "status" => !rest.is_empty(),
        _ => rest.is_empty(),
    }
}

fn leads_in(schema: &Value, path: &[String]) -> bool {
    let ways = ["anyOf", "oneOf", "allOf"].iter().filter_map(|way| schema.get(*way)?.as_array()).flatten();
    let mut ways = ways.peekable();
    if ways.peek().is_some() {
        return ways.any(|way| leads_in(way, path));
    }
    let is = |word: &str| {
        schema
            .get("type")
            .is_some_and(|it| it == word || it.as_array().is_some_and(|all| all.iter().any(|it| it == word)))
    };
    let is_free =
        schema.get("type").is_none() && schema.get("enum").is_none() && schema.get("const").is_none();
    match path {
        [] => is_free || !(is("array") || is("object") || is("null") && schema["type"].is_string()),
        [first, rest @ ..] => match schema.get("properties").and_then(|all| all.get(first)) {
            Some(inner) => leads_in(inner, rest),
            None => match schema.get("additionalProperties") {
                Some(Value::Bool(is_open)) => *is_open,
                Some(inner) => leads_in(inner, rest),
                None => is_free,
            },
        },
    }
}

/// Names of what is built in, by the name of the kind.
static BUILTINS: LazyLock<HashMap<&str, HashSet<&str>>> = LazyLock::new(|| {
    let names = |kind: &Descriptor| (kind.builtins)().into_iter().map(|builtin| builtin.name).collect();
    KINDS.iter().map(|kind| (kind.name, names(kind))).collect()
});

/// The members of a kind's spec.
pub fn members(kind: &Descriptor) -> &'static [String] {
    MEMBERS.get(kind.name).map_or(&[], Vec::as_slice)
}

/// Whether a resource is one that is there from the beginning.
pub fn is_builtin(kind: &Descriptor, name: &str, project: Option<&str>) -> bool {
    project.is_none() && BUILTINS.get(kind.name).is_some_and(|names| names.contains(name))
}

/// Members that the system says of each kind, by the name of the kind.
static SAID: LazyLock<HashMap<&str, Vec<&str>>> = LazyLock::new(|| {
    let of = |kind: &Descriptor| {
        READ_ONLY.into_iter().filter(|member| !members(kind).iter().any(|own| own == member)).collect()
    };
    KINDS.iter().map(|kind| (kind.name, of(kind))).collect()
});

/// Members that the system says of this kind.
fn read_only(kind: &Descriptor) -> impl Iterator<Item = &'static str> {
    SAID.get(kind.name).into_iter().flatten().copied()
}

/// Whether documents of a kind may have this member.
pub fn has(kind: &Descriptor, member: &str) -> bool {
    [kind.identity, "project", "labels", "annotations"].contains(&member)
        || members(kind).iter().any(|own| own == member)
        || read_only(kind).any(|said| said == member)
}

/// Takes away what the system says: what is left can be written again.
pub fn strip(kind: &Descriptor, document: &mut Value) {
    let Some(members) = document.as_object_mut() else { return };
    members.retain(|name, _| !read_only(kind).any(|member| member == name));
}

/// The version that somebody wrote a document or a patch for, if they say one and the kind has no member of that name.
pub fn version(kind: &Descriptor, written: &Value) -> Result<Option<u64>, Error> {
    let said = written.get("version").filter(|_| read_only(kind).any(|member| member == "version"));
    said.map_or(Ok(None), meta::version)
}

/// What somebody wrote, checked.
pub fn read(kind: &Descriptor, document: Value) -> Result<Document, Error> {
    let Value::Object(mut members) = document else {
        let found = Error::new(Code::Invalid, format!("a {} is an object", kind.name));
        return Err(found.with_hint(format!("write e.g. `{}: …`", kind.identity)));
    };
    meta::check_kind(kind, &mut members)?;
    let mut said: HashMap<&str, Value> = HashMap::new();
    for member in read_only(kind) {
        said.extend(members.shift_remove(member).map(|value| (member, value)));
    }
    let name = meta::name(kind, &mut members)?;
    let project = meta::project(kind, &mut members)?;
    let labels = meta::labels(members.shift_remove("labels"))?;
    let annotations = meta::annotations(members.shift_remove("annotations"))?;
    let spec = (kind.read)(Value::Object(members)).map_err(|error| suggest(kind, error))?;
    let version = said.remove("version").map_or(Ok(None), |version| meta::version(&version))?;
    let id = said.remove("id").and_then(|id| id.as_str().map(ToOwned::to_owned));
    Ok(Document { name, project, labels, annotations, spec, version, id })
}

/// An unknown member may be meant for one that every document has.
fn suggest(kind: &Descriptor, error: Error) -> Error {
    let Some(word) = error.field.clone().filter(|_| error.message.starts_with("unknown member")) else {
        return error;
    };
    let common = [kind.identity, "labels", "annotations", "project", "kind", "apiVersion"];
    let is_meant = error.hint.as_ref().is_some_and(|hint| hint.starts_with("did you mean"));
    match did_you_mean(&word, common) {
        // A kind without a spec has nothing else.
        None if error.hint.is_none() => {
            error.with_hint(format!("there are: {}, project, labels, annotations", kind.identity))
        }
        Some(meant) if !is_meant && !word.contains(['.', '[']) => {
            error.with_hint(format!("did you mean `{meant}`?"))
        }
        _ => error,
    }
}

/// What a document becomes with a patch (RFC 7396): null takes a member away, an object goes into the one that is there,
/// everything else replaces. Neither the name nor the project can be changed.
pub fn patch(kind: &Descriptor, current: &Value, patch: &Value) -> Result<Document, Error> {
    if !patch.is_object() {
        return Err(
            Error::new(Code::Invalid, "a patch is an object").with_hint("name the members that change")
        );
    }
    let mut document = current.clone();
    strip(kind, &mut document);
    let fixed = |document: &Value| [kind.identity, "project"].map(|member| document.get(member).cloned());
    let before = fixed(&document);
    merge(&mut document, patch);
    for (member, (before, after)) in
        [kind.identity, "project"].into_iter().zip(before.into_iter().zip(fixed(&document)))
    {
        if before != after {
            let error = Error::new(Code::Invalid, format!("`{member}` can't be changed")).at(member);
            return Err(error.with_hint(format!("create another {}, and delete this one", kind.name)));
        }
    }
    read(kind, document)
}

#[cfg(test)]
mod tests;
