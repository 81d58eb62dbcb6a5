//! The hidden command that shells ask which words can follow: kinds, names that the server knows, values of flags. It fails silently.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Arg, Command};
use hayward_api::kinds::{Descriptor, KINDS};
use hayward_client::Selection;
use serde_json::Value;

use crate::config::keys::Keys;
use crate::documents::name;
use crate::failure::Failure;
use crate::output::documents::FORMS;
use crate::output::{data, plain, written};
use crate::server::{ServerArgs, block_on, has_some};
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

/// The candidates, if the words are such that the server or this program knows what follows.
fn candidates(args: &Args) -> Option<Vec<String>> {
    let (last, before) = args.words.split_last()?;
    let root = crate::line();
    let line = Line::read(&root, before);
    if let Some(arg) = line.open {
        return of_flag(args, &line, arg, last);
    }
    if let Some((flag, value)) = last.strip_prefix("--").and_then(|flag| flag.split_once('=')) {
        let found = of_flag(args, &line, line.long(flag)?, value)?;
        return Some(found.into_iter().map(|value| format!("--{flag}={value}")).collect());
    }
    if last.starts_with('-') {
        return None;
    }
    match line.path()[..] {
        ["config", "set"] if line.plain.is_empty() => {
            let keys = Keys::of(&root);
            Some(beginning(keys.iter().map(|key| key.name.clone()), last))
        }
        ["approve" | "authorize" | "logs"] if line.plain.is_empty() => names(args, &line, "servers", last),
        [command] if ABOUT_RESOURCES.contains(&command) => resources(args, &line, last),
        _ => None,
    }
}

/// The words before the one that is completed.
struct Line<'a> {
    /// The commands that they name, the outermost first.
    commands: Vec<&'a Command>,
    /// Those that are no flags, no values of flags and no commands.
    plain: Vec<&'a str>,
    /// The project that they name.
    project: Option<String>,
    /// What flags among them say, by their ids.
    said: Vec<(&'a str, &'a str)>,
    /// The flag whose value comes next.
    open: Option<&'a Arg>,
}

impl<'a> Line<'a> {
    fn read(root: &'a Command, words: &'a [String]) -> Self {
        let mut line =
            Self { commands: vec![root], plain: Vec::new(), project: None, said: Vec::new(), open: None };
        for word in words {
            line.take(word);
        }
        line
    }

    fn take(&mut self, word: &'a str) {
        if let Some(arg) = self.open.take() {
            self.value(arg, word);
        } else if let Some(flag) = word.strip_prefix("--") {
            match flag.split_once('=') {
                Some((flag, value)) => self.long(flag).into_iter().for_each(|arg| self.value(arg, value)),
                None => self.open = self.long(flag).filter(|arg| takes_value(arg)),
            }
        } else if let Some(short) = word.strip_prefix('-') {
            let is = |arg: &&Arg| short.chars().eq(arg.get_short());
            self.open = self.flag(is).filter(|arg| takes_value(arg));
        } else if let Some(command) = self.commands.last().and_then(|last| last.find_subcommand(word)) {
            self.commands.push(command);
        } else {
            self.plain.push(word);
        }
    }

    fn value(&mut self, arg: &'a Arg, value: &'a str) {
        match arg.get_id().as_str() {
            "project" => self.project = Some(value.to_owned()),
            flag => self.said.push((flag, value)),
        }
    }

    /// A flag of these commands, the innermost first.
    fn flag(&self, is: impl Fn(&&'a Arg) -> bool) -> Option<&'a Arg> {
        self.commands.iter().rev().find_map(|command| command.get_arguments().find(&is))
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        self.flag(|arg| arg.get_long() == Some(name))
    }

    /// The names of the commands, without that of the program.
    fn path(&self) -> Vec<&'a str> {
        self.commands[1..].iter().map(|command| command.get_name()).collect()
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

fn beginning(words: impl IntoIterator<Item = String>, prefix: &str) -> Vec<String> {
    words.into_iter().filter(|word| word.starts_with(prefix)).collect()
}

/// The values of a flag.
fn of_flag(args: &Args, line: &Line<'_>, arg: &Arg, prefix: &str) -> Option<Vec<String>> {
    let known = arg.get_possible_values();
    match arg.get_id().as_str() {
        _ if !known.is_empty() => {
            let shown = known.iter().filter(|value| !value.is_hide_set());
            Some(beginning(shown.map(|value| value.get_name().to_owned()), prefix))
        }
        "project" => names(args, line, "projects", prefix),
        "output" => {
            let left_out: &[&str] = match line.path().first() {
                Some(&"describe") => &["wide", "name"],
                Some(&"create") => &["table", "wide"],
                _ => &[],
            };
            let forms = FORMS.iter().filter(|form| !left_out.contains(form));
            Some(beginning(forms.map(|form| (*form).to_owned()), prefix))
        }
        "selector" => labels(args, line, prefix),
        _ => None,
    }
}

/// Labels that resources of the kind have, behind those that are there already.
fn labels(args: &Args, line: &Line<'_>, prefix: &str) -> Option<Vec<String>> {
    let kind = line.plain.first()?.split([',', '/']).next()?;
    let (before, last) = prefix
        .rsplit_once(',')
        .map_or(("", prefix), |(_, last)| (&prefix[..prefix.len() - last.len()], last));
    let documents = documents(args, line, kind)?.1;
    let members = documents.iter().filter_map(|document| document.get("labels")?.as_object()).flatten();
    let pair = |(key, value): (&String, &Value)| Some(format!("{key}={}", value.as_str()?));
    let pairs: BTreeSet<String> = members.filter_map(pair).collect();
    let found = beginning(pairs, last).into_iter().take(NAMES_MAX);
    Some(found.map(|pair| format!("{before}{pair}")).collect())
}

/// Kinds, and behind a kind names.
fn resources(args: &Args, line: &Line<'_>, last: &str) -> Option<Vec<String>> {
    match (last.split_once('/'), line.plain.first()) {
        (Some((kind, prefix)), _) => {
            let names = names(args, line, kind, prefix)?;
            Some(names.into_iter().map(|name| format!("{kind}/{name}")).collect())
        }
        (None, None) => Some(kinds(last)),
        (None, Some(kind)) => names(args, line, kind, last),
    }
}

fn kinds(prefix: &str) -> Vec<String> {
    let all = KINDS.iter().map(|kind| kind.plural).chain([words::ALL]);
    beginning(all.map(str::to_owned), prefix)
}

fn names(args: &Args, line: &Line<'_>, kind: &str, prefix: &str) -> Option<Vec<String>> {
    let (kind, documents) = documents(args, line, kind)?;
    let names = documents.iter().map(|document| name(kind, document)).filter(|name| name.starts_with(prefix));
    Some(names.take(NAMES_MAX).map(str::to_owned).collect())
}

/// What there is of a kind, if the server that the line means says so in time.
fn documents(args: &Args, line: &Line<'_>, kind: &str) -> Option<(&'static Descriptor, Vec<Value>)> {
    let kind = words::kind(kind).ok()?;
    let mut server = args.server.clone();
    line.said.iter().try_for_each(|(flag, value)| server.take(flag, value)).ok()?;
    let client = server.client().ok()?;
    let project = line.project.clone().filter(|project| !project.is_empty() && has_some(kind));
    let selection = Selection { project, ..Selection::default() };
    let listed = block_on(async {
        let listed = tokio::time::timeout(PATIENCE, client.list(kind, &selection)).await;
        Ok(listed.ok().and_then(Result::ok))
    });
    Some((kind, listed.ok()??.items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_offered_where_a_kind_stands() {
        assert!(kinds("tok").contains(&"tokens".to_owned()) && kinds("x").is_empty());
        let words = ["get", "-o", "json", "-w", "--project=home", "servers", "-p"].map(str::to_owned);
        let root = crate::line();
        let line = Line::read(&root, &words);
        assert_eq!(
            (line.path(), &line.plain[..], line.project.as_deref()),
            (vec!["get"], &["servers"][..], Some("home"))
        );
        assert_eq!(line.open.map(|arg| arg.get_id().as_str()), Some("project"));
    }
}
