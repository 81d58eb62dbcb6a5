//! How it is seen whether an instance is well.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::limits::spec::{LINE_BYTES, PROBE_SECONDS, WORD_BYTES};
use crate::member::{arguments, free, optional, within, wrong};

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
    /// The arguments of the tool; none if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    /// Seconds from one look to the next; 15 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<u32>,
    /// Seconds after which a look has failed; 10 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Failures in a row after which an instance is unwell; 3 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
}

impl HealthCheck {
    /// Seconds from one look to the next.
    pub fn interval_seconds(&self) -> u32 {
        self.interval_seconds.unwrap_or(15)
    }

    /// Seconds after which a look has failed.
    pub fn timeout_seconds(&self) -> u32 {
        self.timeout_seconds.unwrap_or(10)
    }

    /// Failures in a row after which an instance is unwell.
    pub fn failure_threshold(&self) -> u32 {
        self.failure_threshold.unwrap_or(3)
    }

    pub(super) fn check(&self) -> Result<(), Error> {
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
