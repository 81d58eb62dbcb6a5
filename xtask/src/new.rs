//! `cargo xtask new`: starts a new part from its recipe, so that a recipe can't go stale.
//!
//! What it writes works at once: it is built, passes the lints, and a test calls it.

mod tool;

use anyhow::Result;
use clap::Subcommand;

use crate::{output, step, workspace};

/// What to start.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// A tool of the `host` toolset: one file, two lines in its tables.
    Tool(tool::Arguments),
}

/// Writes the part.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let written = match &arguments.part {
        Part::Tool(arguments) => tool::write(&workspace::root(), arguments)?,
    };
    // The new file is formatted by the rules of the workspace, whatever they are.
    let [new, ..] = &written;
    step::run(step::command("rustfmt").args(["--edition", "2024", new]))?;
    for path in &written {
        output::line(path);
    }
    output::note("now say what it does, then `cargo xtask generate` and `cargo xtask test`");
    Ok(())
}
