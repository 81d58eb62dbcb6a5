//! The checkpoints that a record is held to: each signed, and each naming the one before.

use std::path::Path;

use crate::checkpoint::Refused;
use crate::error::AuditError;
use crate::hex::Hash;
use crate::record::End;
use crate::walk::Place;

use super::Evidence;
use super::beginning::unsigned_note;
use super::lines::{CheckpointFile, NotSaid, Said};
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
    let own = evidence.checkpoints.iter().map(|path| CheckpointFile::read(path));
    let own = own.collect::<Result<Vec<_>, _>>()?;
    let copies = || evidence.copies.iter().map(AsRef::as_ref);
    let files = || own.iter().chain(copies());
    let (mut signed, trust) = (Vec::new(), Trust::new(&evidence.keys, files()));
    if !trust.is_empty() {
        // Those of the record are all there are: what was before the first of them is known.
        let own = own.iter().map(|file| (file, Some(Hash::ZERO)));
        for file in own.chain(copies().map(|file| (file, None))) {
            judge(file, &trust, &mut signed, report);
        }
    }
    // Of some files without their checkpoints nobody can tell.
    if evidence.has_named_keys && !(evidence.is_part && evidence.checkpoints.is_empty()) {
        for key in trust.silent(&evidence.keys, files()) {
            report.find(Finding::signed_nothing(&key));
        }
    }
    if let Some(note) = unsigned_note(!trust.is_empty(), files().count()) {
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

/// Judges the lines of a file, which begins behind a line of this hash, if that is known.
fn judge(
    (file, prev): (&CheckpointFile, Option<Hash>),
    trust: &Trust,
    signed: &mut Vec<Signed>,
    report: &mut Report,
) {
    let mut reading = Reading { path: &file.path, prev, doubtful: None };
    for (line, number) in file.lines.iter().zip(1..) {
        let place = Place { line: number, ..Place::default() };
        match line {
            Ok(said) if trust.counts(&said.checkpoint) => {
                reading.good(said, place, report);
                signed.push(Signed::new(said));
            }
            Ok(_) => reading.bad(place, Refused::NotSigned, report),
            Err(NotSaid::Piece) => report.note(Note::at(reading.name(), place, PIECE.to_owned())),
            Err(NotSaid::Refused(refused)) => reading.bad(place, *refused, report),
        }
    }
    // Nothing follows the last line any more that could tell.
    if let Some((place, refused)) = reading.doubtful {
        report.find(Finding::checkpoint(reading.name(), place, refused));
    }
}

impl Signed {
    fn new(Said { checkpoint, .. }: &Said) -> Self {
        Self { end: checkpoint.end(), kept_from: checkpoint.kept_from, time: checkpoint.time.clone() }
    }
}

impl Reading<'_> {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn good(&mut self, said: &Said, place: Place, report: &mut Report) {
        let Said { checkpoint, hash, is_handover } = said;
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
        if *is_handover {
            let what = Note::handed_over(&checkpoint.signer(), &checkpoint.signs_next());
            report.note(Note::at(self.name(), place, what));
        }
        self.prev = Some(*hash);
    }

    fn bad(&mut self, place: Place, refused: Refused, report: &mut Report) {
        if let Some((place, refused)) = self.doubtful.replace((place, refused)) {
            report.find(Finding::checkpoint(self.name(), place, refused));
        }
    }
}
