//! `hayward audit prune`: deletes the oldest files of a record that no daemon has.

use std::time::Duration;

use hayward_audit::Prune;
use jiff::Timestamp;

use super::{Folders, written};
use crate::config::AllLimits;
use crate::failure::Failure;
use crate::output;
use crate::stack::{acquire, open_record, unrecorded};

#[derive(clap::Args)]
#[group(required = true, multiple = false, id = "which")]
struct Which {
    /// Deletes files that were put aside before this: a time (2026-01-31T00:00:00Z), or so long ago (30d, 12h)
    #[arg(long, value_name = "TIME", value_parser = super::read::time)]
    before: Option<Timestamp>,
    /// Keeps so many of the files put aside
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
}

#[derive(clap::Args)]
pub(super) struct PruneArgs {
    #[command(flatten)]
    which: Which,
    /// Only says what would be deleted
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn prune(args: &PruneArgs, folders: &Folders) -> Result<(), Failure> {
    let data = acquire(&folders.data)?;
    let (log, _) = open_record(&data, &AllLimits::read(&[])?)?;
    let mode = if args.dry_run { Prune::Try } else { Prune::Delete };
    let pruned = match (args.which.keep, args.which.before) {
        (Some(kept), _) => log.prune_to(kept, mode),
        (None, Some(before)) => log.prune_older(age(before), mode),
        (None, None) => Ok(Vec::new()),
    };
    let lines: String = pruned
        .map_err(unrecorded)?
        .iter()
        .map(|number| folders.audit().join(format!("record.{number}.jsonl")).display().to_string() + "\n")
        .collect();
    written(output::data(&lines))
}

/// How long ago that was.
fn age(before: Timestamp) -> Duration {
    Duration::try_from(Timestamp::now().duration_since(before)).unwrap_or_default()
}
