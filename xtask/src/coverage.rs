//! `cargo xtask coverage`: which lines the tests run of what trust rests on, written to `docs/coverage.md`.
//!
//! Supervisors and their stages count as well, see [`children`]. Tests are no part of what is counted.

mod children;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bench::machine;
use crate::{output, step, toolbox, workspace};

/// The parts that have a goal, and where they lie.
const PARTS: [(&str, &[&str]); 4] = [
    ("auth", &["crates/auth/src/"]),
    ("audit", &["crates/audit/src/"]),
    ("exec", &["crates/exec/src/"]),
    ("host::fs", &["crates/host/src/fs/", "crates/host/src/fs.rs"]),
];

/// The packages whose tests run.
const PACKAGES: [&str; 6] =
    ["hayward-auth", "hayward-audit", "hayward-exec", "hayward-host", "hayward-gateway", "hayward"];

/// Percent of the lines that are to be run.
const GOAL: f64 = 90.0;

/// Files that are listed as least covered.
const LISTED: usize = 12;

const HEAD: &str = "\
# Coverage

<!-- Written by `cargo xtask coverage`; edit `xtask/src/coverage.rs`. -->

Lines that the tests run (LLVM's source coverage), of what trust rests on. Tests themselves are not counted; what
their children run is, to the moment at which a signal ends them.
Repeat it with:

```
cargo xtask coverage
```
";

/// Lines of a file or a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    covered: u64,
    all: u64,
}

impl Lines {
    fn add(self, other: Self) -> Self {
        Self { covered: self.covered + other.covered, all: self.all + other.all }
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure with four digits")]
    fn percent(self) -> f64 {
        if self.all == 0 { 0.0 } else { 100.0 * self.covered as f64 / self.all as f64 }
    }
}

/// Measures and writes the page.
pub(crate) fn run() -> Result<()> {
    let mut cargo = toolbox::cargo_with_coverage()?;
    crate::test::bring_clients(&mut cargo)?;
    children::count(&mut cargo)?;
    output::step("tests, counted");
    let report = workspace::target().join("coverage.json");
    cargo.args(["llvm-cov", "nextest", "--json", "--summary-only", "--output-path"]).arg(&report);
    cargo.args(PACKAGES.iter().flat_map(|name| ["--package", name]));
    step::run(&mut cargo)?;
    let text = std::fs::read_to_string(&report).context("failed to read the report")?;
    let files = files(&serde_json::from_str(&text).context("the report is no JSON")?, &workspace::root())?;
    let page = workspace::root().join("docs/coverage.md");
    std::fs::write(&page, render(&files, &machine::describe()?.date)).context("failed to write the page")?;
    output::note("wrote docs/coverage.md");
    match parts(&files).into_iter().find(|(_, lines)| lines.percent() < GOAL) {
        Some((part, lines)) => bail!("{part} has {:.1} %, and {GOAL} % are wanted", lines.percent()),
        None => Ok(()),
    }
}

/// Each file beneath the root that belongs to a part, with its lines.
fn files(report: &Value, root: &Path) -> Result<Vec<(String, Lines)>> {
    let files = report["data"][0]["files"].as_array().context("the report has no files")?;
    let line_of = |file: &Value| {
        let name = Path::new(file["filename"].as_str()?).strip_prefix(root).ok()?.to_str()?.to_owned();
        let lines = &file["summary"]["lines"];
        Some((name, Lines { covered: lines["covered"].as_u64()?, all: lines["count"].as_u64()? }))
    };
    Ok(files.iter().filter_map(line_of).filter(|(name, _)| part_of(name).is_some()).collect())
}

fn part_of(file: &str) -> Option<&'static str> {
    // Benches, examples and tests in files of their own are no product.
    let is_test = file.ends_with("/tests.rs") || file.contains("/tests/") || file.contains("/bin/");
    let part = PARTS.iter().find(|(_, places)| places.iter().any(|place| file.starts_with(place)));
    part.filter(|_| !is_test).map(|(name, _)| *name)
}

fn parts(files: &[(String, Lines)]) -> Vec<(&'static str, Lines)> {
    let sum = |part: &str| {
        let mine = files.iter().filter(|(name, _)| part_of(name) == Some(part));
        mine.fold(Lines::default(), |sum, (_, lines)| sum.add(*lines))
    };
    PARTS.iter().map(|(part, _)| (*part, sum(part))).collect()
}

fn render(files: &[(String, Lines)], date: &str) -> String {
    let mut page = HEAD.to_owned();
    let mut put = |line: String| writeln!(page, "{line}").expect("memory takes it");
    put(format!("\nMeasured on {date}.\n"));
    put("| part | lines | run | goal | |".to_owned());
    put("|---|---:|---:|---:|---|".to_owned());
    for (part, lines) in parts(files) {
        let mark = if lines.percent() >= GOAL { "✓" } else { "missed" };
        put(format!("| {part} | {} | {:.1} % | ≥ {GOAL} % | {mark} |", lines.all, lines.percent()));
    }
    put("\nThe files with the most lines that no test runs:\n".to_owned());
    put("| file | lines | not run |".to_owned());
    put("|---|---:|---:|".to_owned());
    let mut least: Vec<_> = files.iter().collect();
    least.sort_by_key(|(_, lines)| std::cmp::Reverse(lines.all - lines.covered));
    for (file, lines) in least.iter().take(LISTED) {
        put(format!("| `{file}` | {} | {} |", lines.all, lines.all - lines.covered));
    }
    page
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(name: &str, covered: u64, count: u64) -> Value {
        json!({"filename": name, "summary": {"lines": {"covered": covered, "count": count}}})
    }

    #[test]
    fn product_files_are_summed_by_part_and_nothing_else_is() {
        let report = json!({"data": [{"files": [
            file("/w/crates/host/src/fs.rs", 5, 10),
            file("/w/crates/host/src/fs/place.rs", 10, 10),
            file("/w/crates/host/src/tools/grep.rs", 0, 10),
            file("/w/crates/audit/src/log/tests.rs", 0, 10),
            file("/w/crates/audit/src/log/tests/failures.rs", 0, 10),
            file("/elsewhere/crates/auth/src/lib.rs", 0, 10),
        ]}]});
        let files = files(&report, Path::new("/w")).unwrap();
        let part = |name: &str| parts(&files).into_iter().find(|(part, _)| *part == name).unwrap().1;
        assert_eq!(part("host::fs"), Lines { covered: 15, all: 20 });
        assert_eq!(part("audit"), Lines::default());
        assert_eq!(part("auth"), Lines::default());
        let page = render(&files, "2026-01-02");
        assert!(page.contains("| host::fs | 20 | 75.0 % | ≥ 90 % | missed |"), "{page}");
        assert!(page.contains("| `crates/host/src/fs.rs` | 10 | 5 |"), "{page}");
    }

    #[test]
    fn a_report_without_files_is_refused() {
        assert!(files(&json!({}), Path::new("/w")).is_err());
    }
}
