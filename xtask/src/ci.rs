//! `cargo xtask ci`: everything that a change has to pass. CI runs this and nothing else.
//!
//! It keeps going after a failure, so that one run shows all that is wrong. The tests come last:
//! theirs are the closing lines that a reader wants.

use anyhow::{Result, bail};

use crate::step::{self, Stopwatch};
use crate::{bench, dist, load, output, systemd, test, tidy, toolbox, torture};

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also check advisories, install the packages, run it under systemd, measure speed once, put it on trial, torture
    /// it, and run the soak tests.
    #[arg(long)]
    full: bool,
}

/// How long a soak test goes on in `ci --full`.
const SOAK_SECONDS: &str = "600";

/// Runs the checks.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut watch = Stopwatch::default();
    watch.step("format", format);
    watch.step("tidy", || tidy::run(&tidy::Arguments::default()));
    watch.step("deny", deny);
    watch.step("clippy", clippy);
    if arguments.full {
        watch.step("advisories", advisories);
        watch.step("dist", dist::check);
        watch.step("systemd", systemd::check);
        watch.step("bench", || bench::run(&bench::Arguments::quick()));
        watch.step("load", load::check);
        watch.step("torture", torture::check);
        watch.step("soak", soak);
    }
    watch.step("test", || test::run(&test::Arguments::default()));
    watch.finish()
}

fn format() -> Result<()> {
    step::run(step::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    step::run(step::cargo().args(arguments))
}

fn deny() -> Result<()> {
    let deny = toolbox::cargo_deny()?;
    step::run(step::command(deny).args(["check", "bans", "licenses", "sources"]))
}

/// The advisory database lives outside of the package registry; where it can't be reached, that is
/// said, and is no failure of the change.
fn advisories() -> Result<()> {
    let deny = toolbox::cargo_deny()?;
    let answer = step::output_of(step::command(deny).args(["check", "advisories"]))?;
    let said = String::from_utf8_lossy(&answer.stderr);
    if answer.status.success() {
        return Ok(());
    }
    if said.contains("failed to fetch advisory database") {
        output::note("skipped: the advisory database can't be reached");
        return Ok(());
    }
    bail!("advisories:\n{said}")
}

fn soak() -> Result<()> {
    let nextest = ["nextest", "run", "--workspace", "--no-tests", "pass", "-E", "binary(/^soak/)"];
    let mut cargo = toolbox::cargo_with_nextest()?;
    step::run(cargo.args(nextest).env("HAYWARD_TEST_SOAK_SECONDS", SOAK_SECONDS))
}
