//! `hayward audit`: reads, checks, signs and prunes the record of a data directory.
//!
//! Whatever reads needs no lock, so it works beside a running daemon, and on a copy. Only what writes takes the
//! directory.

mod keep;
mod prove;
mod read;

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use hayward_audit::PublicKey;

use crate::config::Common;
use crate::failure::Failure;
use crate::output;
use crate::stack::unrecorded;

/// Reads, checks, signs and prunes the record.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Action {
    /// Shows the last calls
    Tail(read::TailArgs),
    /// Shows the calls that are asked for
    Query(read::QueryArgs),
    /// Shows one call with all that is known of it
    Show(read::ShowArgs),
    /// Checks that nobody has changed, deleted, moved or added anything; exits with 1 if somebody has
    Verify(prove::VerifyArgs),
    /// Signs all up to now, and prints the newest checkpoint
    Checkpoint(prove::CheckpointArgs),
    /// Prints the public key that checks the signatures
    Key,
    /// Copies the record with all that proves it into a fresh folder
    Export(prove::ExportArgs),
    /// Deletes the oldest files
    Prune(keep::PruneArgs),
}

/// The forms of an answer.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Json,
    Yaml,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let _log = args.common.start_log()?;
    let folders = Folders { data: args.common.data_dir()? };
    match args.action {
        Action::Tail(args) => read::tail(&args, &folders),
        Action::Query(args) => read::query(&args, &folders),
        Action::Show(args) => read::show(&args, &folders),
        Action::Verify(args) => prove::verify(&args, &folders),
        Action::Checkpoint(args) => prove::checkpoint(&args, &folders),
        Action::Key => written(output::data(&format!("{}\n", folders.key()?))),
        Action::Export(args) => prove::export(&args, &folders),
        Action::Prune(args) => keep::prune(&args, &folders),
    }
}

/// Where the record and its keys lie in a data directory.
struct Folders {
    data: PathBuf,
}

impl Folders {
    fn audit(&self) -> PathBuf {
        self.data.join("audit")
    }

    /// The public key; there is none before the first start.
    fn key(&self) -> Result<PublicKey, Failure> {
        let keys = self.data.join("keys");
        let key = hayward_audit::Keys::public_of(&keys).map_err(unrecorded)?;
        key.ok_or_else(|| {
            Failure::from(hayward_api::Error::new(
                hayward_api::Code::NotFound,
                format!("there is no key in `{}`", keys.display()),
            ))
            .hint("name the data directory with `--data-dir`; its first daemon makes the key")
        })
    }
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    Ok(result.context("failed to write the answer")?)
}

/// Writes a value in this form, as a table of these rows.
fn show<T: serde::Serialize>(form: Form, value: &T, table: impl FnOnce() -> String) -> Result<(), Failure> {
    written(match form {
        Form::Table => output::data(&plain(&table())),
        Form::Json => json(value, serde_json::to_string_pretty).and_then(|text| output::data(&(text + "\n"))),
        Form::Yaml => yaml(value).and_then(|text| output::data(&text)),
    })
}

/// JSON without characters that steer a terminal: what a client sent is in it.
fn json<T: serde::Serialize>(
    value: &T,
    write: impl FnOnce(&T) -> serde_json::Result<String>,
) -> io::Result<String> {
    Ok(hayward_audit::escaped(write(value)?))
}

/// YAML without such characters.
fn yaml<T: serde::Serialize>(value: &T) -> io::Result<String> {
    serde_saphyr::to_string(value).map(|text| plain(&text)).map_err(io::Error::other)
}

/// Text for people, without such characters.
fn plain(text: &str) -> String {
    let steers = |c: char| hayward_audit::is_control(c) || (c.is_control() && c != '\n');
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_steers_no_terminal() {
        let evil = "a\u{1b}[2J\u{9b}\u{202e}b\n\u{7f}ä";
        let is_safe = |text: &str| !text.chars().any(|c| "\u{1b}\u{9b}\u{202e}\u{7f}".contains(c));
        let written = json(&evil, serde_json::to_string).unwrap();
        assert!(is_safe(&written) && serde_json::from_str::<String>(&written).unwrap() == evil, "{written}");
        assert!(is_safe(&yaml(&evil).unwrap()) && is_safe(&plain(evil)));
        assert!(plain(evil).ends_with("ä") && plain(evil).contains('\n'));
    }
}
