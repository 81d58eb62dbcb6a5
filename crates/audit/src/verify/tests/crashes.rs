//! Tests of what crashes leave: each is explained by the record itself, and is no excuse for anything else.

use super::*;

/// What of the last life of a daemon is on the disk, but for its clean end.
fn killed(calls: usize) -> Rig {
    let rig = Rig::new();
    rig.live(3);
    let log = rig.open();
    (0..calls).for_each(|_| call(&log));
    kill(log);
    rig
}

#[test]
fn a_kill_loses_nothing_and_the_next_start_says_so() {
    let rig = killed(5);
    let before = rig.verify();
    rig.live(2);
    let report = rig.verify();
    assert!(report.is_sound && report.records > before.records, "{report:#?}");
}

#[test]
fn a_torn_tail_passes_at_every_byte_before_and_after_the_next_start() {
    let rig = killed(2);
    let path = rig.files().pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let last_line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let checkpoints = fs::read(rig.audit().join(CHECKPOINTS)).unwrap();
    for end in last_line..=whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        fs::write(rig.audit().join(CHECKPOINTS), &checkpoints).unwrap();
        let is_whole = end == last_line || end == whole.len();
        assert_eq!(rig.notes().len(), usize::from(!is_whole), "{end}");
        rig.live(0);
        // A record that lacks nothing but its line break gets it back.
        let is_whole = is_whole || end + 1 == whole.len();
        let notes = rig.notes();
        assert_eq!(notes.len(), usize::from(!is_whole), "{end}: {notes:?}");
        // Nobody changes the piece any more.
        if !is_whole && end % 50 == 0 {
            let mut text = fs::read(&path).unwrap();
            text[last_line] ^= 1;
            fs::write(&path, text).unwrap();
            assert!(!rig.verify().is_sound, "{end}");
        }
    }
}

#[test]
fn a_hole_that_a_power_loss_left_is_explained_with_all_that_lies_behind_it() {
    let rig = killed(3);
    let path = rig.files().pop().unwrap();
    let mut text = fs::read(&path).unwrap();
    let ends: Vec<usize> = (0..text.len()).filter(|index| text[*index] == b'\n').collect();
    let from = ends[ends.len() - 4];
    text[from + 1..from + 200].fill(0);
    fs::write(&path, &text).unwrap();
    assert!(!rig.verify().is_sound, "as long as no start has looked at it");
    rig.live(4);
    let notes = rig.notes();
    assert!(notes.len() == 1 && notes[0].starts_with("recovered after a crash"), "{notes:?}");
}

#[test]
fn records_lost_after_the_last_sync_are_no_fault_and_signed_ones_are() {
    let rig = killed(3);
    let without_last = |count: usize| {
        let path = rig.files().pop().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        fs::write(&path, lines[..lines.len() - count].join("\n") + "\n").unwrap();
    };
    without_last(2);
    assert_eq!(rig.notes(), [""; 0]);
    rig.live(1);
    assert_eq!(rig.notes(), [""; 0]);
    // The same with records that were signed: the daemon sees it, and so does the check, for ever.
    without_last(2);
    assert_eq!(rig.kinds(), ["cut"]);
    rig.live(20);
    rig.live(2);
    let kinds = rig.kinds();
    assert!(kinds.contains(&"damaged") && kinds.contains(&"missing"), "{kinds:?}");
}

#[test]
fn a_kill_before_or_after_a_new_file_is_taken_into_use_passes() {
    let rig = killed(6);
    let current = rig.audit().join("record.jsonl");
    let aside = |number: usize| rig.audit().join(format!("record.{number}.jsonl"));
    let number = rig.files().len();
    // Before the new one has its name, and with a new one that is begun.
    fs::rename(&current, aside(number)).unwrap();
    fs::write(rig.audit().join("record.next.jsonl"), "{\"seq\":").unwrap();
    rig.live(1);
    assert_eq!(rig.notes(), [""; 0]);
    // With a new one in which nothing is.
    fs::rename(&current, aside(number + 1)).unwrap();
    fs::write(&current, "").unwrap();
    rig.live(1);
    assert_eq!(rig.notes(), [""; 0]);
    // With a piece in the one before, and nothing in the new one.
    fs::rename(&current, aside(number + 2)).unwrap();
    append(&aside(number + 2), b"{\"seq\":1,");
    rig.live(1);
    assert_eq!(rig.notes().len(), 1);
}

#[test]
fn nothing_left_at_all_is_found_and_the_numbers_go_on() {
    let rig = Rig::new();
    rig.live(5);
    let last = rig.verify().last_seq.unwrap();
    rig.files().iter().for_each(|path| fs::remove_file(path).unwrap());
    rig.live(1);
    let report = rig.verify();
    assert_eq!(report.first_seq, Some(last + 1));
    assert!(!report.is_sound && report.findings.iter().any(|finding| finding.kind == "damaged"));
}

/// A record that a failed sync closed, the file that it put aside, and its lines: three that were synced and signed,
/// four that never were.
fn failed_sync() -> (Rig, PathBuf, Vec<String>) {
    let rig = Rig::new();
    let log = rig.open();
    call(&log);
    log.checkpoint().unwrap();
    (0..2).for_each(|_| call(&log));
    log.break_sync();
    while !log.is_open() {
        std::thread::yield_now();
    }
    call(&log);
    drop(log);
    let put_aside = rig.files()[0].clone();
    let lines = fs::read_to_string(&put_aside).unwrap().lines().map(ToOwned::to_owned).collect();
    (rig, put_aside, lines)
}

#[test]
fn what_a_failed_sync_left_passes_whole_or_in_part_and_earlier_records_must_be_there() {
    let (rig, path, lines) = failed_sync();
    assert_eq!(lines.len(), 7);
    assert_eq!(rig.notes(), [""; 0]);
    let cut = |kept: usize| fs::write(&path, lines[..kept].join("\n") + "\n").unwrap();
    for kept in 3..7 {
        cut(kept);
        let notes = rig.notes();
        assert!(notes[0].ends_with("never reached the disk, which failed to sync"), "{kept}: {notes:?}");
    }
    fs::write(&path, lines[..5].join("\n") + "\n" + &lines[5][..40]).unwrap();
    assert_eq!(rig.notes().len(), 1);
    for kept in 1..3 {
        cut(kept);
        assert!(!rig.verify().is_sound, "{kept}: these were synced and signed");
    }
    fs::write(&path, lines.join("\n").replacen("\"seq\":2", "\"seq\":3", 1) + "\n").unwrap();
    assert!(!rig.verify().is_sound);
}

#[test]
fn what_may_be_missing_begins_behind_a_signed_record() {
    // Synced, but not signed when the disk failed: signed before the record goes on.
    let rig = Rig::new();
    let config = LogConfig { sync: Sync::Each, ..rig.config() };
    let log = Log::open(&rig.audit(), config).unwrap();
    (0..3).for_each(|_| call(&log));
    log.break_sync();
    while !log.is_open() {
        std::thread::yield_now();
    }
    drop(log);
    let text = fs::read_to_string(rig.audit().join(CHECKPOINTS)).unwrap();
    assert!(text.contains("\"seq\":7,"), "{text}");
    assert_eq!(rig.notes(), [""; 0]);
}

/// Where in the file in use the part begins that was not signed: what a power loss may do anything to.
fn unsigned_from(rig: &Rig, text: &[u8]) -> usize {
    let signed = crate::newest_checkpoint(&rig.audit()).unwrap().unwrap();
    let signed: crate::Checkpoint = serde_json::from_str(signed.trim_end()).unwrap();
    let mark = format!("\"hash\":\"{}\"}}\n", signed.hash);
    let found = text.windows(mark.len()).position(|window| window == mark.as_bytes());
    found.map_or(0, |at| at + mark.len())
}

/// Does to what was not signed what a power loss does: cuts it off, or leaves a hole in it.
fn lose_power(rig: &Rig, dice: &mut Dice) {
    let path = rig.audit().join("record.jsonl");
    let mut text = fs::read(&path).unwrap();
    let from = unsigned_from(rig, &text);
    let length = text.len() - from;
    if length == 0 {
        return;
    }
    let at = from + dice.below(length);
    match dice.below(3) {
        0 => {}
        1 => text.truncate(at),
        _ => {
            let end = (at + 1 + dice.below(600)).min(text.len());
            text[at..end].fill(0);
        }
    }
    fs::write(path, text).unwrap();
}

#[test]
fn any_row_of_lives_kills_power_losses_and_failed_syncs_passes() {
    let mut dice = Dice(3);
    for round in 0..25 {
        let rig = Rig::new();
        for life in 0..12 {
            let log = rig.open();
            (0..dice.below(6)).for_each(|_| call(&log));
            match dice.below(4) {
                0 => drop(log),
                1 => {
                    log.break_sync();
                    while !log.is_open() {
                        std::thread::yield_now();
                    }
                    (0..dice.below(3)).for_each(|_| call(&log));
                    drop(log);
                }
                _ => {
                    kill(log);
                    lose_power(&rig, &mut dice);
                }
            }
            // As long as nobody has started it again, a hole isn't explained.
            drop(rig.open());
            let report = rig.verify();
            assert!(report.is_sound, "round {round}, life {life}: {report:#?}");
        }
    }
}
