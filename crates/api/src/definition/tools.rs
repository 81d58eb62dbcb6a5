//! What is otherwise for some tools of a server.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::limits::spec::{CALL_SECONDS, FREE_BYTES, LIST, TEXT_BYTES, WORD_BYTES};
use crate::member::{optional, text, within, wrong};
use crate::names::ToolName;

/// What is otherwise for one tool of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ToolOverride {
    /// The name that it is shown under, instead of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is said of it, instead of what its server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether nobody sees or calls it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// How risky it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<crate::Tier>,
    /// Seconds that a call may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Arguments that every call has, whatever its caller says; no caller is shown them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fixed: BTreeMap<String, Value>,
    /// Arguments that a call has if its caller says nothing else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: BTreeMap<String, Value>,
}

impl ToolOverride {
    /// Checks it, of the tool of this name.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(name) = &self.name {
            ToolName::parse(name).map_err(|error| wrong("name", error))?;
        }
        optional("description", self.description.as_ref(), TEXT_BYTES)?;
        within("timeoutSeconds", self.timeout_seconds, 1..=CALL_SECONDS)?;
        for (field, arguments) in [("fixed", &self.fixed), ("defaults", &self.defaults)] {
            if arguments.len() > LIST {
                return Err(wrong(field, format!("use up to {LIST} entries")));
            }
            for (name, argument) in arguments {
                text(field, name, WORD_BYTES)?;
                if argument.to_string().len() > FREE_BYTES {
                    return Err(wrong(&format!("{field}.{name}"), format!("use up to {FREE_BYTES} bytes")));
                }
            }
        }
        match self.defaults.keys().find(|name| self.fixed.contains_key(*name)) {
            Some(name) => Err(wrong("defaults", format!("`{name}` is fixed already"))),
            None => Ok(()),
        }
    }
}

/// Checks what is otherwise for tools.
pub(crate) fn tools(tools: &BTreeMap<String, ToolOverride>) -> Result<(), Error> {
    if tools.len() > LIST {
        return Err(wrong("tools", format!("use up to {LIST} entries")));
    }
    for (name, tool) in tools {
        text("tools", name, WORD_BYTES)?;
        tool.check().map_err(|error| error.at(&format!("tools.{name}")))?;
    }
    let mut shown = BTreeMap::new();
    for (own, tool) in tools {
        let name = tool.name.as_deref().unwrap_or(own);
        if let Some(other) = shown.insert(name, own) {
            let why = format!("`{name}` is how `{other}` is shown already");
            return Err(wrong(&format!("tools.{own}.name"), why).with_hint("choose another name"));
        }
    }
    Ok(())
}
