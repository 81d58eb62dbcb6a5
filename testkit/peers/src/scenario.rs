//! The interoperability scenario (`testkit/interop/scenario.json`), as every client plays it.
//!
//! This is the Rust reading of it; `testkit/interop/` has one for Python and one for Node.js. The
//! three share the file and nothing else.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// With which token a step is made.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May change the machine.
    Rw,
    /// May look.
    Ro,
}

/// The names that each role must see, in order.
#[derive(Debug, Deserialize)]
pub struct Tools {
    /// With the `rw` token.
    pub rw: Vec<String>,
    /// With the `ro` token.
    pub ro: Vec<String>,
}

/// One call and what its answer must be.
#[derive(Debug, Deserialize)]
pub struct Step {
    /// What it shows.
    pub name: String,
    /// Who calls.
    #[serde(rename = "as")]
    pub role: Role,
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// Whether `isError` must be set.
    pub error: bool,
    /// What the text must contain.
    pub says: Vec<String>,
}

/// The whole scenario.
#[derive(Debug, Deserialize)]
pub struct Scenario {
    /// What is listed.
    pub tools: Tools,
    /// What is called, in order.
    pub steps: Vec<Step>,
}

impl Scenario {
    /// Reads the scenario and puts `folder` where it says `$DIR`.
    pub fn load(file: &Path, folder: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).context("failed to read the scenario")?;
        let folder = folder.to_str().context("the scratch folder is not UTF-8")?;
        serde_json::from_str(&text.replace("$DIR", folder)).context("failed to parse the scenario")
    }

    /// The steps of one role.
    pub fn steps_of(&self, role: Role) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.role == role)
    }

    /// The tools that a role must see.
    pub fn tools_of(&self, role: Role) -> &[String] {
        match role {
            Role::Rw => &self.tools.rw,
            Role::Ro => &self.tools.ro,
        }
    }
}

/// What a client prints at the end.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The client and its mode.
    pub client: String,
    /// The protocol version that was negotiated.
    pub protocol_version: String,
    /// How many checks were made.
    pub checks: usize,
    /// Those that failed, in words.
    pub failures: Vec<String>,
}

impl Report {
    /// Checks the names of the tools that `role` was shown.
    pub fn check_tools(&mut self, scenario: &Scenario, role: Role, shown: &[String]) {
        self.checks += 1;
        let wanted = scenario.tools_of(role);
        if shown != wanted {
            self.failures.push(format!("{role:?} was shown {shown:?} instead of {wanted:?}"));
        }
    }

    /// Checks the answer to a step.
    pub fn check_step(&mut self, step: &Step, is_error: bool, text: &str) {
        self.checks += 1;
        let name = &step.name;
        if is_error != step.error {
            self.failures.push(format!("{name}: isError is {is_error}: {text}"));
        }
        let missing = step.says.iter().filter(|part| !text.contains(&***part));
        self.failures.extend(missing.map(|part| format!("{name}: `{part}` is not in `{text}`")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> Step {
        serde_json::from_str(
            r#"{"name": "n", "as": "ro", "tool": "t", "arguments": {}, "error": true, "says": ["no"]}"#,
        )
        .unwrap()
    }

    #[test]
    fn the_committed_scenario_is_readable() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../interop/scenario.json");
        let scenario = Scenario::load(&file, Path::new("/scratch")).unwrap();
        // Tickets need a listener, which stdio has not: crates/hayward/tests/transfers.rs tries those two.
        for tool in scenario.tools.rw.iter().filter(|tool| !tool.starts_with("prepare_")) {
            let good = |step: &&Step| step.tool == *tool && !step.error;
            assert!(scenario.steps_of(Role::Rw).any(|step| good(&step)), "{tool} has no good call");
        }
        assert!(scenario.steps_of(Role::Ro).any(|step| step.error));
    }

    #[test]
    fn an_answer_as_expected_is_no_failure() {
        let mut report = Report::default();
        report.check_step(&step(), true, "oh no");
        assert_eq!((report.checks, report.failures.len()), (1, 0));
    }

    #[test]
    fn wrong_flags_and_missing_words_are_failures() {
        let mut report = Report::default();
        report.check_step(&step(), false, "oh yes");
        assert_eq!((report.checks, report.failures.len()), (1, 2));
    }
}
