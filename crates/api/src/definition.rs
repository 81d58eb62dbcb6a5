//! What a server and the template of one have in common: how it starts, what it needs, how it is looked after.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::limits::spec::{
    CALL_SECONDS, FREE_BYTES, IDLE_SECONDS, LINE_BYTES, LIST, PROBE_SECONDS, REPLICAS, TEXT_BYTES, WORD_BYTES,
};
use crate::member::{
    arguments, bounded, distinct, each, free, key, line, optional, text, url, within, wrong,
};
use crate::names::ToolName;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Transport {
    /// Lines on standard input and output.
    Stdio,
    /// The old transport of events.
    Sse,
    /// Requests and answers over HTTP.
    StreamableHttp,
}

/// How a package starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// With `npx`.
    Node,
    /// With `uvx`.
    Python,
}

/// Where instances run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// In Docker if an engine is configured, else as a process.
    #[default]
    Auto,
    /// In Hayward itself: the toolset that is called as the server is.
    Builtin,
    /// As a process of this machine.
    Process,
    /// In a container.
    Docker,
    /// In a cluster.
    Kubernetes,
    /// Elsewhere, at `externalUrl`.
    Remote,
}

/// How much of what goes through a server is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditLevel {
    /// All of it, redacted.
    #[default]
    Full,
    /// Digests of it.
    HashOnly,
    /// That a call was made.
    Disabled,
}

/// A key of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretRef {
    /// The name of the secret.
    pub name: String,
    /// The key in it.
    pub key: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ValueFrom {
    /// A key of a secret.
    pub secret_ref: SecretRef,
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnvEntry {
    /// Its name.
    pub name: String,
    /// Its value, for everybody to see; or
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// where its value comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// Who shares one connection to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Everybody. A legacy server is then told that its client can be asked nothing.
    Shared,
    /// All sessions of one caller.
    Principal,
    /// One session of a client alone.
    Session,
}

/// Which era of the protocol a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpokenEra {
    /// Whichever it answers to.
    #[default]
    Auto,
    /// The one of sessions, up to 2025-11-25.
    Legacy,
    /// The one without, from 2026-07-28 on.
    Modern,
}

/// What becomes of tools that a server offers or changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// What it offers first is taken as it is; what it changes or adds later waits until somebody approves it.
    #[default]
    Pin,
    /// What it changes or adds is taken, too, and its hints say how risky its tools are.
    Follow,
    /// Everything waits until somebody approves it.
    Review,
}

/// Whom an instance talks to over the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkPolicy {
    /// Nobody.
    #[default]
    None,
    /// Whom its machine talks to.
    Shared,
}

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
    fn check(&self) -> Result<(), Error> {
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
    distinct("tools", tools.iter().map(|(own, tool)| tool.name.as_deref().unwrap_or(own)))
}

/// How it is seen again and again whether an instance is well: by a tool that is called, a page that is asked for, a program
/// that runs beside it, or the `ping` of the protocol if none of these is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HealthCheck {
    /// The tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The path of a page on its port or at its address that answers with 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_path: Option<String>,
    /// The program and its arguments, which exits with 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exec: Vec<String>,
    /// Its arguments; none if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    /// Seconds from one call to the next; 15 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<u32>,
    /// Seconds after which a call has failed; 10 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Failures in a row after which an instance is unwell; 3 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
}

impl HealthCheck {
    /// Seconds from one call to the next.
    pub fn interval_seconds(&self) -> u32 {
        self.interval_seconds.unwrap_or(15)
    }

    /// Seconds after which a call has failed.
    pub fn timeout_seconds(&self) -> u32 {
        self.timeout_seconds.unwrap_or(10)
    }

    /// Failures in a row after which an instance is unwell.
    pub fn failure_threshold(&self) -> u32 {
        self.failure_threshold.unwrap_or(3)
    }

    fn check(&self) -> Result<(), Error> {
        optional("healthCheck.tool", self.tool.as_ref(), WORD_BYTES)?;
        optional("healthCheck.httpPath", self.http_path.as_ref(), LINE_BYTES)?;
        if self.http_path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            return Err(wrong("healthCheck.httpPath", "a path begins with `/`"));
        }
        // Such a path would name another machine: in an address a backslash is a slash, and a tab is nothing.
        let is_elsewhere = |path: &String| {
            path.starts_with("//") || path.bytes().any(|byte| byte == b'\\' || !byte.is_ascii_graphic())
        };
        if self.http_path.as_ref().is_some_and(is_elsewhere) {
            return Err(wrong("healthCheck.httpPath", "say a path on the server itself, e.g. `/health`"));
        }
        arguments("healthCheck.exec", &self.exec)?;
        let ways = [self.tool.is_some(), self.http_path.is_some(), !self.exec.is_empty()];
        if ways.iter().filter(|is_said| **is_said).count() > 1 {
            return Err(wrong("healthCheck", "say one of tool, httpPath, exec"));
        }
        if self.arguments.is_some() && self.tool.is_none() {
            return Err(wrong("healthCheck.arguments", "they are those of a `tool`, and none is said"));
        }
        free("healthCheck.arguments", self.arguments.as_ref())?;
        within("healthCheck.intervalSeconds", self.interval_seconds, 1..=PROBE_SECONDS)?;
        within("healthCheck.timeoutSeconds", self.timeout_seconds, 1..=PROBE_SECONDS)?;
        within("healthCheck.failureThreshold", self.failure_threshold, 1..=1000)
    }
}

/// What an instance may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Resources {
    /// Memory in MiB; 512 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Processors, e.g. 0.5, which it is if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
}

impl Resources {
    /// Memory in MiB.
    pub fn memory_mib(&self) -> u32 {
        self.memory_mib.unwrap_or(512)
    }

    /// Processors.
    pub fn cpus(&self) -> f64 {
        self.cpus.unwrap_or(0.5)
    }

    fn check(&self) -> Result<(), Error> {
        within("resources.memoryMib", self.memory_mib, 16..=1_048_576)?;
        within("resources.cpus", self.cpus, 0.01..=1024.0)
    }
}

/// A file or folder of the machine that instances see, under the same path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mount {
    /// Its path: absolute, and there when an instance starts.
    pub path: String,
    /// Whether they change what is in it; they only read it if nothing is said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub writable: bool,
}

/// Checks what instances see of the machine.
fn mounts(mounts: &[Mount]) -> Result<(), Error> {
    bounded("mounts", mounts, LIST)?;
    for (at, mount) in mounts.iter().enumerate() {
        let (field, path) = (format!("mounts[{at}].path"), &mount.path);
        text(&field, path, LINE_BYTES)?;
        let is_plain = path.starts_with('/')
            && !path.split('/').any(|part| part == ".." || part == ".")
            && !path.chars().any(char::is_control);
        if !is_plain {
            let error = wrong(&field, "say an absolute path, without `.` and `..`");
            return Err(error.with_hint("e.g. `/srv/notes`"));
        }
        if path.trim_matches('/').is_empty() {
            return Err(wrong(&field, "that is the whole machine").with_hint("say which folder of it"));
        }
    }
    distinct("mounts", mounts.iter().map(|mount| mount.path.trim_end_matches('/')))
}

/// Declares a definition: what it has for itself first, then what all have.
macro_rules! definition {
    ($(#[$meta:meta])* pub struct $type:ident { $($own:tt)* } env: $env:ty) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub struct $type {
            $($own)*
            /// What it is for.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub description: Option<String>,
            /// How it is spoken to; `STDIO` if nothing is said, and `STREAMABLE_HTTP` at an `externalUrl`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub transport: Option<$crate::definition::Transport>,
            /// The package that it is: one of four ways to start.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub package_name: Option<String>,
            /// How the package starts; `node` if nothing is said.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub runtime: Option<$crate::definition::Runtime>,
            /// The image that it is: one of four ways to start.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub docker_image: Option<String>,
            /// The program and its first arguments: one of four ways to start; with an image, what starts in it.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub command: Vec<String>,
            /// Where it runs already: one of four ways to start.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub external_url: Option<String>,
            /// Further arguments of whatever starts.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub args: Vec<String>,
            /// The port on which it listens in its container.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub container_port: Option<std::num::NonZeroU16>,
            /// How many copies run, 0 to 100.
            #[serde(default = "crate::definition::one")]
            pub replicas: u32,
            /// Its environment.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub env: Vec<$env>,
            /// How it is seen whether it is well; not at all if nothing is said.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub health_check: Option<$crate::definition::HealthCheck>,
            /// What an instance may use; 512 MiB and half a processor if nothing is said.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub resources: Option<$crate::definition::Resources>,
            /// Files and folders of the machine that instances see, beside the system's programs and their own home; none if
            /// nothing is said.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub mounts: Vec<$crate::definition::Mount>,
            /// Where instances run; `auto` if nothing is said.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub placement: Option<$crate::definition::Placement>,
            /// Headers of what is sent to an `externalUrl`.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub headers: Vec<$env>,
            /// Whom instances talk to over the network; nobody if nothing is said.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub network: Option<$crate::definition::NetworkPolicy>,
            /// Who shares a connection; if nothing is said, everybody shares one to a modern server or over `STDIO`, and each
            /// caller has one to a legacy server over HTTP.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub sharing: Option<$crate::definition::Sharing>,
            /// Which era it speaks; found out if nothing is said.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub era: Option<$crate::definition::SpokenEra>,
            /// What becomes of tools that it offers or changes; `pin` if nothing is said.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub trust: Option<$crate::definition::Trust>,
            /// Seconds that a call may take; 120 if nothing is said.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub timeout_seconds: Option<u32>,
            /// Seconds without a call after which its instances are stopped, until the next call; never if nothing is said.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub idle_seconds: Option<u32>,
            /// What is otherwise for some of its tools, by their own names.
            #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            pub tools: std::collections::BTreeMap<String, $crate::definition::ToolOverride>,
            /// How much of what goes through it is recorded; `full` if nothing is said.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub audit_level: Option<$crate::definition::AuditLevel>,
        }

        impl $type {
            /// What it says of how it starts and runs.
            fn start(&self) -> $crate::definition::Start<'_> {
                $crate::definition::Start {
                    description: self.description.as_ref(),
                    transport: self.transport,
                    package_name: self.package_name.as_ref(),
                    runtime: self.runtime,
                    docker_image: self.docker_image.as_ref(),
                    command: &self.command,
                    external_url: self.external_url.as_ref(),
                    args: &self.args,
                    container_port: self.container_port,
                    replicas: self.replicas,
                    health_check: self.health_check.as_ref(),
                    resources: self.resources.as_ref(),
                    mounts: &self.mounts,
                    placement: self.placement.unwrap_or_default(),
                    has_headers: !self.headers.is_empty(),
                    has_network: self.network.is_some(),
                    timeout_seconds: self.timeout_seconds,
                    idle_seconds: self.idle_seconds,
                    tools: &self.tools,
                }
            }
        }
    };
}

pub(crate) use definition;

pub(crate) fn one() -> u32 {
    1
}

/// What is checked of a definition, whatever else it is.
pub(crate) struct Start<'a> {
    pub(crate) description: Option<&'a String>,
    pub(crate) transport: Option<Transport>,
    pub(crate) package_name: Option<&'a String>,
    pub(crate) runtime: Option<Runtime>,
    pub(crate) docker_image: Option<&'a String>,
    pub(crate) command: &'a [String],
    pub(crate) external_url: Option<&'a String>,
    pub(crate) args: &'a [String],
    pub(crate) container_port: Option<NonZeroU16>,
    pub(crate) replicas: u32,
    pub(crate) health_check: Option<&'a HealthCheck>,
    pub(crate) resources: Option<&'a Resources>,
    pub(crate) mounts: &'a [Mount],
    pub(crate) placement: Placement,
    pub(crate) has_headers: bool,
    pub(crate) has_network: bool,
    pub(crate) timeout_seconds: Option<u32>,
    pub(crate) idle_seconds: Option<u32>,
    pub(crate) tools: &'a BTreeMap<String, ToolOverride>,
}

impl Start<'_> {
    /// Checks it; says how it is spoken to.
    pub(crate) fn settle(&self) -> Result<Transport, Error> {
        line("description", self.description)?;
        optional("packageName", self.package_name, WORD_BYTES)?;
        optional("dockerImage", self.docker_image, LINE_BYTES)?;
        self.external_url.map_or(Ok(()), |address| url("externalUrl", address))?;
        arguments("command", self.command)?;
        arguments("args", self.args)?;
        within("replicas", Some(self.replicas), 0..=REPLICAS)?;
        self.health_check.map_or(Ok(()), HealthCheck::check)?;
        self.resources.map_or(Ok(()), Resources::check)?;
        mounts(self.mounts)?;
        within("timeoutSeconds", self.timeout_seconds, 1..=CALL_SECONDS)?;
        within("idleSeconds", self.idle_seconds, 1..=IDLE_SECONDS)?;
        tools(self.tools)?;
        self.one_way()?;
        self.fitting()
    }

    /// There is exactly one way to start it.
    fn one_way(&self) -> Result<(), Error> {
        let ways = [
            ("packageName", self.package_name.is_some()),
            ("dockerImage", self.docker_image.is_some()),
            ("command", !self.command.is_empty() && self.docker_image.is_none()),
            ("externalUrl", self.external_url.is_some()),
        ];
        let said: Vec<&str> = ways.iter().filter(|(_, is_said)| *is_said).map(|(way, _)| *way).collect();
        match (&*said, self.placement) {
            ([_], Placement::Builtin) => {
                Err(wrong(said[0], "a toolset that is built in needs nothing to start")
                    .with_hint("leave it out, or name another `placement`"))
            }
            ([_], _) | ([], Placement::Builtin) => Ok(()),
            ([], _) => Err(Error::new(crate::Code::Invalid, "nothing says how it starts")
                .with_hint("say one of packageName, dockerImage, command, externalUrl")),
            ([first, second, ..], _) => {
                let why = format!("it starts with `{first}` already");
                Err(wrong(second, why).with_hint("say one of packageName, dockerImage, command, externalUrl"))
            }
        }
    }

    /// What is said beside goes with that way.
    fn fitting(&self) -> Result<Transport, Error> {
        let is_remote = self.external_url.is_some();
        if self.runtime.is_some() && self.package_name.is_none() {
            return Err(wrong("runtime", "it says how a package starts, and there is no `packageName`"));
        }
        if is_remote && !self.args.is_empty() {
            return Err(wrong("args", "nothing starts at an `externalUrl`"));
        }
        if self.has_headers && !is_remote {
            return Err(wrong("headers", "only what is sent to an `externalUrl` has headers"));
        }
        if self.has_network && is_remote {
            return Err(wrong("network", "nothing runs here at an `externalUrl`"));
        }
        if !self.mounts.is_empty() && (is_remote || self.placement == Placement::Builtin) {
            return Err(wrong("mounts", "nothing runs here that would see them"));
        }
        if self.container_port.is_some() && is_remote {
            return Err(wrong("containerPort", "there is no container at an `externalUrl`"));
        }
        if is_remote != (self.placement == Placement::Remote)
            && (!is_remote || self.placement != Placement::Auto)
        {
            return Err(wrong("placement", "`remote` and `externalUrl` go together"));
        }
        match (self.transport, is_remote) {
            (Some(Transport::Stdio), true) => {
                Err(wrong("transport", "an `externalUrl` has no standard input")
                    .with_hint("say STREAMABLE_HTTP or SSE"))
            }
            (Some(transport), _) => Ok(transport),
            (None, true) => Ok(Transport::StreamableHttp),
            (None, false) => Ok(Transport::Stdio),
        }
    }
}

/// Checks the variables of an environment by themselves, and that none is there twice.
pub(crate) fn environment<'a, E: 'a>(
    env: &'a [E],
    name: impl Fn(&'a E) -> &'a str,
    check: impl Fn(&E) -> Result<(), Error>,
) -> Result<(), Error> {
    entries("env", env, name, check)
}

/// Checks entries with names by themselves, and that none is there twice.
pub(crate) fn entries<'a, E: 'a>(
    field: &str,
    list: &'a [E],
    name: impl Fn(&'a E) -> &'a str,
    check: impl Fn(&E) -> Result<(), Error>,
) -> Result<(), Error> {
    bounded(field, list, LIST)?;
    for (at, entry) in list.iter().enumerate() {
        check(entry).map_err(|error| error.at(&format!("{field}[{at}]")))?;
    }
    distinct(field, list.iter().map(name))
}

/// The name of a header that may be said for a server: none that the protocol or the way there says itself.
pub(crate) fn header(name: &str) -> Result<(), Error> {
    const OURS: [&str; 10] = [
        "accept",
        "connection",
        "content-length",
        "content-type",
        "host",
        "last-event-id",
        "te",
        "transfer-encoding",
        "upgrade",
        "trailer",
    ];
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let lower = name.to_ascii_lowercase();
    if name.is_empty() || name.len() > WORD_BYTES || !name.bytes().all(is_token) {
        return Err(wrong("name", "a header is made of letters, digits and `-`"));
    }
    if OURS.contains(&&*lower) || lower.starts_with("mcp-") || lower.starts_with("proxy-") {
        return Err(wrong("name", "this header is said by the protocol").with_hint("leave it out"));
    }
    Ok(())
}

impl EnvEntry {
    pub(crate) fn check(&self) -> Result<(), Error> {
        variable(&self.name)?;
        self.check_value()
    }

    /// The same of a header.
    pub(crate) fn check_header(&self) -> Result<(), Error> {
        header(&self.name)?;
        if self.value.as_ref().is_some_and(|value| value.contains(|c: char| c.is_control())) {
            return Err(wrong("value", "the value of a header is one line"));
        }
        self.check_value()
    }

    fn check_value(&self) -> Result<(), Error> {
        value(self.value.as_ref(), self.value_from.as_ref())?;
        if self.value.is_none() && self.value_from.is_none() {
            return Err(wrong("value", "neither it nor `valueFrom` is said"));
        }
        Ok(())
    }
}

/// The name of a variable.
pub(crate) fn variable(name: &str) -> Result<(), Error> {
    let is_good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.len() <= WORD_BYTES;
    if is_good { Ok(()) } else { Err(wrong("name", "a variable is made of letters, digits and `_`")) }
}

/// A value or where it comes from.
pub(crate) fn value(value: Option<&String>, from: Option<&ValueFrom>) -> Result<(), Error> {
    if value.is_some() && from.is_some() {
        return Err(wrong("valueFrom", "there is a `value` already").with_hint("say one of the two"));
    }
    if let Some(value) = value {
        arguments("value", std::slice::from_ref(value))
            .map_err(|error| Error { field: None, ..error }.at("value"))?;
    }
    let Some(ValueFrom { secret_ref }) = from else { return Ok(()) };
    let plain = |field: &str, text: &str| {
        crate::kinds::Names::Plain.canonical(text).map(drop).map_err(|error| error.at(field))
    };
    plain("valueFrom.secretRef.name", &secret_ref.name)?;
    key("valueFrom.secretRef.key", &secret_ref.key)
}

/// Texts of a list, each of one line.
pub(crate) fn lines(field: &str, list: &[String]) -> Result<(), Error> {
    each(field, list, LIST, |field, entry| text(field, entry, LINE_BYTES))
}
