//! What a file of the record says of the moment at which its writer ended.
//!
//! Marks make this cheap: from the last one on, a few hundred kilobytes tell all that is needed,
//! however large the file is.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::limits::MARK_BYTES;
use crate::reader::Head;
use crate::record::RecordKind;

/// What the last writer left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The greatest number; 0 if there is no record.
    pub(crate) last_seq: u64,
    /// Intents without an outcome.
    pub(crate) open: BTreeSet<u64>,
    /// Bytes after the last newline: a record that was not written to its end.
    pub(crate) torn_bytes: u64,
}

/// Reads the end of the file, as much of it as is needed.
pub(crate) fn scan(file: &File) -> io::Result<Found> {
    let size = file.metadata()?.len();
    let mut window = 2 * MARK_BYTES;
    loop {
        let start = size.saturating_sub(window);
        let mut tail = vec![0; usize::try_from(size - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut tail, start)?;
        match read_tail(&tail) {
            Tail::SinceMark(found) => return Ok(found),
            Tail::NoMark(found) if start == 0 => return Ok(found),
            Tail::NoMark(_) => window *= 4,
        }
    }
}

enum Tail {
    SinceMark(Found),
    NoMark(Found),
}

fn read_tail(tail: &[u8]) -> Tail {
    let torn = tail.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len);
    let mut found = Found { torn_bytes: torn as u64, ..Found::default() };
    let mut has_mark = false;
    for head in tail[..tail.len() - torn].split(|byte| *byte == b'\n').filter_map(Head::parse) {
        found.last_seq = found.last_seq.max(head.seq);
        match head.kind {
            RecordKind::Mark => {
                found.open = head.open.into_iter().collect();
                has_mark = true;
            }
            RecordKind::Intent => {
                found.open.insert(head.seq);
            }
            RecordKind::Outcome => {
                head.intent.map(|intent| found.open.remove(&intent));
            }
            RecordKind::Denied => {}
        }
    }
    if has_mark { Tail::SinceMark(found) } else { Tail::NoMark(found) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(content: &str, last_seq: u64, open: &[u64], torn_bytes: u64) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let expected = Found { last_seq, open: open.iter().copied().collect(), torn_bytes };
        assert_eq!(scan(&file).unwrap(), expected);
    }

    fn intents(from: u64, count: u64) -> String {
        let lines = (from..from + count).map(|seq| format!("{{\"seq\":{seq},\"type\":\"intent\"}}"));
        lines.collect::<Vec<_>>().join("\n") + "\n"
    }

    #[test]
    fn an_intent_is_open_until_its_outcome() {
        check("", 0, &[], 0);
        check(&intents(1, 2), 2, &[1, 2], 0);
        let outcome = "{\"seq\":3,\"type\":\"outcome\",\"intent\":1}\n";
        check(&format!("{}{outcome}", intents(1, 2)), 3, &[2], 0);
        check("{\"seq\":4,\"type\":\"denied\"}\n", 4, &[], 0);
    }

    #[test]
    fn a_torn_record_counts_as_not_written() {
        check(&format!("{}{}", intents(1, 1), "{\"seq\":2,\"type\":\"int"), 1, &[1], 20);
        check(intents(1, 1).trim_end(), 0, &[], 25);
    }

    #[test]
    fn a_mark_replaces_what_stands_before_it() {
        let mark = "{\"seq\":9,\"type\":\"mark\",\"open\":[2]}\n";
        check(&format!("{}{mark}{}", intents(1, 8), intents(10, 1)), 10, &[2, 10], 0);
    }

    #[test]
    fn the_last_mark_is_found_however_far_back_it_is() {
        let mark = "{\"seq\":1,\"type\":\"mark\",\"open\":[]}\n";
        let many = 4 * MARK_BYTES / 25;
        let content = format!("{mark}{}", intents(2, many));
        assert!(content.len() as u64 > 4 * MARK_BYTES);
        check(&content, many + 1, &(2..2 + many).collect::<Vec<_>>(), 0);
    }
}
