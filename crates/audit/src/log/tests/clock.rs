//! Tests of a wall clock that is set while records are written.

use jiff::SignedDuration;

use super::*;
use crate::verify::{Evidence, verify};

fn steps(dir: &Path) -> Vec<(u64, i64)> {
    let step = |record: &Record| {
        let value: Value = serde_json::from_str(&record.text).unwrap();
        Some((record.seq, value["clock_step"]["step_ms"].as_i64()?))
    };
    records(dir).iter().filter_map(step).collect()
}

/// The clocks are real ones, which nobody holds still: to some seconds.
fn assert_near(step_ms: i64, expect: SignedDuration) {
    let off = i64::try_from(expect.as_millis()).unwrap() - step_ms;
    assert!(off.abs() < 10_000, "{step_ms} {expect:?}");
}

#[test]
fn a_clock_that_is_set_is_told_once_before_the_next_record_and_chained() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let jumps = [SignedDuration::from_hours(-1), SignedDuration::from_hours(24 * 365)];
    let log = open(dir.path());
    let intent = log.intent(&sample.intent()).write().unwrap();
    for by in jumps {
        log.jump(by);
        log.denied(&sample.intent(), "no").write().unwrap();
        log.denied(&sample.intent(), "no").write().unwrap();
    }
    log.outcome(intent, &OK).unwrap().write().unwrap();
    drop(log);
    let told = steps(dir.path());
    assert_eq!(told.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [3, 6]);
    told.iter().zip(jumps).for_each(|((_, step_ms), by)| assert_near(*step_ms, by));
    // The call that was open across it is still one, also for whoever starts at that mark.
    assert_eq!(records(dir.path())[2].open, [2]);
    let mut evidence = Evidence::default();
    evidence.add(dir.path()).unwrap();
    let report = verify(&evidence).unwrap();
    assert!(report.is_sound, "{report:?}");
}

#[test]
fn a_step_that_cannot_be_written_is_told_when_the_record_is_open_again() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    log.break_sync();
    log.jump(SignedDuration::from_hours(1));
    log.denied(&sample.intent(), "no").write().unwrap();
    drop(log);
    let told = steps(dir.path());
    assert_eq!(told.len(), 1);
    assert_near(told[0].1, SignedDuration::from_hours(1));
}

#[test]
fn a_clock_that_nobody_sets_is_not_spoken_of() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    for _ in 0..50 {
        log.denied(&sample.intent(), "no").write().unwrap();
    }
    drop(log);
    assert_eq!(steps(dir.path()), []);
    assert!(!fs::read_to_string(dir.path().join("record.jsonl")).unwrap().contains("clock_step"));
}
