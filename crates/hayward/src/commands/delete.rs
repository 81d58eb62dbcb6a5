//! `hayward delete`: resources by name, by label, or those of files.

mod companions;

use std::io::{self, BufRead, IsTerminal};

use hayward_api::Code;
use hayward_api::kinds::Descriptor;
use hayward_client::{Client, Target, Write};
use serde_json::Value;

use crate::documents::shown;
use crate::documents::{name, project};
use crate::failure::Failure;
use crate::manifest::{self, Empty};
use crate::output::{data, plain, tell, written};
use crate::server::{Meant, ProjectArg, ServerArgs, block_on, found};
use crate::words::usage;
use crate::writing::{Trial, TrialArg};

/// Deletes resources: those that are named, those with labels, those of files.
///
/// Of several, those that can be are deleted, and it is told which are not there or can't be. What others refer to is not
/// deleted without --detach, and it is told who does. A built-in resource is reset. With a project go its prompts and prompt
/// requests, which are told, also by --dry-run.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Args {
    /// KIND NAME… or KIND/NAME…; names may be ids or patterns
    #[arg(value_name = "RESOURCE", required_unless_present = "files")]
    words: Vec<String>,

    /// File or directory whose resources are deleted; may be repeated
    #[arg(long = "filename", short = 'f', value_name = "FILE", conflicts_with = "words")]
    files: Vec<String>,

    /// Those with these labels
    #[arg(long, short = 'l', value_name = "LABELS")]
    selector: Option<String>,

    /// All of the kind
    #[arg(long, conflicts_with_all = ["selector", "files"])]
    all: bool,

    /// Doesn't ask whether all are meant
    #[arg(long, short)]
    yes: bool,

    /// Takes it out of what refers to it, too
    #[arg(long)]
    detach: bool,

    /// What isn't there is no failure
    #[arg(long)]
    ignore_not_found: bool,

    #[command(flatten)]
    trial: TrialArg,

    #[command(flatten)]
    project: ProjectArg,

    #[command(flatten)]
    server: ServerArgs,
}

/// The way out where others refer to what is to go.
const DETACH: &str = "delete or change those, or say `--detach`, which takes it out of them";

/// A resource that is to go.
struct Doomed {
    kind: &'static Descriptor,
    document: Value,
}

/// What is to go, and what should and isn't there.
#[derive(Default)]
struct Marked {
    doomed: Vec<Doomed>,
    missing: Vec<Failure>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.server.client()?;
    block_on(async {
        let Marked { doomed, missing: mut failures } =
            if args.files.is_empty() { named(&client, args).await? } else { of_files(args)? };
        if args.all && !args.yes && !doomed.is_empty() {
            confirm(&doomed)?;
        }
        let of = doomed.len() + failures.len();
        for one in &doomed {
            failures.extend(delete(&client, one, args).await.err());
        }
        told(failures, of)
    })
}

/// Tells what failed of so many.
fn told(mut failures: Vec<Failure>, of: usize) -> Result<(), Failure> {
    if of == 1 {
        return failures.pop().map_or(Ok(()), Err);
    }
    for failure in &failures {
        crate::output::failure(failure);
    }
    let error = || anyhow::anyhow!("not everything was deleted");
    let first = failures.first().map(|failure| failure.exit_code);
    first.map_or(Ok(()), |exit_code| Err(Failure { error: error(), hint: None, exit_code }))
}

async fn named(client: &Client, args: &Args) -> Result<Marked, Failure> {
    let all = args.project.wanted(&args.words)?;
    let is_bounded = args.all || args.selector.is_some() || all.iter().all(|wanted| !wanted.names.is_empty());
    if !is_bounded {
        return Err(usage("no name is given".to_owned()).hint("name some, or say `-l LABELS` or `--all`"));
    }
    let meant =
        Meant { project: &args.project, labels: args.selector.as_deref(), fields: None, only: Vec::new() };
    let mut marked = Marked::default();
    // What refers to others goes first.
    for wanted in all.iter().rev() {
        let found = match found(client, wanted, &meant).await {
            Err(error) if args.ignore_not_found && error.code() == Code::NotFound => continue,
            found => found?,
        };
        let doomed = found.documents.into_iter().map(|document| Doomed { kind: wanted.kind, document });
        marked.doomed.extend(doomed);
        if !args.ignore_not_found {
            marked.missing.extend(found.missing);
        }
    }
    if marked.doomed.is_empty() && marked.missing.is_empty() {
        tell("nothing found\n");
    }
    Ok(marked)
}

fn of_files(args: &Args) -> Result<Marked, Failure> {
    let mut manifests = manifest::read(&args.files, &args.project, Empty::Taken)?;
    manifests.sort_by_key(|manifest| std::cmp::Reverse(manifest.kind.order));
    let doomed =
        manifests.into_iter().map(|manifest| Doomed { kind: manifest.kind, document: manifest.document });
    Ok(Marked { doomed: doomed.collect(), missing: Vec::new() })
}

fn confirm(doomed: &[Doomed]) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(
            usage("there is no terminal to ask on whether all are meant".to_owned()).hint("say `--yes`")
        );
    }
    tell(&format!("delete all {} of them? Type yes: ", doomed.len()));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(anyhow::Error::from)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(usage("nothing was deleted".to_owned())) }
}

async fn delete(client: &Client, one: &Doomed, args: &Args) -> Result<(), Failure> {
    let Doomed { kind, document } = one;
    let trial = args.trial.trial();
    // An id says all of it; a name is one of a project.
    let (word, project) = match document.get("id").and_then(Value::as_str) {
        Some(id) => (id, None),
        None => (name(kind, document), project(kind, document)),
    };
    let companions =
        if trial == Trial::Client { Vec::new() } else { companions::of(client, kind, document).await };
    if trial != Trial::Client {
        let write = Write { is_trial: trial == Trial::Server, precondition: None };
        let target = Target { kind, word, project };
        let done =
            if args.detach { client.detach(target, write).await } else { client.delete(target, write).await };
        match done {
            Err(error) if args.ignore_not_found && error.code() == Code::NotFound => return Ok(()),
            Err(error) if !args.detach && error.code() == Code::Conflict => {
                return Err(Failure::from(error).hint(DETACH));
            }
            done => done?,
        }
    }
    let what = if document.get("builtin") == Some(&Value::Bool(true)) { "reset" } else { "deleted" };
    let how = if trial == Trial::None { "" } else { " (tried, not done)" };
    let gone = [format!("{} {what}{how}\n", shown(kind, document))].into_iter();
    let with_it = companions.iter().map(|title| format!("{title} deleted with it{how}\n"));
    written(data(&plain(&gone.chain(with_it).collect::<String>())))
}
