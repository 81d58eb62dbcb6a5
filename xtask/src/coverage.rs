//! `cargo xtask coverage`: which lines the tests run of what trust rests on, written to `docs/coverage.md`.
//!
//! Supervisors and their stages count as well, see [`children`]. Tests are no part of what is counted.

mod children;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

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

<!-- Written by `cargo xtask coverage` (edit `xtask/src/coverage.rs`), but for what follows `## Mutants`. -->

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
    let report = workspace::target().join("coverage.lcov");
    cargo.args(["llvm-cov", "nextest", "--lcov", "--output-path"]).arg(&report);
    cargo.args(PACKAGES.iter().flat_map(|name| ["--package", name]));
    step::run(&mut cargo)?;
    let text = std::fs::read_to_string(&report).context("failed to read the report")?;
    let files = files(&text, &workspace::root())?;
    let page = workspace::root().join("docs/coverage.md");
    let old = std::fs::read_to_string(&page).unwrap_or_default();
    let new = render(&files, &machine::describe()?.date) + by_hand(&old);
    std::fs::write(&page, new).context("failed to write the page")?;
    output::note("wrote docs/coverage.md");
    match parts(&files).into_iter().find(|(_, lines)| lines.percent() < GOAL) {
        Some((part, lines)) => bail!("{part} has {:.1} %, and {GOAL} % are wanted", lines.percent()),
        None => Ok(()),
    }
}

/// Each file beneath the root that belongs to a part, with its lines, from a report in the format of LCOV.
fn files(report: &str, root: &Path) -> Result<Vec<(String, Lines)>> {
    let mut files = Vec::new();
    for record in report.split("end_of_record") {
        let Some(path) = record.lines().find_map(|line| line.strip_prefix("SF:")) else { continue };
        let name = Path::new(path).strip_prefix(root).ok().and_then(Path::to_str);
        let Some(name) = name.filter(|name| part_of(name).is_some()) else { continue };
        let source = std::fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
        files.push((name.to_owned(), lines(record, first_of_tests(&source))));
    }
    if files.is_empty() {
        bail!("the report has no files");
    }
    Ok(files)
}

/// The lines in a record before this one, and how many of them were run.
fn lines(record: &str, before: u64) -> Lines {
    let counted = record.lines().filter_map(|line| line.strip_prefix("DA:")?.split_once(','));
    let counted = counted.filter(|(line, _)| line.parse().is_ok_and(|line: u64| line < before));
    let of = |(_, count): (&str, &str)| Lines { covered: u64::from(count != "0"), all: 1 };
    counted.map(of).fold(Lines::default(), Lines::add)
}

/// The line at which a file's own tests begin; beyond the end if it has none.
fn first_of_tests(source: &str) -> u64 {
    let before = source.lines().zip(source.lines().skip(1));
    let starts = |(line, next): (&str, &str)| line == "#[cfg(test)]" && next == "mod tests {";
    before.map(starts).position(|starts| starts).map_or(u64::MAX, |index| index as u64 + 1)
}

/// The part of the page that is kept: figures that are taken by hand.
fn by_hand(page: &str) -> &str {
    page.find("\n## Mutants\n").map_or("", |start| &page[start..])
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
    use super::*;

    /// A report of a file in which the lines before this one were run, of as many.
    fn record(root: &Path, name: &str, covered: u64, all: u64) -> String {
        let lines = (1..=all).map(|line| format!("DA:{line},{}\n", u64::from(line <= covered) * 12));
        format!(
            "SF:{}\nFN:1,f\n{}LF:{all}\nend_of_record\n",
            root.join(name).display(),
            lines.collect::<String>()
        )
    }

    #[test]
    fn product_files_are_summed_by_part_and_nothing_else_is() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = root.path();
        let source = "code\n".repeat(10) + "#[cfg(test)]\nmod tests {\n" + &"test\n".repeat(10);
        let mut report = record(elsewhere.path(), "crates/auth/src/lib.rs", 0, 10);
        for (name, covered, all) in [
            ("crates/host/src/fs.rs", 5, 10),
            ("crates/host/src/fs/place.rs", 10, 20),
            ("crates/host/src/tools/grep.rs", 0, 10),
            ("crates/audit/src/log/tests.rs", 0, 10),
            ("crates/audit/src/log/tests/failures.rs", 0, 10),
        ] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &source).unwrap();
            report += &record(root, name, covered, all);
        }
        let files = files(&report, root).unwrap();
        let part = |name: &str| parts(&files).into_iter().find(|(part, _)| *part == name).unwrap().1;
        assert_eq!(part("host::fs"), Lines { covered: 15, all: 20 });
        assert_eq!(part("audit"), Lines::default());
        assert_eq!(part("auth"), Lines::default());
        let page = render(&files, "2026-01-02");
        assert!(page.contains("| host::fs | 20 | 75.0 % | ≥ 90 % | missed |"), "{page}");
        assert!(page.contains("| `crates/host/src/fs.rs` | 10 | 5 |"), "{page}");
    }

    #[test]
    fn tests_begin_where_their_module_does() {
        assert_eq!(first_of_tests("a\n#[cfg(test)]\nmod tests {\n}\n"), 2);
        for source in ["", "a\n", "#[cfg(test)]\nmod tests;\na\n", "#[cfg(test)]\nuse a;\nmod tests {\n"] {
            assert_eq!(first_of_tests(source), u64::MAX, "{source}");
        }
    }

    #[test]
    fn what_is_taken_by_hand_is_kept() {
        assert_eq!(by_hand("# Coverage\n\n## Mutants\n\ntext\n"), "\n## Mutants\n\ntext\n");
        assert_eq!(by_hand("# Coverage\n"), "");
    }

    #[test]
    fn a_report_without_files_is_refused() {
        assert!(files("", Path::new("/w")).is_err());
    }
}
