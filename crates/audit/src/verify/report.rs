//! What a check has found, in words, and exactly where.

use serde::Serialize;

use crate::checkpoint::Refused;
use crate::keys::PublicKey;
use crate::limits::FAULTS_LISTED;
use crate::record::Began;
use crate::walk::{Fault, Place};

use super::checkpoints::Signed;

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub is_sound: bool,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that are chained.
    pub records: u64,
    /// The first of them.
    pub first_seq: Option<u64>,
    /// The last of them.
    pub last_seq: Option<u64>,
    /// Checkpoints whose signature holds.
    pub checkpoints: u64,
    /// The last record that is proved by one.
    pub signed_to: Option<u64>,
    /// When that was signed.
    pub signed_at: Option<String>,
    /// Records behind it, which the chain alone holds together.
    pub unsigned: u64,
    /// What is wrong, in the order of the files.
    pub findings: Vec<Finding>,
    /// Findings that are not listed.
    pub more_findings: u64,
    /// What is as it should be, and worth a look.
    pub notes: Vec<Note>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In which file.
    pub file: String,
    /// On which line, from 1; 0 if the file as a whole is meant.
    pub line: u64,
    /// The record that stands there, if one does.
    pub seq: Option<u64>,
    /// What it is, in a word.
    pub kind: &'static str,
    /// What it is.
    pub what: String,
    /// Which of the files, and where there.
    #[serde(skip)]
    order: (usize, u64),
}

/// Something that an honest writer leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// In which file.
    pub file: String,
    /// On which line, from 1; 0 if the file as a whole is meant.
    pub line: u64,
    /// The record that says so, if one does.
    pub seq: Option<u64>,
    /// What it is.
    pub what: String,
}

impl Report {
    pub(super) fn find(&mut self, finding: Finding) {
        if self.findings.len() < FAULTS_LISTED {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        if self.notes.len() < FAULTS_LISTED {
            self.notes.push(note);
        }
    }

    pub(super) fn close(mut self) -> Self {
        self.findings.sort_by_key(|finding| finding.order);
        self.is_sound = self.findings.is_empty();
        self
    }
}

impl Finding {
    fn new(file: String, place: Place, kind: &'static str, what: impl Into<String>) -> Self {
        let seq = (place.seq > 0).then_some(place.seq);
        Self { file, line: place.line, seq, kind, what: what.into(), order: (place.file, place.line) }
    }

    pub(super) fn of(file: String, place: Place, fault: &Fault) -> Self {
        let (kind, what) = match fault {
            Fault::NotARecord => ("not_a_record", "this line is no record".to_owned()),
            Fault::Unhashed => ("unhashed", "a record without a hash, where all have one".to_owned()),
            Fault::Altered => ("altered", "this line was changed: its hash is another".to_owned()),
            Fault::Missing { from, to } if from == to => {
                ("missing", format!("record {from} is missing before this"))
            }
            Fault::Missing { from, to } => {
                ("missing", format!("records {from} to {to} are missing before this"))
            }
            Fault::OutOfOrder { expected } => {
                ("out_of_order", format!("a record that was here before, in the place of record {expected}"))
            }
            Fault::Rewritten => {
                ("rewritten", "the record before this is not the one that it follows".to_owned())
            }
            Fault::ForeignChain => ("foreign", "a record of another chain, and no mark says why".to_owned()),
            Fault::TornPieceGone => {
                ("piece_gone", "this mark speaks of a torn piece before it that is gone".to_owned())
            }
            Fault::FoundDamaged => (
                "damaged",
                "the daemon itself found here that signed records were damaged or gone".to_owned(),
            ),
        };
        Self::new(file, place, kind, what)
    }

    pub(super) fn not_signed(file: String, place: Place, signed: &Signed, seen: u64) -> Self {
        let (seq, time) = (signed.end.seq, &signed.time);
        if seq == seen {
            return Self::new(
                file,
                place,
                "not_signed",
                format!("record {seq} is not the one that was signed at {time}"),
            );
        }
        Self::new(
            file,
            place,
            "missing",
            format!("record {seq}, which was signed at {time}, is missing before this"),
        )
    }

    pub(super) fn cut(file: String, last: u64, signed: &Signed) -> Self {
        let (seq, time) = (signed.end.seq, &signed.time);
        let what = format!("the record ends with {last}, but was signed up to {seq} at {time}");
        Self::new(file, Place { seq: last, ..Place::default() }, "cut", what)
    }

    pub(super) fn no_beginning(file: String, place: Place) -> Self {
        Self::new(file, place, "no_beginning", "no checkpoint vouches for what was before this record")
    }

    pub(super) fn deleted(file: String, place: Place, kept_from: u64) -> Self {
        let what = format!("records from {kept_from} on should be there: somebody else deleted them");
        Self::new(file, place, "deleted", what)
    }

    pub(super) fn checkpoint(file: String, place: Place, refused: Refused) -> Self {
        match refused {
            Refused::NotACheckpoint => {
                Self::new(file, place, "not_a_checkpoint", "this line is no checkpoint")
            }
            Refused::NotSigned => Self::new(
                file,
                place,
                "bad_signature",
                "this checkpoint is not signed with the key that the node had then",
            ),
        }
    }

    pub(super) fn signed_nothing(key: &PublicKey) -> Self {
        let what = format!(
            "the key {key} has signed nothing here that counts: checkpoints are gone, or it is no key of this record"
        );
        let finding = Self::new(String::new(), Place::default(), "signed_nothing", what);
        // Behind whatever shows why.
        Self { order: (usize::MAX, 0), ..finding }
    }

    pub(super) fn checkpoint_missing(file: String, place: Place) -> Self {
        Self::new(
            file,
            place,
            "checkpoint_missing",
            "the checkpoint before this is not the one that it follows",
        )
    }
}

impl Note {
    pub(super) fn at(file: String, place: Place, what: String) -> Self {
        Self { file, line: place.line, seq: (place.seq > 0).then_some(place.seq), what }
    }

    pub(super) fn torn(bytes: u64) -> String {
        format!(
            "recovered after a crash that left a piece of {bytes} bytes; what was not yet signed may be missing"
        )
    }

    pub(super) fn torn_tail(bytes: u64) -> String {
        format!("ends with {bytes} bytes of a record that a crash cut off, or that is being written")
    }

    pub(super) fn lost(from: u64, to: u64, step: &str) -> String {
        format!("records {from} to {to} never reached the disk, which failed to {step}")
    }

    pub(super) fn handed_over(from: &PublicKey, to: &PublicKey) -> String {
        format!("the key {from} hands the record over to {to}")
    }

    pub(super) fn began(why: Began) -> String {
        match why {
            Began::First => "the chain begins",
            Began::Unchained => "the chain begins behind a past that was not chained",
            Began::Moved => "the data directory was copied or moved: another node goes on from here",
            Began::Foreign => "the chain of another node ends here",
            Began::Damaged | Began::Lost => "the chain begins anew after damage",
        }
        .to_owned()
    }

    pub(super) fn unchained(lines: u64) -> String {
        format!("{lines} lines before this are older than the chain: nothing proves them")
    }

    pub(super) fn pruned(first: u64) -> String {
        format!("begins with record {first}, behind a checkpoint; older files were deleted")
    }
}
