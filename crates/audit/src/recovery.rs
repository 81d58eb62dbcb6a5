//! What the files of the record say of the moment at which their writer ended.
//!
//! Marks make this cheap: from the last one on (or the last one before the last checkpoint), a few hundred kilobytes tell
//! all that is needed, however large the files are. What doesn't follow the chain there is no record any more: the
//! writer goes on after the last one that does, and says so.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt;

use crate::checkpoint::Checkpoint;
use crate::hex::Hash;
use crate::limits::MARK_BYTES;
use crate::reader::{Head, read_line};
use crate::record::{End, RecordKind};
use crate::walk::{Place, Step, Walk, record};

/// What the last writer left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The greatest number; 0 if there is no record.
    pub(crate) last_seq: u64,
    /// The last record that is chained to those before it, if any is chained.
    pub(crate) end: Option<End>,
    /// Intents without an outcome.
    pub(crate) open: BTreeSet<u64>,
    /// Bytes behind the last record that are none, without the last line break among them, and their hash.
    pub(crate) torn: Option<(u64, Hash)>,
}

/// Reads the end of the files, oldest first, as much of it as is needed: those that hold the last records, and what
/// was begun behind them.
pub(crate) fn scan(
    mut files: impl Iterator<Item = io::Result<File>>,
    signed: Option<&Checkpoint>,
) -> io::Result<Found> {
    let mut behind: Vec<File> = Vec::new();
    // The newest file is the one in use: it is written on, and so is a last line that lacks nothing but its end.
    while let Some(file) = files.next().transpose()? {
        if let Some(at) = find_anchor(&file, signed.map_or(u64::MAX, |signed| signed.seq))? {
            let mut scan = Scan { signed: signed.map(Checkpoint::end), ..Scan::default() };
            scan.read(file, at, behind.is_empty())?;
            scan.read_all(behind)?;
            return Ok(scan.found());
        }
        behind.push(file);
    }
    let mut scan = Scan { signed: signed.map(Checkpoint::end), ..Scan::default() };
    scan.read_all(behind)?;
    Ok(scan.found())
}

/// Where to begin: at the first mark in the last part of the file that holds one up to this number. One behind it could stand
/// behind a hole.
fn find_anchor(file: &File, seq_max: u64) -> io::Result<Option<u64>> {
    let size = file.metadata()?.len();
    let mut window = 2 * MARK_BYTES;
    loop {
        let start = size.saturating_sub(window);
        let mut tail = vec![0; usize::try_from(size - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut tail, start)?;
        let mut at = start;
        for line in tail.split_inclusive(|byte| *byte == b'\n') {
            if head(line).is_some_and(|head| head.kind == RecordKind::Mark && head.seq <= seq_max) {
                return Ok(Some(at));
            }
            at += line.len() as u64;
        }
        if start == 0 {
            return Ok(None);
        }
        window *= 4;
    }
}

/// What a whole line says, if it is a record: chained, or of an older version.
fn head(line: &[u8]) -> Option<Head> {
    match record(line) {
        Ok((head, _)) => Some(head),
        Err(_) => Head::parse(line.strip_suffix(b"\n")?).filter(|head| head.hash.is_none()),
    }
}

/// Whether a line without its end is a record all the same: a hash that fits lacks no byte.
fn is_whole(line: &[u8]) -> bool {
    record(&[line, b"\n"].concat()).is_ok()
}

/// The account at one place.
#[derive(Clone, Debug, Default)]
struct Account {
    last_seq: u64,
    open: BTreeSet<u64>,
}

impl Account {
    fn book(&mut self, head: Head) {
        self.last_seq = self.last_seq.max(head.seq);
        match head.kind {
            RecordKind::Mark => self.open = head.open.into_iter().collect(),
            RecordKind::Intent => {
                self.open.insert(head.seq);
            }
            RecordKind::Outcome => {
                head.intent.map(|intent| self.open.remove(&intent));
            }
            RecordKind::Denied => {}
        }
    }
}

#[derive(Default)]
struct Scan {
    walk: Walk,
    /// The last record that was signed.
    signed: Option<End>,
    account: Account,
    /// As it was before what doesn't follow.
    trusted: Option<Account>,
    /// The last line, if it has no end.
    partial: Vec<u8>,
}

impl Scan {
    /// Reads files as a whole, the newest of which comes first.
    fn read_all(&mut self, files: Vec<File>) -> io::Result<()> {
        files.into_iter().enumerate().rev().try_for_each(|(age, file)| self.read(file, 0, age == 0))
    }

    fn read(&mut self, mut file: File, at: u64, is_in_use: bool) -> io::Result<()> {
        file.seek(SeekFrom::Start(at))?;
        let (mut input, mut line, mut number) = (BufReader::new(file), Vec::new(), 0);
        while read_line(&mut input, &mut line)? > 0 {
            // Only the first line of a whole file is one: what a failure of the disk left is told by it.
            number += 1;
            if is_in_use && !line.ends_with(b"\n") && is_whole(&line) {
                line.push(b'\n');
            }
            self.step(&line, Place { line: number + u64::from(at > 0), ..Place::default() });
            self.partial = if line.ends_with(b"\n") { Vec::new() } else { line.clone() };
        }
        Ok(())
    }

    fn step(&mut self, line: &[u8], place: Place) {
        let (had_gap, before) = (self.walk.has_gap(), self.walk.end());
        let booked = match self.walk.step(line, place) {
            Step::Follows(head)
            | Step::First(head)
            | Step::Began(head, _)
            | Step::Recovered(head, _)
            | Step::Lost(head, ..) => Some(head),
            Step::Unchained => head(line),
            Step::Fault => {
                if !had_gap {
                    self.trusted = Some(self.account.clone());
                }
                head(line)
            }
        };
        if let Some(head) = booked {
            self.account.book(head);
        }
        if self.signed.is_some() && self.walk.end() == self.signed && self.walk.end() != before {
            // This very record was on the disk: what is wrong before it is no crash, and nothing to go back to.
            self.walk.settle();
        }
        if !self.walk.has_gap() {
            self.trusted = None;
        }
    }

    fn found(self) -> Found {
        let account = self.trusted.unwrap_or(self.account);
        let partial =
            (!self.partial.is_empty()).then(|| (self.partial.len() as u64, Hash::of(&self.partial)));
        let (end, torn) = match self.walk.torn_end() {
            Some(torn) => (Some(torn.base), Some((torn.bytes, torn.hash))),
            None => (self.walk.end(), partial),
        };
        Found { last_seq: account.last_seq, end, open: account.open, torn }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::hex::NodeId;
    use crate::record::{Draft, MarkBody};

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn check(content: &str, last_seq: u64, open: &[u64], torn: &str) {
        let torn = (!torn.is_empty()).then(|| (torn.len() as u64, Hash::of(torn.as_bytes())));
        let expected = Found { last_seq, end: None, open: open.iter().copied().collect(), torn };
        assert_eq!(scan([Ok(file(content.as_bytes()))].into_iter(), None).unwrap(), expected);
    }

    fn intents(from: u64, count: u64) -> String {
        let lines = (from..from + count).map(|seq| format!("{{\"seq\":{seq},\"type\":\"intent\"}}"));
        lines.collect::<Vec<_>>().join("\n") + "\n"
    }

    #[test]
    fn an_intent_is_open_until_its_outcome() {
        check("", 0, &[], "");
        check(&intents(1, 2), 2, &[1, 2], "");
        let outcome = "{\"seq\":3,\"type\":\"outcome\",\"intent\":1}\n";
        check(&format!("{}{outcome}", intents(1, 2)), 3, &[2], "");
        check("{\"seq\":4,\"type\":\"denied\"}\n", 4, &[], "");
    }

    #[test]
    fn a_torn_record_counts_as_not_written() {
        let torn = "{\"seq\":2,\"type\":\"int";
        check(&format!("{}{torn}", intents(1, 1)), 1, &[1], torn);
        check(intents(1, 1).trim_end(), 0, &[], intents(1, 1).trim_end());
    }

    #[test]
    fn a_mark_replaces_what_stands_before_it() {
        let mark = "{\"seq\":9,\"type\":\"mark\",\"open\":[2]}\n";
        check(&format!("{}{mark}{}", intents(1, 8), intents(10, 1)), 10, &[2, 10], "");
    }

    #[test]
    fn the_last_mark_is_found_however_far_back_it_is() {
        let mark = "{\"seq\":1,\"type\":\"mark\",\"open\":[]}\n";
        let many = 4 * MARK_BYTES / 25;
        let content = format!("{mark}{}", intents(2, many));
        assert!(content.len() as u64 > 4 * MARK_BYTES);
        check(&content, many + 1, &(2..2 + many).collect::<Vec<_>>(), "");
    }

    /// A chain of as many marks, each with its own number open: where each ends, and its place.
    fn chain(count: u64) -> (Vec<u8>, Vec<(usize, End)>) {
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        let mut end = End { node: NodeId::ZERO, epoch: 1, seq: 0, hash: Hash::ZERO };
        for seq in 1..=count {
            let body = MarkBody { open: vec![seq], ..MarkBody::default() };
            Draft::new(RecordKind::Mark, &body).write_line(&mut text, &mut end);
            ends.push((text.len(), end));
        }
        (text, ends)
    }

    fn found(files: &[&[u8]]) -> Found {
        scan(files.iter().rev().map(|content| Ok(file(content))), None).unwrap()
    }

    #[test]
    fn behind_a_hole_nothing_is_trusted() {
        let (text, ends) = chain(5);
        let whole = found(&[&text]);
        assert_eq!((whole.last_seq, whole.end, whole.torn), (5, Some(ends[4].1), None));
        let mut holed = text.clone();
        holed[ends[1].0 + 7] = 0;
        let behind = &holed[ends[1].0..holed.len() - 1];
        let expected = Found {
            last_seq: 2,
            end: Some(ends[1].1),
            open: [2].into(),
            torn: Some((behind.len() as u64, Hash::of(behind))),
        };
        assert_eq!(found(&[&holed]), expected);
        // The same if it goes on in further files that hold nothing.
        assert_eq!(found(&[&holed[..ends[4].0 - 9], &holed[ends[4].0 - 9..], b""]), expected);
    }

    /// A checkpoint of this record.
    fn signed(end: End) -> Checkpoint {
        let dir = tempfile::tempdir().unwrap();
        let keys = crate::keys::Keys::open(dir.path()).unwrap();
        let End { node, epoch, seq, hash } = end;
        let (time, key) = (String::new(), keys.public().digits());
        let (prev, next_key) = (Hash::ZERO, None);
        Checkpoint { node, epoch, seq, hash, time, records: seq, kept_from: 1, prev, key, next_key }
    }

    #[test]
    fn a_piece_at_the_end_is_explained_by_the_first_line_of_the_next_file_only() {
        let (mut text, ends) = chain(3);
        text.extend_from_slice(b"{\"seq\":4,\"ty");
        let (before, mut end, mut next) = (ends[2].1, ends[2].1, Vec::new());
        let body = MarkBody { open: vec![9], reopened_after: Some("write"), ..MarkBody::default() };
        Draft::new(RecordKind::Mark, &body).write_line(&mut next, &mut end);
        let found = |files: &[&[u8]]| {
            let files = files.iter().map(|content| Ok(file(content)));
            scan(files, Some(&signed(before))).unwrap()
        };
        let whole = found(&[&next, &text]);
        assert_eq!((whole.last_seq, whole.end, whole.torn, whole.open), (4, Some(end), None, [9].into()));
        let same_file = found(&[&[&text[..], b"\n", &next].concat()]);
        assert_eq!((same_file.last_seq, same_file.end, same_file.torn.is_some()), (3, Some(before), true));
    }

    #[test]
    fn what_was_signed_is_where_to_go_on_whatever_is_wrong_before_it() {
        let (mut text, ends) = chain(5);
        text[ends[1].0 + 7] ^= 1;
        let found = scan([Ok(file(&text))].into_iter(), Some(&signed(ends[3].1))).unwrap();
        assert_eq!((found.last_seq, found.end, found.torn), (5, Some(ends[4].1), None));
    }
}
