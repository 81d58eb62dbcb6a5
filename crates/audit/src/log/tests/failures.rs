//! Tests of what fails and is repaired: a full disk, a sync, descriptors that ran out.
//!
//! What holds for a whole process, such as its limits, is tried in a child.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

/// Waits until it says yes.
pub(super) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

fn retry_at(log: &Log) -> Option<Instant> {
    log.shared.lock().failure.map(|failure| failure.retry_at)
}

/// Sees the record refuse everything, before and after it has tried to open again in vain.
fn stays_closed(log: &Log, step: &'static str) {
    let (sample, first) = (Sample::new(), retry_at(log).unwrap());
    let refuses = || {
        let error = log.intent(&sample.intent()).write().unwrap_err();
        assert!(matches!(error, AuditError::Closed { step: found, .. } if found == step), "{error}");
        assert!(log.denied(&sample.intent(), "x").write().is_err() && !log.is_open());
    };
    refuses();
    wait_for("another attempt", || {
        refuses();
        retry_at(log).unwrap() != first
    });
    refuses();
}

fn reopened_after(records: &[Record]) -> Vec<String> {
    let marks = records.iter().filter(|record| record.kind == RecordKind::Mark);
    let values = marks.map(|mark| serde_json::from_str::<Value>(&mark.text).unwrap());
    values.filter_map(|mark| Some(mark["reopened_after"].as_str()?.to_owned())).collect()
}

fn limit_soft(resource: Resource, value: Option<u64>) {
    setrlimit(resource, Rlimit { current: value, ..getrlimit(resource) }).unwrap();
}

fn run_child(test: &str, dir: &Path, shell: &str) -> i32 {
    let output = child(&format!("failures::{test}"), dir, shell).output().unwrap();
    let status = output.status.code().unwrap();
    assert!(status == 0 || status == SKIPPED, "{output:?}");
    status
}

/// The exit status of the shell that says that the machine doesn't let us try this.
const SKIPPED: i32 = 77;

/// Two intents that are open when the record fails.
fn begin_two(log: &Log) -> [Seq; 2] {
    [(); 2].map(|()| log.intent(&Sample::new().intent()).write().unwrap())
}

fn end_in_vain(log: &Log, seq: Seq) {
    log.outcome(seq, &OK).and_then(|queued| queued.write()).unwrap_err();
    assert!(matches!(
        log.outcome(seq, &OK).and_then(|queued| queued.write()),
        Err(AuditError::NotOpen { .. })
    ));
}

/// Sees the record take everything again, with nothing lost.
fn opens_again(log: &Log, dir: &Path, [running, unlucky]: [Seq; 2], step: &str) {
    wait_for("open again", || log.is_open());
    log.outcome(running, &OK).and_then(|queued| queued.write()).unwrap();
    log.intent(&Sample::new().intent()).write().unwrap();
    let records = whole_record(dir);
    assert!(records.iter().map(|record| record.seq).eq(1..=records.len() as u64));
    assert_eq!(reopened_after(&records), [step]);
    assert_eq!(outcome_of(&records, running.get()), ["ok"]);
    assert_eq!(outcome_of(&records, unlucky.get()), ["unknown"]);
    let mark = records.iter().find(|record| record.text.contains(&format!("\"{step}\""))).unwrap();
    assert!(mark.open.contains(&running.get()) && mark.open.contains(&unlucky.get()));
}

#[test]
fn a_full_disk_closes_the_record_until_there_is_room() {
    if let Some(disk) = child_dir() {
        let (dir, ballast) = (Path::new(&disk).join("audit"), Path::new(&disk).join("ballast"));
        fs::write(&ballast, vec![0; 256 * 1024]).unwrap();
        let log = open(&dir);
        let left = begin_two(&log);
        assert!(std::iter::from_fn(|| log.intent(&Sample::new().intent()).write().ok()).count() > 10);
        end_in_vain(&log, left[1]);
        stays_closed(&log, "write");
        fs::remove_file(ballast).unwrap();
        opens_again(&log, &dir, left, "write");
        assert_eq!(aside(&dir).len(), 0, "the same file is fit for use");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tmpfs = "unshare -m sh -c 'mount -t tmpfs -o size=512k tmpfs \"$HAYWARD_TEST_DIR\" || exit 77
        exec \"$0\" --exact --nocapture \"$1\"' \"$0\" \"$1\"; code=$?
        [ $code = 1 ] && ! unshare -m true && exit 77; exit $code;";
    if run_child("a_full_disk_closes_the_record_until_there_is_room", dir.path(), tmpfs) == SKIPPED {
        writeln!(std::io::stderr(), "skipped: a small file system can't be mounted here").unwrap();
    }
}

/// The limit on the size of files acts like a broken disk: a write up to it is short, the next fails.
#[test]
fn a_write_that_fails_closes_the_record_until_a_fresh_file_works() {
    if let Some(dir) = child_dir() {
        let dir = Path::new(&dir);
        let log = open(dir);
        let left = begin_two(&log);
        let size = log.shared.lock().file.size;
        limit_soft(Resource::Fsize, Some(size + 100));
        log.intent(&Sample::new().intent()).write().unwrap_err();
        limit_soft(Resource::Fsize, Some(0));
        end_in_vain(&log, left[1]);
        stays_closed(&log, "write");
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "attempts leave nothing behind");
        limit_soft(Resource::Fsize, None);
        opens_again(&log, dir, left, "write");
        assert_eq!(aside(dir).len(), 1);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "a_write_that_fails_closes_the_record_until_a_fresh_file_works";
    assert_eq!(run_child(test, dir.path(), "trap '' XFSZ;"), 0);
}

#[test]
fn a_file_that_could_not_be_synced_is_never_written_again() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    let running = log.intent(&sample.intent()).write().unwrap();
    // A pipe can be written and never be synced.
    let (_reader, writer) = std::io::pipe().unwrap();
    log.shared.lock().file.file = Arc::new(fs::File::from(OwnedFd::from(writer)));
    log.intent(&sample.intent()).write().expect("the write itself works");
    wait_for("the failure is noticed", || log.shared.lock().failure.is_some());
    assert_eq!(files(dir.path()), aside(dir.path()), "a restart would not go on in it either");
    let before = fs::read(&aside(dir.path())[0]).unwrap();
    let try_at = |at| log.shared.lock().failure.as_mut().unwrap().retry_at = at;
    try_at(Instant::now() + Duration::from_hours(1));
    let error = log.intent(&sample.intent()).write().unwrap_err();
    assert!(matches!(error, AuditError::Closed { step: "sync", .. }), "{error}");
    assert!(log.denied(&sample.intent(), "x").write().is_err());
    try_at(Instant::now());
    wait_for("open again", || log.intent(&sample.intent()).write().is_ok());
    log.outcome(running, &OK).and_then(|queued| queued.write()).unwrap();
    assert_eq!(fs::read(&aside(dir.path())[0]).unwrap(), before);
    let records = records(dir.path());
    assert_eq!((records[0].kind, reopened_after(&records)), (RecordKind::Mark, vec!["sync".to_owned()]));
    assert!(records.iter().map(|record| record.seq).eq(4..=6));
    assert!(records[0].open.contains(&running.get()));
}

#[test]
fn callers_that_keep_asking_do_not_keep_a_failed_record_closed() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    let (_reader, writer) = std::io::pipe().unwrap();
    log.shared.lock().file.file = Arc::new(fs::File::from(OwnedFd::from(writer)));
    log.intent(&sample.intent()).write().expect("the write itself works");
    wait_for("the failure is noticed", || log.shared.lock().failure.is_some());
    wait_for("open again", || log.intent(&sample.intent()).write().is_ok());
}

#[test]
fn an_intent_that_could_not_be_synced_is_refused_and_told_as_unknown() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = Log::open(dir.path(), LogConfig { sync: Sync::Each, ..LogConfig::default() }).unwrap();
    let (_reader, writer) = std::io::pipe().unwrap();
    log.shared.lock().file.file = Arc::new(fs::File::from(OwnedFd::from(writer)));
    log.intent(&sample.intent()).write().unwrap_err();
    wait_for("open again", || log.is_open());
    assert_eq!(outcome_of(&records(dir.path()), 2), ["unknown"]);
}

#[test]
fn a_fresh_file_is_begun_after_a_restart_with_an_unsynced_one() {
    let (dir, sample) = (tempfile::tempdir().unwrap(), Sample::new());
    let log = open(dir.path());
    let left = log.intent(&sample.intent()).write().unwrap();
    let error = AuditError::io("sync", dir.path())(std::io::ErrorKind::Other.into());
    log.shared.fail(&mut log.shared.lock(), &error);
    drop(log);
    // What a power loss leaves of the last file put aside may be nothing.
    fs::write(dir.path().join("record.2.jsonl"), [0; 100]).unwrap();
    fs::write(dir.path().join("record.next.jsonl"), "{\"seq\":3,").unwrap();
    drop(open(dir.path()));
    let records = records(dir.path());
    assert!(records.iter().map(|record| record.seq).eq(3..=4));
    assert_eq!(outcome_of(&records, left.get()), ["unknown"]);
    assert!(!dir.path().join("record.next.jsonl").exists());
}

#[test]
fn without_descriptors_a_full_file_is_written_on() {
    if let Some(dir) = child_dir() {
        let (dir, sample) = (Path::new(&dir), Sample::new());
        let log = Log::open(dir, small()).unwrap();
        let before = getrlimit(Resource::Nofile).current;
        limit_soft(Resource::Nofile, Some(0));
        for _ in 0..200 {
            let seq = log.intent(&sample.intent()).write().unwrap();
            log.outcome(seq, &OK).and_then(|queued| queued.write()).unwrap();
        }
        assert!(log.is_open() && log.shared.lock().rotate_at.is_some());
        limit_soft(Resource::Nofile, before);
        assert_eq!(aside(dir).len(), 0);
        wait_for("put aside", || {
            log.denied(&sample.intent(), "x").write().unwrap();
            !aside(dir).is_empty()
        });
        let records = whole_record(dir);
        assert!(records.iter().map(|record| record.seq).eq(1..=records.len() as u64));
        assert_eq!(reopened_after(&records), [""; 0]);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run_child("without_descriptors_a_full_file_is_written_on", dir.path(), ""), 0);
}

#[test]
fn one_descriptor_is_enough_for_the_next_file() {
    if let Some(dir) = child_dir() {
        let (dir, sample) = (Path::new(&dir), Sample::new());
        let log = Log::open(dir, small()).unwrap();
        let before = getrlimit(Resource::Nofile).current;
        let lowest_free = fs::File::open("/dev/null").unwrap().as_raw_fd();
        limit_soft(Resource::Nofile, Some(u64::try_from(lowest_free).unwrap() + 1));
        while log.shared.lock().file.size < 4096 {
            log.denied(&sample.intent(), "x").write().unwrap();
        }
        log.denied(&sample.intent(), "x").write().unwrap();
        limit_soft(Resource::Nofile, before);
        assert_eq!(aside(dir).len(), 1);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run_child("one_descriptor_is_enough_for_the_next_file", dir.path(), ""), 0);
}

#[test]
fn a_file_that_somebody_removed_is_replaced_before_the_next_effect() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    let sample = Sample::new();
    log.intent(&sample.intent()).write().unwrap();
    std::fs::remove_file(dir.path().join("record.jsonl")).unwrap();
    assert!(log.intent(&sample.intent()).write().is_err(), "it would be in a file that nobody finds");
    wait_for("a fresh file", || log.is_open());
    log.intent(&sample.intent()).write().unwrap();
    let text = std::fs::read_to_string(dir.path().join("record.jsonl")).unwrap();
    assert!(text.contains(r#""reopened_after":"find""#) && text.contains(r#""type":"intent""#), "{text}");
}
