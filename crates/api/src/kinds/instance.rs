//! `instance`: one running copy of a server. Made by reconciliation from what the server wants, never by hand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Column, Descriptor, Kept, Kind, MadeBy, Names, Reference, Scope, Section, none, refer};
use crate::error::Error;
use crate::limits::spec::REPLICAS;
use crate::member::{self, Spec, within};

/// One running copy of a server. What it does is in its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InstanceSpec {
    /// The name of its server.
    pub server: String,
    /// Which of the copies it is, from 0.
    #[serde(default)]
    pub replica: u32,
    /// The generation of the server that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_generation: Option<u64>,
}

impl Spec for InstanceSpec {
    fn settle(&mut self) -> Result<(), Error> {
        Names::Plain.canonical(&self.server).map_err(|error| error.at("server"))?;
        within("replica", Some(self.replica), 0..=REPLICAS)
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "instance",
    plural: "instances",
    route: "instances",
    aliases: &["inst"],
    about: "One running copy of a server; made from what the server wants, and never by hand.",
    identity: "name",
    names: Names::Plain,
    scope: Scope::System,
    made_by: MadeBy::Reconciliation,
    kept: Kept::Stored,
    sensitive: &[],
    sets: &[],
    columns: &[
        Column::new("SERVER", "server"),
        Column::new("STATUS", "status.phase"),
        Column::new("HEALTH", "status.health"),
        Column::wide("PORT", "status.port"),
        Column::wide("CONTAINER", "status.containerId"),
    ],
    sections: &[Section {
        heading: "Running",
        paths: &["server", "replica", "status.phase", "status.health", "status.port", "status.containerId"],
    }],
    order: 45,
    builtins: Vec::new,
    read: member::read::<InstanceSpec>,
    references: |spec: &Value| -> Vec<Reference> { refer(spec, "server", "server") },
    conditions: none,
    sample,
    schema: |generator| generator.subschema_for::<InstanceSpec>(),
};

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({"name": "ha-0", "server": "ha", "replica": 1, "serverGeneration": 3})
}

impl Kind for InstanceSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_of_a_server() {
        let spec = (DESCRIPTOR.read)(json!({"server": "ha"})).unwrap();
        assert_eq!(spec, json!({"server": "ha", "replica": 0}));
        assert_eq!((DESCRIPTOR.references)(&spec)[0].field, "server");
        for bad in [json!({}), json!({"server": "a b"}), json!({"server": "a", "replica": 1000})] {
            assert!((DESCRIPTOR.read)(bad.clone()).unwrap_err().field.is_some(), "{bad}");
        }
    }
}
