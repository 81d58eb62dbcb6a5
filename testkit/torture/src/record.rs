//! The record, read from its lines as anybody could: which intents there are, and how each ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// What was asked for, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    tool: String,
    arguments: String,
    /// How it ended, as often as that is said, and in which record.
    endings: Vec<(u64, String)>,
    /// Whether nobody was identified.
    pub is_strange: bool,
}

/// All that the record says.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Intents by their numbers.
    pub intents: BTreeMap<u64, Noted>,
    /// What was refused.
    pub denied: BTreeMap<u64, Noted>,
    /// Pieces that are no record.
    pub torn: usize,
    /// Steps whose failure had closed the record for a while.
    pub reopened_after: Vec<String>,
    /// The days of its records, by the wall clock.
    pub days: BTreeSet<String>,
    /// How far the wall clock was set each time, in milliseconds.
    pub clock_steps: Vec<i64>,
    /// What no record may be like.
    pub faults: Vec<String>,
    last: u64,
    /// A piece that no mark has explained yet, and how many faults there were before it.
    unexplained: Option<(String, usize)>,
}

impl Noted {
    fn new(record: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ending = record.get("ending").map(text);
        Self {
            tool: text(&record["tool"]),
            arguments: record["arguments"].to_string(),
            endings: ending.map(|ending| (record["seq"].as_u64().unwrap_or(0), ending)).into_iter().collect(),
            is_strange: record["principal"]["kind"] == "anonymous",
        }
    }

    /// Whether this is of a call of this tool with this marker.
    pub fn is_of(&self, tool: &str, marker: &str) -> bool {
        self.tool == tool && self.arguments.contains(marker)
    }

    /// Whether it says how the call ended.
    pub fn is_known(&self) -> bool {
        self.endings.iter().any(|(_, ending)| ending != "unknown")
    }
}

impl Account {
    /// Reads the files of a folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut account = Self::default();
        for (path, place) in files(folder)? {
            let bytes = fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
            let text = String::from_utf8_lossy(&bytes);
            for (index, line) in text.lines().enumerate() {
                account.take(line, &format!("{place}:{}", index + 1));
            }
        }
        account.close();
        Ok(account)
    }

    fn take(&mut self, line: &str, place: &str) {
        let record = serde_json::from_str::<Value>(line).ok();
        let seq = record.as_ref().and_then(|record| record["seq"].as_u64());
        let (Some(record), Some(seq)) = (record, seq) else {
            self.torn += 1;
            let faults = self.faults.len();
            self.unexplained.get_or_insert_with(|| (place.to_owned(), faults));
            return;
        };
        self.days.extend(record["time"].as_str().and_then(|time| time.get(..10)).map(ToOwned::to_owned));
        if record["type"] == "mark" {
            self.mark(&record);
        }
        let missing_from = record["unsynced_from"].as_u64();
        let is_lost = missing_from.is_some_and(|from| from <= self.last + 1 && seq > self.last);
        if seq != self.last + 1 && !is_lost {
            self.faults.push(format!("{place}: record {seq} stands behind record {}", self.last));
        }
        self.last = seq;
        match record["type"].as_str() {
            Some("intent") => drop(self.intents.insert(seq, Noted::new(&record))),
            Some("denied") => drop(self.denied.insert(seq, Noted::new(&record))),
            Some("outcome") => self.outcome(&record, place),
            _ => {}
        }
    }

    fn mark(&mut self, mark: &Value) {
        if let Some(last) = mark["recovered"].as_u64() {
            // What stands behind it is no record: the writer went on from there, and its chain says so.
            self.intents.retain(|seq, _| *seq <= last);
            self.denied.retain(|seq, _| *seq <= last);
            self.intents.values_mut().for_each(|noted| noted.endings.retain(|(seq, _)| *seq <= last));
            self.last = last.min(self.last);
            if let Some((_, faults)) = self.unexplained.take() {
                self.faults.truncate(faults);
            }
        }
        self.clock_steps.extend(mark["clock_step"]["step_ms"].as_i64());
        if let Some(step) = mark["reopened_after"].as_str() {
            self.reopened_after.push(step.to_owned());
            self.unexplained = None;
        }
    }

    fn outcome(&mut self, record: &Value, place: &str) {
        let intent = record["intent"].as_u64().unwrap_or(0);
        let ending = record["ending"].as_str().unwrap_or_default().to_owned();
        match self.intents.get_mut(&intent) {
            Some(noted) => noted.endings.push((record["seq"].as_u64().unwrap_or(0), ending)),
            None => self.faults.push(format!("{place}: an outcome of {intent}, which is no intent")),
        }
    }

    fn close(&mut self) {
        for (seq, noted) in &self.intents {
            if noted.endings.len() != 1 {
                self.faults.push(format!("intent {seq} has the outcomes {:?}", noted.endings));
            }
        }
        if let Some((place, _)) = self.unexplained.take() {
            self.faults.push(format!("{place}: a piece that is no record, and no mark says why"));
        }
    }

    /// How many ended without anybody knowing how.
    pub fn unknown(&self) -> usize {
        self.intents.values().filter(|noted| !noted.is_known()).count()
    }
}

/// The files in the order of their records, and their names.
fn files(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).context("failed to list the record")? {
        let path = entry.context("failed to list the record")?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = match name.strip_prefix("record.").and_then(|rest| rest.strip_suffix("jsonl")) {
            Some("") => Some(u64::MAX),
            Some(number) => number.trim_end_matches('.').parse().ok(),
            None => None,
        };
        found.extend(number.map(|number| (number, path, name)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path, name)| (path, name)).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The account of these lines.
    pub(crate) fn account(lines: &[&str]) -> Account {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("record.jsonl"), lines.join("\n")).unwrap();
        Account::read(dir.path()).unwrap()
    }

    const MARK: &str = r#"{"seq":1,"type":"mark","open":[]}"#;
    const INTENT: &str =
        r#"{"seq":2,"type":"intent","tool":"bash_execute","arguments":{"command":"n000001"}}"#;
    const OUTCOME: &str = r#"{"seq":3,"type":"outcome","intent":2,"ending":"ok"}"#;

    #[test]
    fn a_call_is_an_intent_with_one_outcome() {
        let read = account(&[MARK, INTENT, OUTCOME]);
        assert_eq!((read.faults.len(), read.unknown()), (0, 0));
        assert!(read.intents[&2].is_of("bash_execute", "n000001") && read.intents[&2].is_known());
        assert!(!read.intents[&2].is_of("read_file", "n000001"));
    }

    #[test]
    fn a_gap_a_second_outcome_and_a_missing_one_are_faults() {
        let twice = r#"{"seq":4,"type":"outcome","intent":2,"ending":"unknown"}"#;
        for lines in
            [&[MARK, INTENT][..], &[MARK, INTENT, OUTCOME, twice], &[INTENT, OUTCOME], &[MARK, OUTCOME]]
        {
            assert!(!account(lines).faults.is_empty(), "{lines:?}");
        }
    }

    #[test]
    fn a_torn_piece_is_one_that_a_mark_explains() {
        let torn = &OUTCOME[..20];
        let mark = r#"{"seq":3,"type":"mark","recovered":2,"torn_bytes":20,"open":[2]}"#;
        let closed = r#"{"seq":4,"type":"outcome","intent":2,"ending":"unknown"}"#;
        let read = account(&[MARK, INTENT, torn, mark, closed]);
        assert_eq!((read.faults.len(), read.torn, read.unknown()), (0, 1, 1), "{:?}", read.faults);
        assert!(!account(&[MARK, INTENT, OUTCOME, torn]).faults.is_empty());
    }

    #[test]
    fn what_stands_behind_the_place_of_a_recovery_is_no_record() {
        let mark = r#"{"seq":2,"type":"mark","recovered":1,"open":[]}"#;
        let read = account(&[MARK, INTENT, OUTCOME, mark]);
        assert_eq!((read.intents.len(), read.faults.len()), (0, 0), "{:?}", read.faults);
    }

    #[test]
    fn files_are_read_in_the_order_of_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        for (name, seq) in [("record.9.jsonl", 1), ("record.10.jsonl", 2), ("record.jsonl", 3)] {
            fs::write(dir.path().join(name), format!("{{\"seq\":{seq},\"type\":\"mark\"}}\n")).unwrap();
        }
        fs::write(dir.path().join("checkpoints.jsonl"), "{}\n").unwrap();
        let read = Account::read(dir.path()).unwrap();
        assert_eq!((read.last, read.faults.len()), (3, 0));
    }
}
