//! `proxymodel`: what is done with sessions and with results on their way to a client: a gate, and stages of a pipeline.
//!
//! Three are built in. None is applied yet; projects that name one say so in their conditions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::refer;
use super::{
    Builtin, Column, Condition, Descriptor, Kept, Kind, MadeBy, NOT_ENFORCED, Names, Reference, Scope,
    Section,
};
use crate::error::Error;
use crate::limits::spec::LIST;
use crate::member::{self, Spec, bounded, distinct, free, line};

/// What passes through stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AppliesTo {
    /// Prompts.
    Prompt,
    /// What tools answer.
    ToolResult,
}

/// A stage of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Stage {
    /// What it does, e.g. `passthrough`, `paginate`, `section-split`, `summarize-tree`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

/// What is done with sessions and results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProxyModelSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The models that it is made of, before what it says itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extends: Vec<String>,
    /// What decides over sessions, e.g. `gate`; nothing if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// How it decides, e.g. `byteBudget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_config: Option<Value>,
    /// The stages of the pipeline, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    /// What passes through them; what tools answer if nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applies_to: Vec<AppliesTo>,
    /// Whether what comes of them may be kept for the next time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cacheable: Option<bool>,
}

impl Spec for ProxyModelSpec {
    fn settle(&mut self) -> Result<(), Error> {
        let plain = |field: &str, name: &str| Names::Plain.canonical(name).map_err(|error| error.at(field));
        line("description", self.description.as_ref())?;
        bounded("extends", &self.extends, LIST)?;
        for (at, name) in self.extends.iter().enumerate() {
            plain(&format!("extends[{at}]"), name)?;
        }
        distinct("extends", self.extends.iter().map(String::as_str))?;
        self.controller.as_ref().map_or(Ok(()), |name| plain("controller", name).map(drop))?;
        free("controllerConfig", self.controller_config.as_ref())?;
        bounded("stages", &self.stages, LIST)?;
        for (at, stage) in self.stages.iter().enumerate() {
            plain(&format!("stages[{at}].type"), &stage.kind)?;
            free(&format!("stages[{at}].config"), stage.config.as_ref())?;
        }
        bounded("appliesTo", &self.applies_to, LIST)?;
        self.applies_to.sort_by_key(|it| *it == AppliesTo::ToolResult);
        self.applies_to.dedup();
        Ok(())
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "proxymodel",
    plural: "proxymodels",
    route: "proxymodels",
    aliases: &["pm"],
    about: "What is done with sessions and results on their way to a client: a gate, a pipeline.",
    identity: "name",
    names: Names::Plain,
    scope: Scope::System,
    made_by: MadeBy::Anybody,
    kept: Kept::Stored,
    sensitive: &[],
    sets: &[],
    columns: &[
        Column::new("CONTROLLER", "controller"),
        Column::new("STAGES", "stages.type"),
        Column::new("EXTENDS", "extends"),
        Column::wide("DESCRIPTION", "description"),
    ],
    sections: &[
        Section { heading: "Controller", paths: &["controller", "controllerConfig"] },
        Section { heading: "Stages", paths: &["stages", "appliesTo", "cacheable"] },
    ],
    order: 20,
    builtins,
    read: member::read::<ProxyModelSpec>,
    references: |spec: &Value| -> Vec<Reference> { refer(spec, "extends", "proxymodel") },
    conditions: |_| {
        let message = "this version keeps proxy models and applies none";
        vec![Condition::new(NOT_ENFORCED, "True", "NotYet", message)]
    },
    sample,
    schema: |generator| generator.subschema_for::<ProxyModelSpec>(),
};

fn builtins() -> Vec<Builtin> {
    vec![
        Builtin {
            name: "content-pipeline",
            spec: json!({
                "description": "Results in pages, and no gate.",
                "stages": [{"type": "paginate", "config": {"pageSize": 8000}}],
                "appliesTo": ["toolResult"],
                "cacheable": true,
            }),
        },
        Builtin {
            name: "gate",
            spec: json!({
                "description": "A gate before the tools, and no pipeline.",
                "controller": "gate",
                "controllerConfig": {"byteBudget": 8192},
            }),
        },
        Builtin {
            name: "default",
            spec: json!({
                "description": "A gate before the tools, and results in pages.",
                "extends": ["gate", "content-pipeline"],
            }),
        },
    ]
}

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({
            "name": "pages", "description": "Short pages.", "extends": ["gate"], "controller": "gate",
            "controllerConfig": {"byteBudget": 4096},
            "stages": [{"type": "section-split"}, {"type": "paginate", "config": {"pageSize": 4000}}],
            "appliesTo": ["prompt", "toolResult"], "cacheable": false})
}

impl Kind for ProxyModelSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_read_as_it_was_written() {
        let spec = json!({
            "controller": "gate", "controllerConfig": {"byteBudget": 8192},
            "stages": [{"type": "passthrough"}, {"type": "paginate", "config": {"pageSize": 8000}}],
            "appliesTo": ["prompt", "toolResult"], "cacheable": true});
        assert_eq!((DESCRIPTOR.read)(spec.clone()).unwrap(), spec);
        let twice = (DESCRIPTOR.read)(json!({"appliesTo": ["toolResult", "prompt", "toolResult"]})).unwrap();
        assert_eq!(twice["appliesTo"], json!(["prompt", "toolResult"]));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_where_it_stands() {
        for (bad, field) in [
            (json!({"stages": [{}]}), "stages[0].type"),
            (json!({"stages": [{"type": "a b"}]}), "stages[0].type"),
            (json!({"stages": [{"type": "x", "config": []}]}), "stages[0].config"),
            (json!({"appliesTo": ["result"]}), "appliesTo[0]"),
            (json!({"extends": ["a", "a"]}), "extends[1]"),
            (json!({"controllerConfig": 1}), "controllerConfig"),
        ] {
            assert_eq!((DESCRIPTOR.read)(bad.clone()).unwrap_err().field.as_deref(), Some(field), "{bad}");
        }
    }
}
