//! A property: whatever is done to the bytes of a signed record is found.

use std::time::Instant;

use super::*;
use crate::hex::Hash;
use crate::seal;

/// How often, if nothing is said.
const ROUNDS: usize = 10_000;
/// How many things [`mutate`] can do.
const KINDS: usize = 12;

/// A record in memory.
type Files = Vec<Vec<u8>>;
/// Its lines, each with its newline and the file that it stands in.
type Lines = Vec<(usize, Vec<u8>)>;

fn lines(files: &Files) -> Lines {
    let mut lines = Vec::new();
    for (index, file) in files.iter().enumerate() {
        lines.extend(file.split_inclusive(|byte| *byte == b'\n').map(|line| (index, line.to_vec())));
    }
    lines
}

fn join(lines: Lines, count: usize) -> Files {
    let mut files = vec![Vec::new(); count];
    for (index, line) in lines {
        files[index].extend(line);
    }
    files
}

/// What of a line is hashed.
fn hashed(line: &[u8]) -> Option<&[u8]> {
    seal::split::<32>(line.strip_suffix(b"\n")?, seal::HASH).map(|(text, _)| text)
}

/// The same record with another text, and a hash that fits.
fn edited(line: &[u8], edit: impl FnOnce(&mut String)) -> Option<Vec<u8>> {
    let mut text = String::from_utf8(hashed(line)?.to_vec()).unwrap();
    edit(&mut text);
    let mut line = text.into_bytes();
    seal::close(&mut line, 0, seal::HASH, Hash::of);
    Some(line)
}

fn edit_a_digit(text: &mut String, dice: &mut Dice) {
    let digits: Vec<usize> = text.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at).collect();
    let at = digits[dice.below(digits.len())];
    let other = if text.as_bytes()[at] == b'1' { "2" } else { "1" };
    text.replace_range(at..=at, other);
}

/// Edits a record and chains all behind it anew.
fn rewritten(mut all: Lines, dice: &mut Dice) -> Option<Lines> {
    let from = dice.below(all.len());
    all[from].1 = edited(&all[from].1, |text| edit_a_digit(text, dice))?;
    for index in from + 1..all.len() {
        let prev = Hash::of(hashed(&all[index - 1].1)?).to_string();
        all[index].1 = edited(&all[index].1, |text| {
            let at = text.find("\"prev\":\"").unwrap() + 8;
            text.replace_range(at..at + 64, &prev);
        })?;
    }
    Some(all)
}

/// Does one thing to the bytes of a record.
fn mutate_bytes(files: &mut Files, kind: usize, dice: &mut Dice) {
    let (file, other) = (dice.below(files.len()), dice.below(files.len()));
    let at = dice.below(files[file].len());
    match kind {
        0 => files[file][at] ^= 1 << dice.below(8),
        1 => files[file].insert(at, u8::try_from(dice.below(256)).unwrap()),
        2 => drop(files[file].remove(at)),
        3 => {
            files[file].truncate(at);
            files.truncate(file + 1);
        }
        4 => drop(files.remove(file)),
        5 => files.swap(file, other),
        // Bytes of one place stand at another.
        _ => {
            let piece = files[file][at.saturating_sub(dice.below(300))..=at].to_vec();
            let end = (at + piece.len()).min(files[file].len());
            files[file].splice(at..end, piece);
        }
    }
}

/// Does one thing to the lines of a record; none if the dice say what can't be done.
fn mutate_lines(mut all: Lines, kind: usize, dice: &mut Dice) -> Option<Lines> {
    let (line, other) = (dice.below(all.len()), dice.below(all.len()));
    match kind {
        7 => drop(all.remove(line)),
        8 => {
            let kept = all[line].1.clone();
            all[line].1 = std::mem::replace(&mut all[other].1, kept);
        }
        9 => {
            let copy = (all[other].0, all[line].1.clone());
            all.insert(other, copy);
        }
        10 => all[line].1 = edited(&all[line].1, |text| edit_a_digit(text, dice))?,
        _ => all = rewritten(all, dice)?,
    }
    Some(all)
}

fn mutate(files: &Files, kind: usize, dice: &mut Dice) -> Option<Files> {
    let mut changed = files.clone();
    if kind < 7 {
        mutate_bytes(&mut changed, kind, dice);
    } else {
        changed = join(mutate_lines(lines(files), kind, dice)?, files.len());
    }
    (changed != *files).then_some(changed)
}

/// A record with all that an honest life has: several files, a clean end, a crash with a torn piece.
fn sample() -> Rig {
    let rig = Rig::new();
    rig.live(4);
    let log = rig.open();
    call(&log);
    kill(log);
    append(rig.files().last().unwrap(), b"{\"seq\":17,\"node\":\"0123\n{\"torn");
    rig.live(6);
    rig
}

fn check(evidence: &Evidence, signed: &[Signed], files: &Files) -> Report {
    let mut checking = Checking::new(evidence).unwrap();
    checking.signed = signed.to_vec();
    for (index, file) in files.iter().enumerate() {
        checking.take(index, &mut file.as_slice()).unwrap();
    }
    checking.finish()
}

#[expect(clippy::disallowed_methods, reason = "how the test is told to go on for longer")]
fn rounds() -> usize {
    std::env::var("HAYWARD_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

#[test]
fn every_mutation_is_found() {
    let rig = sample();
    let signed = checkpoints::load(&rig.evidence(), &mut Report::default()).unwrap();
    let evidence = Evidence { checkpoints: Vec::new(), ..rig.evidence() };
    let files: Files = rig.files().iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(files.len() >= 3 && check(&evidence, &signed, &files).is_sound);
    let (mut dice, mut done, since) = (Dice(7), [0_usize; KINDS], Instant::now());
    for round in 0..rounds() {
        let kind = round % KINDS;
        let Some(mutated) = mutate(&files, kind, &mut dice) else { continue };
        let report = check(&evidence, &signed, &mutated);
        assert!(!report.is_sound, "round {round} of kind {kind} was not found: {report:#?}");
        done[kind] += 1;
    }
    assert!(done.iter().all(|count| *count > 0), "{done:?}");
    println!("{} mutations found, by kind {done:?}, in {:?}", done.iter().sum::<usize>(), since.elapsed());
}
