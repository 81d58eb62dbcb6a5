//! The binary, as a library: so that the same front door can stand before further toolsets.

mod bridge;
mod commands;
mod config;
mod documents;
mod failure;
mod fences;
mod flags;
mod leftovers;
mod limits;
mod local;
mod management;
mod manifest;
mod moment;
mod network;
mod notify;
mod output;
mod public_url;
mod ready;
mod reload;
mod remote;
mod runtime;
mod server;
mod servers;
mod speaking;
mod stack;
mod tokens;
mod usage;
mod words;
mod writing;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use hayward_tool::Toolset;

use commands::{Command, Ending};
use config::Where;
use config::keys::{Keys, prepared};
use config::layers::{Layers, sources, wanted};
use failure::Failure;

/// The hidden first argument that makes this process a supervisor of jobs.
const SUPERVISE: &str = "__supervise";

/// The action of `config` that asks a server, and so has settings.
const CLAUDE: &str = "claude";

/// Lets AI agents operate machines, inside fences, with a record that proves what happened.
#[derive(Parser)]
#[command(name = "hayward", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    _where: Where,
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
    let args: Vec<OsString> = std::env::args_os().collect();
    let (mut line, layers) = match configured(line(), &args) {
        Ok(configured) => configured,
        Err(failure) => return output::failure(&failure),
    };
    let cli = line.try_get_matches_from_mut(&args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) => return usage::end(&error.format(&mut line), &line, &args),
    };
    match cli.command.run(Start { further, layers }) {
        Ok(Ending::Well) => ExitCode::SUCCESS,
        Ok(Ending::Differs) => ExitCode::FAILURE,
        Err(failure) => output::failure(&failure),
    }
}

/// What a command begins with, beside its arguments.
pub(crate) struct Start {
    /// Toolsets beside those that are compiled in.
    pub(crate) further: Further,
    /// What files and the environment say.
    pub(crate) layers: Layers,
}

/// The command line, with all names that its words have.
fn line() -> clap::Command {
    prepared(Cli::command())
}

/// The command line with what files say in the place of its defaults, for a command that has settings.
fn configured(root: clap::Command, args: &[OsString]) -> Result<(clap::Command, Layers), Failure> {
    let Some(name) = wanted(&root, args).map(|command| command.get_name().to_owned()) else {
        return Ok((root, Layers::default()));
    };
    let asks = |word: &OsString| word == CLAUDE;
    let is_asking = name == "config" && args.iter().any(asks);
    if commands::UNCONFIGURED.contains(&name.as_str()) && !is_asking {
        return Ok((root, Layers::default()));
    }
    let variables = config::environment().collect();
    let layers = Layers::read(&root, &Keys::of(&root), &sources(args, variables)).sound()?;
    for note in &layers.notes {
        output::tell(&format!("note: {}\n", output::plain(note)));
    }
    // Some have their settings one level down.
    let applied = |command: clap::Command| layers.apply(command).mut_subcommands(|below| layers.apply(below));
    Ok((root.mut_subcommand(name, applied), layers))
}
