//! `hayward revert`: a resource as it was at a version.

use hayward_client::{Target, Write};

use crate::documents::shown;
use crate::failure::Failure;
use crate::output::{data, plain, written};
use crate::server::{ProjectArg, ServerArgs, block_on};
use crate::words;
use crate::writing::{Trial, TrialArg};

/// Makes a resource what it was at a version; one that was deleted is made again.
///
/// That is a change like any other: `hayward history` shows it, and it can be reverted.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// KIND NAME or KIND/NAME
    #[arg(required = true, value_name = "RESOURCE")]
    words: Vec<String>,

    /// Version of `hayward history`
    #[arg(long, value_name = "VERSION")]
    to: u64,

    #[command(flatten)]
    trial: TrialArg,

    #[command(flatten)]
    project: ProjectArg,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (kind, name) = words::one(&args.words)?;
    let trial = args.trial.trial();
    if trial == Trial::Client {
        return Err(words::usage("only the server knows what was: say `--dry-run=server`".to_owned()));
    }
    let write = Write { is_trial: trial == Trial::Server, precondition: None };
    let client = args.server.client()?;
    block_on(async {
        let target = Target { kind, word: &name, project: args.project.name() };
        let document = client.revert(target, args.to, write).await?;
        let how = if write.is_trial { " (tried, not done)" } else { "" };
        let text = format!("{} is as it was at version {}{how}\n", shown(kind, &document), args.to);
        written(data(&plain(&text)))
    })
}
