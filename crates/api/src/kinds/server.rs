//! `server`: an MCP server, wholly described: how it starts, what it needs, how many copies run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Column, Condition, Descriptor, Kept, Kind, MadeBy, NOT_ENFORCED, Names, Reference, Scope, Section,
};
use crate::definition::{AuditLevel, EnvEntry, Runtime, SecretRef, definition, entries, environment};
use crate::error::Error;
use crate::limits::spec::WORD_BYTES;
use crate::member::{self, Spec, free, optional, wrong};
use crate::oauth::Oauth;
use crate::package::{PackageError, pinned};

/// The template that a server was made from, for upgrades that keep what was changed since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Source {
    /// The name of the template.
    pub template: String,
    /// Its version at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it said at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Value>,
}

definition! {
    /// An MCP server.
    pub struct ServerSpec {
        /// The template that it was made from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub source: Option<Source>,
        /// How access to an `externalUrl` is asked for that wants OAuth; found out if nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub oauth: Option<Oauth>,
    }
    env: EnvEntry
}

impl Spec for ServerSpec {
    fn settle(&mut self) -> Result<(), Error> {
        if let Some(source) = &self.source {
            let name = Names::Plain.canonical(&source.template);
            name.map_err(|error| error.at("source.template"))?;
            optional("source.version", source.version.as_ref(), WORD_BYTES)?;
            free("source.snapshot", source.snapshot.as_ref())?;
        }
        environment(&self.env, |entry| &entry.name, EnvEntry::check)?;
        entries("headers", &self.headers, |entry| &entry.name, EnvEntry::check_header)?;
        if let Some(oauth) = &self.oauth {
            if self.external_url.is_none() {
                return Err(wrong("oauth", "it is how an `externalUrl` is accessed, and none is said"));
            }
            if self.headers.iter().any(|header| header.name.eq_ignore_ascii_case("authorization")) {
                return Err(wrong("oauth", "`headers` say already what is shown as `Authorization`"));
            }
            oauth.check()?;
        }
        self.canonical()?;
        self.transport = Some(self.start().settle()?);
        Ok(())
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "server",
    plural: "servers",
    route: "servers",
    aliases: &["srv"],
    about: "An MCP server: how it starts, what it needs, how many copies run.",
    identity: "name",
    names: Names::Plain,
    scope: Scope::System,
    made_by: MadeBy::Anybody,
    kept: Kept::Stored,
    sensitive: &[],
    sets: &[],
    columns: &[
        Column::new("STATUS", "status.phase"),
        Column::new("TRANSPORT", "transport"),
        Column::new("REPLICAS", "replicas"),
        Column::new("PACKAGE", "packageName"),
        Column::new("IMAGE", "dockerImage"),
        Column::wide("URL", "externalUrl"),
        Column::wide("RUNTIME", "runtime"),
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
        Section { heading: "Environment", paths: &["env", "headers"] },
        Section { heading: "Access", paths: &["oauth"] },
        Section { heading: "Health", paths: &["healthCheck"] },
        Section {
            heading: "Running",
            paths: &["replicas", "placement", "network", "resources", "mounts", "idleSeconds", "auditLevel"],
        },
        Section { heading: "Calls", paths: &["era", "sharing", "trust", "timeoutSeconds", "tools"] },
        Section { heading: "Source", paths: &["source.template", "source.version"] },
    ],
    order: 40,
    builtins: Vec::new,
    read: member::read::<ServerSpec>,
    references,
    conditions,
    sample,
    schema: |generator| generator.subschema_for::<ServerSpec>(),
};

/// What a spec says of the program that starts: whatever makes it another one, has it do something else, or lets it do more.
const PROGRAM: [&str; 10] = [
    "command",
    "args",
    "packageName",
    "runtime",
    "dockerImage",
    "env",
    "placement",
    "network",
    "resources",
    "mounts",
];
/// What of a `healthCheck` is done, instead of looked at.
const PROBES: [&str; 3] = ["exec", "tool", "arguments"];
/// Names that only a server with `placement: builtin` may have: what is granted to our own toolsets is granted by their names.
pub const RESERVED: [&str; 7] = ["host", "fleet", "ops", "cluster", "registry", "vault", "audit"];
/// What has nothing to do with who is handed the values of secrets.
const BESIDE_SECRETS: [&str; 11] = [
    "source",
    "description",
    "replicas",
    "resources",
    "idleSeconds",
    "auditLevel",
    "era",
    "sharing",
    "trust",
    "timeoutSeconds",
    "tools",
];

/// What a stored server says of what is started and called for it by nobody's call, in a form that can be compared; none if
/// nothing is.
pub fn program(spec: &Value) -> Option<Value> {
    let check = spec.get("healthCheck");
    // What looks whether it is well is a program, too.
    let probes = PROBES.iter().map(|member| (*member, check.and_then(|check| check.get(*member))));
    let is_elsewhere = spec.get("externalUrl").is_some();
    let said = PROGRAM.iter().filter(|_| !is_elsewhere).map(|member| (*member, spec.get(*member)));
    let all = || said.clone().chain(probes.clone());
    let is_nothing = is_elsewhere && all().all(|(_, value)| value.is_none());
    (!is_nothing).then(|| all().map(|(member, value)| (member.to_owned(), json!(value))).collect())
}

/// What decides who is handed the values of the secrets that a stored server names, in a form that can be compared.
pub fn handed(spec: &Value) -> Value {
    let members = spec.as_object().into_iter().flatten();
    let counts = members.filter(|(member, _)| !BESIDE_SECRETS.contains(&member.as_str()));
    counts.map(|(member, value)| (member.clone(), value.clone())).collect()
}

/// Whether this can't be said as a header of a server: the protocol or the way there says it, or it is none.
pub fn is_own_header(name: &str) -> bool {
    crate::definition::header(name).is_err()
}

/// Whether a server that is described so may bear this name.
///
/// # Errors
/// If it is the name of a toolset of ours, and this is none.
pub fn check_name(name: &str, spec: &Value) -> Result<(), Error> {
    let is_builtin = spec.get("placement").and_then(Value::as_str) == Some("builtin");
    if is_builtin || !RESERVED.contains(&name) {
        return Ok(());
    }
    let error = wrong("name", format!("`{name}` is the name of a toolset of ours"));
    Err(error.with_hint("choose another one; `placement: builtin` is what declares the toolset itself"))
}

fn references(spec: &Value) -> Vec<Reference> {
    let Ok(spec) = serde_json::from_value::<ServerSpec>(spec.clone()) else { return Vec::new() };
    let from = |list: &str, at: usize, entry: EnvEntry| {
        let field = format!("{list}[{at}].valueFrom.secretRef");
        let SecretRef { name, key } = entry.value_from?.secret_ref;
        Some(Reference { kind: "secret", name, key: Some(key), field })
    };
    let env = spec.env.into_iter().enumerate().filter_map(|(at, entry)| from("env", at, entry));
    let headers = spec.headers.into_iter().enumerate().filter_map(|(at, entry)| from("headers", at, entry));
    let client = spec.oauth.and_then(|oauth| oauth.client_secret).map(|from| {
        let SecretRef { name, key } = from.secret_ref;
        Reference { kind: "secret", name, key: Some(key), field: "oauth.clientSecret.secretRef".to_owned() }
    });
    env.chain(headers).chain(client).collect()
}

fn conditions(spec: &Value) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let level = spec.get("auditLevel").filter(|level| **level != serde_json::json!(AuditLevel::Full));
    if level.is_some() {
        let message = "`auditLevel` is kept and everything is recorded in full";
        conditions.push(Condition::new(NOT_ENFORCED, "True", "NotYet", message));
    }
    if let Some(package) = spec.get("packageName").and_then(Value::as_str) {
        let is_python = spec.get("runtime").and_then(Value::as_str) == Some("python");
        let runtime = if is_python { Runtime::Python } else { Runtime::Node };
        if let Err(PackageError::Unpinned { example }) = pinned(package, runtime) {
            let message = format!(
                "package `{package}` has no exact version, and is not started without: say e.g. `{example}`"
            );
            conditions.push(Condition::new("Unpinned", "True", "NoExactVersion", message));
        }
    }
    conditions
}

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({
        "name": "ha", "labels": {"team": "home"}, "annotations": {"note": "asked for by Ann"},
        "source": {"template": "home-assistant", "version": "1.2.0", "snapshot": {"replicas": 1}},
        "description": "Home Assistant.", "transport": "STREAMABLE_HTTP", "dockerImage": "example/ha:1",
        "command": ["serve"], "args": ["--verbose"], "containerPort": 8080, "replicas": 2,
        "env": [
            {"name": "URL", "value": "http://ha.local"},
            {"name": "TOKEN", "valueFrom": {"secretRef": {"name": "ha-token", "key": "TOKEN"}}}],
        "healthCheck": {
            "tool": "ping", "arguments": {"deep": true}, "intervalSeconds": 30, "timeoutSeconds": 5,
            "failureThreshold": 2},
        "resources": {"memoryMib": 256, "cpus": 0.25},
        "mounts": [{"path": "/srv/notes", "writable": true}], "placement": "docker", "auditLevel": "hash-only",
        "network": "shared", "sharing": "session", "era": "legacy", "trust": "review", "timeoutSeconds": 30,
        "idleSeconds": 600, "tools": {"delete_all": {"name": "wipe", "description": "Deletes all.", "tier": "danger",
            "hidden": true, "timeoutSeconds": 5, "fixed": {"sure": true}, "defaults": {"room": "hall"}}}})
}

impl Kind for ServerSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: Value) -> Result<Value, Error> {
        (DESCRIPTOR.read)(spec)
    }

    #[test]
    fn a_server_says_how_it_is_spoken_to_and_little_else_unless_it_is_said() {
        assert_eq!(
            read(json!({"packageName": "x"})).unwrap(),
            json!({"transport": "STDIO", "packageName": "x", "replicas": 1})
        );
        let remote = read(json!({"externalUrl": "https://x.org/mcp", "description": null})).unwrap();
        assert_eq!(remote["transport"], "STREAMABLE_HTTP");
        assert!(read(json!({"dockerImage": "x/y:1", "command": ["run"]})).is_ok());
        assert!(read(json!({"placement": "builtin"})).is_ok());
    }

    #[test]
    fn there_is_one_way_to_start_a_server() {
        for (bad, field) in [
            (json!({}), ""),
            (json!({"packageName": "x", "externalUrl": "http://x"}), "externalUrl"),
            (json!({"packageName": "x", "dockerImage": "y"}), "dockerImage"),
            (json!({"packageName": "x", "command": ["y"]}), "command"),
            (json!({"command": ["x"], "externalUrl": "http://x"}), "externalUrl"),
            (json!({"command": ["x"], "placement": "builtin"}), "command"),
        ] {
            let error = read(bad.clone()).unwrap_err();
            assert_eq!(error.field.unwrap_or_default(), field, "{bad}");
            assert!(error.hint.is_some(), "{bad}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_where_it_stands() {
        for (more, field) in [
            (json!({"externalUrl": "http://x", "transport": "STDIO"}), "transport"),
            (json!({"externalUrl": "http://x", "runtime": "node"}), "runtime"),
            (json!({"externalUrl": "http://x", "args": ["a"]}), "args"),
            (json!({"externalUrl": "http://x", "containerPort": 1}), "containerPort"),
            (json!({"externalUrl": "http://x", "placement": "docker"}), "placement"),
            (json!({"externalUrl": "http://u:p@x"}), "externalUrl"),
            (json!({"externalUrl": "ftp://x"}), "externalUrl"),
            (json!({"command": ["x"], "placement": "remote"}), "placement"),
            (json!({"command": ["x"], "runtime": "node"}), "runtime"),
            (json!({"command": ["x"], "replicas": 101}), "replicas"),
            (json!({"command": ["x"], "containerPort": 0}), "containerPort"),
            (json!({"command": ["x"], "transport": "stdio"}), "transport"),
            (json!({"command": ["x"], "env": [{"name": "A B", "value": "x"}]}), "env[0].name"),
            (json!({"command": ["x"], "env": [{"name": "A"}]}), "env[0].value"),
            (json!({"command": ["x"], "env": [{"name": "A", "vaule": ""}]}), "env[0].vaule"),
            (
                json!({"command": ["x"], "env": [{"name": "A", "value": ""}, {"name": "A", "value": ""}]}),
                "env[1]",
            ),
            (
                json!({"command": ["x"], "env": [{"name": "A", "valueFrom": {"secretRef": {"name": "s"}}}]}),
                "env[0].valueFrom.secretRef.key",
            ),
            (
                json!({"command": ["x"], "env": [
                    {"name": "A", "value": "", "valueFrom": {"secretRef": {"name": "s", "key": "k"}}}]}),
                "env[0].valueFrom",
            ),
            (json!({"command": ["x"], "healthCheck": {"tool": ""}}), "healthCheck.tool"),
            (
                json!({"command": ["x"], "healthCheck": {"tool": "t", "arguments": 1}}),
                "healthCheck.arguments",
            ),
            (
                json!({"command": ["x"], "healthCheck": {"tool": "t", "intervalSeconds": 0}}),
                "healthCheck.intervalSeconds",
            ),
            (json!({"command": ["x"], "resources": {"cpus": 0.0}}), "resources.cpus"),
            (json!({"externalUrl": "http://x", "mounts": [{"path": "/srv"}]}), "mounts"),
            (json!({"placement": "builtin", "mounts": [{"path": "/srv"}]}), "mounts"),
            (json!({"command": ["x"], "mounts": [{"path": "srv"}]}), "mounts[0].path"),
            (
                json!({"command": ["x"], "mounts": [{"path": "/srv"}, {"path": "/srv/../etc"}]}),
                "mounts[1].path",
            ),
            (json!({"command": ["x"], "mounts": [{"path": "//"}]}), "mounts[0].path"),
            (json!({"command": ["x"], "mounts": [{"path": "//srv"}]}), "mounts[0].path"),
            (json!({"command": ["x"], "mounts": [{"path": "/srv//notes"}]}), "mounts[0].path"),
            (json!({"command": ["x"], "mounts": [{"path": ""}]}), "mounts[0].path"),
            (json!({"command": ["x"], "mounts": [{"path": "/a\nb"}]}), "mounts[0].path"),
            (json!({"command": ["x"], "mounts": [{"path": "/srv"}, {"path": "/srv/"}]}), "mounts[1]"),
        ] {
            assert_eq!(read(more.clone()).unwrap_err().field.unwrap_or_default(), field, "{more}");
        }
    }

    #[test]
    fn a_program_is_another_one_by_whatever_decides_what_it_does() {
        let of = |spec: Value| program(&read(spec).unwrap());
        let known = of(json!({"command": ["x"]}));
        assert!(known.is_some());
        for same in [
            json!({"command": ["x"], "description": "d", "replicas": 3, "trust": "follow", "timeoutSeconds": 5}),
            json!({"command": ["x"], "healthCheck": {"httpPath": "/up"}, "tools": {"t": {"hidden": true}}}),
        ] {
            assert_eq!(of(same.clone()), known, "{same}");
        }
        for other in [
            json!({"command": ["y"]}),
            json!({"command": ["x", "-v"]}),
            json!({"command": ["x"], "args": ["-v"]}),
            json!({"command": ["x"], "env": [{"name": "LD_PRELOAD", "value": "/tmp/x"}]}),
            json!({"command": ["x"], "placement": "process"}),
            json!({"command": ["x"], "healthCheck": {"exec": ["y"]}}),
            json!({"command": ["x"], "healthCheck": {"tool": "t"}}),
            json!({"command": ["x"], "network": "shared"}),
            json!({"command": ["x"], "resources": {"memoryMib": 4096}}),
            json!({"command": ["x"], "mounts": [{"path": "/srv"}]}),
            json!({"dockerImage": "i", "command": ["x"]}),
            json!({"externalUrl": "https://x.org/mcp", "healthCheck": {"tool": "t"}}),
            json!({"placement": "builtin"}),
            json!({"packageName": "x"}),
            json!({"packageName": "x", "runtime": "python"}),
        ] {
            let program = of(other.clone());
            assert!(program.is_some() && program != known, "{other}");
        }
        for nothing in [
            json!({"externalUrl": "https://x.org/mcp"}),
            json!({"externalUrl": "https://x.org/mcp", "healthCheck": {"httpPath": "/up"}}),
        ] {
            assert_eq!(of(nothing.clone()), None, "{nothing}");
        }
    }

    #[test]
    fn secrets_go_elsewhere_with_whatever_is_not_known_to_have_nothing_to_do_with_them() {
        let of = |more: Value| {
            let mut spec = json!({"externalUrl": "https://x.org/mcp"});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            handed(&read(spec).unwrap())
        };
        let known = of(json!({}));
        for same in [
            json!({"description": "d", "replicas": 2, "timeoutSeconds": 5, "idleSeconds": 60}),
            json!({"era": "modern", "sharing": "shared", "trust": "follow", "tools": {"t": {"hidden": true}}}),
        ] {
            assert_eq!(of(same.clone()), known, "{same}");
        }
        for other in [
            json!({"externalUrl": "https://y.org/mcp"}),
            json!({"transport": "SSE"}),
            json!({"headers": [{"name": "X", "value": "y"}]}),
            json!({"oauth": {"issuer": "https://y.org"}}),
            json!({"healthCheck": {"httpPath": "/up"}}),
        ] {
            assert_ne!(of(other.clone()), known, "{other}");
        }
    }

    #[test]
    fn the_names_of_our_own_toolsets_are_theirs() {
        for name in RESERVED {
            assert_eq!(
                check_name(name, &json!({"command": ["x"]})).unwrap_err().field.as_deref(),
                Some("name")
            );
            assert!(check_name(name, &json!({"externalUrl": "https://x"})).is_err());
            assert!(check_name(name, &json!({"placement": "builtin"})).is_ok());
        }
        assert!(check_name("hosts", &json!({"command": ["x"]})).is_ok());
    }

    #[test]
    fn an_unknown_member_is_told_with_what_was_probably_meant() {
        let error = read(json!({"command": ["x"], "replica": 1})).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("replica"));
        assert_eq!(error.hint.as_deref(), Some("did you mean `replicas`?"));
    }

    #[test]
    fn secrets_are_referred_to_and_what_does_not_hold_is_said() {
        let spec = json!({"command": ["x"], "auditLevel": "disabled", "env": [
            {"name": "A", "value": "x"},
            {"name": "B", "valueFrom": {"secretRef": {"name": "s", "key": "k"}}}]});
        let spec = read(spec).unwrap();
        let refers = references(&spec);
        assert_eq!((refers[0].kind, &*refers[0].name), ("secret", "s"));
        assert_eq!(refers[0].field, "env[1].valueFrom.secretRef");
        let said: Vec<_> = conditions(&spec).into_iter().map(|condition| condition.kind).collect();
        assert_eq!(said, ["NotEnforced"]);
        let remote = json!({"externalUrl": "http://x", "headers": [
            {"name": "Authorization", "valueFrom": {"secretRef": {"name": "s", "key": "k"}}}]});
        assert_eq!(references(&read(remote).unwrap())[0].field, "headers[0].valueFrom.secretRef");
    }

    #[test]
    fn headers_and_overrides_of_tools_are_checked_where_they_stand() {
        let header = |name: &str, value: &str| json!({"externalUrl": "http://x", "headers": [{"name": name, "value": value}]});
        let tool = |tool: Value| json!({"command": ["x"], "tools": {"t": tool}});
        for good in [
            header("X-Api-Key", "k"),
            tool(json!({"name": "u", "tier": "danger", "fixed": {"a": null}, "defaults": {"b": [1]}})),
            json!({"command": ["x"], "healthCheck": {}}),
            json!({"command": ["x"], "healthCheck": {"exec": ["true"]}}),
        ] {
            read(good.clone()).unwrap_or_else(|error| panic!("{good}: {error:?}"));
        }
        for (bad, field) in [
            (header("", "x"), "headers[0].name"),
            (header("a b", "x"), "headers[0].name"),
            (header("Mcp-Session-Id", "x"), "headers[0].name"),
            (header("Host", "x"), "headers[0].name"),
            (header("X-A", "a\r\nb"), "headers[0].value"),
            (json!({"command": ["x"], "headers": [{"name": "X-A", "value": "x"}]}), "headers"),
            (json!({"externalUrl": "http://x", "network": "shared"}), "network"),
            (tool(json!({"name": "a/b"})), "tools.t.name"),
            (tool(json!({"tier": "harmless"})), "tools.t.tier"),
            (tool(json!({"fixed": {"a": 1}, "defaults": {"a": 2}})), "tools.t.defaults"),
            (tool(json!({"timeoutSeconds": 0})), "tools.t.timeoutSeconds"),
            (json!({"command": ["x"], "tools": {"a": {"name": "b"}, "b": {}}}), "tools.b.name"),
            (json!({"command": ["x"], "healthCheck": {"exec": ["a"], "tool": "b"}}), "healthCheck"),
            (json!({"command": ["x"], "healthCheck": {"httpPath": "x"}}), "healthCheck.httpPath"),
            (
                json!({"command": ["x"], "healthCheck": {"httpPath": "//other.example/x"}}),
                "healthCheck.httpPath",
            ),
            (
                json!({"command": ["x"], "healthCheck": {"httpPath": "/\\other.example"}}),
                "healthCheck.httpPath",
            ),
            (
                json!({"command": ["x"], "healthCheck": {"httpPath": "/\t/other.example"}}),
                "healthCheck.httpPath",
            ),
            (json!({"command": ["x"], "oauth": {}}), "oauth"),
            (
                json!({"externalUrl": "http://x", "oauth": {}, "headers": [{"name": "authorization", "value": "x"}]}),
                "oauth",
            ),
            (json!({"externalUrl": "http://x", "oauth": {"issuer": "ftp://x"}}), "oauth.issuer"),
            (json!({"command": ["x"], "healthCheck": {"arguments": {}}}), "healthCheck.arguments"),
        ] {
            let error = read(bad.clone()).expect_err(&bad.to_string());
            assert_eq!(error.field.as_deref(), Some(field), "{bad}");
        }
    }
}
