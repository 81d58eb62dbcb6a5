//! `cargo xtask load`: what the server must stand beside being fast, against a release build.
//!
//! ```text
//!  rig (builds and starts) ─► trials (crowds, slow peers, equal request ids) ─► lines with goals
//!                                                             a dated table in docs/load.md
//! ```
//!
//! The trials themselves are in `testkit/peers/src/trial/`, in a process of their own, without an SDK
//! and without any of our crates. A missed goal fails the run, after its table was written.

mod descriptors;
pub(crate) mod page;
mod rig;
mod trials;

use anyhow::{Context, Result, bail};

use crate::bench::machine;
use crate::{output, workspace};
use page::{HEAD, Line, Mark};
use rig::Rig;
use trials::Size;

/// How much of it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A tenth of everything, printed and not written to `docs/load.md`.
    #[arg(long)]
    quick: bool,
    /// Only trials with this in their name; printed and not written.
    #[arg(long, default_value = "")]
    only: String,
}

/// Plays the trials and keeps the table.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let size = if arguments.quick { Size::tenth() } else { Size::full() };
    let is_kept = !arguments.quick && arguments.only.is_empty();
    play(&size, &arguments.only, if is_kept { write } else { print })
}

/// Plays the trials in full size and prints the table.
pub(crate) fn check() -> Result<()> {
    play(&Size::full(), "", print)
}

fn play(size: &Size, only: &str, publish: fn(&str, &str) -> Result<()>) -> Result<()> {
    let machine = machine::describe()?;
    descriptors::raise(size.descriptors())?;
    let rig = Rig::build()?;
    let mut lines = Vec::new();
    for trial in trials::ALL.iter().filter(|trial| trial.name.contains(only)) {
        output::step(trial.name);
        let said = (trial.play)(&rig, size).with_context(|| format!("trial `{}`", trial.name))?;
        for line in &said {
            output::note(line);
        }
        lines.extend(said);
    }
    publish(&machine.date, &page::section(&machine, &lines))?;
    verdict(&lines)
}

fn verdict(lines: &[Line]) -> Result<()> {
    let missed: Vec<_> = lines.iter().filter(|line| line.mark == Mark::Missed).collect();
    if !missed.is_empty() {
        bail!("missed: {}", missed.iter().map(|line| &*line.what).collect::<Vec<_>>().join("; "));
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "one of two ways to publish")]
fn print(_date: &str, section: &str) -> Result<()> {
    output::line(section);
    Ok(())
}

fn write(date: &str, section: &str) -> Result<()> {
    let path = workspace::root().join("docs/load.md");
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(&path, page::with(HEAD, &old, date, section)).context("failed to write `docs/load.md`")?;
    output::note("wrote docs/load.md");
    Ok(())
}
