//! `hayward audit verify`, `checkpoint`, `export`, `key rotate`: what proves a record.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use hayward_audit::{CheckpointFile, Evidence, PUBLIC_KEY, PublicKey, Report, newest_checkpoint};

use super::{Folders, Form, show, written};
use crate::config::AllLimits;
use crate::failure::Failure;
use crate::output;
use crate::stack::{acquire, open_record, unrecorded};

/// How often a record is checked that its daemon changes meanwhile.
const ATTEMPTS: u32 = 3;

#[derive(clap::Args)]
pub(super) struct VerifyArgs {
    /// Files of a record, oldest first, or folders that hold one; the data directory's own if none is named
    files: Vec<PathBuf>,
    /// Copy of a checkpoint that was kept elsewhere; may be repeated
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// Public key of the node, or a file with one on each line; may be repeated: then only these count, else also those
    /// that rotations lead to from it. Each must have signed something
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Form of the output
    #[arg(long, short, value_enum, default_value = "table")]
    output: Form,
}

#[derive(clap::Args)]
pub(super) struct CheckpointArgs {
    /// File that the checkpoint is written to instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(super) struct ExportArgs {
    /// Folder that is made and filled
    into: PathBuf,
}

pub(super) fn verify(args: &VerifyArgs, folders: &Folders) -> Result<(), Failure> {
    let report = checked(args, folders)?;
    show(args.output, &report, || told(&report))?;
    if report.is_sound {
        return Ok(());
    }
    let count = report.findings.len() as u64 + report.more_findings;
    Err(Failure::from(anyhow!("the record is not as it was written: {count} findings"))
        .hint("keep a copy as it is; what stands before the first finding is sound"))
}

/// Checks; once more if the daemon began or deleted a file meanwhile.
fn checked(args: &VerifyArgs, folders: &Folders) -> Result<Report, Failure> {
    let known = known(args, folders)?;
    let mut before = evidence(args, folders, &known)?;
    for _ in 1..ATTEMPTS {
        let report = hayward_audit::verify(&before);
        let after = evidence(args, folders, &known)?;
        if report.as_ref().is_ok_and(|report| report.is_sound) || after.files == before.files {
            return report.map_err(unrecorded);
        }
        before = after;
    }
    hayward_audit::verify(&before).map_err(unrecorded)
}

/// What is known from elsewhere: the keys and the copies of checkpoints. Read once, since either may be a pipe.
fn known(args: &VerifyArgs, folders: &Folders) -> Result<Evidence, Failure> {
    let copies = args.checkpoints.iter().map(|path| CheckpointFile::kept(path).map(Arc::new));
    let unfit =
        |error| unrecorded(error).hint("name a file that `hayward audit checkpoint --out` wrote, as it was");
    let copies = copies.collect::<Result<_, _>>().map_err(unfit)?;
    let has_named_keys = !args.keys.is_empty();
    Ok(Evidence { keys: keys(args, folders)?, has_named_keys, copies, ..Evidence::default() })
}

fn evidence(args: &VerifyArgs, folders: &Folders, known: &Evidence) -> Result<Evidence, Failure> {
    let mut evidence = known.clone();
    let own = folders.audit();
    let paths = if args.files.is_empty() { std::slice::from_ref(&own) } else { &args.files };
    for path in paths {
        evidence.add(path).map_err(unrecorded)?;
    }
    let has_checkpoints = !evidence.checkpoints.is_empty() || !evidence.copies.is_empty();
    if evidence.keys.is_empty() && has_checkpoints {
        return Err(Failure::configuration(anyhow!("checkpoints prove nothing without the key of the node"))
            .hint("name it with `--key`; `hayward audit key` prints it on the node"));
    }
    Ok(evidence)
}

/// The keys that were named; else that of the data directory, or, for one folder alone, the one that lies in it.
fn keys(args: &VerifyArgs, folders: &Folders) -> Result<Vec<PublicKey>, Failure> {
    if !args.keys.is_empty() {
        let named = args.keys.iter().map(|named| match named.parse() {
            Ok(key) => Ok(vec![key]),
            Err(_) => PublicKey::read_all(Path::new(named)).map_err(unrecorded),
        });
        return Ok(named.collect::<Result<Vec<_>, _>>()?.concat());
    }
    if args.files.is_empty() {
        return folders.key().map(|key| vec![key]);
    }
    let [folder] = &args.files[..] else { return Ok(Vec::new()) };
    let path = folder.join(PUBLIC_KEY);
    if !path.exists() {
        return Ok(Vec::new());
    }
    output::tell(
        "note: the key lies beside the record: compare it with the node's, or name that with `--key`\n",
    );
    PublicKey::read_all(&path).map_err(unrecorded)
}

/// A report for people.
fn told(report: &Report) -> String {
    let mut text = String::new();
    let place = |file: &str, line: u64, seq: Option<u64>| {
        let line = if line > 0 { format!(":{line}") } else { String::new() };
        let seq = seq.map(|seq| format!(" (record {seq})")).unwrap_or_default();
        if file.is_empty() { String::new() } else { format!("{file}{line}{seq}: ") }
    };
    for finding in &report.findings {
        let place = place(&finding.file, finding.line, finding.seq);
        text += &format!("fault: {place}{} [{}]\n", finding.what, finding.kind);
    }
    if report.more_findings > 0 {
        text += &format!("fault: and {} more\n", report.more_findings);
    }
    for note in &report.notes {
        text += &format!("note: {}{}\n", place(&note.file, note.line, note.seq), note.what);
    }
    text + &summary(report)
}

fn summary(report: &Report) -> String {
    let verdict = if report.is_sound { "sound" } else { "NOT SOUND" };
    let mut text = format!("{verdict}: {} records in {} files", report.records, report.files);
    if let (Some(first), Some(last)) = (report.first_seq, report.last_seq) {
        text += &format!(", {first} to {last}");
    }
    match (report.signed_to, &report.signed_at) {
        (Some(seq), Some(time)) => {
            let unsigned = report.unsigned;
            write!(text, "; signed to {seq} at {time}, {unsigned} behind it").expect("memory takes it");
        }
        _ => text += "; nothing is signed",
    }
    text + "\n"
}

pub(super) fn checkpoint(args: &CheckpointArgs, folders: &Folders) -> Result<(), Failure> {
    match acquire(&folders.data) {
        Ok(data) => drop(open_record(&data, &AllLimits::read(&[])?)?),
        Err(locked) if locked.is_held => {
            output::tell("note: a daemon has the data directory: this is the last checkpoint that it made\n");
        }
        Err(locked) => return Err(locked.into()),
    }
    let newest = newest_checkpoint(&folders.audit()).map_err(unrecorded)?;
    let line = newest.ok_or_else(|| Failure::unavailable(anyhow!("there is no checkpoint yet")))?;
    match &args.out {
        None => written(output::data(&line)),
        Some(path) => {
            crate::stack::step(std::fs::write(path, line), || format!("failed to write `{}`", path.display()))
        }
    }
}

pub(super) fn export(args: &ExportArgs, folders: &Folders) -> Result<(), Failure> {
    let key = folders.key()?;
    hayward_audit::export(&folders.audit(), &key, &args.into).map_err(unrecorded)?;
    let mut evidence = Evidence { keys: vec![key], ..Evidence::default() };
    evidence.add(&args.into).map_err(unrecorded)?;
    let report = hayward_audit::verify(&evidence).map_err(unrecorded)?;
    written(output::data(&format!("{}: {}", args.into.display(), summary(&report))))
}

/// Hands the record over to a fresh key, and prints its public half.
pub(super) fn rotate_key(folders: &Folders) -> Result<(), Failure> {
    let data = acquire(&folders.data)?;
    let (log, _) = open_record(&data, &AllLimits::read(&[])?)?;
    let key = log.rotate_key().map_err(unrecorded)?;
    written(output::data(&format!("{key}\n")))
}
