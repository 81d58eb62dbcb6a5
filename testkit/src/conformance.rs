//! The official conformance suite, run against a server.
//!
//! It is a package for Node.js; `cargo xtask test` installs it and says where it is.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::installed::tool;

/// What is run of it: the frozen requirements of a revision, or what its last release checks by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
    /// The last release, of the time before 2026-07-28.
    Released,
}

impl Suite {
    /// All that is run.
    pub const ALL: [Self; 3] = [Self::Legacy, Self::Modern, Self::Released];

    /// The word that the script takes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
            Self::Released => "released",
        }
    }

    /// How many scenarios are scored, or all that there are where nothing is.
    const fn scenarios(self) -> usize {
        match self {
            Self::Legacy | Self::Released => 30,
            Self::Modern => 37,
        }
    }

    /// How many scenarios of a client are scored.
    const fn client_scenarios(self) -> usize {
        match self {
            Self::Legacy => 18,
            Self::Modern => 32,
            Self::Released => 0,
        }
    }
}

/// What the suite found.
#[derive(Debug, Deserialize)]
pub struct Report {
    scored: Vec<String>,
    scenarios: Vec<Scenario>,
    said: String,
}

/// What it found in one scenario.
#[derive(Debug, Deserialize)]
struct Scenario {
    name: String,
    passed: u64,
    failed: u64,
}

/// Runs it against the server of this URL and token. None if it isn't installed here.
///
/// # Errors
/// If it can't be run.
pub fn judge(suite: Suite, url: &str, token: &str) -> anyhow::Result<Option<Report>> {
    run("server", suite, url, token)
}

/// Runs it against a client: a command line that is given the address of a server as its last word. None if it isn't
/// installed here.
///
/// # Errors
/// If it can't be run.
pub fn judge_client(suite: Suite, command: &str) -> anyhow::Result<Option<Report>> {
    run("client", suite, command, "")
}

fn run(leg: &str, suite: Suite, subject: &str, token: &str) -> anyhow::Result<Option<Report>> {
    let (Some(node), Some(scripts)) = (tool("HAYWARD_TEST_NODE"), tool("HAYWARD_TEST_INTEROP")) else {
        return Ok(None);
    };
    #[expect(clippy::disallowed_methods, reason = "the suite is a process")]
    let mut command = Command::new(node);
    command.arg(scripts.join("conformance.mjs")).args([leg, suite.as_str(), subject]);
    let output = command.env("HAYWARD_RW_TOKEN", token).output().context("Node.js does not start")?;
    let report = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(Some(report))
}

impl Report {
    /// Whether everything that is scored was run and passed, and nothing failed at all.
    ///
    /// # Errors
    /// What failed or is missing.
    pub fn check(&self, suite: Suite) -> anyhow::Result<()> {
        let failed: Vec<_> = self.scenarios.iter().filter(|scenario| scenario.failed > 0).collect();
        ensure!(failed.is_empty() && self.said.is_empty(), "{failed:?}\n{}", self.said);
        let counted = if suite == Suite::Released { self.scenarios.len() } else { self.scored.len() };
        ensure!(counted == suite.scenarios(), "{counted} scenarios count, not {}", suite.scenarios());
        self.check_scored()
    }

    /// The same, but for these scenarios, each of which has to fail or it isn't one that can't pass.
    ///
    /// # Errors
    /// What failed or is missing, or passed although it can't.
    pub fn check_but(&self, suite: Suite, cannot: &[&str]) -> anyhow::Result<()> {
        let is_excused = |scenario: &&Scenario| cannot.contains(&scenario.name.as_str());
        let failed: Vec<_> = self.scenarios.iter().filter(|it| it.failed > 0 && !is_excused(it)).collect();
        ensure!(failed.is_empty(), "{failed:?}\n{}", self.said);
        let passed: Vec<_> = self.scenarios.iter().filter(|it| it.failed == 0 && is_excused(it)).collect();
        ensure!(passed.is_empty(), "they pass: {passed:?}");
        let counted = self.scored.len();
        ensure!(counted == suite.scenarios(), "{counted} scenarios count, not {}", suite.scenarios());
        for name in self.scored.iter().filter(|name| !cannot.contains(&name.as_str())) {
            let is_passed = |it: &&Scenario| it.name == *name && it.passed > 0 && it.failed == 0;
            ensure!(self.scenarios.iter().any(|it| is_passed(&it)), "{name} did not pass\n{}", self.said);
        }
        Ok(())
    }

    /// Whether everything that is scored of a client was run and passed. What isn't scored may fail: extensions.
    ///
    /// # Errors
    /// What failed or is missing.
    pub fn check_client(&self, suite: Suite) -> anyhow::Result<()> {
        let (counted, all) = (self.scored.len(), suite.client_scenarios());
        ensure!(all > 0, "nothing of {} is scored for clients", suite.as_str());
        ensure!(counted == all, "{counted} scenarios count, not {all}");
        self.check_scored()
    }

    fn check_scored(&self) -> anyhow::Result<()> {
        for name in &self.scored {
            let is_passed =
                |scenario: &&Scenario| scenario.name == *name && scenario.passed > 0 && scenario.failed == 0;
            ensure!(self.scenarios.iter().any(|it| is_passed(&it)), "{name} did not pass\n{}", self.said);
        }
        Ok(())
    }

    /// The rows of a table: scenario, whether it is scored, checks that passed.
    pub fn rows(&self) -> String {
        self.scenarios.iter().fold(String::new(), |mut rows, Scenario { name, passed, failed }| {
            let is_scored = if self.scored.contains(name) { "scored" } else { "" };
            let passed = match (passed, failed) {
                (0, 0) => "nothing to check".to_owned(),
                (passed, 0) => passed.to_string(),
                (passed, failed) => format!("{passed}, and {failed} not"),
            };
            writeln!(rows, "| `{name}` | {is_scored} | {passed} |").expect("memory takes it");
            rows
        })
    }
}
