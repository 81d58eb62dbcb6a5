//! Reading a file of the record, line by line; used by tests, by commands, and after a crash.
//!
//! A line that is no record is reported as torn and never ends the reading: a crash may leave one
//! at the end of a file, or before the mark of the next start. No lock is needed to read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::AuditError;
use crate::hex::{Hash, NodeId};
use crate::limits::LINE_BYTES;
use crate::record::{Began, RecordKind};

/// What is read of every record; the rest is in its text.
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    #[serde(rename = "type")]
    pub(crate) kind: RecordKind,
    #[serde(default)]
    pub(crate) intent: Option<u64>,
    #[serde(default)]
    pub(crate) open: Vec<u64>,
    // What chains it; a record of an older version has none of these.
    pub(crate) node: Option<NodeId>,
    pub(crate) epoch: Option<u64>,
    pub(crate) prev: Option<Hash>,
    pub(crate) hash: Option<Hash>,
    // What a mark says of the chain.
    pub(crate) chain: Option<Began>,
    pub(crate) recovered: Option<u64>,
    #[serde(default)]
    pub(crate) torn_bytes: u64,
    pub(crate) torn_sha256: Option<Hash>,
    pub(crate) reopened_after: Option<String>,
    pub(crate) unsynced_from: Option<u64>,
    pub(crate) kept_from: Option<u64>,
}

impl Head {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// Reads the next line, with its newline if it has one, into the place of the one before; 0 at the end.
/// A line that is longer than any record comes in pieces.
pub(crate) fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    line.clear();
    input.take(LINE_BYTES).read_until(b'\n', line)
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number; grows by one from record to record, also across files and restarts.
    pub seq: u64,
    /// What it is.
    pub kind: RecordKind,
    /// The number of the intent, if it is an outcome.
    pub intent: Option<u64>,
    /// The numbers of the open intents, if it is a mark.
    pub open: Vec<u64>,
    /// Its hash, which the next record names; none if an older version wrote it.
    pub hash: Option<Hash>,
    /// The whole record: one JSON object. Its `time` and `mono_ns` were taken before `seq` was
    /// given, so they may go back a little from one record to the next; `seq` is the order.
    pub text: String,
}

/// One line of a file of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A record.
    Record(Record),
    /// Something else: what a crash left of a record, or damage.
    Torn {
        /// How long it is.
        bytes: u64,
    },
}

/// The lines of a file of the record, from its start.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    file: BufReader<File>,
}

/// Reads a file of the record.
pub fn read_records(path: &Path) -> Result<Records, AuditError> {
    let file = File::open(path).map_err(AuditError::io("open", path))?;
    Ok(Records { path: path.to_owned(), file: BufReader::new(file) })
}

impl Iterator for Records {
    type Item = Result<Line, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match read_line(&mut self.file, &mut line) {
            Ok(0) => None,
            Ok(_) => Some(Ok(parse(line))),
            Err(source) => Some(Err(AuditError::io("read", &self.path)(source))),
        }
    }
}

pub(crate) fn parse(line: Vec<u8>) -> Line {
    let bytes = line.len() as u64;
    // A record is whole only with its newline: without it, its last bytes may be missing.
    let record = line.strip_suffix(b"\n").and_then(Head::parse).and_then(|head| {
        let mut text = String::from_utf8(line).ok()?;
        text.pop();
        let Head { seq, kind, intent, open, hash, .. } = head;
        Some(Record { seq, kind, intent, open, hash, text })
    });
    record.map_or(Line::Torn { bytes }, Line::Record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Vec<Line> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.jsonl");
        std::fs::write(&path, content).unwrap();
        read_records(&path).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_torn_tail_is_told_from_a_record() {
        let whole = r#"{"seq":1,"type":"outcome","intent":7}"#;
        let lines = read(format!("{whole}\n{whole}").as_bytes());
        let [Line::Record(record), Line::Torn { bytes }] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!((record.seq, record.kind, record.intent), (1, RecordKind::Outcome, Some(7)));
        assert_eq!(record.text, whole);
        assert_eq!(*bytes, whole.len() as u64);
    }

    #[test]
    fn damage_in_the_middle_does_not_hide_what_follows() {
        let lines = read(b"{\"seq\":1,\"ty\n\xff\n\n{\"seq\":2,\"type\":\"mark\",\"open\":[1]}\n");
        assert_eq!(lines[..3], [13, 2, 1].map(|bytes| Line::Torn { bytes }));
        assert!(matches!(&lines[3], Line::Record(record) if record.open == [1]));
    }

    #[test]
    fn an_endless_line_is_read_in_bounded_pieces() {
        let lines = read(&vec![b'x'; usize::try_from(LINE_BYTES).unwrap() + 5]);
        assert_eq!(lines, [LINE_BYTES, 5].map(|bytes| Line::Torn { bytes }));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_records(Path::new("/nowhere/record.jsonl")).unwrap_err();
        assert_eq!(error.to_string(), "failed to open `/nowhere/record.jsonl`");
    }
}
