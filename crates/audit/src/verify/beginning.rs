//! How a record may begin: with a chain, or behind a checkpoint where older files were deleted.

use crate::hex::Hash;
use crate::reader::Head;
use crate::record::Began;
use crate::walk::{Fault, Place};

use super::Checking;
use super::report::{Finding, Note};

impl Checking<'_> {
    /// Judges the first record that is chained.
    pub(super) fn begin(&mut self, head: &Head, place: Place) {
        let place = Place { seq: head.seq, ..place };
        if self.unchained > 0 {
            let is_told = head.chain == Some(Began::Unchained) || head.torn_sha256.is_some();
            if is_told {
                self.note(place, Note::unchained(self.unchained));
            } else {
                let first = Place { line: 1, file: 0, seq: 0 };
                self.find((first, Fault::Unhashed));
            }
        }
        let is_beginning = match head.chain {
            Some(Began::First) => head.seq == 1 && head.prev == Some(Hash::ZERO),
            Some(Began::Unchained) => head.prev == Some(Hash::ZERO),
            _ => false,
        };
        if is_beginning {
            // Nothing was signed before a beginning: checkpoints of that are held against it.
            return;
        }
        let anchor = self.signed.iter().rposition(|signed| Some(signed.end.hash) == head.prev);
        if let Some(index) = anchor.filter(|index| self.signed[*index].end.seq < head.seq) {
            self.next = index + 1;
            self.report.signed_to = Some(self.signed[index].end.seq);
            self.report.signed_at = Some(self.signed[index].time.clone());
            self.note(place, Note::pruned(head.seq));
        } else {
            self.next = self.signed.partition_point(|signed| signed.end.seq < head.seq);
            let finding = Finding::no_beginning(self.name(place), place);
            self.report.find(finding);
        }
        if let Some(why) = head.chain {
            self.began(why, place);
        }
    }

    /// Compares where the record begins with where it should.
    pub(super) fn check_beginning(&mut self) {
        let signed = self.signed.last().map(|signed| signed.kept_from);
        let (Some(first), Some(kept_from)) = (&self.first, signed.or(self.kept_from)) else {
            return;
        };
        // An unchained past may be kept or not: nothing proves anything of it.
        let is_deleted = first.seq > kept_from && first.chain != Some(Began::Unchained);
        if is_deleted && !self.evidence.is_part {
            let place = Place { file: 0, line: 1, seq: first.seq };
            let finding = Finding::deleted(self.name(place), place, kept_from);
            self.report.find(finding);
        }
    }
}

/// What a check without a key can't do.
pub(super) fn unsigned_note(has_key: bool, checkpoints: usize) -> Option<String> {
    match (has_key, checkpoints) {
        (false, 1..) => Some("no key was given, so no checkpoint counts".to_owned()),
        (_, 0) => {
            Some("there is no checkpoint: an end that was cut off or written anew isn't noticed".to_owned())
        }
        (true, _) => None,
    }
}
