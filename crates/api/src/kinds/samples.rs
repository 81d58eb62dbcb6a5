//! A document of each kind in which every member is set: what round trips, references and fuzzers begin with.

use serde_json::Value;

use super::Descriptor;

/// The document, as somebody would write it: without what the system keeps by itself.
pub fn sample(kind: &Descriptor) -> Value {
    (kind.sample)()
}

/// What its spec alone is: the document without what every resource has.
pub fn spec(kind: &Descriptor) -> Value {
    let mut document = sample(kind);
    if let Some(members) = document.as_object_mut() {
        let common = [kind.identity, "project", "labels", "annotations"];
        members.retain(|name, _| !common.contains(&name.as_str()));
    }
    document
}
