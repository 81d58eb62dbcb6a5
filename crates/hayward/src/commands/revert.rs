//! `hayward revert`: a resource as it was at a version.

use hayward_client::Write;

use crate::documents::shown;
use crate::failure::Failure;
use crate::output::{data, plain, written};
use crate::server::{ProjectArg, ServerArgs, block_on, target};
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
    #[arg(long, value_name = "VERSION", value_parser = version)]
    to: u64,

    #[command(flatten)]
    trial: TrialArg,

    #[command(flatten)]
    project: ProjectArg,

    #[command(flatten)]
    server: ServerArgs,
}

fn version(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "use a number that `hayward history` shows as VERSION".to_owned())
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (kind, name) = args.project.one(&args.words)?;
    let trial = args.trial.trial();
    if trial == Trial::Client {
        return Err(words::usage("only the server knows what was: say `--dry-run=server`".to_owned()));
    }
    let write = Write { is_trial: trial == Trial::Server, precondition: None };
    let client = args.server.client()?;
    block_on(async {
        let target = target(&client, (kind, &name), &args.project).await?;
        let document = client.revert(target, args.to, write).await?;
        let how = if write.is_trial { " (tried, not done)" } else { "" };
        let text = format!("{} is as it was at version {}{how}\n", shown(kind, &document), args.to);
        written(data(&plain(&text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_version_is_told_where_versions_are_shown() {
        assert_eq!(version("21"), Ok(21));
        for bad in ["x", "-1", ""] {
            assert!(version(bad).unwrap_err().contains("hayward history"), "{bad}");
        }
    }
}
