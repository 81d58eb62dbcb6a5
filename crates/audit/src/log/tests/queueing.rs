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
    let alone = log.intent(&sample.intent());
    assert!(!alone.has_company());
    let queued = vec![alone, log.denied(&sample.intent(), "x"), log.intent(&sample.intent())];
    assert!(queued[2].has_company());
    assert_eq!(kinds(dir.path()), [RecordKind::Mark]);
    assert_eq!(numbers(queued), [2, 3, 4]);
    let expected = [RecordKind::Mark, RecordKind::Intent, RecordKind::Denied, RecordKind::Intent];
    assert_eq!(kinds(dir.path()), expected);
    assert!(log.shared.lock().account.open.iter().eq(&[2, 4]));
}

#[test]
fn the_last_one_may_ask_first() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), small()).unwrap();
    let mut queued: Vec<_> = (0..3).map(|_| log.intent(&sample.intent())).collect();
    queued.reverse();
    assert_eq!(numbers(queued), [4, 3, 2]);
}

#[test]
fn an_outcome_that_is_queued_is_the_only_one() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), small()).unwrap();
    let seq = log.intent(&sample.intent()).write().unwrap();
    let queued = log.outcome(seq, &OK).unwrap();
    assert!(!queued.has_company(), "its own intent is no company");
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
    let state = log.shared.lock();
    assert!(state.account.open.is_empty() && state.account.owed.contains(&seq.get()));
    assert_eq!(state.file.size, before);
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
    let state = log.shared.lock();
    assert!(state.queue.bytes < crate::limits::BATCH_BYTES && state.file.size > 100_000);
    drop(state);
    assert!(numbers(queued).into_iter().eq(2..402));
}
