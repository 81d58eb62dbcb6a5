//! Documents as a command handles them: flat objects, as the control plane shows and takes them.

use hayward_api::Error;
use hayward_api::document;
use hayward_api::kinds::{Descriptor, Scope};
use serde_json::Value;

/// The name of a document.
pub(crate) fn name<'a>(kind: &Descriptor, document: &'a Value) -> &'a str {
    document.get(kind.identity).and_then(Value::as_str).unwrap_or_default()
}

/// The project of a document of a kind that has any.
pub(crate) fn project<'a>(kind: &Descriptor, document: &'a Value) -> Option<&'a str> {
    if kind.scope == Scope::System {
        return None;
    }
    document.get("project").and_then(Value::as_str)
}

/// The same without what nobody writes.
pub(crate) fn stripped(kind: &Descriptor, document: &Value) -> Value {
    let mut document = document.clone();
    document::strip(kind, &mut document);
    document
}

/// What can be seen to be wrong with a document without a server.
pub(crate) fn check(kind: &Descriptor, document: &Value) -> Result<(), Error> {
    document::read(kind, document.clone()).map(drop)
}

/// `server/ha`, with its project.
pub(crate) fn shown(kind: &Descriptor, document: &Value) -> String {
    let name = name(kind, document);
    match project(kind, document) {
        Some(project) => format!("{}/{name} (project {project})", kind.name),
        None => format!("{}/{name}", kind.name),
    }
}
