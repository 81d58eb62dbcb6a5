//! `docs/fuzzing.md`: its head is written here, and every run puts its section in front of the older ones.

use anyhow::{Context, Result};

use super::Run;
use crate::{output, step, workspace};

const HEAD: &str = "# Fuzzing

What `cargo xtask fuzz` found, newest first. Each target feeds a part of the protocol crate, a reader of headers, or the check of the record, with what libFuzzer makes
up
(optimised, with debug assertions and checked arithmetic; no sanitizer, as the code has no `unsafe`) and compares what
comes of it with something made another way. `testkit/fuzzing` holds the checks, `fuzz/corpus/` the inputs that every run
of the tests tries again. An input has up to 4 KiB, may take 5 s, and a target 256 MiB.

| target | what holds of every input |
|---|---|
| `differential` | what we emit is read as it was meant: by `serde_json`, as a line, as an event |
| `envelope` | a message is accepted if and only if `serde_json` and a model of JSON-RPC accept it; nothing of it is lost |
| `headers` | a modern request is served only if every header says what the body says |
| `kinds` | a document of any kind that is accepted is canonical and is read again as it is shown; no selector means everything |
| `proxies` | who isn't named changes nothing; the client is who the chain of trusted proxies vouches for |
| `ranges` | a range lies within its file, and a part of an upload within its whole |
| `sse` | events are what the algorithm of the standard gives, in whatever pieces the stream comes; none is beyond the limit |
| `stdio` | lines are what splitting gives, in whatever pieces they come and wherever reading is cancelled; none is beyond the limit |
| `verify` | of a signed record no change passes, and no record stops the check |

An input that crashes a target lies in `fuzz/artifacts/`. It goes to `fuzz/corpus/`, where the tests fail of it, together with
a test of what is wrong; then comes the correction.
";

/// A row of the table.
pub(crate) fn row(run: &Run) -> String {
    let Run { target, figures, crashes } = run;
    let (executions, edges, peak) = (thousands(figures.executions), figures.edges, figures.peak_mib);
    format!("| `{target}` | {executions} | {edges} | {peak} MiB | {} |", crashes.len())
}

/// Puts the runs into the page.
pub(crate) fn publish(runs: &[Run], minutes: u64) -> Result<()> {
    let path = workspace::root().join("docs/fuzzing.md");
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(&path, page(&old, &section(runs, minutes)?))
        .context("failed to write `docs/fuzzing.md`")?;
    output::note("wrote docs/fuzzing.md");
    Ok(())
}

fn section(runs: &[Run], minutes: u64) -> Result<String> {
    let date = step::capture(step::command("date").args(["-u", "+%F"]))?;
    let compiler = step::capture(step::command("rustc").arg("--version"))?;
    let rows: Vec<_> = runs.iter().map(row).collect();
    Ok(format!(
        "## {}, {minutes} min each\n\n{}.\n\n\
        | target | executions | edges | memory | new crashes |\n|---|--:|--:|--:|--:|\n{}\n",
        date.trim(),
        compiler.trim(),
        rows.join("\n")
    ))
}

/// The head, the new section, the older ones.
fn page(old: &str, section: &str) -> String {
    let older = old.find("\n## ").map_or("", |at| &old[at..]);
    format!("{HEAD}\n{section}{older}")
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_section_comes_first_and_the_older_ones_stay() {
        let first = page("", "## 1\n\na\n");
        let second = page(&first, "## 2\n\nb\n");
        assert!(second.ends_with("\n\n## 2\n\nb\n\n## 1\n\na\n"), "{second}");
        assert_eq!(second.matches("# Fuzzing").count(), 1);
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!([7, 1000, 12_345_678].map(thousands), ["7", "1,000", "12,345,678"]);
    }
}
