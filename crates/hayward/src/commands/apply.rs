//! `hayward apply`: makes the world what files say, all of it or nothing.

use hayward_client::Applying;

use crate::failure::Failure;
use crate::manifest::{self, Empty, FilesArg, Manifest};
use crate::output::{data, plain, tell, written};
use crate::server::{ProjectArg, ServerArgs, block_on};
use crate::writing::{ManagerArg, ResultForm, Trial, TrialArg, results, warn};

/// Makes the world what files say: all of it, or nothing if anything is wrong.
///
/// Members that somebody else set are kept, unless the files say otherwise. Files hold lists by kind (`servers:`,
/// `secrets:`, …), as `hayward get -o yaml` shows them; the order doesn't matter.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    files: FilesArg,

    #[command(flatten)]
    trial: TrialArg,

    /// Deletes what was applied before and isn't in the files any more, of those with the labels of `-l`
    #[arg(long, requires = "selector")]
    prune: bool,

    /// Labels of what may be pruned
    #[arg(long, short = 'l', value_name = "LABELS")]
    selector: Option<String>,

    #[command(flatten)]
    by: ManagerArg,

    /// Form in which it is told what was done
    #[arg(long, short, value_enum, value_name = "FORM", default_value = "text")]
    output: ResultForm,

    #[command(flatten)]
    project: ProjectArg,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let manifests = args.files.read(&args.project, Empty::where_pruned(args.prune))?;
    if manifests.is_empty() && !args.prune {
        tell("the files hold no document: nothing to do\n");
        return Ok(());
    }
    let trial = args.trial.trial();
    if trial == Trial::Client {
        let line = |manifest: &Manifest| {
            format!("{}/{} is sound (checked here)\n", manifest.kind.name, manifest.name())
        };
        return written(data(&plain(&manifests.iter().map(line).collect::<String>())));
    }
    let applying = Applying {
        is_trial: trial == Trial::Server,
        prune: args.selector.clone().filter(|_| args.prune),
        manager: Some(args.by.manager.clone()),
    };
    if args.selector.is_some() && !args.prune {
        tell("note: `-l` says what `--prune` may delete, and there is no `--prune`\n");
    }
    let client = args.server.client()?;
    block_on(async {
        let applied = client.apply(&manifest::lists(&manifests), &applying).await;
        let applied = applied.map_err(|error| manifest::placed(&manifests, error))?;
        for manifest in &manifests {
            warn(manifest.kind, &manifest.document);
        }
        results(&applied, args.output, if applying.is_trial { " (tried, not done)" } else { "" })
    })
}
