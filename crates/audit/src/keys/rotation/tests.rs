//! Tests of a rotation: whole, cut off at each step, and in the hands of whoever has stolen the old key.

use std::path::Path;

use hayward_api::{Principal, Source, Tier};

use super::*;
use crate::checkpoint::{CHECKPOINTS, line_hash};
use crate::log::{Log, LogConfig, Sync};
use crate::record::Intent;
use crate::redact;
use crate::verify::{Evidence, Report, verify};

/// A data directory.
struct Rig {
    dir: tempfile::TempDir,
}

impl Rig {
    /// One in which a daemon has lived.
    fn new() -> Self {
        let rig = Self { dir: tempfile::tempdir().unwrap() };
        rig.live();
        rig
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    fn audit(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    fn keys(&self) -> Keys {
        Keys::open(&self.folder()).unwrap()
    }

    fn try_open(&self) -> Result<Log, AuditError> {
        let keys = Some(Arc::new(self.keys()));
        Log::open(&self.audit(), LogConfig { keys, sync: Sync::Off, ..LogConfig::default() })
    }

    fn live(&self) {
        let log = self.try_open().unwrap();
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
            raw_arguments: None,
            decision: "deny",
            part_of: crate::record::PartOf::default(),
            sent: crate::record::Sent::default(),
        };
        for _ in 0..3 {
            log.denied(&intent, "no").write().unwrap();
        }
    }

    fn rotate(&self) -> PublicKey {
        self.try_open().unwrap().rotate_key().unwrap()
    }

    fn check(&self, keys: &[PublicKey]) -> Report {
        let mut evidence = Evidence { keys: keys.to_vec(), has_named_keys: true, ..Evidence::default() };
        evidence.add(&self.audit()).unwrap();
        verify(&evidence).unwrap()
    }

    /// Checks that all of it is signed, and that nothing looks like another node's.
    fn assert_sound(&self, keys: &[PublicKey]) {
        let report = self.check(keys);
        assert!(report.is_sound, "{report:#?}");
        assert_eq!((report.signed_to, report.unsigned), (report.last_seq, 0));
        let is_other = |what: &str| what.contains("moved") || what.contains("another node");
        assert!(!report.notes.iter().any(|note| is_other(&note.what)), "{report:#?}");
    }

    fn assert_unsigned(&self, keys: &[PublicKey]) {
        let report = self.check(keys);
        assert!(report.findings.iter().any(|finding| finding.kind == "bad_signature"), "{report:#?}");
    }

    /// Lets a rotation fail behind its second step: the old key has handed over, and is still in its place.
    fn rotate_in_vain(&self) {
        let in_the_way = self.folder().join("audit-node.json.next");
        fs::create_dir(&in_the_way).unwrap();
        self.try_open().unwrap().rotate_key().unwrap_err();
        fs::remove_dir(&in_the_way).unwrap();
    }

    fn checkpoints(&self) -> Vec<Checkpoint> {
        let text = fs::read_to_string(self.audit().join(CHECKPOINTS)).unwrap();
        text.lines().map(|line| Checkpoint::check(format!("{line}\n").as_bytes()).unwrap()).collect()
    }

    /// Replaces the checkpoints behind the first so many by these.
    fn forge_behind(&self, genuine: &str, kept: usize, forged: &[Forged<'_>]) {
        let mut text: String = genuine.split_inclusive('\n').take(kept).collect();
        for (seq, keys, to) in forged {
            let prev = line_hash(text.lines().last().unwrap().as_bytes());
            let last = genuine.lines().last().unwrap();
            let last = Checkpoint::check(format!("{last}\n").as_bytes()).unwrap();
            let checkpoint = Checkpoint { prev, seq: *seq, key: keys.public().digits(), ..last };
            let line = match to {
                Some(to) => checkpoint.handed_over(keys, &NextKey(to.signing.clone())),
                None => checkpoint.signed(keys),
            };
            text += &String::from_utf8(line).unwrap();
        }
        fs::write(self.audit().join(CHECKPOINTS), text).unwrap();
    }

    /// Replaces the checkpoints by these, each signed by one of these keys and naming the one before.
    fn forge(&self, checkpoints: Vec<(Checkpoint, &Keys)>, own: Option<&NextKey>) {
        let (mut text, mut prev) = (Vec::new(), crate::hex::Hash::ZERO);
        for (checkpoint, keys) in checkpoints {
            let key = keys.public().digits();
            let is_handover = checkpoint.next_key.is_some();
            let checkpoint = Checkpoint { prev, key, ..checkpoint };
            // Whoever hands over to a key of their own takes over with it.
            let line =
                match own.filter(|own| is_handover && Some(own.public().digits()) == checkpoint.next_key) {
                    Some(own) => checkpoint.handed_over(keys, own),
                    None => checkpoint.signed(keys),
                };
            prev = line_hash(&line);
            text.extend(line);
        }
        fs::write(self.audit().join(CHECKPOINTS), text).unwrap();
    }
}

/// For which record somebody signs, with which key, and to which one that hands over.
type Forged<'a> = (u64, &'a Keys, Option<&'a Keys>);

/// Somebody's copy of a folder of keys.
fn steal(folder: &Path, into: &Path) -> Keys {
    fs::create_dir(into).unwrap();
    for name in [SIGNING, super::super::DIGEST, super::super::NODE] {
        fs::copy(folder.join(name), into.join(name)).unwrap();
    }
    Keys::open(into).unwrap()
}

#[test]
fn a_record_goes_on_under_its_next_key_and_any_of_them_proves_all_of_it() {
    let rig = Rig::new();
    let (first, digest) = (rig.keys().public(), rig.keys().digest(b"x"));
    let second = rig.rotate();
    rig.assert_sound(&[first]);
    rig.assert_sound(&[second]);
    rig.live();
    let third = rig.rotate();
    rig.live();
    assert_eq!((rig.keys().public(), rig.keys().digest(b"x")), (third, digest));
    for keys in [&[first][..], &[second], &[third], &[third, first, second]] {
        rig.assert_sound(keys);
        let notes = rig.check(keys).notes;
        assert_eq!(notes.iter().filter(|note| note.what.contains("hands the record over")).count(), 2);
    }
    // Of several keys none is missing.
    for keys in [[first, second], [second, third], [first, third]] {
        rig.assert_unsigned(&keys);
    }
    rig.assert_unsigned(&[Keys::open(&rig.dir.path().join("other")).unwrap().public()]);
}

#[test]
fn a_rotation_that_is_cut_off_at_any_step_is_ended_by_the_next_start_or_never_was() {
    let steps: [fn(&Rig); 3] = [
        |rig| drop(rig.keys().make_next().unwrap()),
        Rig::rotate_in_vain,
        |rig| {
            rig.rotate_in_vain();
            let (keys, next) = (rig.keys(), rig.folder().join(NEXT_SIGNING));
            let identity = keys.identity().unwrap().0;
            keys.keep(Identity { home: home(&next).unwrap(), ..identity }).unwrap();
        },
    ];
    for (step, cut_off) in steps.into_iter().enumerate() {
        let rig = Rig::new();
        let first = rig.keys().public();
        cut_off(&rig);
        let next = rig.keys().open_next().unwrap().unwrap().public();
        rig.assert_sound(&[first]);
        rig.live();
        rig.assert_sound(&[first]);
        assert_eq!(rig.keys().public(), if step == 0 { first } else { next }, "{step}");
        let now = if step == 0 { rig.rotate() } else { next };
        assert_eq!(now == next, step > 0, "what was made and never vouched for is thrown away");
        rig.live();
        rig.assert_sound(&[now]);
        assert!(!rig.folder().join(NEXT_SIGNING).exists());
    }
}

#[test]
fn a_key_that_has_handed_over_opens_no_record() {
    let rig = Rig::new();
    let old = fs::read(rig.folder().join(SIGNING)).unwrap();
    rig.rotate_in_vain();
    let (next, away) = (rig.folder().join(NEXT_SIGNING), rig.dir.path().join("away"));
    fs::rename(&next, &away).unwrap();
    let is_refused =
        || matches!(rig.try_open(), Err(AuditError::Unfit { why, .. }) if why.contains("another key"));
    assert!(is_refused());
    fs::rename(&away, &next).unwrap();
    rig.live();
    // One from a backup, too, also when the next key has signed more by then.
    let path = rig.folder().join(SIGNING);
    let good = fs::read(&path).unwrap();
    fs::write(&path, old).unwrap();
    assert!(is_refused());
    fs::write(&path, good).unwrap();
    rig.live();
    rig.assert_sound(&[rig.keys().public()]);
}

#[test]
fn when_all_keys_are_lost_the_record_goes_on_as_another_nodes() {
    let rig = Rig::new();
    let first = rig.keys().public();
    fs::rename(rig.folder(), rig.dir.path().join("lost")).unwrap();
    rig.live();
    let fresh = rig.keys().public();
    let report = rig.check(&[first, fresh]);
    assert!(report.is_sound, "{report:#?}");
    assert!(report.notes.iter().any(|note| note.what.contains("the chain of another node ends here")));
    rig.assert_unsigned(&[fresh]);
}

#[test]
fn who_has_stolen_the_old_key_convinces_nobody_who_knows_the_next_one() {
    let rig = Rig::new();
    let stolen = steal(&rig.folder(), &rig.dir.path().join("stolen"));
    let next = rig.rotate();
    rig.live();
    let own_dir = rig.dir.path().join("own");
    let own_next = Keys::open(&own_dir).unwrap().make_next().unwrap();
    let own = Keys::open(&own_dir).unwrap().take_next().unwrap();
    let (honest, genuine) = (rig.checkpoints(), fs::read_to_string(rig.audit().join(CHECKPOINTS)).unwrap());
    let handover = honest.iter().position(|checkpoint| checkpoint.next_key.is_some()).unwrap();
    let copy = |index: usize| honest[index].clone();
    let forged: [(&str, Vec<(Checkpoint, &Keys)>); 3] = [
        ("signs on", {
            let no_handover = |checkpoint: &Checkpoint| Checkpoint { next_key: None, ..checkpoint.clone() };
            honest.iter().map(|checkpoint| (no_handover(checkpoint), &stolen)).collect()
        }),
        ("hands over to a key of their own", {
            let to = Some(own.public().digits());
            let before = (0..handover).map(|index| (copy(index), &stolen));
            let forged = (Checkpoint { next_key: to, ..copy(handover) }, &stolen);
            before
                .chain([forged])
                .chain((handover + 1..honest.len()).map(|index| (copy(index), &own)))
                .collect()
        }),
        ("pretends that the next key has taken over", {
            honest.iter().map(|checkpoint| (checkpoint.clone(), &stolen)).collect()
        }),
    ];
    for (what, checkpoints) in forged {
        rig.forge(checkpoints, Some(&own_next));
        let report = rig.check(&[next]);
        assert!(!report.is_sound, "{what}: {report:#?}");
        // Nor does anybody who knows the old key as well, and so that the next one has signed something.
        for keys in [[stolen.public(), next], [next, stolen.public()]] {
            let report = rig.check(&keys);
            let silent = report.findings.iter().find(|finding| finding.kind == "signed_nothing");
            assert!(
                silent.is_some_and(|silent| silent.what.contains(&next.to_string())),
                "{what}: {report:#?}"
            );
        }
        // Whoever knows the old key only has no way to tell, but for the note.
        let report = rig.check(&[stolen.public()]);
        assert!(report.is_sound, "{what}: {report:#?}");
        let notes = report.notes.iter().filter(|note| note.what.contains("hands the record over"));
        assert_eq!(notes.count(), usize::from(what.contains("their own")), "{what}");
    }
    // Behind an honest handover, what it signs counts for nobody.
    let behind: String = genuine.split_inclusive('\n').take(handover + 1).collect();
    let prev = line_hash(behind.lines().last().unwrap().as_bytes());
    let checkpoint = Checkpoint { prev, key: stolen.public().digits(), ..honest.last().unwrap().clone() };
    let line = String::from_utf8(checkpoint.signed(&stolen)).unwrap();
    fs::write(rig.audit().join(CHECKPOINTS), behind + &line).unwrap();
    for key in [next, stolen.public()] {
        rig.assert_unsigned(&[key]);
    }
    fs::write(rig.audit().join(CHECKPOINTS), genuine).unwrap();
    rig.assert_sound(&[next]);
}

#[test]
fn each_key_that_is_named_has_signed_something() {
    let rig = Rig::new();
    let first = rig.keys().public();
    let second = rig.rotate();
    // It has taken over, and nothing else yet.
    rig.assert_sound(&[first, second]);
    rig.live();
    rig.assert_sound(&[first, second]);
    rig.assert_sound(&[second, second]);
    let other = Keys::open(&rig.dir.path().join("other")).unwrap().public();
    let silent = |keys: &[PublicKey]| {
        let findings = rig.check(keys).findings;
        let silent = findings.into_iter().filter(|finding| finding.kind == "signed_nothing");
        silent.map(|finding| finding.what).collect::<Vec<_>>()
    };
    let [told] = &silent(&[first, other, second])[..] else { panic!("one of them is silent") };
    assert!(told.contains(&other.to_string()), "{told}");
    fs::remove_file(rig.audit().join(CHECKPOINTS)).unwrap();
    assert_eq!((silent(&[second]).len(), silent(&[first, second]).len()), (1, 2));
}

#[test]
fn the_checkpoints_of_a_record_begin_with_the_first_one() {
    let rig = Rig::new();
    rig.live();
    let next = rig.rotate();
    rig.live();
    rig.live();
    let genuine = fs::read_to_string(rig.audit().join(CHECKPOINTS)).unwrap();
    let count = genuine.lines().count();
    assert!(count >= 4, "{genuine}");
    for dropped in 1..count {
        let rest: String = genuine.split_inclusive('\n').skip(dropped).collect();
        fs::write(rig.audit().join(CHECKPOINTS), rest).unwrap();
        let report = rig.check(&[next]);
        assert!(!report.is_sound, "{dropped}: {report:#?}");
        let missing = report.findings.iter().any(|finding| finding.kind == "checkpoint_missing");
        assert!(missing, "{dropped}: {report:#?}");
    }
    // A copy of one of them that was kept elsewhere begins where it begins.
    fs::write(rig.audit().join(CHECKPOINTS), &genuine).unwrap();
    let kept = rig.dir.path().join("kept");
    fs::write(&kept, format!("{}\n", genuine.lines().last().unwrap())).unwrap();
    let copies = vec![Arc::new(crate::CheckpointFile::kept(&kept).unwrap())];
    let mut evidence = Evidence { keys: vec![next], copies, has_named_keys: true, ..Evidence::default() };
    evidence.add(&rig.audit()).unwrap();
    assert!(verify(&evidence).unwrap().is_sound);
}

#[test]
fn who_has_stolen_the_old_key_makes_no_key_that_was_there_before() {
    let rig = Rig::new();
    let stolen = steal(&rig.folder(), &rig.dir.path().join("stolen"));
    let next = rig.rotate();
    rig.live();
    rig.live();
    let [own, other] = ["own", "other"].map(|name| Keys::open(&rig.dir.path().join(name)).unwrap());
    let genuine = fs::read_to_string(rig.audit().join(CHECKPOINTS)).unwrap();
    let (kept, last) = (genuine.lines().count() - 1, rig.checkpoints().last().unwrap().seq);
    let forged: [(&str, &[Forged<'_>]); 5] = [
        ("hands over to it", &[(last, &own, Some(&stolen))]),
        ("signs, and hands over to it", &[(last, &own, None), (last, &own, Some(&stolen))]),
        ("has handed over to it before all else", &[(0, &own, Some(&stolen)), (last, &own, None)]),
        ("two hand over to it", &[(last, &other, Some(&stolen)), (last, &own, Some(&stolen))]),
        ("is handed over to, and hands back", &[(last, &stolen, Some(&own)), (last, &own, Some(&stolen))]),
    ];
    for (what, forged) in forged {
        for kept in [kept, kept + 1] {
            rig.forge_behind(&genuine, kept, forged);
            let report = rig.check(&[next]);
            let unsigned = report.findings.iter().filter(|finding| finding.kind == "bad_signature");
            assert!(unsigned.count() > 0, "{what}: {report:#?}");
            assert_eq!(report.checkpoints, kept as u64, "{what}: {report:#?}");
        }
    }
    fs::write(rig.audit().join(CHECKPOINTS), genuine).unwrap();
    rig.assert_sound(&[next]);
}

#[test]
fn a_next_key_that_somebody_has_planted_never_signs() {
    let rig = Rig::new();
    let planted = Keys::open(&rig.dir.path().join("own")).unwrap();
    fs::copy(planted.dir.join(SIGNING), rig.folder().join(NEXT_SIGNING)).unwrap();
    let next = rig.rotate();
    assert_ne!(next, planted.public());
    rig.live();
    rig.assert_sound(&[next]);
    // Not even if a checkpoint names it that our key has not signed.
    let genuine = fs::read_to_string(rig.audit().join(CHECKPOINTS)).unwrap();
    fs::copy(planted.dir.join(SIGNING), rig.folder().join(NEXT_SIGNING)).unwrap();
    let (lines, last) = (genuine.lines().count(), rig.checkpoints().last().unwrap().seq);
    rig.forge_behind(&genuine, lines, &[(last + 1, &planted, Some(&planted))]);
    let forged = fs::read_to_string(rig.audit().join(CHECKPOINTS)).unwrap();
    for forged in [forged.replace(&planted.public().to_string(), &next.to_string()), forged] {
        let to = format!("\"next_key\":\"{next}\"");
        let forged = forged.replace(&to, &format!("\"next_key\":\"{}\"", planted.public()));
        fs::write(rig.audit().join(CHECKPOINTS), forged).unwrap();
        assert!(matches!(rig.try_open(), Err(AuditError::Unfit { .. })));
        assert_eq!(rig.keys().public(), next);
    }
    fs::write(rig.audit().join(CHECKPOINTS), genuine).unwrap();
    // Nor does what is there and no key at all stop a rotation.
    fs::write(rig.folder().join(NEXT_SIGNING), "no key").unwrap();
    rig.live();
    rig.assert_sound(&[rig.rotate()]);
}
