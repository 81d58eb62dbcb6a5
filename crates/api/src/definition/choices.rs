//! The words of a definition: how a server is spoken to, where it runs, who shares it, whom it talks to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
