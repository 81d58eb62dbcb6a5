//! `cargo xtask fuzz`: runs every fuzz target for some minutes and writes what came of it to
//! `docs/fuzzing.md`.
//!
//! ```text
//!  fuzz/corpus/ (committed, read only) ─┐
//!  .cache/fuzz/ (kept between runs) ────┴─► target ─► new inputs ─► .cache/fuzz/
//!                                                  └─► crashes ───► fuzz/artifacts/
//! ```
//!
//! What a target checks lies in `testkit/fuzzing`, and tests run it on the committed corpus. This task is
//! no part of `ci`: it takes minutes, and its outcome depends on chance.

mod figures;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};

use crate::{output, step, toolbox, workspace};
use figures::Figures;

/// Our code has no `unsafe`, and without a sanitizer a target runs six times as fast, on stable Rust.
const SANITIZER: [&str; 2] = ["--sanitizer", "none"];

/// How many bytes an input may have, how many seconds it may take and how many MiB a target may.
const BOUNDS: [&str; 3] = ["-max_len=4096", "-timeout=5", "-rss_limit_mb=256"];

/// How long to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long each target runs; as many run at once as there are cores.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,
}

/// What came of a target.
struct Run {
    target: String,
    figures: Figures,
    /// Inputs that crash it, beside those that were there before.
    crashes: Vec<PathBuf>,
}

/// Fuzzes and reports.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let targets = targets()?;
    output::step("building the targets");
    step::run(toolbox::cargo_with_fuzz()?.args(["fuzz", "build"]).args(SANITIZER))?;
    let runs = fuzz_all(targets, arguments.minutes)?;
    report::publish(&runs, arguments.minutes)?;
    let crashes: Vec<_> = runs.iter().flat_map(|run| &run.crashes).collect();
    for crash in &crashes {
        output::line(crash.display());
    }
    if !crashes.is_empty() {
        bail!(
            "{} new crashes; hint: put the input into `fuzz/corpus/` and let the tests show it",
            crashes.len()
        );
    }
    Ok(())
}

/// Runs every target, as many at once as there are cores; in the order of the targets.
fn fuzz_all(targets: Vec<String>, minutes: u64) -> Result<Vec<Run>> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let queue = Mutex::new(targets.into_iter());
    let work = || {
        let mut runs = Vec::new();
        loop {
            let next = queue.lock().map_err(|_| anyhow!("another target has panicked"))?.next();
            let Some(target) = next else {
                return Ok(runs);
            };
            output::step(&target);
            let run = fuzz(target, minutes)?;
            output::note(report::row(&run));
            runs.push(run);
        }
    };
    let mut runs = std::thread::scope(|scope| -> Result<Vec<Run>> {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|it| it.join().map_err(|_| anyhow!("a worker has panicked"))?);
        Ok(ended.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })?;
    runs.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(runs)
}

/// The names of the targets, in order.
fn targets() -> Result<Vec<String>> {
    let programs = files(&workspace::root().join("fuzz/fuzz_targets"));
    let names = programs.iter().filter_map(|file| file.file_stem());
    let names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    if names.is_empty() {
        bail!("there are no targets in `fuzz/fuzz_targets`");
    }
    Ok(names)
}

fn fuzz(target: String, minutes: u64) -> Result<Run> {
    let found = workspace::cache().join("fuzz").join(&target);
    std::fs::create_dir_all(&found).with_context(|| format!("failed to make `{}`", found.display()))?;
    let artifacts = workspace::root().join("fuzz/artifacts").join(&target);
    let old = files(&artifacts);
    let mut cargo = toolbox::cargo_with_fuzz()?;
    // The first folder is the one that is written to.
    cargo.args(["fuzz", "run"]).args(SANITIZER).arg(&target).arg(&found).arg(format!("fuzz/corpus/{target}"));
    cargo.args(["--", "-print_final_stats=1", &format!("-max_total_time={}", minutes * 60)]).args(BOUNDS);
    let ended = step::output_of(&mut cargo)?;
    let said = String::from_utf8_lossy(&ended.stderr);
    let crashes: Vec<_> = files(&artifacts).into_iter().filter(|file| !old.contains(file)).collect();
    match Figures::read(&said) {
        Some(figures) if ended.status.success() || !crashes.is_empty() => {
            Ok(Run { target, figures, crashes })
        }
        _ => bail!("`{target}` ended with {}:\n{said}", ended.status),
    }
}

/// The files of a folder in order; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}
