//! Target `verify`: records. The first byte of the input chooses between two.
//!
//! - Even: the input is a record, up to the first NUL; what is behind that are checkpoints. Whatever it is, the check comes to
//!   an end, and says the same when it is asked again.
//! - Odd: the input is a list of changes to a genuine record of which every line is signed. What differs before its end is
//!   found. (The record was made by a daemon that was killed once; `hayward audit export` wrote what lies in `records/genuine/`.)

use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use hayward_audit::{Evidence, PublicKey, Report, verify};
use rustix::fs::{MemfdFlags, memfd_create};

const RECORD: &[u8] = include_bytes!("records/genuine/record.jsonl");
const CHECKPOINTS: &[u8] = include_bytes!("records/genuine/checkpoints.jsonl");
const KEY: &str = include_str!("records/genuine/public.key");

/// Bytes that a change is made of: which, where (two of them), and with what.
const CHANGE_BYTES: usize = 4;

pub(crate) fn check(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    if kind % 2 == 0 {
        let mut parts = rest.splitn(2, |byte| *byte == 0);
        let (record, checkpoints) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        check_any(record, checkpoints);
    } else {
        check_changed(&changed(RECORD, rest));
    }
}

fn check_any(record: &[u8], checkpoints: &[u8]) {
    let report = report(record, checkpoints);
    assert_eq!(report, self::report(record, checkpoints));
    assert_eq!(report.is_sound, report.findings.is_empty());
    let lines = record.split_inclusive(|byte| *byte == b'\n').count() as u64;
    assert!(report.records <= lines && report.bytes == record.len() as u64, "{report:?}");
}

fn check_changed(record: &[u8]) {
    let report = report(record, CHECKPOINTS);
    // The last line break is no part of what is hashed: a line may be written without its end.
    let signed = &RECORD[..RECORD.len() - 1];
    assert!(!report.is_sound || record.starts_with(signed), "{report:?}");
    assert!(report.is_sound || record != RECORD, "{report:?}");
}

/// What the check says. Both are files in memory.
fn report(record: &[u8], checkpoints: &[u8]) -> Report {
    let [record, checkpoints] = [record, checkpoints].map(|bytes| {
        let mut file = std::fs::File::from(memfd_create("fuzzed", MemfdFlags::CLOEXEC).expect("memory"));
        file.write_all(bytes).expect("memory takes what is written");
        file
    });
    let path = |file: &std::fs::File| format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    let evidence = Evidence {
        files: vec![path(&record)],
        checkpoints: vec![path(&checkpoints)],
        keys: vec![KEY.trim().parse::<PublicKey>().expect("a genuine key")],
        ..Evidence::default()
    };
    let mut report = verify(&evidence).expect("files in memory are read");
    // A number of a descriptor is chance.
    report.findings.iter_mut().for_each(|finding| finding.file.clear());
    report.notes.iter_mut().for_each(|note| note.file.clear());
    report
}

/// The record with these changes, one after the other.
fn changed(record: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut record = record.to_vec();
    for change in changes.chunks_exact(CHANGE_BYTES) {
        let [how, high, low, with] = [change[0], change[1], change[2], change[3]];
        if record.is_empty() {
            break;
        }
        let at = usize::from(u16::from_be_bytes([high, low])) % record.len();
        let end = record.len().min(at + usize::from(with));
        match how % 7 {
            0 => record[at] = with,
            1 => record.insert(at, with),
            2 => drop(record.drain(at..end)),
            3 => record.extend_from_within(at..end),
            4 => move_line(&mut record, at, usize::from(with)),
            5 => record.truncate(at),
            _ => record[at] ^= 1 << (with % 8),
        }
    }
    record
}

/// Moves the line at this byte to another place, or takes it away.
fn move_line(record: &mut Vec<u8>, at: usize, to: usize) {
    let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
        bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    // Up to this byte and with it, the last line is the one that it is in.
    let from = lines(&record[..=at]).len() - 1;
    let mut lines = lines(record);
    let line = lines.remove(from);
    if to <= lines.len() {
        lines.insert(to, line);
    }
    *record = lines.concat();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_genuine_record_is_sound_and_every_byte_of_it_counts() {
        assert!(report(RECORD, CHECKPOINTS).is_sound);
        for at in (0..RECORD.len() - 1).step_by(7) {
            let [high, low] = u16::try_from(at).unwrap().to_be_bytes();
            let other = changed(RECORD, &[6, high, low, 0]);
            assert!(!report(&other, CHECKPOINTS).is_sound, "{at}");
        }
    }

    #[test]
    fn each_kind_of_change_changes() {
        let line = RECORD.iter().position(|byte| *byte == b'\n').unwrap() + 5;
        let [high, low] = u16::try_from(line).unwrap().to_be_bytes();
        for (how, with) in [(0, b'~'), (1, b'~'), (2, 9), (3, 9), (4, 0), (4, 200), (5, 0), (6, 3)] {
            assert_ne!(changed(RECORD, &[how, high, low, with]), RECORD, "{how} {with}");
        }
    }
}
