//! The hidden command that shells ask which words can follow: kinds, and names that the server knows. It fails silently.

use std::time::Duration;

use hayward_api::kinds::{KINDS, Scope};
use hayward_client::Selection;

use crate::documents::name;
use crate::failure::Failure;
use crate::output::{data, plain, written};
use crate::server::{ServerArgs, block_on};
use crate::words;

/// How long a shell waits for names.
const PATIENCE: Duration = Duration::from_millis(800);
/// Names that a shell is given.
const NAMES_MAX: usize = 500;

/// The commands whose next words are a kind and names.
const ABOUT_RESOURCES: [&str; 7] = ["get", "describe", "edit", "patch", "delete", "history", "revert"];

/// Prints the words that can follow.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The words of the command line, the last one unfinished
    #[arg(num_args = 0.., allow_hyphen_values = true, trailing_var_arg = true)]
    words: Vec<String>,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let candidates = candidates(args).unwrap_or_default();
    if candidates.is_empty() {
        return Ok(());
    }
    written(data(&plain(&(candidates.join("\n") + "\n"))))
}

/// The candidates, if the words are those of a command about resources.
fn candidates(args: &Args) -> Option<Vec<String>> {
    let (last, before) = args.words.split_last()?;
    let (command, before) = before.split_first()?;
    if !ABOUT_RESOURCES.contains(&command.as_str()) || last.starts_with('-') {
        return None;
    }
    // What begins with `-` and stands before may have a value: then only the static words are offered.
    let project = project(before);
    let plain: Vec<&String> = before.iter().filter(|word| !word.starts_with('-')).collect();
    let takes_value = before.last().is_some_and(|word| word.starts_with('-') && !word.contains('='));
    if takes_value {
        return None;
    }
    match (last.split_once('/'), plain.first()) {
        (Some((kind, prefix)), _) => {
            let names = names(args, kind, prefix, project)?;
            Some(names.into_iter().map(|name| format!("{kind}/{name}")).collect())
        }
        (None, None) => Some(kinds(last)),
        (None, Some(kind)) => names(args, kind, last, project),
    }
}

fn project(words: &[String]) -> Option<String> {
    let at = words.iter().position(|word| word == "-p" || word == "--project")?;
    words.get(at + 1).cloned()
}

fn kinds(prefix: &str) -> Vec<String> {
    let all = KINDS.iter().map(|kind| kind.plural).chain([words::ALL]);
    all.filter(|word| word.starts_with(prefix)).map(str::to_owned).collect()
}

fn names(args: &Args, kind: &str, prefix: &str, project: Option<String>) -> Option<Vec<String>> {
    let kind = words::kind(kind).ok()?;
    let client = args.server.client().ok()?;
    let project = project.filter(|_| kind.scope != Scope::System);
    let selection = Selection { project, labels: None, fields: None };
    let listed = block_on(async {
        let listed = tokio::time::timeout(PATIENCE, client.list(kind, &selection)).await;
        Ok(listed.ok().and_then(Result::ok))
    });
    let items = listed.ok()??.items;
    let names = items.iter().map(|document| name(kind, document)).filter(|name| name.starts_with(prefix));
    Some(names.take(NAMES_MAX).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_offered_where_a_kind_stands() {
        assert!(kinds("tok").contains(&"tokens".to_owned()) && kinds("x").is_empty());
        assert_eq!(project(&["-p".to_owned(), "home".to_owned()]).as_deref(), Some("home"));
    }
}
