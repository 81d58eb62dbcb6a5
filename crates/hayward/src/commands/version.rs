//! `hayward version`.

use anyhow::Context;

use crate::failure::Failure;
use crate::output;

/// Prints the version.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<(), Failure> {
    output::data(concat!(env!("CARGO_PKG_VERSION"), "\n")).context("failed to write the version")?;
    Ok(())
}
