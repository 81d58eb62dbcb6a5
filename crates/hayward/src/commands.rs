//! The table of commands: one file and two lines here for each.

use clap::Subcommand;

use crate::Further;
use crate::failure::Failure;

mod audit;
mod doctor;
mod serve;
mod stdio;
mod token;
mod version;

/// Every command.
#[derive(Subcommand)]
pub(crate) enum Command {
    Audit(audit::Args),
    Doctor(doctor::Args),
    Serve(Box<serve::Args>),
    Stdio(stdio::Args),
    Token(token::Args),
    Version(version::Args),
}

impl Command {
    /// Runs it to its end.
    pub(crate) fn run(self, further: Further) -> Result<(), Failure> {
        match self {
            Self::Audit(args) => audit::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Serve(args) => serve::run(*args, further),
            Self::Stdio(args) => stdio::run(args, further),
            Self::Token(args) => token::run(args),
            Self::Version(args) => version::run(&args),
        }
    }
}
