//! `cargo xtask new`: starts a new part from its recipe, so that a recipe can't go stale.
//!
//! What it writes works at once: it is built, passes the lints, and a test calls it.

mod kind;
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
    /// A resource kind: one file, two lines in its table.
    Kind(kind::Arguments),
}

/// Writes the part.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let written = match &arguments.part {
        Part::Tool(arguments) => tool::write(&workspace::root(), arguments)?.to_vec(),
        Part::Kind(arguments) => kind::write(&workspace::root(), arguments)?,
    };
    // The new file is formatted by the rules of the workspace, whatever they are.
    step::run(step::command("rustfmt").args(["--edition", "2024"]).args(written.first()))?;
    for path in &written {
        output::line(path);
    }
    output::note("now say what it does, then `cargo xtask generate` and `cargo xtask test`");
    Ok(())
}

/// A copy of the sources in a folder that keeps its place between runs, so that Cargo rebuilds little.
#[cfg(test)]
fn scratch(name: &str) -> std::path::PathBuf {
    let root = workspace::target().join(name);
    std::fs::remove_dir_all(&root).or_else(|_| std::fs::create_dir_all(&root)).unwrap();
    std::fs::create_dir_all(&root).unwrap();
    let parts = ["Cargo.toml", "Cargo.lock", "clippy.toml", "crates", "testkit", "xtask"];
    let sources = parts.map(|part| workspace::root().join(part));
    step::run(step::command("cp").arg("-a").args(sources).arg(&root)).unwrap();
    root
}
