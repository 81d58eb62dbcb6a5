//! `hayward audit`: reads, checks, signs and prunes the record of a data directory.
//!
//! Whatever reads needs no lock, so it works beside a running daemon, and on a copy. Only what writes takes the
//! directory.

mod keep;
mod prove;
mod read;

use std::path::PathBuf;

use clap::Subcommand;
use hayward_audit::{Call, PublicKey};
use hayward_exec::{Label, Spool};

use crate::config::Common;
use crate::failure::Failure;
use crate::output::{self, Form, plain, safe_json as json, show, written, yaml};
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
    Key(KeyArgs),
    /// Copies the record with all that proves it into a fresh folder
    Export(prove::ExportArgs),
    /// Deletes the oldest files
    Prune(keep::PruneArgs),
}

#[derive(clap::Args)]
struct KeyArgs {
    #[command(subcommand)]
    action: Option<KeyAction>,
}

#[derive(Subcommand)]
enum KeyAction {
    /// Makes a fresh key that signs from now on, lets the old one vouch for it, and prints its public half
    Rotate,
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
        Action::Key(KeyArgs { action: None }) => written(output::data(&format!("{}\n", folders.key()?))),
        Action::Key(KeyArgs { action: Some(KeyAction::Rotate) }) => prove::rotate_key(&folders),
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

    /// Where output of a command is, if it ran for long and its daemon died.
    fn outputs(&self, call: &Call) -> Vec<PathBuf> {
        let label = Label::of_call(call.seq(), &call.text("request_id"));
        Spool::new(self.data.join("spool")).outputs(&label)
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
