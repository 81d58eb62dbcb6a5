//! `policy`: what holds for tools beside the permissions of who calls them: a higher tier, an approval, a refusal.
//!
//! Rules only take away. None of them is applied yet; a policy says so in its conditions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Column, Condition, Descriptor, Kept, Kind, MadeBy, NOT_ENFORCED, Names, Scope, Section, none};
use crate::error::Error;
use crate::fence::tools::ToolPattern;
use crate::limits::spec::LIST;
use crate::member::lines;
use crate::member::{self, Spec, bounded, line, wrong};
use crate::tier::Tier;

/// Who has to agree before a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// The caller repeats the target in its arguments.
    Confirm,
    /// A person, outside the model's reach.
    Human,
}

/// Which commands may be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Commands {
    /// How a command has to begin; any way if nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_prefixes: Vec<String>,
    /// What a command may not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied_substrings: Vec<String>,
}

/// What holds for some tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    /// The tools, e.g. `bash_execute` or `ssh_*`.
    pub tools: Vec<ToolPattern>,
    /// The servers or toolsets whose tools are meant; all if nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// The hosts on which they act; all if nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Whether they are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deny: bool,
    /// The tier that they are at least of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Who has to agree before a call runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Which commands they may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Commands>,
}

/// What holds for tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PolicySpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The rules. All that fit a call hold.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

impl Rule {
    fn check(&self) -> Result<(), Error> {
        bounded("tools", &self.tools, LIST)?;
        if self.tools.is_empty() {
            return Err(wrong("tools", "it is empty").with_hint("name a tool, or say `*`"));
        }
        for (field, names) in [("servers", &self.servers), ("targets", &self.targets)] {
            bounded(field, names, LIST)?;
            for (at, name) in names.iter().enumerate() {
                Names::Plain.canonical(name).map_err(|error| error.at(&format!("{field}[{at}]")))?;
            }
        }
        if let Some(commands) = &self.commands {
            lines("commands.allowedPrefixes", &commands.allowed_prefixes)?;
            lines("commands.deniedSubstrings", &commands.denied_substrings)?;
        }
        let says_more = self.tier.is_some() || self.approval.is_some() || self.commands.is_some();
        match (self.deny, says_more) {
            (true, true) => Err(wrong("deny", "what is refused needs no further rule")),
            (false, false) => Err(wrong("tools", "nothing is said of them")
                .with_hint("say one of deny, tier, approval, commands")),
            _ => Ok(()),
        }
    }
}

impl Spec for PolicySpec {
    fn settle(&mut self) -> Result<(), Error> {
        line("description", self.description.as_ref())?;
        bounded("rules", &self.rules, LIST)?;
        let check =
            |(at, rule): (usize, &Rule)| rule.check().map_err(|error| error.at(&format!("rules[{at}]")));
        self.rules.iter().enumerate().try_for_each(check)
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "policy",
    plural: "policies",
    route: "policies",
    aliases: &["pol"],
    about: "What holds for tools beside permissions: a higher tier, an approval, a refusal.",
    identity: "name",
    names: Names::Plain,
    scope: Scope::System,
    made_by: MadeBy::Anybody,
    kept: Kept::Stored,
    sensitive: &[],
    sets: &[],
    columns: &[Column::new("TOOLS", "rules.tools"), Column::wide("DESCRIPTION", "description")],
    sections: &[Section { heading: "Rules", paths: &["rules"] }],
    order: 22,
    builtins: Vec::new,
    read: member::read::<PolicySpec>,
    references: none,
    conditions,
    sample,
    schema: |generator| generator.subschema_for::<PolicySpec>(),
};

fn conditions(spec: &Value) -> Vec<Condition> {
    if spec.get("rules").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Vec::new();
    }
    let message = "this version keeps policies and applies none: keep tokens to tools and fences meanwhile";
    vec![Condition::new(NOT_ENFORCED, "True", "NotYet", message)]
}

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({
            "name": "careful", "description": "Shells need a human.", "rules": [
                {"tools": ["bash_execute", "ssh_*"], "servers": ["host"], "targets": ["pi"], "tier": "danger",
                 "approval": "human",
                 "commands": {"allowedPrefixes": ["uptime"], "deniedSubstrings": ["rm -rf"]}},
                {"tools": ["*"], "servers": ["ha"], "deny": true}]})
}

impl Kind for PolicySpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_say_what_they_take_away_and_that_it_is_not_done_yet() {
        let spec = json!({"rules": [
            {"tools": ["bash_execute"], "tier": "danger", "approval": "human"},
            {"tools": ["ssh_*"], "targets": ["pi"], "commands": {"allowedPrefixes": ["uptime"]}},
            {"tools": ["*"], "servers": ["ha"], "deny": true}]});
        assert_eq!((DESCRIPTOR.read)(spec.clone()).unwrap(), spec);
        assert_eq!(conditions(&spec)[0].kind, NOT_ENFORCED);
        assert!(conditions(&json!({"rules": []})).is_empty());
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused_where_they_stand() {
        for (rule, field) in [
            (json!({}), "tools"),
            (json!({"tools": [], "deny": true}), "tools"),
            (json!({"tools": ["x"]}), "tools"),
            (json!({"tools": ["a b"], "deny": true}), "tools[0]"),
            (json!({"tools": ["x"], "deny": true, "tier": "read"}), "deny"),
            (json!({"tools": ["x"], "tier": "dangerous"}), "tier"),
            (json!({"tools": ["x"], "approval": "model"}), "approval"),
            (json!({"tools": ["x"], "allow": true}), "allow"),
            (json!({"tools": ["x"], "commands": {"allowedPrefixes": [""]}}), "commands.allowedPrefixes[0]"),
        ] {
            let error = (DESCRIPTOR.read)(json!({"rules": [rule]})).unwrap_err();
            assert_eq!(error.field, Some(format!("rules[0].{field}")));
        }
    }
}
