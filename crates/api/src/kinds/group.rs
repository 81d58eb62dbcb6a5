//! `group`: accounts that are granted something together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Column, Descriptor, Kept, Kind, MadeBy, Names, Scope, Section, none, refer};
use crate::error::Error;
use crate::limits::spec::NAMES;
use crate::member::{self, Spec, bounded, distinct, line};

/// Accounts that are granted something together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The addresses of its members.
    #[serde(default)]
    pub members: Vec<String>,
}

impl Spec for GroupSpec {
    fn settle(&mut self) -> Result<(), Error> {
        line("description", self.description.as_ref())?;
        bounded("members", &self.members, NAMES)?;
        for (at, name) in self.members.iter_mut().enumerate() {
            *name = Names::Email.canonical(name).map_err(|error| error.at(&format!("members[{at}]")))?;
        }
        distinct("members", self.members.iter().map(String::as_str))
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "group",
    plural: "groups",
    route: "groups",
    aliases: &[],
    about: "Accounts that are granted something together.",
    identity: "name",
    names: Names::Plain,
    scope: Scope::System,
    made_by: MadeBy::Anybody,
    kept: Kept::Stored,
    sensitive: &[],
    sets: &["members"],
    columns: &[Column::new("MEMBERS", "members"), Column::wide("DESCRIPTION", "description")],
    sections: &[Section { heading: "Members", paths: &["members"] }],
    order: 35,
    builtins: Vec::new,
    read: member::read::<GroupSpec>,
    references: |spec: &Value| refer(spec, "members", "user"),
    conditions: none,
    sample,
    schema: |generator| generator.subschema_for::<GroupSpec>(),
};

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({
            "name": "admins", "description": "Who look after it.", "members": ["ann@example.org", "ci"]})
}

impl Kind for GroupSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_accounts_and_each_is_there_once() {
        let spec = (DESCRIPTOR.read)(json!({"members": ["Ann@x.org", "ci"]})).unwrap();
        assert_eq!(spec, json!({"members": ["ann@x.org", "ci"]}));
        assert_eq!(refer(&spec, "members", "user")[1].field, "members[1]");
        for bad in [json!(["a b"]), json!(["a", "A"]), json!("a"), json!([1]), json!(["a@"])] {
            let error = (DESCRIPTOR.read)(json!({"members": bad})).unwrap_err();
            assert!(error.field.unwrap().starts_with("members"));
        }
    }
}
