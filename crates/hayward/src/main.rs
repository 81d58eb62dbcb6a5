//! The binary: what its first argument says.

mod commands;
mod config;
mod failure;
mod local;
mod output;
mod ready;
mod runtime;
mod stack;
mod tokens;
mod usage;

use std::process::ExitCode;

use clap::Parser;

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

fn main() -> ExitCode {
    // A supervisor is started for jobs and has to be ready within a millisecond: nothing else is
    // set up for it.
    if std::env::args_os().nth(1).is_some_and(|first| first == SUPERVISE) {
        return hayward_exec::supervise();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::end(&error, std::env::args_os()),
    };
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output::failure(&failure),
    }
}
