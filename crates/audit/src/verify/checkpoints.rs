//! The checkpoints that a record is held to: each signed, and each naming the one before.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::checkpoint::{Checkpoint, Refused, line_hash};
use crate::error::AuditError;
use crate::hex::Hash;
use crate::reader::read_line;
use crate::record::End;
use crate::walk::Place;

use super::Evidence;
use super::beginning::unsigned_note;
use super::report::{Finding, Note, Report};
use super::trust::Trust;

/// A line that was begun.
const PIECE: &str = "a piece of a checkpoint that a crash left, or that is being written";

/// What is needed of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) end: End,
    pub(super) kept_from: u64,
    pub(super) time: String,
}

/// Reads all of them; those that are none go into the report.
pub(super) fn load(evidence: &Evidence, report: &mut Report) -> Result<Vec<Signed>, AuditError> {
    let (mut signed, trust) = (Vec::new(), Trust::new(evidence)?);
    if !trust.is_empty() {
        for path in &evidence.checkpoints {
            read(path, &trust, &mut signed, report)?;
        }
    }
    if let Some(note) = unsigned_note(!trust.is_empty(), evidence.checkpoints.len()) {
        report.note(Note::at(String::new(), Place::default(), note));
    }
    signed.sort_by_key(|signed| signed.end.seq);
    signed.dedup_by(|later, earlier| later.end == earlier.end && later.kept_from == earlier.kept_from);
    Ok(signed)
}

/// A file of checkpoints.
struct Reading<'a> {
    path: &'a Path,
    /// The hash of the last good line.
    prev: Option<Hash>,
    /// A line that is none, for which the next one decides: what a crash left is not in the chain of the others.
    doubtful: Option<(Place, Refused)>,
}

fn read(path: &Path, trust: &Trust, signed: &mut Vec<Signed>, report: &mut Report) -> Result<(), AuditError> {
    let file = File::open(path).map_err(AuditError::io("open", path))?;
    let (mut input, mut line) = (BufReader::new(file), Vec::new());
    let mut reading = Reading { path, prev: None, doubtful: None };
    let mut place = Place::default();
    while read_line(&mut input, &mut line).map_err(AuditError::io("read", path))? > 0 {
        place.line += 1;
        match trust.check(&line) {
            Ok(checkpoint) => {
                reading.good(&checkpoint, &line, place, report);
                let (end, kept_from) = (checkpoint.end(), checkpoint.kept_from);
                signed.push(Signed { end, kept_from, time: checkpoint.time });
            }
            Err(_) if !line.ends_with(b"\n") => {
                report.note(Note::at(reading.name(), place, PIECE.to_owned()));
            }
            Err(refused) => reading.bad(place, refused, report),
        }
    }
    // Nothing follows the last line any more that could tell.
    if let Some((place, refused)) = reading.doubtful {
        report.find(Finding::checkpoint(reading.name(), place, refused));
    }
    Ok(())
}

impl Reading<'_> {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn good(&mut self, checkpoint: &Checkpoint, line: &[u8], place: Place, report: &mut Report) {
        let place = Place { seq: checkpoint.seq, ..place };
        let follows = self.prev.is_none_or(|prev| prev == checkpoint.prev);
        match self.doubtful.take() {
            Some((place, Refused::NotACheckpoint)) if follows => {
                report.note(Note::at(
                    self.name(),
                    place,
                    "a piece of a checkpoint that a crash left".to_owned(),
                ));
            }
            Some((place, refused)) => report.find(Finding::checkpoint(self.name(), place, refused)),
            None if !follows => report.find(Finding::checkpoint_missing(self.name(), place)),
            None => {}
        }
        if checkpoint.next_key.is_some() && Checkpoint::check_handover(line).is_some() {
            let what = Note::handed_over(&checkpoint.signer(), &checkpoint.signs_next());
            report.note(Note::at(self.name(), place, what));
        }
        self.prev = Some(line_hash(line));
    }

    fn bad(&mut self, place: Place, refused: Refused, report: &mut Report) {
        if let Some((place, refused)) = self.doubtful.replace((place, refused)) {
            report.find(Finding::checkpoint(self.name(), place, refused));
        }
    }
}
