//! Tests of records that are queued together: one write, and each of them is told the truth.

use std::os::fd::OwnedFd;

use super::*;

fn numbers(queued: Vec<Queued<'_>>) -> Vec<u64> {
    queued.into_iter().map(|queued| queued.write().unwrap().get()).collect()
}

#[test]
fn what_is_queued_is_not_recorded_until_somebody_writes_it() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), small()).unwrap();
    let queued =
        vec![log.intent(&sample.intent()), log.denied(&sample.intent(), "x"), log.intent(&sample.intent())];
    assert_eq!(kinds(dir.path()), [RecordKind::Mark]);
    assert_eq!(numbers(queued), [2, 3, 4]);
    let expected = [RecordKind::Mark, RecordKind::Intent, RecordKind::Denied, RecordKind::Intent];
    assert_eq!(kinds(dir.path()), expected);
    assert!(log.shared.intake().account.open.iter().eq(&[2, 4]));
}

#[test]
fn nobody_waits_who_would_rather_not() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), small()).unwrap();
    let writing = log.shared.lock();
    let queued = log.intent(&sample.intent());
    assert!(queued.try_write().is_none());
    drop(writing);
    assert_eq!(queued.try_write().unwrap().unwrap(), Seq(2));
    assert_eq!(queued.write().unwrap(), Seq(2), "told twice, written once");
    assert_eq!(kinds(dir.path()), [RecordKind::Mark, RecordKind::Intent]);
}

#[test]
fn the_last_one_may_ask_first() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), small()).unwrap();
    let mut queued: Vec<_> = (0..3).map(|_| log.intent(&sample.intent())).collect();
    queued.reverse();
    assert_eq!(numbers(queued), [4, 3, 2]);
}

/// A mark can be written between the queueing of an outcome and its record.
#[test]
fn an_intent_is_open_until_its_outcome_is_written() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), small()).unwrap();
    let seq = log.intent(&sample.intent()).write().unwrap();
    let queued = log.outcome(seq, &OK).unwrap();
    assert_eq!(log.shared.intake().account.all(), [seq.get()]);
    queued.write().unwrap();
    assert_eq!(log.shared.intake().account.all(), [0; 0]);
}

#[test]
fn an_outcome_that_is_queued_is_the_only_one() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), small()).unwrap();
    let seq = log.intent(&sample.intent()).write().unwrap();
    let queued = log.outcome(seq, &OK).unwrap();
    assert!(matches!(log.outcome(seq, &OK), Err(AuditError::NotOpen { .. })));
    queued.write().unwrap();
    assert_eq!(outcome_of(&records(dir.path()), seq.get()), ["ok"]);
}

#[test]
fn all_of_a_failed_write_are_refused_and_ended_calls_are_owed_their_outcome() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), small()).unwrap();
    let seq = log.intent(&sample.intent()).write().unwrap();
    let before = log.shared.lock().file.size;
    // The reading end of a pipe takes no write.
    let (reader, _writer) = std::io::pipe().unwrap();
    log.shared.lock().file.file = Arc::new(fs::File::from(OwnedFd::from(reader)));
    let ended = log.outcome(seq, &OK).unwrap();
    let (second, third) = (log.intent(&sample.intent()), log.denied(&sample.intent(), "x"));
    assert!(matches!(second.write(), Err(AuditError::Io { step: "write", .. })));
    for queued in [ended, third] {
        assert!(matches!(queued.write(), Err(AuditError::Closed { step: "write", .. })));
    }
    let account = &log.shared.intake().account;
    assert!(account.open.is_empty() && account.owed.contains(&seq.get()));
    assert_eq!(log.shared.lock().file.size, before);
}

#[test]
fn what_nobody_asks_for_again_is_written_all_the_same() {
    let sample = Sample::new();
    for config in [small(), LogConfig::default()] {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), config).unwrap();
        drop(log.denied(&sample.intent(), "x"));
        drop(log);
        assert_eq!(kinds(dir.path()), [RecordKind::Mark, RecordKind::Denied]);
    }
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    drop(log.denied(&sample.intent(), "x"));
    failures::wait_for("written by the thread that syncs", || kinds(dir.path()).len() == 2);
}

#[test]
fn a_long_queue_is_written_before_it_grows_longer() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), LogConfig { sync: Sync::Off, ..LogConfig::default() }).unwrap();
    let queued: Vec<_> = (0..400).map(|_| log.denied(&sample.intent(), "x")).collect();
    assert!(log.shared.intake().batch.bytes < crate::limits::BATCH_BYTES);
    assert!(log.shared.lock().file.size > 100_000);
    assert!(numbers(queued).into_iter().eq(2..402));
}
