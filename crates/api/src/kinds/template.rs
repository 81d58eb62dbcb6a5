//! `template`: the blueprint of servers. It is used when one is made, and not when it runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Column, Descriptor, Kept, Kind, MadeBy, Names, Scope, Section, none};
use crate::definition::{ValueFrom, definition, entries, environment, header, value, variable};
use crate::error::Error;
use crate::limits::spec::WORD_BYTES;
use crate::member::{self, Spec, line, text, wrong};

/// A variable that a server made from this has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TemplateEnv {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether whoever makes a server has to give it a value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Its value where nobody gives another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_value: Option<String>,
    /// Its value in every server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where its value comes from in every server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

definition! {
    /// The blueprint of servers.
    pub struct TemplateSpec {
        /// Its own version, e.g. `1.2.0`.
        #[serde(default = "first")]
        pub version: String,
    }
    env: TemplateEnv
}

fn first() -> String {
    "1.0.0".to_owned()
}

/// The name and the version in `name:version`, or the name alone.
pub fn address(text: &str) -> (&str, Option<&str>) {
    text.split_once(':').map_or((text, None), |(name, version)| (name, Some(version)))
}

impl TemplateEnv {
    fn check(&self) -> Result<(), Error> {
        variable(&self.name)?;
        self.check_value()
    }

    /// The same of a header.
    fn check_header(&self) -> Result<(), Error> {
        header(&self.name)?;
        self.check_value()
    }

    fn check_value(&self) -> Result<(), Error> {
        line("description", self.description.as_ref())?;
        value(self.value.as_ref(), self.value_from.as_ref())?;
        value(self.default_value.as_ref(), None)
            .map_err(|error| Error { field: None, ..error }.at("defaultValue"))?;
        if self.default_value.is_some() && (self.value.is_some() || self.value_from.is_some()) {
            return Err(wrong("defaultValue", "there is a value for every server already"));
        }
        Ok(())
    }
}

impl Spec for TemplateSpec {
    fn settle(&mut self) -> Result<(), Error> {
        text("version", &self.version, WORD_BYTES)?;
        if self.version.contains(|c: char| c.is_whitespace() || c == ':') {
            return Err(wrong("version", "it holds space or `:`").with_hint("write e.g. 1.2.0"));
        }
        environment(&self.env, |entry| &entry.name, TemplateEnv::check)?;
        entries("headers", &self.headers, |entry| &entry.name, TemplateEnv::check_header)?;
        self.canonical()?;
        self.transport = Some(self.start().settle()?);
        Ok(())
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "template",
    plural: "templates",
    route: "templates",
    aliases: &["tpl"],
    about: "The blueprint of servers, used when one is made.",
    identity: "name",
    names: Names::Plain,
    scope: Scope::System,
    made_by: MadeBy::Anybody,
    kept: Kept::Stored,
    sensitive: &[],
    sets: &[],
    columns: &[
        Column::new("VERSION", "version"),
        Column::new("TRANSPORT", "transport"),
        Column::new("PACKAGE", "packageName"),
        Column::new("IMAGE", "dockerImage"),
        Column::wide("DESCRIPTION", "description"),
    ],
    sections: &[
        Section {
            heading: "Start",
            paths: &[
                "packageName",
                "runtime",
                "dockerImage",
                "command",
                "args",
                "externalUrl",
                "containerPort",
            ],
        },
        Section { heading: "Environment", paths: &["env"] },
        Section { heading: "Health", paths: &["healthCheck"] },
    ],
    order: 15,
    builtins: Vec::new,
    read: member::read::<TemplateSpec>,
    references: none,
    conditions: none,
    sample,
    schema: |generator| generator.subschema_for::<TemplateSpec>(),
};

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({
        "name": "home-assistant", "version": "1.2.0", "description": "Home Assistant.", "transport": "STDIO",
        "packageName": "ha-mcp", "runtime": "python", "args": ["--quiet"], "replicas": 1,
        "env": [
            {"name": "URL", "description": "Where it is.", "defaultValue": "http://ha.local"},
            {"name": "TOKEN", "description": "A long-lived token.", "required": true}],
        "healthCheck": {"tool": "ping"}, "placement": "process"})
}

impl Kind for TemplateSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_a_version_and_says_what_its_variables_are_for() {
        let spec = json!({"version": "2.0", "transport": "STDIO", "packageName": "x", "replicas": 1, "env": [
            {"name": "TOKEN", "description": "a token", "required": true},
            {"name": "URL", "defaultValue": "http://x"}]});
        assert_eq!((DESCRIPTOR.read)(spec.clone()).unwrap(), spec);
        assert_eq!((DESCRIPTOR.read)(json!({"packageName": "x"})).unwrap()["version"], "1.0.0");
        assert_eq!(address("ha:1.0"), ("ha", Some("1.0")));
        assert_eq!(address("ha"), ("ha", None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_where_it_stands() {
        for (bad, field) in [
            (json!({"version": "a b", "packageName": "x"}), "version"),
            (json!({"version": "a:b", "packageName": "x"}), "version"),
            (json!({"packageName": "x", "command": ["y"]}), "command"),
            (json!({"packageName": "x", "source": {"template": "t"}}), "source"),
            (json!({"packageName": "x", "env": [{"name": "A", "requird": true}]}), "env[0].requird"),
            (
                json!({"packageName": "x", "env": [{"name": "A", "value": "a", "defaultValue": "b"}]}),
                "env[0].defaultValue",
            ),
        ] {
            assert_eq!((DESCRIPTOR.read)(bad.clone()).unwrap_err().field.unwrap_or_default(), field, "{bad}");
        }
    }
}
