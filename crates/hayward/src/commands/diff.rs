//! `hayward diff`: what `apply` would change, line by line.

use hayward_api::kinds::{Sensitive, find};
use hayward_client::{Action, AppliedOne, Applying};
use serde_json::Value;

use crate::documents::stripped;
use crate::failure::Failure;
use crate::manifest::{self, Empty, FilesArg};
use crate::output::diff::unified;
use crate::output::{data, plain, written};
use crate::server::{ProjectArg, ServerArgs, block_on};
use crate::writing::{ManagerArg, title};

/// Shows what `hayward apply` of the same files would change; exits with 1 if that is anything, and with more if it failed.
///
/// The server says what it would do, so that members which others set are seen as they are. Values of secrets are never
/// shown.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    files: FilesArg,

    /// Shows what `apply --prune` would delete, too, of those with the labels of `-l`
    #[arg(long, requires = "selector")]
    prune: bool,

    /// Labels of what may be pruned
    #[arg(long, short = 'l', value_name = "LABELS")]
    selector: Option<String>,

    #[command(flatten)]
    by: ManagerArg,

    #[command(flatten)]
    project: ProjectArg,

    #[command(flatten)]
    server: ServerArgs,
}

/// What it exits with where another command would exit with 1, which says here that things differ.
const FAILED: u8 = 2;

pub(crate) fn run(args: &Args) -> Result<Difference, Failure> {
    compared(args).map_err(apart)
}

fn apart(failure: Failure) -> Failure {
    Failure { exit_code: if failure.exit_code == 1 { FAILED } else { failure.exit_code }, ..failure }
}

fn compared(args: &Args) -> Result<Difference, Failure> {
    let manifests = args.files.read(&args.project, Empty::where_pruned(args.prune))?;
    let applying = Applying {
        is_trial: true,
        prune: args.selector.clone().filter(|_| args.prune),
        manager: Some(args.by.manager.clone()),
    };
    let client = args.server.client()?;
    block_on(async {
        let applied = client.apply(&manifest::lists(&manifests), &applying).await;
        let applied = applied.map_err(|error| manifest::placed(&manifests, error))?;
        let changed: Vec<&AppliedOne> =
            applied.results.iter().filter(|one| one.action != Action::Unchanged).collect();
        for one in &changed {
            written(text(one).and_then(|text| data(&plain(&text))))?;
        }
        Ok(if changed.is_empty() { Difference::None } else { Difference::Some })
    })
}

/// Whether anything is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    None,
    Some,
}

fn text(one: &AppliedOne) -> std::io::Result<String> {
    let kind = find(&one.kind);
    let plain = |document: &Option<Value>| match (document, kind) {
        (Some(document), Some(kind)) => stripped(kind, document),
        (document, _) => document.clone().unwrap_or(Value::Null),
    };
    let (before, after) = (plain(&one.before), plain(&one.after));
    let name = format!("{}/{}", one.kind, one.name);
    let text = unified((&format!("live/{name}"), &format!("wanted/{name}")), &before, &after)?;
    if !text.is_empty() {
        return Ok(text);
    }
    let is_secret = kind.is_some_and(|kind| {
        !kind.sensitive.is_empty() && !matches!(kind.sensitive, [Sensitive::Password(_)])
    });
    let what = if is_secret { "values differ, which are not shown" } else { "it would be written again" };
    Ok(format!("{}: {what}\n", title(one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_never_exits_as_a_difference_does() {
        let failed =
            |exit_code| apart(Failure { error: anyhow::anyhow!("x"), hint: None, exit_code }).exit_code;
        assert_eq!([1, 2, 3, 4, 5, 78].map(failed), [2, 2, 3, 4, 5, 78]);
    }
}
