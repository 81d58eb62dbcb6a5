//! `prompt`: a text that tells a model what to know or to do, in a project or everywhere.
//!
//! Those of the system are built in (`prompt/system.rs`); deleting one resets it.

mod system;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Column, Descriptor, Kept, Kind, MadeBy, Names, Scope, Section, none};
use crate::error::Error;
use crate::limits::spec::{LINE_BYTES, LIST, TEXT_BYTES, URL_BYTES};
use crate::member::{self, Spec, each, optional, text, within, wrong};

/// A text that tells a model what to know or to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PromptSpec {
    /// The text. It may be left out if there is a `link`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// How much it matters, 1 to 10; what has 10 is always delivered.
    #[serde(default = "member::middle")]
    pub priority: u8,
    /// What it is about, in a line or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The headings of what it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chapters: Vec<String>,
    /// Where its text comes from instead: an address, or a resource of a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Spec for PromptSpec {
    fn settle(&mut self) -> Result<(), Error> {
        optional("content", self.content.as_ref(), TEXT_BYTES)?;
        within("priority", Some(self.priority), 1..=10)?;
        optional("summary", self.summary.as_ref(), LINE_BYTES)?;
        each("chapters", &self.chapters, LIST, |field, entry| text(field, entry, LINE_BYTES))?;
        if let Some(link) = &self.link {
            text("link", link, URL_BYTES)?;
            if link.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(wrong("link", "it holds space"));
            }
        }
        if self.content.is_none() && self.link.is_none() {
            return Err(wrong("content", "neither it nor `link` is said"));
        }
        Ok(())
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "prompt",
    plural: "prompts",
    route: "prompts",
    aliases: &[],
    about: "A text that tells a model what to know or to do, in a project or everywhere.",
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
        Column::new("LINK", "link"),
        Column::wide("SUMMARY", "summary"),
    ],
    sections: &[
        Section { heading: "Summary", paths: &["summary", "chapters"] },
        Section { heading: "Content", paths: &["link", "content"] },
    ],
    order: 60,
    builtins: system::builtins,
    read: member::read::<PromptSpec>,
    references: none,
    conditions: none,
    sample,
    schema: |generator| generator.subschema_for::<PromptSpec>(),
};

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({
            "name": "rules", "project": "home", "content": "Ask before you switch anything off.", "priority": 8,
            "summary": "What to ask.", "chapters": ["Lights", "Heating"], "link": "https://example.org/rules"})
}

impl Kind for PromptSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_a_text_or_a_link_to_one() {
        let spec = (DESCRIPTOR.read)(json!({"content": "x"})).unwrap();
        assert_eq!(spec, json!({"content": "x", "priority": 5}));
        assert!((DESCRIPTOR.read)(json!({"link": "home/docs:file://readme", "priority": 10})).is_ok());
        for (bad, field) in [
            (json!({}), "content"),
            (json!({"content": ""}), "content"),
            (json!({"content": "x".repeat(TEXT_BYTES + 1)}), "content"),
            (json!({"content": "x", "priority": 0}), "priority"),
            (json!({"content": "x", "priority": 11}), "priority"),
            (json!({"content": "x", "priority": "high"}), "priority"),
            (json!({"content": "x", "chapters": [""]}), "chapters[0]"),
            (json!({"link": "a b"}), "link"),
        ] {
            assert_eq!((DESCRIPTOR.read)(bad.clone()).unwrap_err().field.as_deref(), Some(field), "{field}");
        }
    }
}
