//! Who waits for the disk, and what is told when it fails.

use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::failures::wait_for;
use super::*;

/// Waits on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Puts something in the place of the file that can be written and not be synced.
fn break_disk(log: &Log) -> std::io::PipeReader {
    let (reader, writer) = std::io::pipe().unwrap();
    log.shared.lock().file.file = Arc::new(fs::File::from(OwnedFd::from(writer)));
    reader
}

#[test]
fn who_waits_is_told_when_its_record_is_on_the_disk() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    for _ in 0..3 {
        let queued = log.intent(&sample.intent());
        let seq = queued.write().unwrap();
        assert_eq!(wait(queued.synced()).unwrap(), seq);
        assert!(log.shared.lock().synced.is_some_and(|synced| synced.seq >= seq.get()));
    }
}

#[test]
fn one_sync_serves_all_who_wait() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let queued = log.denied(&sample.intent(), "x");
                    queued.write().unwrap();
                    wait(queued.synced()).unwrap();
                }
            });
        }
    });
    assert_eq!(records(dir.path()).iter().filter(|record| record.kind == RecordKind::Denied).count(), 160);
}

#[test]
fn a_failed_sync_refuses_whoever_waits_and_the_intent_is_unknown() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    let _reader = break_disk(&log);
    let queued = log.intent(&sample.intent());
    let seq = queued.write().expect("the write itself works");
    wait(queued.synced()).unwrap_err();
    assert!(log.outcome(seq, &OK).is_err(), "it is owed one already");
    wait_for("open again", || log.is_open());
    assert_eq!(outcome_of(&records(dir.path()), seq.get()), ["unknown"]);
}

#[test]
fn who_was_written_to_a_file_that_is_lost_is_refused_however_well_the_next_one_syncs() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    let queued = log.intent(&sample.intent());
    queued.write().unwrap();
    log.break_sync();
    wait_for("open again", || log.is_open());
    let next = log.intent(&sample.intent());
    next.write().unwrap();
    wait(next.synced()).unwrap();
    wait(queued.synced()).unwrap_err();
}

#[test]
fn what_was_not_written_can_not_be_on_the_disk() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    let queued = log.intent(&sample.intent());
    if queued.told().is_none() {
        wait(queued.synced()).unwrap_err();
    }
}

#[test]
fn without_syncing_being_written_is_all_there_is() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), LogConfig { sync: Sync::Off, ..LogConfig::default() }).unwrap();
    let queued = log.intent(&sample.intent());
    let seq = queued.write().unwrap();
    assert_eq!(wait(queued.synced()).unwrap(), seq);
}

#[test]
fn what_failed_to_reach_the_disk_is_signed_by_no_further_try() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let keys = Keys::open(&dir.path().join("keys")).unwrap();
    let config = LogConfig { keys: Some(Arc::new(keys)), sync: Sync::Off, ..LogConfig::default() };
    let log = Log::open(&dir.path().join("audit"), config).unwrap();
    let signed = || {
        let signer = log.shared.signer.as_ref().unwrap().lock().unwrap();
        signer.last().map(|checkpoint| checkpoint.seq)
    };
    let lost = log.intent(&sample.intent()).write().unwrap();
    let whole = Arc::clone(&log.shared.lock().file.file);
    let _reader = break_disk(&log);
    log.checkpoint().unwrap_err();
    // A kernel that has lost pages says afterwards that all is well.
    log.shared.lock().file.file = whole;
    log.checkpoint().unwrap_err();
    assert!(signed().is_none_or(|seq| seq < lost.get()), "{:?}", signed());
    wait_for("open again, in a fresh file", || log.is_open());
    log.checkpoint().unwrap();
    assert!(signed().is_some_and(|seq| seq > lost.get()));
}
