//! `project`: servers that are served together, and what is done with what goes through.
//!
//! `proxyMode` is the old word for `proxyModel`. It is taken in files: `direct` becomes no model at all, `filtered` the model
//! `content-pipeline`; any other word is taken as the name of a model.

use std::collections::{BTreeMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Column, Condition, Descriptor, Kept, Kind, MadeBy, NOT_ENFORCED, Names, Reference, Scope, Section, refer,
};
use crate::definition::{ToolOverride, tools};
use crate::error::Error;
use crate::limits::spec::{NAMES, TEXT_BYTES, WORD_BYTES};
use crate::member::{self, Spec, bounded, distinct, line, optional, wrong};
use crate::names::ToolName;

/// What is otherwise for one server of a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServerOverride {
    /// The proxy model of what this server answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_model: Option<String>,
    /// What the names of its tools begin with, before `_`; the name of the server if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What is otherwise for some of its tools, by their own names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, ToolOverride>,
}

/// How the names of tools are put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NameStyle {
    /// `server_tool`: what every client takes.
    #[default]
    Underscore,
    /// `server/tool`: what clients of the system before this one know.
    Slash,
}

/// A condition that a project is served in spite of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Accepted {
    /// What it asks for isn't done yet.
    NotEnforced,
}

/// Servers that are served together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProjectSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What its clients are told first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The proxy model of all that its servers answer; none if nothing is said. The old word is `proxyMode`: `direct` becomes none,
    /// `filtered` becomes `content-pipeline`, and any other is the name of a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_model: Option<String>,
    /// Whether its tools are shown only after a session has begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gated: bool,
    /// The names of its servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// What is otherwise for some of them, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub server_overrides: BTreeMap<String, ServerOverride>,
    /// How the names of its tools are put together; `underscore` if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_style: Option<NameStyle>,
    /// The provider of the language model that stages use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_provider: Option<String>,
    /// The language model that stages use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_model: Option<String>,
    /// The conditions that it is served in spite of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<Accepted>,
}

/// Why a project is not served that asks for more than is done.
const NOT_SERVED: &str = "gates and proxy models are not applied yet, so it is not served; say `accept: [NotEnforced]` to have it served without them";

impl ProjectSpec {
    /// Whether it asks for something that isn't done yet.
    fn asks_too_much(&self) -> bool {
        let overrides = self.server_overrides.values().any(|it| it.proxy_model.is_some());
        self.gated || self.proxy_model.is_some() || overrides
    }

    /// Whether it is served: it asks for nothing that isn't done, or that was accepted by name.
    pub fn is_served(&self) -> bool {
        self.why_not_served().is_none()
    }

    /// Why it is not served, if it isn't, and what to do.
    pub fn why_not_served(&self) -> Option<&'static str> {
        let is_accepted = self.accept.contains(&Accepted::NotEnforced);
        (self.asks_too_much() && !is_accepted).then_some(NOT_SERVED)
    }
}

impl Spec for ProjectSpec {
    fn settle(&mut self) -> Result<(), Error> {
        line("description", self.description.as_ref())?;
        optional("prompt", self.prompt.as_ref(), TEXT_BYTES)?;
        optional("llmProvider", self.llm_provider.as_ref(), WORD_BYTES)?;
        optional("llmModel", self.llm_model.as_ref(), WORD_BYTES)?;
        plain("proxyModel", self.proxy_model.as_ref())?;
        bounded("servers", &self.servers, NAMES)?;
        for (at, name) in self.servers.iter().enumerate() {
            plain(&format!("servers[{at}]"), Some(name))?;
        }
        distinct("servers", self.servers.iter().map(String::as_str))?;
        let mut accepted = HashSet::new();
        self.accept.retain(|condition| accepted.insert(*condition));
        if self.server_overrides.len() > NAMES {
            return Err(wrong("serverOverrides", format!("use up to {NAMES} entries")));
        }
        for (name, server) in &self.server_overrides {
            plain("serverOverrides", Some(name))?;
            plain(&format!("serverOverrides.{name}.proxyModel"), server.proxy_model.as_ref())?;
            if let Some(prefix) = &server.prefix {
                let field = format!("serverOverrides.{name}.prefix");
                ToolName::parse(prefix).map_err(|error| wrong(&field, error))?;
            }
            tools(&server.tools).map_err(|error| error.at(&format!("serverOverrides.{name}")))?;
        }
        Ok(())
    }
}

fn plain(field: &str, name: Option<&String>) -> Result<(), Error> {
    name.map_or(Ok(()), |name| Names::Plain.canonical(name).map(drop).map_err(|error| error.at(field)))
}

/// Reads it, with the old word for what is done with results.
fn read(mut spec: Value) -> Result<Value, Error> {
    if let Some(mode) = spec.as_object_mut().and_then(|members| members.shift_remove("proxyMode")) {
        if spec.get("proxyModel").is_some_and(|model| !model.is_null()) {
            return Err(wrong("proxyMode", "it is the old word for `proxyModel`, which is there")
                .with_hint("leave it out"));
        }
        match mode.as_str() {
            Some("direct") => {}
            Some("filtered") => spec["proxyModel"] = Value::from("content-pipeline"),
            Some(model) => spec["proxyModel"] = Value::from(model),
            None if mode.is_null() => {}
            None => return Err(wrong("proxyMode", "it is no text")),
        }
    }
    member::read::<ProjectSpec>(spec)
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "project",
    plural: "projects",
    route: "projects",
    aliases: &["proj"],
    about: "Servers that are served together, and what is done with what goes through.",
    identity: "name",
    names: Names::Plain,
    scope: Scope::System,
    made_by: MadeBy::Anybody,
    kept: Kept::Stored,
    sensitive: &[],
    sets: &["servers", "accept"],
    columns: &[
        Column::new("SERVERS", "servers"),
        Column::new("PROXYMODEL", "proxyModel"),
        Column::new("GATED", "gated"),
        Column::wide("LLM", "llmProvider"),
        Column::wide("DESCRIPTION", "description"),
    ],
    sections: &[
        Section { heading: "Servers", paths: &["servers", "serverOverrides"] },
        Section { heading: "Results", paths: &["proxyModel", "gated", "llmProvider", "llmModel", "accept"] },
        Section { heading: "Prompt", paths: &["prompt"] },
    ],
    order: 50,
    builtins: Vec::new,
    read,
    references,
    conditions,
    sample,
    schema: |generator| generator.subschema_for::<ProjectSpec>(),
};

fn references(spec: &Value) -> Vec<Reference> {
    let mut all = refer(spec, "servers", "server");
    all.extend(refer(spec, "proxyModel", "proxymodel"));
    let overrides = spec.get("serverOverrides").and_then(Value::as_object);
    for (server, it) in overrides.into_iter().flatten() {
        all.extend(refer(it, "proxyModel", "proxymodel").into_iter().map(|reference| Reference {
            field: format!("serverOverrides.{server}.{}", reference.field),
            ..reference
        }));
    }
    all
}

fn conditions(spec: &Value) -> Vec<Condition> {
    let Ok(spec) = serde_json::from_value::<ProjectSpec>(spec.clone()) else { return Vec::new() };
    let mut conditions = Vec::new();
    if spec.asks_too_much() {
        let accepted =
            "gates and proxy models are not applied yet; it is served without them, as `accept` says";
        let (reason, message) = match spec.why_not_served() {
            None => ("Accepted", accepted),
            Some(why) => ("NotYet", why),
        };
        conditions.push(Condition::new(NOT_ENFORCED, "True", reason, message));
    }
    let servers: HashSet<&String> = spec.servers.iter().collect();
    if let Some(name) = spec.server_overrides.keys().find(|name| !servers.contains(name)) {
        let message = format!("`serverOverrides` names `{name}`, which is no server of this project");
        conditions.push(Condition::new("Unused", "True", "UnknownServer", message));
    }
    conditions
}

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({
            "name": "home", "description": "The house.", "prompt": "Be brief.", "proxyModel": "default",
            "gated": true, "servers": ["ha", "docs"], "nameStyle": "slash",
            "serverOverrides": {"docs": {
                "proxyModel": "pages", "prefix": "d", "tools": {"search": {"name": "find", "tier": "read"}}}},
            "llmProvider": "ollama", "llmModel": "llama3", "accept": ["NotEnforced"]})
}

impl Kind for ProjectSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: Value) -> Result<Value, Error> {
        (DESCRIPTOR.read)(spec)
    }

    #[test]
    fn the_old_word_becomes_the_new_one() {
        for (mode, model) in [
            (json!("direct"), json!(null)),
            (json!("filtered"), json!("content-pipeline")),
            (json!("gate"), json!("gate")),
            (json!(null), json!(null)),
        ] {
            let spec = read(json!({"proxyMode": mode})).unwrap();
            assert_eq!(spec.get("proxyModel").cloned().unwrap_or_default(), model);
        }
        let both = read(json!({"proxyMode": "direct", "proxyModel": "gate"})).unwrap_err();
        assert_eq!(both.field.as_deref(), Some("proxyMode"));
        assert!(read(json!({"proxyMode": 1})).is_err());
    }

    #[test]
    fn a_project_that_asks_for_what_is_not_done_says_so_and_is_not_served() {
        let told = |spec: Value| {
            let spec = read(spec).unwrap();
            let is_served = serde_json::from_value::<ProjectSpec>(spec.clone()).unwrap().is_served();
            (conditions(&spec).pop().map(|it| (it.kind.into_owned(), it.reason.into_owned())), is_served)
        };
        let not_enforced = |reason: &str| Some((NOT_ENFORCED.to_owned(), reason.to_owned()));
        assert_eq!(told(json!({"servers": ["a"]})), (None, true));
        for asks in [
            json!({"gated": true}),
            json!({"proxyModel": "default"}),
            json!({"servers": ["a"], "serverOverrides": {"a": {"proxyModel": "default"}}}),
        ] {
            assert_eq!(told(asks.clone()), (not_enforced("NotYet"), false));
            let mut accepted = asks;
            accepted["accept"] = json!(["NotEnforced", "NotEnforced"]);
            assert_eq!(told(accepted), (not_enforced("Accepted"), true));
        }
        let unused = told(json!({"serverOverrides": {"b": {}}})).0.unwrap();
        assert_eq!(unused, ("Unused".to_owned(), "UnknownServer".to_owned()));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_where_it_stands() {
        for (bad, field) in [
            (json!({"servers": ["a", "a"]}), "servers[1]"),
            (json!({"servers": ["a b"]}), "servers[0]"),
            (json!({"serverOverrides": {"a b": {}}}), "serverOverrides"),
            (
                json!({"servers": ["a"], "serverOverrides": {"a": {"proxyModal": "x"}}}),
                "serverOverrides.a.proxyModal",
            ),
            (json!({"accept": ["Everything"]}), "accept[0]"),
            (json!({"gate": true}), "gate"),
            (json!({"prompt": " "}), "prompt"),
        ] {
            assert_eq!(read(bad.clone()).unwrap_err().field.unwrap_or_default(), field, "{bad}");
        }
    }

    #[test]
    fn servers_and_models_are_referred_to() {
        let spec =
            json!({"servers": ["a"], "proxyModel": "m", "serverOverrides": {"a": {"proxyModel": "n"}}});
        let fields: Vec<String> = references(&read(spec).unwrap()).into_iter().map(|it| it.field).collect();
        assert_eq!(fields, ["servers[0]", "proxyModel", "serverOverrides.a.proxyModel"]);
    }
}
