//! `serverattachment`: that a server belongs to a project. Another view of the projects' lists, which are the truth of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Descriptor, Kept, Kind, MadeBy, Names, Scope, none};
use crate::error::Error;
use crate::member::{self, Spec};

/// That a server belongs to a project. Everything is said by its name and its project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServerAttachmentSpec {}

impl Spec for ServerAttachmentSpec {
    fn settle(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "serverattachment",
    plural: "serverattachments",
    route: "serverattachments",
    aliases: &["sa"],
    about: "That a server belongs to a project: another view of the list `servers` of projects.",
    identity: "server",
    names: Names::Plain,
    scope: Scope::Project,
    made_by: MadeBy::Anybody,
    kept: Kept::InProjects,
    sensitive: &[],
    sets: &[],
    columns: &[],
    sections: &[],
    order: 55,
    builtins: Vec::new,
    read: member::read::<ServerAttachmentSpec>,
    references: none,
    conditions: none,
    sample,
    schema: |generator| generator.subschema_for::<ServerAttachmentSpec>(),
};

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({"server": "ha", "project": "home"})
}

impl Kind for ServerAttachmentSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_nothing_beside_its_name_and_its_project() {
        assert_eq!((DESCRIPTOR.read)(json!({})).unwrap(), json!({}));
        assert_eq!((DESCRIPTOR.read)(json!({"priority": 1})).unwrap_err().field.as_deref(), Some("priority"));
    }
}
