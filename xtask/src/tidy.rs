//! `cargo xtask tidy`: the walls and conventions that neither compiler nor Clippy holds.
//!
//! ```text
//!  files ─► Tree (sources, manifests, texts) ─► RULES ─► findings
//!                                           └─► measures: one line, aims and no gate
//! ```
//!
//! Rules are pure functions of a [`Tree`](tree::Tree), so each is tested on a few lines of text
//! in both directions. A test runs all of them on the workspace.

mod floors;
mod layout;
mod lock;
mod manifests;
mod measures;
mod paths;
mod rooms;
mod source;
mod tree;
mod walls;
mod words;

use anyhow::{Result, bail};

use crate::{output, workspace};
use tree::Tree;

/// How to check.
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Show the rules instead.
    #[arg(long)]
    rules: bool,
}

/// One rule.
struct Rule {
    name: &'static str,
    /// What holds, in a sentence.
    holds: &'static str,
    check: fn(&Tree) -> Vec<Finding>,
}

/// A place where a rule doesn't hold.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// Every rule.
const RULES: &[Rule] = &[
    floors::RULE,
    walls::RULE,
    rooms::RULE,
    manifests::RULE,
    lock::RULE,
    layout::HEADS,
    layout::NAMES,
    layout::TESTS,
    layout::GENERATED,
    words::RULE,
];

/// Checks the workspace and prints its measures.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.rules {
        for rule in RULES {
            output::line(format!("{:10} {}", rule.name, rule.holds));
        }
        return Ok(());
    }
    let tree = Tree::load(&workspace::root())?;
    output::line(measures::of(&tree));
    let findings = findings(&tree);
    for finding in &findings {
        output::line(finding);
    }
    if !findings.is_empty() {
        bail!("{} findings; hint: `cargo xtask tidy --rules` says what holds", findings.len());
    }
    Ok(())
}

fn findings(tree: &Tree) -> Vec<String> {
    let of_rule = |rule: &Rule| {
        let name = rule.name;
        (rule.check)(tree)
            .into_iter()
            .map(move |finding| format!("{}:{}: [{name}] {}", finding.path, finding.line, finding.message))
    };
    RULES.iter().flat_map(of_rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a rule says of a tree made of these files.
    pub(super) fn check(rule: &Rule, files: &[(&str, &str)]) -> Vec<String> {
        let tree = Tree::of_texts(files).unwrap();
        (rule.check)(&tree).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn the_workspace_is_tidy() {
        let tree = Tree::load(&workspace::root()).unwrap();
        let findings = findings(&tree);
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn rules_have_different_names() {
        let names: std::collections::BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
    }
}
