//! What an instance has of the machine: how much it may use, what it sees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::limits::spec::{LINE_BYTES, LIST};
use crate::member::{bounded, distinct, text, within, wrong};

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

    pub(super) fn check(&self) -> Result<(), Error> {
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

/// Checks what instances see of the machine, and writes it in one way: a slash at the end says nothing.
pub(crate) fn mounts(mounts: &mut [Mount]) -> Result<(), Error> {
    bounded("mounts", mounts, LIST)?;
    for (at, Mount { path, .. }) in mounts.iter_mut().enumerate() {
        let field = format!("mounts[{at}].path");
        text(&field, path, LINE_BYTES)?;
        if path.starts_with('/') && path.trim_matches('/').is_empty() {
            return Err(wrong(&field, "that is the whole machine").with_hint("say which folder of it"));
        }
        path.truncate(path.trim_end_matches('/').len());
        let is_plain = path.starts_with('/')
            && !path.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."))
            && !path.chars().any(char::is_control);
        if !is_plain {
            let error = wrong(&field, "say an absolute path, without `.`, `..` and `//`");
            return Err(error.with_hint("e.g. `/srv/notes`"));
        }
    }
    distinct("mounts", mounts.iter().map(|mount| mount.path.as_str()))
}
