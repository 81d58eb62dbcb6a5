//! What mymcp has on the disk: its variables and its tokens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Deserialize;

use crate::config::file::{Given, read, variables};
use crate::failure::Failure;

/// An installation of mymcp.
#[derive(Debug, Default)]
pub(super) struct Old {
    /// Its directory.
    pub(super) dir: PathBuf,
    /// Its variables without their prefix, in order.
    pub(super) variables: Vec<(String, String)>,
    /// Its tokens.
    pub(super) tokens: BTreeMap<String, OldToken>,
    /// The token of its administrator, as its store had it.
    pub(super) admin_token: Option<String>,
}

/// A token, as mymcp keeps it.
#[derive(Debug, Deserialize)]
pub(super) struct OldToken {
    #[serde(default)]
    pub(super) name: String,
    /// The first releases knew no roles: every token could do everything.
    #[serde(default = "rw")]
    pub(super) role: String,
    #[serde(default)]
    pub(super) enabled: bool,
}

#[derive(Default, Deserialize)]
struct Stored {
    #[serde(default)]
    tokens: BTreeMap<String, OldToken>,
    #[serde(default)]
    admin_token: Option<String>,
}

fn rw() -> String {
    "rw".to_owned()
}

/// An installation of 2.x: `MYMCP_…` in `.env`; none without one.
pub(super) fn of_2(dir: &Path) -> Result<Option<Old>, Failure> {
    installation(dir, "MYMCP_")
}

/// An installation of 1.x: `MCP_…` in `.env`; none without one.
pub(super) fn of_1(dir: &Path) -> Result<Option<Old>, Failure> {
    installation(dir, "MCP_")
}

fn installation(dir: &Path, prefix: &str) -> Result<Option<Old>, Failure> {
    let wrong = |fault: String| Failure::configuration(anyhow!(fault)).hint("nothing was taken over");
    let path = dir.join(".env");
    let Some(text) = read(&path).map_err(wrong)? else { return Ok(None) };
    let (entries, faults) = variables(&text);
    if let Some((line, fault)) = faults.first() {
        return Err(wrong(format!("{}:{line}: {fault}", path.display())));
    }
    let named = entries.into_iter().filter_map(|entry| match entry.value {
        Ok(Given::One(value)) => Some((entry.spelled.strip_prefix(prefix)?.to_owned(), value)),
        _ => None,
    });
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let mut old = Old { dir: absolute, variables: named.collect(), ..Old::default() };
    // Relative paths are of the directory that it ran in.
    let store = old.variable("TOKEN_FILE").map_or_else(|| dir.join("tokens.json"), |named| dir.join(named));
    if let Some(text) = read(&store).map_err(wrong)? {
        let stored: Stored = serde_json::from_str(&text).map_err(|error| {
            // What stands there is secret: the place is told, and nothing of it.
            wrong(format!("{}:{}: it is no store of tokens", store.display(), error.line()))
        })?;
        (old.tokens, old.admin_token) = (stored.tokens, stored.admin_token);
    }
    Ok(Some(old))
}

impl Old {
    /// The value of a variable, if it has one.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().rev().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}
