//! What every resource has beside its spec.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::ResourceName;

/// The version that stored specs and files of this build carry.
pub const API_VERSION: &str = "hayward/v1";

/// The common part of every resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Never changes and is never used again.
    pub uid: String,
    /// Unique in its kind and scope.
    pub name: ResourceName,
    /// The project that it belongs to; none for the whole system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ResourceName>,
    /// Counts changes of the spec, from 1.
    pub generation: u64,
    /// The revision of the store at which it last changed; for optimistic concurrency.
    pub resource_version: u64,
    /// When it was made (RFC 3339, UTC).
    pub created_at: String,
    /// When its spec, its labels or its annotations last changed (RFC 3339, UTC); empty where nobody kept it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub updated_at: String,
    /// What selectors ask for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What people and tools note beside it; nothing follows from that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The uid of the resource that it goes with, e.g. the server of an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}
