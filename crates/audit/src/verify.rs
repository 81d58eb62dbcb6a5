//! Checks a record: whether anything in it was changed, deleted, moved or added since it was written.
//!
//! Needs the files, the checkpoints and the public key of the node, and neither the node nor its lock. What it can
//! find and what it can't:
//!
//! | up to the newest checkpoint that it is shown | behind it |
//! |---|---|
//! | any change, deletion, insertion, reordering; a cut; a tail written anew | what doesn't fit the chain |
//!
//! What an honest crash leaves is told apart ([`Note`]) since a mark of the chain itself explains it, byte for byte,
//! and since it never reaches back behind a checkpoint. One pass, a line at a time.

mod beginning;
mod checkpoints;
mod lines;
mod report;
mod trust;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::CHECKPOINTS;
use crate::error::AuditError;
use crate::files::record_files;
use crate::keys::PublicKey;
use crate::reader::{Head, read_line};
use crate::record::{Began, End, RecordKind};
use crate::walk::{Fault, Faulty, Place, Step, Walk};

use checkpoints::Signed;
pub use lines::CheckpointFile;
pub use report::{Finding, Note, Report};

/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// What is to be checked, and by what.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Files of the record, oldest first.
    pub files: Vec<PathBuf>,
    /// Files of checkpoints, the record's own: a check reads them anew.
    pub checkpoints: Vec<PathBuf>,
    /// Copies of checkpoints that were kept elsewhere, read before.
    pub copies: Vec<Arc<CheckpointFile>>,
    /// The keys of the node; without one, no checkpoint counts. From one alone, those before and behind it are found;
    /// several are all that count.
    pub keys: Vec<PublicKey>,
    /// Whether each of the keys must have signed something that counts: whoever names one knows that it has.
    pub has_named_keys: bool,
    /// Whether these are some files of a record only: then it is no fault that older ones are not there.
    pub is_part: bool,
}

impl Evidence {
    /// Adds a folder of a record with its checkpoints, or one file of a record.
    pub fn add(&mut self, path: &Path) -> Result<(), AuditError> {
        if !path.is_dir() {
            self.files.push(path.to_owned());
            self.is_part = true;
            return Ok(());
        }
        self.files.extend(record_files(path)?);
        let checkpoints = path.join(CHECKPOINTS);
        self.checkpoints.extend(checkpoints.exists().then_some(checkpoints));
        Ok(())
    }
}

/// Checks a record. Fails only if something can't be read; what is wrong with the record is in the report.
pub fn verify(evidence: &Evidence) -> Result<Report, AuditError> {
    let mut checking = Checking::new(evidence)?;
    for (file, path) in evidence.files.iter().enumerate() {
        checking.read(file, path)?;
    }
    Ok(checking.finish())
}

/// A check under way.
struct Checking<'a> {
    evidence: &'a Evidence,
    walk: Walk,
    /// Checkpoints in the order of their numbers, and the next one to come.
    signed: Vec<Signed>,
    next: usize,
    /// Lines without a hash before the chain.
    unchained: u64,
    first: Option<Head>,
    last: Option<End>,
    /// The oldest record that the newest mark says is kept.
    kept_from: Option<u64>,
    /// How it stood when something was seen that may still be explained.
    before_gap: Option<(usize, usize)>,
    report: Report,
}

impl<'a> Checking<'a> {
    fn new(evidence: &'a Evidence) -> Result<Self, AuditError> {
        let mut report = Report::default();
        let signed = checkpoints::load(evidence, &mut report)?;
        report.checkpoints = signed.len() as u64;
        Ok(Self {
            evidence,
            walk: Walk::default(),
            signed,
            next: 0,
            unchained: 0,
            first: None,
            last: None,
            kept_from: None,
            before_gap: None,
            report,
        })
    }

    fn read(&mut self, file: usize, path: &Path) -> Result<(), AuditError> {
        let opened = File::open(path).map_err(AuditError::io("open", path))?;
        let read = self.take(file, &mut BufReader::with_capacity(READ_BYTES, opened));
        read.map_err(AuditError::io("read", path))
    }

    fn take(&mut self, file: usize, input: &mut impl BufRead) -> io::Result<()> {
        let (mut place, mut line) = (Place { file, line: 0, seq: 0 }, Vec::new());
        self.report.files += 1;
        loop {
            let count = read_line(input, &mut line)?;
            if count == 0 {
                return Ok(());
            }
            place.line += 1;
            self.report.bytes += count as u64;
            self.line(&line, place);
        }
    }

    fn line(&mut self, line: &[u8], place: Place) {
        let before_gap = (self.next, self.report.findings.len());
        let step = self.walk.step(line, place);
        if !matches!(step, Step::Unchained | Step::Fault) {
            self.report.records += 1;
        }
        let is_explained = matches!(step, Step::Began(..) | Step::Recovered(..) | Step::Lost(..));
        if let Some((next, findings)) = self.before_gap.filter(|_| is_explained && !self.walk.has_gap()) {
            // What was held against records that are none any more.
            self.next = next;
            self.report.findings.truncate(findings);
            self.before_gap = None;
        }
        self.judge(step, place);
        if self.walk.has_gap() && self.before_gap.is_none() {
            self.before_gap = Some(before_gap);
        }
        if self.walk.end() != self.last {
            self.last = self.walk.end();
            self.last.into_iter().for_each(|end| self.meet(end, place));
        }
        self.collect();
    }

    /// Says what a line is.
    fn judge(&mut self, step: Step, place: Place) {
        match step {
            Step::Follows(head) => self.heed(&head),
            Step::First(head) => {
                self.begin(&head, place);
                self.heed(&head);
                self.first = Some(head);
            }
            Step::Began(head, why) => {
                self.heed(&head);
                self.began(why, Place { seq: head.seq, ..place });
            }
            Step::Recovered(head, bytes) => {
                self.heed(&head);
                self.note(Place { seq: head.seq, ..place }, Note::torn(bytes));
            }
            Step::Lost(head, from, to) => {
                self.heed(&head);
                self.lost(&head, (from, to), Place { seq: head.seq, ..place });
            }
            Step::Unchained => self.unchained += 1,
            Step::Fault => {}
        }
    }

    fn heed(&mut self, head: &Head) {
        if head.kind == RecordKind::Mark {
            self.kept_from = head.kept_from.or(self.kept_from);
        }
    }

    fn began(&mut self, why: Began, place: Place) {
        match why {
            Began::Damaged | Began::Lost => self.find((place, Fault::FoundDamaged)),
            Began::First | Began::Unchained | Began::Moved | Began::Foreign => {
                self.note(place, Note::began(why));
            }
        }
    }

    /// Records that may never have reached the disk: they begin behind a signed one, or are no excuse.
    fn lost(&mut self, head: &Head, (from, to): (u64, u64), place: Place) {
        let step = head.reopened_after.as_deref().unwrap_or_default();
        let signed_to = self.report.signed_to.map_or(1, |seq| seq.saturating_add(1));
        if self.signed.is_empty() || head.unsynced_from.is_some_and(|unsynced| unsynced <= signed_to) {
            self.note(place, Note::lost(from, to, step));
        } else {
            self.find((place, Fault::Missing { from, to }));
        }
    }

    /// Compares a record with the checkpoints up to it.
    fn meet(&mut self, end: End, place: Place) {
        let place = Place { seq: end.seq, ..place };
        while let Some(signed) = self.signed.get(self.next).filter(|signed| signed.end.seq <= end.seq) {
            if signed.end == end {
                self.report.signed_to = Some(end.seq);
                self.report.signed_at = Some(signed.time.clone());
                self.walk.settle();
                self.before_gap = None;
            } else {
                let finding = Finding::not_signed(self.name(place), place, signed, end.seq);
                self.report.find(finding);
            }
            self.next += 1;
        }
    }

    /// Takes over what nothing can explain any more.
    fn collect(&mut self) {
        for faulty in self.walk.take_found() {
            self.find(faulty);
        }
    }

    fn find(&mut self, (place, fault): Faulty) {
        let finding = Finding::of(self.name(place), place, &fault);
        self.report.find(finding);
    }

    fn note(&mut self, place: Place, what: String) {
        let note = Note::at(self.name(place), place, what);
        self.report.note(note);
    }

    fn name(&self, place: Place) -> String {
        self.evidence.files.get(place.file).map(|path| path.display().to_string()).unwrap_or_default()
    }

    fn finish(mut self) -> Report {
        let place = Place { file: self.evidence.files.len().saturating_sub(1), ..Place::default() };
        if let Some(bytes) = self.walk.take_torn_tail() {
            self.note(place, Note::torn_tail(bytes));
        }
        self.walk.settle();
        self.collect();
        let last = self.last.map_or(0, |end| end.seq);
        if let Some(signed) = self.signed.get(self.next..).and_then(<[Signed]>::last) {
            let finding = Finding::cut(self.name(place), last, signed);
            self.report.find(finding);
        }
        self.check_beginning();
        self.report.first_seq = self.first.as_ref().map(|head| head.seq);
        self.report.last_seq = self.last.map(|end| end.seq);
        self.report.unsigned = last.saturating_sub(self.report.signed_to.unwrap_or(0));
        self.report.close()
    }
}

#[cfg(test)]
mod tests;
