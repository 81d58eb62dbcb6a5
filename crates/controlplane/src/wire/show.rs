//! Resources as documents.

use hayward_api::document::{self, Parts};
use hayward_api::kinds::{Condition, Descriptor};
use hayward_store::{RawResource, Resource, Snapshot, Status};
use serde_json::{Value, json};

use crate::guarded::Passwords;
use crate::refusal::Refusal;

/// The member that says what is the case.
const STATUS: &str = "status";

/// A resource as a document.
pub(crate) fn shown(kind: &Descriptor, resource: &Resource) -> Value {
    let kept = resource.status.as_ref().map(|status| (status.observed_generation, &status.status));
    let status = status(&(kind.conditions)(&resource.spec), resource.metadata.generation, kept);
    document::show(kind, &resource.metadata, resource.spec.clone(), status)
}

/// One of many, as the text of its document. What is only handed on is never read.
pub(crate) fn write(
    kind: &Descriptor,
    (resource, passwords): (&RawResource, &Passwords),
    only: Option<&[String]>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let generation = resource.generation()?;
    let is_meant = only.is_none_or(|only| only.iter().any(|member| member == STATUS));
    let status = if is_meant { status_text(kind, resource, passwords)? } else { None };
    let pairs = |text| Some(text).filter(|text| *text != "{}");
    let parts = Parts {
        name: resource.name(),
        project: resource.scope(),
        labels: pairs(resource.labels()),
        annotations: pairs(resource.annotations()),
        spec: resource.spec(),
        uid: resource.uid(),
        generation,
        version: resource.resource_version()?,
        created_at: resource.created_at(),
        updated_at: resource.updated_at(),
        owner: resource.owner(),
        status: status.as_deref(),
    };
    document::write(kind, parts, only, out).map_err(|_| Refusal::invalid("a list can't be written"))
}

/// The status of one of many, as text.
fn status_text(
    kind: &Descriptor,
    resource: &RawResource,
    passwords: &Passwords,
) -> Result<Option<String>, Refusal> {
    /// A status that nobody wrote: what follows from the spec.
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Following<'a> {
        observed_generation: u64,
        conditions: &'a [Condition],
    }
    let (spec, generation) = (resource.spec_value()?, resource.generation()?);
    let mut conditions = (kind.conditions)(&spec);
    conditions.extend(passwords.missing(resource.uid(), resource.name(), &spec));
    let Some(kept) = resource.status()? else {
        let following = Following { observed_generation: generation, conditions: &conditions };
        let text = (!conditions.is_empty()).then(|| serde_json::to_string(&following)).transpose();
        return text.map_err(|_| Refusal::invalid("a status can't be written"));
    };
    let kept = (kept.observed_generation, &kept.status);
    Ok(status(&conditions, generation, Some(kept)).map(|status| status.to_string()))
}

/// A resource as it was, as a document, with this status.
pub(crate) fn shown_then(kind: &Descriptor, snapshot: &Snapshot, kept: Option<&Status>) -> Value {
    let kept = kept.map(|kept| (kept.observed_generation, &kept.status));
    let status = status(&(kind.conditions)(&snapshot.spec), snapshot.metadata.generation, kept);
    document::show(kind, &snapshot.metadata, snapshot.spec.clone(), status)
}

/// What is the case: what somebody said, and what is to be said of the spec as it is.
fn status(conditions: &[Condition], generation: u64, kept: Option<(u64, &Value)>) -> Option<Value> {
    if conditions.is_empty() && kept.is_none() {
        return None;
    }
    let mut status = kept.and_then(|(_, status)| status.as_object().cloned()).unwrap_or_default();
    status.insert("observedGeneration".into(), kept.map_or(generation, |(generation, _)| generation).into());
    let known = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(known) = known.as_array_mut() {
        known.retain(|old| conditions.iter().all(|new| old["type"] != *new.kind));
        known.extend(conditions.iter().map(|condition| json!(condition)));
    }
    Some(status.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_the_spec_stands_beside_what_somebody_said_and_in_the_place_of_the_same() {
        let of = |kind, status| Condition::new(kind, status, "R", "m");
        let kept = json!({"phase": "RUNNING", "conditions": [of("NotEnforced", "False"), of("ManifestBroken", "True")]});
        let shown = status(&[of("NotEnforced", "True")], 3, Some((2, &kept))).unwrap();
        assert_eq!(
            (shown["phase"].as_str(), shown["observedGeneration"].as_u64()),
            (Some("RUNNING"), Some(2))
        );
        let types: Vec<_> = shown["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| (c["type"].as_str().unwrap(), c["status"].as_str().unwrap()))
            .collect();
        assert_eq!(types, [("ManifestBroken", "True"), ("NotEnforced", "True")]);
        assert_eq!(status(&[], 1, None), None);
    }
}
