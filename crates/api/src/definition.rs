//! What a server and the template of one have in common: how it starts, what it needs, how it is looked after.

mod choices;
mod environment;
mod ground;
mod health;
mod tools;

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use crate::error::Error;
use crate::limits::spec::{CALL_SECONDS, IDLE_SECONDS, LINE_BYTES, REPLICAS, WORD_BYTES};
use crate::member::{arguments, line, optional, url, within, wrong};

pub use choices::{AuditLevel, NetworkPolicy, Placement, Runtime, Sharing, SpokenEra, Transport, Trust};
pub use environment::{EnvEntry, SecretRef, ValueFrom};
pub(crate) use environment::{entries, environment, header, value, variable};
pub(crate) use ground::mounts;
pub use ground::{Mount, Resources};
pub use health::HealthCheck;
pub use tools::ToolOverride;
pub(crate) use tools::tools;

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
            /// Writes in one way what can be said in several.
            fn canonical(&mut self) -> Result<(), $crate::Error> {
                $crate::definition::mounts(&mut self.mounts)
            }

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
