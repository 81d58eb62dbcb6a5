//! `promptrequest`: a prompt that a session proposes. Whoever may make prompts accepts it, or deletes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Column, Descriptor, Kept, Kind, MadeBy, Names, Scope, Section, none};
use crate::error::Error;
use crate::limits::spec::{TEXT_BYTES, WORD_BYTES};
use crate::member::{self, Spec, optional, text, within};

/// A prompt that a session proposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PromptRequestSpec {
    /// The text.
    pub content: String,
    /// How much it would matter, 1 to 10.
    #[serde(default = "member::middle")]
    pub priority: u8,
    /// The session that proposes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by_session: Option<String>,
    /// The account that proposes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by_user: Option<String>,
}

impl Spec for PromptRequestSpec {
    fn settle(&mut self) -> Result<(), Error> {
        text("content", &self.content, TEXT_BYTES)?;
        within("priority", Some(self.priority), 1..=10)?;
        optional("createdBySession", self.created_by_session.as_ref(), WORD_BYTES)?;
        optional("createdByUser", self.created_by_user.as_ref(), WORD_BYTES)
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "promptrequest",
    plural: "promptrequests",
    route: "promptrequests",
    aliases: &["pr"],
    about: "A prompt that a session proposes, until somebody accepts it.",
    identity: "name",
    names: Names::Plain,
    scope: Scope::Either,
    made_by: MadeBy::Anybody,
    kept: Kept::Stored,
    sensitive: &[],
    sets: &[],
    columns: &[
        Column::new("PROJECT", "project"),
        Column::new("PRIORITY", "priority"),
        Column::new("BY", "createdByUser"),
        Column::wide("SESSION", "createdBySession"),
    ],
    sections: &[
        Section { heading: "Proposed by", paths: &["createdByUser", "createdBySession"] },
        Section { heading: "Content", paths: &["content"] },
    ],
    order: 65,
    builtins: Vec::new,
    read: member::read::<PromptRequestSpec>,
    references: none,
    conditions: none,
    sample,
    schema: |generator| generator.subschema_for::<PromptRequestSpec>(),
};

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({
            "name": "lamps", "project": "home", "content": "The lamps are called after rooms.", "priority": 3,
            "createdBySession": "s-1", "createdByUser": "ann@example.org"})
}

impl Kind for PromptRequestSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_is_a_text_with_a_priority() {
        let spec = (DESCRIPTOR.read)(json!({"content": "x"})).unwrap();
        assert_eq!(spec, json!({"content": "x", "priority": 5}));
        for (bad, field) in [
            (json!({}), "content"),
            (json!({"content": "\n"}), "content"),
            (json!({"content": "x", "priority": 11}), "priority"),
            (json!({"content": "x", "createdByUser": ""}), "createdByUser"),
            (json!({"content": "x", "link": "y"}), "link"),
        ] {
            assert_eq!((DESCRIPTOR.read)(bad.clone()).unwrap_err().field.as_deref(), Some(field), "{bad}");
        }
    }
}
