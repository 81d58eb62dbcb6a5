//! Tests of the writer with real files and real crashes.

mod clock;
mod failures;
mod queueing;
mod syncing;

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use hayward_api::{Principal, Source, Tier};
use serde_json::Value;

use super::*;
use crate::folder::Folder;
use crate::reader::{Line, Record, read_records};
use crate::redact::{self, Redacted};
use hayward_api::Ending;

const OK: Outcome<'static> = Outcome { duration_ms: Some(3), ..Outcome::bare(Ending::Ok) };

struct Sample {
    principal: Principal,
    arguments: Redacted,
}

impl Sample {
    fn new() -> Self {
        let arguments = redact::arguments(r#"{"command":"true"}"#);
        Self { principal: Principal::local("root", Tier::Operate), arguments }
    }

    fn intent(&self) -> Intent<'_> {
        Intent {
            request_id: "r1",
            principal: &self.principal,
            source: Source::default(),
            client_name: None,
            traceparent: None,
            protocol: None,
            server: "host",
            method: "tools/call",
            tool: "bash_execute",
            tier: Some(Tier::Operate),
            arguments: &self.arguments,
            raw_arguments: Some(r#"{"command":"true"}"#),
            decision: "allow",
            part_of: crate::record::PartOf::default(),
            sent: crate::record::Sent::default(),
        }
    }
}

fn open(dir: &Path) -> Log {
    Log::open(dir, LogConfig::default()).unwrap()
}

fn small() -> LogConfig {
    let limits = Limits { file_bytes_max: 4096, files_kept: 2, files_kept_ms_min: 0, ..Limits::default() };
    LogConfig { sync: Sync::Off, limits, keys: None, ..LogConfig::default() }
}

fn lines(path: &Path) -> Vec<Line> {
    read_records(path).unwrap().map(Result::unwrap).collect()
}

fn records(dir: &Path) -> Vec<Record> {
    let lines = lines(&dir.join("record.jsonl")).into_iter();
    lines.filter_map(|line| if let Line::Record(record) = line { Some(record) } else { None }).collect()
}

fn aside(dir: &Path) -> Vec<PathBuf> {
    let aside = Folder::open(dir).unwrap().aside().unwrap();
    aside.iter().map(|file| dir.join(format!("record.{}.jsonl", file.number))).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    aside(dir).into_iter().chain([dir.join("record.jsonl")]).filter(|path| path.exists()).collect()
}

/// All records of all files; nothing else may stand in them.
fn whole_record(dir: &Path) -> Vec<Record> {
    let lines = files(dir).into_iter().flat_map(|path| lines(&path));
    let record = |line| if let Line::Record(record) = line { record } else { panic!("{line:?}") };
    lines.map(record).collect()
}

fn kinds(dir: &Path) -> Vec<RecordKind> {
    records(dir).iter().map(|record| record.kind).collect()
}

fn outcome_of(records: &[Record], intent: u64) -> Vec<String> {
    let outcomes = records.iter().filter(|record| record.intent == Some(intent));
    let values = outcomes.map(|record| serde_json::from_str::<Value>(&record.text).unwrap());
    values.map(|value| value["ending"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn intents_outcomes_and_denials_are_numbered_in_order() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    let seq = log.intent(&sample.intent()).write().unwrap();
    log.outcome(seq, &OK).and_then(|queued| queued.write()).unwrap();
    log.denied(&sample.intent(), "above_ceiling").write().unwrap();
    let expected = [RecordKind::Mark, RecordKind::Intent, RecordKind::Outcome, RecordKind::Denied];
    assert_eq!(kinds(dir.path()), expected);
    let records = records(dir.path());
    assert!(records.iter().map(|record| record.seq).eq(1..=4));
    assert_eq!(outcome_of(&records, seq.get()), ["ok"]);
    let denied: Value = serde_json::from_str(&records[3].text).unwrap();
    assert_eq!((&denied["ending"], &denied["reason"]), (&"denied".into(), &"above_ceiling".into()));
    let mark: Value = serde_json::from_str(&records[0].text).unwrap();
    assert_eq!(mark["boot_id"].as_str().unwrap().len(), 36);
}

#[test]
fn an_intent_has_one_outcome() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    let seq = log.intent(&sample.intent()).write().unwrap();
    log.outcome(seq, &OK).and_then(|queued| queued.write()).unwrap();
    assert!(matches!(
        log.outcome(seq, &OK).and_then(|queued| queued.write()),
        Err(AuditError::NotOpen { seq: 2 })
    ));
    assert!(matches!(
        log.outcome(Seq(99), &OK).and_then(|queued| queued.write()),
        Err(AuditError::NotOpen { seq: 99 })
    ));
    log.intent(&sample.intent()).write().expect("a wrong number doesn't close the record");
}

#[test]
fn only_the_owner_may_read_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("audit");
    let _log = open(&folder);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("record.jsonl")), 0o600);
}

#[test]
fn a_link_in_the_place_of_the_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("victim");
    std::os::unix::fs::symlink(&target, dir.path().join("record.jsonl")).unwrap();
    let error = Log::open(dir.path(), LogConfig::default()).unwrap_err();
    assert!(error.to_string().starts_with("failed to open "), "{error}");
    assert!(!target.exists());
}

#[test]
fn numbers_go_on_and_open_intents_are_closed_after_a_restart() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let left = {
        let log = open(dir.path());
        let done = log.intent(&sample.intent()).write().unwrap();
        let left = log.intent(&sample.intent()).write().unwrap();
        log.outcome(done, &OK).and_then(|queued| queued.write()).unwrap();
        left
    };
    let log = open(dir.path());
    assert_eq!(outcome_of(&records(dir.path()), left.get()), ["unknown"]);
    assert!(matches!(
        log.outcome(left, &OK).and_then(|queued| queued.write()),
        Err(AuditError::NotOpen { .. })
    ));
    drop(log);
    drop(open(dir.path()));
    let records = records(dir.path());
    assert_eq!(outcome_of(&records, left.get()), ["unknown"]);
    assert!(records.iter().map(|record| record.seq).eq(1..=records.len() as u64));
}

#[test]
fn a_torn_last_line_is_left_alone_and_a_fresh_one_begun() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    drop(open(dir.path()));
    let path = dir.path().join("record.jsonl");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"seq\":2,\"type\":\"intent\",\"to").unwrap();
    let log = open(dir.path());
    log.intent(&sample.intent()).write().unwrap();
    let lines = lines(&path);
    assert!(matches!(lines[1], Line::Torn { bytes: 29 }), "{lines:?}");
    let [Line::Record(mark), Line::Record(intent)] = &lines[2..] else { panic!("{lines:?}") };
    assert!(mark.text.contains("\"torn_bytes\":28"), "{}", mark.text);
    assert_eq!((mark.seq, intent.seq), (2, 3));
}

#[test]
fn a_full_file_is_put_aside_and_the_oldest_are_deleted() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), small()).unwrap();
    let long_running = log.intent(&sample.intent()).write().unwrap();
    for _ in 0..50 {
        let seq = log.intent(&sample.intent()).write().unwrap();
        log.outcome(seq, &OK).and_then(|queued| queued.write()).unwrap();
    }
    let older = aside(dir.path());
    assert_eq!(older.len(), 2);
    assert!(!dir.path().join("record.1.jsonl").exists(), "some were deleted");
    for path in files(dir.path()) {
        assert!(fs::metadata(path).unwrap().len() < 4096 + 1024);
    }
    let seqs: Vec<u64> = whole_record(dir.path()).iter().map(|record| record.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    assert_eq!(records(dir.path())[0].open[0], long_running.get());
    for pair in whole_record(dir.path()).windows(2).filter(|pair| pair[0].kind == RecordKind::Mark) {
        // An intent is open until its outcome is written, also if a mark comes just before that.
        assert!(pair[1].intent.is_none_or(|intent| pair[0].open.contains(&intent)), "{pair:?}");
    }
    drop(log);
    drop(Log::open(dir.path(), small()).unwrap());
    assert_eq!(outcome_of(&records(dir.path()), long_running.get()), ["unknown"]);
}

#[test]
fn filling_the_record_deletes_nothing_young_until_it_is_too_large() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let fill = |config: &LogConfig| {
        let log = Log::open(dir.path(), config.clone()).unwrap();
        for _ in 0..100 {
            log.denied(&sample.intent(), "above_ceiling").write().unwrap();
        }
        whole_record(dir.path())
    };
    let mut config = small();
    config.limits.files_kept_ms_min = 86_400_000;
    let records = fill(&config);
    assert!(records.iter().map(|record| record.seq).eq(1..=records.len() as u64));
    assert!(aside(dir.path()).len() > 4);
    config.limits.files_kept_bytes_max = 3 * 5120;
    assert!(fill(&config)[0].seq > 1);
    assert_eq!(aside(dir.path()).len(), 3);
}

#[test]
fn what_one_call_can_write_is_bounded() {
    let (dir, mut sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let raw = format!("{{\"a\":[{}1]}}", "\"\\u0000\u{9b}\",".repeat(50_000));
    sample.arguments = redact::arguments(&raw);
    let log = open(dir.path());
    log.intent(&sample.intent()).write().unwrap();
    log.denied(&sample.intent(), "above_ceiling").write().unwrap();
    let records = records(dir.path());
    for (record, bytes_max) in [(&records[1], 8 * 1024), (&records[2], 1024)] {
        assert!((bytes_max..bytes_max + 1000).contains(&record.text.len()), "{}", record.text);
        let arguments = serde_json::from_str::<Value>(&record.text).unwrap()["arguments"].clone();
        let text = arguments.as_str().unwrap();
        assert!(text.starts_with("{\"a\":[\"\\u0000\\u009b"), "{text}");
        assert!(text.ends_with(&format!("<cut, {} bytes in all>", raw.len())), "{text}");
    }
}

#[test]
fn numbers_go_on_if_the_crash_came_between_two_files() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let left = open(dir.path()).intent(&sample.intent()).write().unwrap();
    fs::rename(dir.path().join("record.jsonl"), dir.path().join("record.1.jsonl")).unwrap();
    let log = open(dir.path());
    assert_eq!(outcome_of(&records(dir.path()), left.get()), ["unknown"]);
    assert_eq!(log.intent(&sample.intent()).write().unwrap().get(), 5);
}

#[test]
fn marks_stand_close_enough_for_a_quick_start() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let config = LogConfig { sync: Sync::Off, ..LogConfig::default() };
    let log = Log::open(dir.path(), config).unwrap();
    let text = "x".repeat(8000);
    let arguments = redact::arguments(&format!("{{\"command\":\"{text}\"}}"));
    for _ in 0..100 {
        let seq = log.intent(&Intent { arguments: &arguments, ..sample.intent() }).write().unwrap();
        log.outcome(seq, &OK).and_then(|queued| queued.write()).unwrap();
    }
    let marks = kinds(dir.path()).iter().filter(|kind| **kind == RecordKind::Mark).count();
    assert!((3..=5).contains(&marks), "{marks} marks in 800 kB");
}

#[test]
fn concurrent_calls_share_no_number_and_no_line() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let seq = log.intent(&sample.intent()).write().unwrap();
                    log.outcome(seq, &OK).and_then(|queued| queued.write()).unwrap();
                }
            });
        }
    });
    let records = records(dir.path());
    assert!(records.iter().map(|record| record.seq).eq(1..=records.len() as u64));
    assert_eq!(records.iter().filter(|record| record.kind == RecordKind::Outcome).count(), 400);
}

#[test]
fn background_and_each_leave_nothing_unsynced() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    log.intent(&sample.intent()).write().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while log.shared.intake().is_dirty {
        assert!(Instant::now() < deadline, "never synced");
        std::thread::yield_now();
    }
    let each = dir.path().join("each");
    let log = Log::open(&each, LogConfig { sync: Sync::Each, ..LogConfig::default() }).unwrap();
    log.intent(&sample.intent()).write().unwrap();
    assert!(log.syncer.is_none());
}

/// Runs this very test again as a child, with `HAYWARD_TEST_DIR` set, through a shell line.
fn child(test: &str, dir: &Path, shell: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the test has to kill a process of its own")]
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell} exec \"$0\" --exact --nocapture \"$1\"")]);
    command.arg(std::env::current_exe().unwrap()).arg(format!("log::tests::{test}"));
    command.env("HAYWARD_TEST_DIR", dir).stdout(Stdio::piped());
    command
}

fn child_dir() -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "tells the child from the test that started it")]
    std::env::var_os("HAYWARD_TEST_DIR")
}

#[test]
fn every_acknowledged_intent_survives_a_kill() {
    let sample = Sample::new();
    if let Some(dir) = child_dir() {
        let log = open(Path::new(&dir));
        loop {
            let seq = log.intent(&sample.intent()).write().unwrap();
            writeln!(std::io::stdout(), "acknowledged {}", seq.get()).unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 1..=3_usize {
        let mut child = child("every_acknowledged_intent_survives_a_kill", dir.path(), "").spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let seqs = output.by_ref().filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        acknowledged.extend(seqs.take(200 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it wrote before it died and nobody read yet is acknowledged too; the last line may be cut.
        let mut rest: Vec<u64> =
            output.filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).collect();
        rest.pop();
        acknowledged.extend(rest);
    }
    drop(open(dir.path()));
    let records = records(dir.path());
    for seq in acknowledged {
        let intent = records.iter().find(|record| record.seq == seq).unwrap();
        assert_eq!(intent.kind, RecordKind::Intent);
        assert_eq!(outcome_of(&records, seq), ["unknown"], "intent {seq}");
    }
    assert!(records.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
}
