//! The table of commands: one file and two lines here for each.

use clap::Subcommand;

use crate::Start;
use crate::failure::Failure;

mod audit;
mod client_config;
mod completions;
mod config;
mod doctor;
mod migrate;
pub(crate) mod serve;
mod service;
mod stdio;
mod token;
mod version;

/// The commands that have no settings, and so work whatever files say.
pub(crate) const UNCONFIGURED: [&str; 7] =
    ["client-config", "completions", "config", "install-service", "man", "uninstall-service", "version"];

/// Every command.
#[derive(Subcommand)]
pub(crate) enum Command {
    Audit(audit::Args),
    ClientConfig(client_config::Args),
    Completions(completions::Args),
    Config(config::Args),
    Doctor(doctor::Args),
    InstallService(service::InstallArgs),
    #[command(hide = true)]
    Man(completions::ManArgs),
    Migrate(migrate::Args),
    Serve(Box<serve::Args>),
    Stdio(stdio::Args),
    Token(token::Args),
    UninstallService(service::UninstallArgs),
    Version(version::Args),
}

impl Command {
    /// Runs it to its end.
    pub(crate) fn run(self, start: Start) -> Result<(), Failure> {
        match self {
            Self::Audit(args) => audit::run(args),
            Self::ClientConfig(args) => client_config::run(&args),
            Self::Completions(args) => completions::run(&args),
            Self::Config(args) => config::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::InstallService(args) => service::install(&args),
            Self::Man(args) => completions::man(&args),
            Self::Migrate(args) => migrate::run(&args),
            Self::Serve(args) => serve::run(*args, start),
            Self::Stdio(args) => stdio::run(args, start.further),
            Self::Token(args) => token::run(args),
            Self::UninstallService(args) => service::uninstall(&args),
            Self::Version(args) => version::run(&args),
        }
    }
}
