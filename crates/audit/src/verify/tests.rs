//! Tests of the check: what honest writers and honest crashes leave passes, and everything else is found.

mod crashes;
mod measures;
mod mutations;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hayward_api::{Ending, Principal, Source, Tier};

use super::*;
use crate::keys::Keys;
use crate::limits::Limits;
use crate::log::{Log, LogConfig, Prune, Sync};
use crate::record::{Intent, Outcome};
use crate::redact;

/// A data directory.
struct Rig {
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        // Where there is one, a disk that is fast to sync.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { dir }
    }

    fn audit(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    fn keys(&self) -> Keys {
        Keys::open(&self.dir.path().join("keys")).unwrap()
    }

    fn config(&self) -> LogConfig {
        let limits = Limits { file_bytes_max: 4096, files_kept_ms_min: 0, ..Limits::default() };
        LogConfig { keys: Some(Arc::new(self.keys())), sync: Sync::Off, limits, ..LogConfig::default() }
    }

    fn open(&self) -> Log {
        Log::open(&self.audit(), self.config()).unwrap()
    }

    /// A life of the daemon with so many calls.
    fn live(&self, calls: usize) {
        let log = self.open();
        (0..calls).for_each(|_| call(&log));
    }

    fn files(&self) -> Vec<PathBuf> {
        record_files(&self.audit()).unwrap()
    }

    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence { keys: vec![self.keys().public()], ..Evidence::default() };
        evidence.add(&self.audit()).unwrap();
        evidence
    }

    fn verify(&self) -> Report {
        verify(&self.evidence()).unwrap()
    }

    /// What is wrong, in words.
    fn kinds(&self) -> Vec<&'static str> {
        self.verify().findings.iter().map(|finding| finding.kind).collect()
    }

    /// What passes, and is noted.
    fn notes(&self) -> Vec<String> {
        let report = self.verify();
        assert!(report.is_sound, "{report:#?}");
        report.notes.into_iter().map(|note| note.what).collect()
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

fn call(log: &Log) {
    let (principal, arguments) = (Principal::local("root", Tier::Operate), redact::arguments("{}"));
    let intent = Intent {
        request_id: "r1",
        principal: &principal,
        source: Source::default(),
        client_name: None,
        traceparent: None,
        protocol: None,
        server: "host",
        method: "tools/call",
        tool: "bash_execute",
        tier: Some(Tier::Operate),
        arguments: &arguments,
        raw_arguments: Some("{}"),
        decision: "allow",
        part_of: crate::record::PartOf::default(),
        sent: crate::record::Sent::default(),
    };
    let seq = log.intent(&intent).write().unwrap();
    let outcome = Outcome::bare(Ending::Ok);
    log.outcome(seq, &outcome).and_then(|queued| queued.write()).unwrap();
}

/// A process that is killed runs nothing any more, not even what ends a log.
fn kill(log: Log) {
    let _left = std::mem::ManuallyDrop::new(log);
}

fn append(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn an_untouched_record_passes_across_files_and_lives() {
    let rig = Rig::new();
    rig.live(10);
    rig.live(0);
    rig.live(30);
    assert!(rig.files().len() > 5);
    assert_eq!(rig.notes(), [""; 0]);
    let report = rig.verify();
    assert_eq!((report.first_seq, report.last_seq), (Some(1), Some(report.records)));
    assert_eq!((report.signed_to, report.unsigned), (report.last_seq, 0));
    assert!(report.signed_at.is_some() && report.checkpoints > 5);
}

#[test]
fn a_running_record_passes_with_its_unsigned_end() {
    let rig = Rig::new();
    let log = rig.open();
    (0..10).for_each(|_| call(&log));
    assert_eq!(rig.notes(), [""; 0]);
    assert!(rig.verify().unsigned > 0);
    append(rig.files().last().unwrap(), b"{\"seq\":");
    assert_eq!(rig.notes().len(), 1);
    log.checkpoint().unwrap();
    assert_eq!(rig.verify().unsigned, 0);
}

#[test]
fn another_key_proves_nothing_and_no_key_is_told() {
    let rig = Rig::new();
    rig.live(5);
    let other = Keys::open(&rig.dir.path().join("other")).unwrap();
    let report = verify(&Evidence { keys: vec![other.public()], ..rig.evidence() }).unwrap();
    assert!(!report.is_sound && report.checkpoints == 0);
    assert!(report.findings.iter().all(|finding| finding.kind == "bad_signature"), "{report:?}");
    let report = verify(&Evidence { keys: Vec::new(), ..rig.evidence() }).unwrap();
    assert!(report.is_sound && report.notes[0].what.contains("no key"));
}

#[test]
fn where_and_what_is_said_exactly() {
    let rig = Rig::new();
    rig.live(20);
    let path = rig.files()[1].clone();
    let text = fs::read_to_string(&path).unwrap();
    let third = text.lines().nth(2).unwrap();
    fs::write(&path, text.replace(third, &third.replace("bash_execute", "read_file_xy"))).unwrap();
    let report = rig.verify();
    let [finding, after] = &report.findings[..] else { panic!("{report:#?}") };
    assert_eq!((finding.kind, finding.line, &finding.file), ("altered", 3, &path.display().to_string()));
    assert_eq!((after.kind, after.line), ("missing", 4));
    assert!(after.seq.is_some() && report.more_findings == 0);
}

#[test]
fn older_files_may_be_deleted_by_the_node_and_by_nobody_else() {
    let rig = Rig::new();
    let mut config = rig.config();
    config.limits.files_kept = 2;
    let log = Log::open(&rig.audit(), config).unwrap();
    (0..40).for_each(|_| call(&log));
    drop(log);
    let files = rig.files();
    assert_eq!(files.len(), 3);
    assert_eq!(rig.notes().len(), 1, "begins behind a checkpoint");
    fs::remove_file(&files[0]).unwrap();
    assert_eq!(rig.kinds(), ["deleted"]);
    fs::remove_file(&files[1]).unwrap();
    assert_eq!(rig.kinds(), ["deleted"]);
    fs::remove_file(&files[2]).unwrap();
    assert_eq!(rig.kinds(), ["cut"]);
}

#[test]
fn files_are_deleted_by_hand_behind_a_signed_place_only() {
    let rig = Rig::new();
    rig.live(40);
    let before = rig.files().len();
    let log = rig.open();
    assert_eq!(log.prune_to(3, Prune::Try).unwrap(), (1..=before as u64 - 4).collect::<Vec<_>>());
    assert_eq!(rig.files().len(), before);
    assert_eq!(rig.notes(), [""; 0]);
    assert_eq!(log.prune_to(3, Prune::Delete).unwrap().len(), before - 4);
    assert_eq!(log.prune_older(Duration::from_hours(1), Prune::Delete).unwrap(), [0; 0]);
    call(&log);
    drop(log);
    assert_eq!(rig.files().len(), 4);
    assert_eq!(rig.notes().len(), 1, "begins behind a checkpoint");
    // Where nothing is signed, nothing goes.
    fs::write(rig.audit().join(CHECKPOINTS), "").unwrap();
    assert_eq!(rig.open().prune_to(0, Prune::Delete).unwrap(), [0; 0]);
}

#[test]
fn one_file_alone_can_be_checked() {
    let rig = Rig::new();
    rig.live(30);
    let files = rig.files();
    let mut evidence = Evidence { keys: vec![rig.keys().public()], ..Evidence::default() };
    evidence.checkpoints.push(rig.audit().join(CHECKPOINTS));
    evidence.add(files.last().unwrap()).unwrap();
    let report = verify(&evidence).unwrap();
    assert!(report.is_sound && report.first_seq > Some(20), "{report:#?}");
    // One in the middle is cut off before the newest checkpoint.
    evidence.files.clear();
    evidence.add(&files[2]).unwrap();
    assert_eq!(verify(&evidence).unwrap().findings[0].kind, "cut");
}

#[test]
fn an_older_version_left_an_unchained_past() {
    let rig = Rig::new();
    fs::create_dir(rig.audit()).unwrap();
    let old = "{\"seq\":1,\"type\":\"mark\",\"open\":[]}\n{\"seq\":2,\"type\":\"intent\"}\n";
    fs::write(rig.audit().join("record.1.jsonl"), old).unwrap();
    fs::write(rig.audit().join("record.jsonl"), "{\"seq\":3,\"type\":\"denied\"}\n{\"seq").unwrap();
    rig.live(20);
    let notes = rig.notes();
    assert!(notes[0].starts_with("4 lines before this are older"), "{notes:?}");
    assert_eq!(rig.verify().first_seq, Some(4));
    // Nobody can make a past of what was chained.
    let path = &rig.files()[1];
    let text = fs::read_to_string(path).unwrap();
    let stripped: Vec<_> = text.lines().map(|line| line.split(",\"hash\":").next().unwrap()).collect();
    fs::write(path, stripped.join("}\n") + "}\n").unwrap();
    assert!(!rig.verify().is_sound);
}

#[test]
fn a_copy_goes_on_as_another_node_and_both_pass() {
    let (rig, copy) = (Rig::new(), Rig::new());
    rig.live(5);
    for folder in ["audit", "keys"] {
        fs::create_dir_all(copy.dir.path().join(folder)).unwrap();
        for entry in fs::read_dir(rig.dir.path().join(folder)).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), copy.dir.path().join(folder).join(entry.file_name())).unwrap();
        }
    }
    rig.live(5);
    copy.live(7);
    copy.live(1);
    assert_eq!(rig.notes(), [""; 0]);
    assert!(copy.notes()[0].starts_with("the data directory was copied"));
    // What one of them signed is no proof of the other.
    let mut evidence = copy.evidence();
    evidence.copies.push(Arc::new(CheckpointFile::kept(&rig.audit().join(CHECKPOINTS)).unwrap()));
    assert!(!verify(&evidence).unwrap().is_sound);
}

#[test]
fn checkpoints_that_are_changed_or_deleted_are_found_and_what_a_crash_left_of_one_is_not() {
    let rig = Rig::new();
    rig.live(30);
    let path = rig.audit().join(CHECKPOINTS);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let piece = &lines[1][..100];
    fs::write(&path, text.clone() + piece).unwrap();
    assert_eq!(rig.notes().len(), 1);
    fs::write(&path, text.replace(lines[3], &format!("{piece}\n{}", lines[3]))).unwrap();
    assert_eq!(rig.notes().len(), 1);
    fs::write(&path, text.replace(&format!("{}\n", lines[3]), "")).unwrap();
    assert_eq!(rig.kinds(), ["checkpoint_missing"]);
    fs::write(&path, text.replace(lines[3], &lines[3].replace("\"seq\":", "\"seq\":1"))).unwrap();
    assert_eq!(rig.kinds(), ["bad_signature"]);
    fs::write(&path, text.replace(lines[3], piece)).unwrap();
    assert_eq!(rig.kinds(), ["not_a_checkpoint"]);
}

#[test]
fn a_copy_of_a_checkpoint_proves_what_its_file_no_longer_does() {
    let rig = Rig::new();
    rig.live(10);
    let export = rig.dir.path().join("export.jsonl");
    fs::write(&export, crate::newest_checkpoint(&rig.audit()).unwrap().unwrap()).unwrap();
    // The last file and all checkpoints go back to an older state.
    fs::remove_file(rig.files().last().unwrap()).unwrap();
    let path = rig.audit().join(CHECKPOINTS);
    let text = fs::read_to_string(&path).unwrap();
    let kept: Vec<&str> = text.lines().collect();
    fs::write(&path, kept[..kept.len() - 1].join("\n") + "\n").unwrap();
    assert!(rig.verify().is_sound);
    let mut evidence = rig.evidence();
    evidence.copies.push(Arc::new(CheckpointFile::kept(&export).unwrap()));
    assert_eq!(verify(&evidence).unwrap().findings[0].kind, "cut");
}

proptest::proptest! {
    #[test]
    fn no_line_makes_a_check_panic(
        lines in proptest::collection::vec("[{}\",:a-z0-9\n]{0,80}", 0..8),
        seqs in proptest::collection::vec(proptest::prelude::any::<u64>(), 0..8),
    ) {
        // Lines with a hash that fits reach further than others.
        let nothing = String::new();
        let sealed = seqs.iter().zip(lines.iter().chain(std::iter::repeat(&nothing))).map(|(seq, line)| {
            let zero = crate::Hash::ZERO;
            let node = crate::NodeId::ZERO;
            let mark = r#""open":[],"recovered":1,"reopened_after":"x","unsynced_from":0,"kept_from":9"#;
            let mut text = format!(
                r#"{{"seq":{seq},"type":"mark","node":"{node}","epoch":{seq},"prev":"{zero}",{mark}"#
            ).into_bytes();
            crate::seal::close(&mut text, 0, crate::seal::HASH, crate::Hash::of);
            [line.as_bytes(), &text].concat()
        });
        let text: Vec<u8> = sealed.flatten().collect();
        let evidence = Evidence::default();
        let mut checking = Checking::new(&evidence).unwrap();
        checking.take(0, &mut text.as_slice()).unwrap();
        checking.take(1, &mut text.as_slice()).unwrap();
        checking.finish();
    }
}

#[test]
fn a_copy_without_a_checkpoint_is_refused_and_one_that_was_changed_is_found() {
    let rig = Rig::new();
    rig.live(3);
    let copy = rig.dir.path().join("copy");
    let line = crate::newest_checkpoint(&rig.audit()).unwrap().unwrap();
    let piece = &line[..line.len() - 1];
    for none in ["", "\n", "{}\n", piece, &format!("junk\n{piece}")] {
        fs::write(&copy, none).unwrap();
        let error = CheckpointFile::kept(&copy).unwrap_err().to_string();
        assert!(error.contains("no checkpoint is in it") && error.contains("copy"), "{error}");
    }
    fs::write(&copy, line.replace("\"seq\":", "\"seq\":1")).unwrap();
    let mut evidence = rig.evidence();
    evidence.copies.push(Arc::new(CheckpointFile::kept(&copy).unwrap()));
    assert_eq!(verify(&evidence).unwrap().findings[0].kind, "bad_signature");
}
