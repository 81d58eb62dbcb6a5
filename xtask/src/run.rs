//! `cargo xtask run`: the first command of the README.

use anyhow::Result;

use crate::step;

/// What to pass on.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Arguments for `hayward serve`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    serve: Vec<String>,
}

/// Builds the release and runs `hayward serve`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let cargo = ["run", "--release", "--package", "hayward", "--", "serve"];
    step::run(step::cargo().args(cargo).args(&arguments.serve))
}
