//! Walks along a chain, line by line, and says of each whether it follows the one before.
//!
//! The start of a log walks over the end of the last file to find where to go on; `verify` walks over all of
//! it. A line that doesn't follow opens a gap. The walk goes on behind it, so that what comes later is checked
//! as well, but the fault counts only if no mark explains it:
//!
//! ```text
//!  … 41 42 | torn piece of 43 | mark 43: recovered 42, torn_bytes, torn_sha256 | 44 …   a crash
//!  … 41 42 | (43, 44 gone)    | mark 45: reopened_after "sync", unsynced_from 43 | 46 … a disk that failed
//!  … 41 42 | 44 …                                                                      tampering
//! ```
//!
//! A mark stands in the chain itself, and it names the hash of every byte that it explains (a crash), or the
//! records that had never been synced (a disk). So nobody who comes later finds an excuse in it.
//!
//! Pure: no I/O, bounded memory.

use sha2::{Digest as _, Sha256};

use crate::hex::Hash;
use crate::limits::{GAP_FAULTS, GAPS};
use crate::reader::Head;
use crate::record::{Began, End, RecordKind};
use crate::seal;

/// What is wrong with a line, or with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The line has no end, or is none of a record.
    NotARecord,
    /// A record without a hash.
    Unhashed,
    /// Its bytes are not those that were hashed.
    Altered,
    /// Records are missing before it.
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// It has the number of the record before, or of an older one.
    OutOfOrder {
        /// The number that would be next.
        expected: u64,
    },
    /// The record before it is another one than when it was written.
    Rewritten,
    /// It belongs to another chain, and no mark says why.
    ForeignChain,
    /// A mark speaks of a torn piece before it that isn't there any more.
    TornPieceGone,
    /// The writer itself found that records were gone or damaged.
    FoundDamaged,
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which of the files.
    pub(crate) file: usize,
    /// From 1.
    pub(crate) line: u64,
    /// The record that stands there, or 0.
    pub(crate) seq: u64,
}

/// A fault and where it is.
pub(crate) type Faulty = (Place, Fault);

/// What a line is to the one before.
#[derive(Debug)]
pub(crate) enum Step {
    /// It follows.
    Follows(Head),
    /// It is the first that was seen.
    First(Head),
    /// A mark behind which the chain goes on as another one.
    Began(Head, Began),
    /// A mark that explains what a crash left before it: so many bytes.
    Recovered(Head, u64),
    /// A mark that explains why records before it are gone: from here to there.
    Lost(Head, u64, u64),
    /// Neither chained nor expected to be: no chain has begun.
    Unchained,
    /// It doesn't follow.
    Fault,
}

/// A walk along a chain.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Where it is.
    end: Option<End>,
    /// What isn't explained yet, oldest first.
    gaps: Vec<Gap>,
    /// Faults that nothing can explain any more.
    found: Vec<Faulty>,
}

/// Bytes that don't follow what is before them.
#[derive(Debug)]
struct Gap {
    base: End,
    torn: Torn,
    faults: Vec<Faulty>,
}

/// Counts and hashes bytes, but for the last line break.
#[derive(Clone, Debug, Default)]
struct Torn {
    hasher: Sha256,
    bytes: u64,
    owes_newline: bool,
}

impl Torn {
    fn feed(&mut self, line: &[u8]) {
        if self.owes_newline {
            self.hasher.update(b"\n");
            self.bytes += 1;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        self.owes_newline = text.len() < line.len();
        self.hasher.update(text);
        self.bytes += text.len() as u64;
    }

    fn hash(&self) -> Hash {
        Hash::of_hasher(self.hasher.clone())
    }

    fn is_named_by(&self, mark: &Head) -> bool {
        mark.torn_bytes == self.bytes && mark.torn_sha256 == Some(self.hash())
    }
}

/// What lies behind the last record that a walk can trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TornEnd {
    /// The last record that can be trusted.
    pub(crate) base: End,
    pub(crate) bytes: u64,
    pub(crate) hash: Hash,
}

impl Walk {
    /// The last record that was seen.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether something is not explained yet.
    pub(crate) fn has_gap(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// What lies behind the last record that can be trusted, if anything does.
    pub(crate) fn torn_end(&self) -> Option<TornEnd> {
        let gap = self.gaps.first()?;
        Some(TornEnd { base: gap.base, bytes: gap.torn.bytes, hash: gap.torn.hash() })
    }

    /// Faults that nothing explains any more, since they were asked for last.
    pub(crate) fn take_found(&mut self) -> Vec<Faulty> {
        std::mem::take(&mut self.found)
    }

    /// Where the last record stands is beyond doubt: what is not explained before it never will be.
    pub(crate) fn settle(&mut self) {
        self.found.extend(self.gaps.drain(..).flat_map(|gap| gap.faults));
    }

    /// The end: a last line without its end, and nothing else, is what a crash or a running writer leaves. Says how
    /// long it is.
    pub(crate) fn take_torn_tail(&mut self) -> Option<u64> {
        let gap = self.gaps.last()?;
        let is_one_piece = !gap.torn.owes_newline && matches!(&gap.faults[..], [(_, Fault::NotARecord)]);
        if !is_one_piece || self.end != Some(gap.base) {
            return None;
        }
        self.gaps.pop().map(|gap| gap.torn.bytes)
    }

    /// Looks at the next line, with its newline if it has one.
    pub(crate) fn step(&mut self, line: &[u8], place: Place) -> Step {
        match record(line) {
            Ok((head, hash)) => {
                let end =
                    head.node.zip(head.epoch).map(|(node, epoch)| End { node, epoch, seq: head.seq, hash });
                match end {
                    Some(end) => self.record(line, head, end, place),
                    None => self.flaw(line, Fault::NotARecord, place),
                }
            }
            Err(flaw) if self.end.is_none() && flaw != Fault::Altered => Step::Unchained,
            Err(flaw) => self.flaw(line, flaw, place),
        }
    }

    fn record(&mut self, line: &[u8], head: Head, end: End, place: Place) -> Step {
        let place = Place { seq: head.seq, ..place };
        let Some(before) = self.end.replace(end) else {
            return Step::First(head);
        };
        let followed = match self.explain(&head, end, place) {
            Some(explained) => Ok(explained),
            None => follow(before, &head, end, place),
        };
        if let Err(fault) = followed {
            if matches!(fault, Fault::OutOfOrder { .. }) {
                // What was here already is no place to go on from.
                self.end = Some(before);
            }
            self.fault(line, before, (place, fault));
            return Step::Fault;
        }
        self.feed(line);
        match followed {
            Ok(Following::Begins(why)) => Step::Began(head, why),
            Ok(Following::Lost(from, to)) => Step::Lost(head, from, to),
            Ok(Following::Torn(bytes)) => Step::Recovered(head, bytes),
            Ok(Following::Next) | Err(_) => Step::Follows(head),
        }
    }

    /// Whether this mark explains a gap; then it is none, nor is any within it.
    fn explain(&mut self, head: &Head, end: End, place: Place) -> Option<Following> {
        if head.kind != RecordKind::Mark {
            return None;
        }
        let explained = |(index, gap): (usize, &Gap)| Some((index, explains(head, end, gap, place)?));
        let (index, explained) = self.gaps.iter().enumerate().find_map(explained)?;
        self.gaps.truncate(index);
        Some(explained)
    }

    fn flaw(&mut self, line: &[u8], flaw: Fault, place: Place) -> Step {
        match self.end {
            Some(end) => self.fault(line, end, (place, flaw)),
            None => self.found.push((place, flaw)),
        }
        Step::Fault
    }

    /// Books a line that doesn't follow this record.
    fn fault(&mut self, line: &[u8], base: End, faulty: Faulty) {
        self.feed(line);
        let is_deep = self.gaps.len() >= GAPS;
        match self.gaps.last_mut() {
            Some(gap) if gap.base == base || is_deep => {
                if gap.faults.len() < GAP_FAULTS {
                    gap.faults.push(faulty);
                }
            }
            _ => self.open_gap(base, line, faulty),
        }
    }

    fn feed(&mut self, line: &[u8]) {
        for gap in &mut self.gaps {
            gap.torn.feed(line);
        }
    }

    fn open_gap(&mut self, base: End, line: &[u8], faulty: Faulty) {
        let mut torn = Torn::default();
        torn.feed(line);
        self.gaps.push(Gap { base, torn, faults: vec![faulty] });
    }
}

/// How this mark explains what is behind `gap.base`, if it does.
fn explains(head: &Head, end: End, gap: &Gap, place: Place) -> Option<Following> {
    let base = gap.base;
    if head.recovered == Some(base.seq) && head.prev == Some(base.hash) && gap.torn.is_named_by(head) {
        return match head.chain {
            Some(why) if end.seq > base.seq => Some(Following::Begins(why)),
            None if is_next(base, end) => Some(Following::Torn(gap.torn.bytes)),
            _ => None,
        };
    }
    // The end of a file that was put aside after a failure, and the first line of the next one.
    if head.reopened_after.is_none() || head.chain.is_some() || place.line != 1 {
        return None;
    }
    let are_pieces = gap.faults.iter().all(|(_, fault)| *fault == Fault::NotARecord);
    if are_pieces && is_next(base, end) && head.prev == Some(base.hash) {
        return Some(Following::Torn(gap.torn.bytes));
    }
    lost(base, head, end).map(|(from, to)| Following::Lost(from, to))
}

/// A number that somebody made up may be the greatest there is.
fn next_seq(before: End) -> u64 {
    before.seq.saturating_add(1)
}

fn is_next(before: End, end: End) -> bool {
    (before.node, before.epoch, next_seq(before)) == (end.node, end.epoch, end.seq)
}

/// The records between the two that this mark says never were on the disk for sure.
fn lost(before: End, head: &Head, end: End) -> Option<(u64, u64)> {
    let is_same_chain = (before.node, before.epoch) == (end.node, end.epoch);
    let is_told = head.unsynced_from.is_some_and(|from| from <= next_seq(before));
    (is_same_chain && is_told && end.seq > next_seq(before)).then(|| (next_seq(before), end.seq - 1))
}

enum Following {
    Next,
    Begins(Began),
    Lost(u64, u64),
    /// Behind a piece of so many bytes.
    Torn(u64),
}

/// How a record follows the one before.
fn follow(before: End, head: &Head, end: End, place: Place) -> Result<Following, Fault> {
    let is_chained = head.prev == Some(before.hash);
    if let Some(why) = head.chain.filter(|_| head.kind == RecordKind::Mark) {
        return match (is_chained, end.seq > before.seq) {
            (true, true) if head.torn_sha256.is_none() => Ok(Following::Begins(why)),
            (true, true) => Err(Fault::TornPieceGone),
            (_, false) => Err(Fault::OutOfOrder { expected: next_seq(before) }),
            (false, true) => Err(Fault::Rewritten),
        };
    }
    if (before.node, before.epoch) != (end.node, end.epoch) {
        return Err(Fault::ForeignChain);
    }
    if end.seq <= before.seq {
        return Err(Fault::OutOfOrder { expected: next_seq(before) });
    }
    if end.seq > next_seq(before) {
        let is_fresh = head.reopened_after.is_some() && place.line == 1;
        let missing = Fault::Missing { from: next_seq(before), to: end.seq - 1 };
        return lost(before, head, end)
            .filter(|_| is_fresh)
            .map(|(from, to)| Following::Lost(from, to))
            .ok_or(missing);
    }
    match (is_chained, head.torn_sha256) {
        (true, None) => Ok(Following::Next),
        (true, Some(_)) => Err(Fault::TornPieceGone),
        (false, _) => Err(Fault::Rewritten),
    }
}

/// The record that this line is, and its hash.
pub(crate) fn record(line: &[u8]) -> Result<(Head, Hash), Fault> {
    let line = line.strip_suffix(b"\n").ok_or(Fault::NotARecord)?;
    let Some((hashed, hash)) = seal::split(line, seal::HASH) else {
        return Err(if Head::parse(line).is_some() { Fault::Unhashed } else { Fault::NotARecord });
    };
    if Hash::of(hashed) != hash {
        return Err(Fault::Altered);
    }
    let head = Head::parse(line).filter(|head| head.prev.is_some()).ok_or(Fault::NotARecord)?;
    Ok((head, hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::NodeId;
    use crate::record::{Draft, MarkBody};

    /// A mark with the number behind this one, and where the chain ends with it.
    fn mark(body: &MarkBody, mut before: End) -> (Vec<u8>, End) {
        let mut line = Vec::new();
        Draft::new(RecordKind::Mark, body).write_line(&mut line, &mut before);
        (line, before)
    }

    /// What this mark is, with number 7 and at this line, behind a record with number 3.
    fn step(body: &MarkBody, line: u64) -> Step {
        let start = End { node: NodeId::ZERO, epoch: 1, seq: 2, hash: Hash::ZERO };
        let (third, end) = mark(&MarkBody::default(), start);
        let mut walk = Walk::default();
        assert!(matches!(walk.step(&third, Place::default()), Step::First(_)));
        let (seventh, _) = mark(body, End { seq: 6, hash: Hash::of(b"lost"), ..end });
        walk.step(&seventh, Place { line, ..Place::default() })
    }

    #[test]
    fn records_are_lost_only_if_a_fresh_file_begins_by_saying_that_none_of_them_was_safe() {
        let says =
            |reopened_after, unsynced_from| MarkBody { reopened_after, unsynced_from, ..MarkBody::default() };
        for from in [1, 3, 4] {
            let step = step(&says(Some("sync"), Some(from)), 1);
            assert!(matches!(step, Step::Lost(_, 4, 6)), "{from}: {step:?}");
        }
        for (body, line) in [
            (says(Some("sync"), Some(5)), 1),
            (says(Some("sync"), None), 1),
            (says(None, Some(4)), 1),
            (says(Some("sync"), Some(4)), 2),
        ] {
            let step = step(&body, line);
            assert!(matches!(step, Step::Fault), "{body:?}, line {line}: {step:?}");
        }
    }
}
