//! The binary, as a library: so that the same front door can stand before further toolsets.

mod commands;
mod config;
mod failure;
mod fences;
mod leftovers;
mod local;
mod network;
mod notify;
mod output;
mod public_url;
mod ready;
mod runtime;
mod stack;
mod tokens;
mod usage;

use std::process::ExitCode;

use clap::Parser;
use hayward_tool::Toolset;

use commands::Command;

/// The hidden first argument that makes this process a supervisor of jobs.
const SUPERVISE: &str = "__supervise";

/// Lets AI agents operate machines, inside fences, with a record that proves what happened.
#[derive(Parser)]
#[command(name = "hayward", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Toolsets beside those that are compiled in, made when a command serves.
pub type Further = fn() -> Vec<Toolset>;

/// Runs what the arguments of this process say.
pub fn run(further: Further) -> ExitCode {
    // A supervisor is started for jobs and has to be ready within a millisecond: nothing else is
    // set up for it.
    if std::env::args_os().nth(1).is_some_and(|first| first == SUPERVISE) {
        return hayward_exec::supervise();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::end(&error, std::env::args_os()),
    };
    match cli.command.run(further) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output::failure(&failure),
    }
}
