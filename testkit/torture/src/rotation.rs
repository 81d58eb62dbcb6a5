//! The key of the record is rotated, and every write, sync, link and rename of that fails, or is the last thing that it
//! does.
//!
//! One data directory throughout: whatever an attempt leaves, the next command on it must open it, and the key of its first
//! day must prove all of it, as must the key that it has by then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, ensure};

use crate::fault::Trial;
use crate::house::{Subject, scratch};
use crate::programs;
use crate::strace;
use crate::tally::Tally;

/// What becomes of a call: a death, a full disk, a broken one.
const WAYS: [&str; 3] = ["signal=KILL", "error=ENOSPC", "error=EIO"];
/// Calls that are not disturbed: what opens no file changes none.
const LEFT_OUT: [&str; 1] = ["openat"];

/// A data directory that no daemon has.
struct Rig<'a> {
    binary: &'a Path,
    data: PathBuf,
    trace: PathBuf,
}

impl Rig<'_> {
    /// `hayward audit …`, behind these words.
    fn audit(&self, before: &[String], args: &[&str]) -> Result<Output> {
        let mut words = before.to_vec();
        words.extend([self.binary.display().to_string(), "audit".to_owned()]);
        words.extend(args.iter().map(ToString::to_string));
        let mut command = programs::command(&words);
        command.env("HAYWARD_DATA_DIR", &self.data);
        command.output().context("failed to start a command")
    }

    fn text(&self, args: &[&str]) -> Result<String> {
        let output = self.audit(&[], args)?;
        ensure!(output.status.success(), "{args:?}: {}", said(&output));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// What is wrong with the directory, if something is: before anybody opens it, and afterwards.
    fn wrong(&self, first: &str) -> Option<String> {
        let steps: [&[&str]; 4] =
            [&["verify", "--key", first], &["checkpoint"], &["verify", "--key", first], &["verify"]];
        for args in steps {
            match self.text(args) {
                Ok(told) if told.contains("moved") => return Some(format!("it looks like a copy: {told}")),
                Ok(_) => {}
                Err(error) => return Some(error.to_string()),
            }
        }
        None
    }
}

/// Disturbs a rotation at each of its calls, in each way.
pub fn run(subject: &Subject, tell: &dyn Fn(&Trial)) -> Result<Vec<Trial>> {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| scratch())?;
    let (data, trace) = (dir.path().join("data"), dir.path().join("trace"));
    let rig = Rig { binary: &subject.binary, data, trace };
    rig.text(&["checkpoint"])?;
    let first = rig.text(&["key"])?;
    let whole = rig.audit(&strace::counting(&rig.trace), &["key", "rotate"])?;
    ensure!(whole.status.success(), "no rotation: {}", said(&whole));
    let mut tally = Tally::default();
    for (call, count) in strace::counts(&rig.trace)? {
        if LEFT_OUT.contains(&call.as_str()) {
            continue;
        }
        for nth in 1..=count {
            for way in WAYS {
                disturb(&rig, &first, (&call, nth, way), &mut tally)?;
            }
        }
    }
    ensure!(rig.text(&["key", "rotate"])? == rig.text(&["key"])?, "the new key is not the one in use");
    if let Some(wrong) = rig.wrong(&first) {
        tally.violation(format!("after all: {wrong}"));
    }
    let trial = Trial { name: "the key is rotated, and each call of that fails".to_owned(), tally };
    tell(&trial);
    Ok(vec![trial])
}

fn disturb(rig: &Rig<'_>, first: &str, (call, nth, way): (&str, u64, &str), tally: &mut Tally) -> Result<()> {
    let output = rig.audit(&strace::injecting(call, way, nth, &rig.trace), &["key", "rotate"])?;
    let has_come = fs::read_to_string(&rig.trace).is_ok_and(|trace| trace.contains("INJECTED"))
        || (way == WAYS[0] && !output.status.success());
    if has_come {
        tally.injected += 1;
        tally.points.insert((format!("{call} {way}"), nth));
        tally.places.extend(strace::place(&rig.trace));
    } else {
        tally.missed += 1;
    }
    tally.calls += 1;
    let told = said(&output);
    if told.contains("panicked") {
        tally.violation(format!("{call} {nth} {way}: {told}"));
    }
    if let Some(wrong) = rig.wrong(first) {
        tally.violation(format!("{call} {nth} {way}: {wrong} (the rotation: {told})"));
    }
    Ok(())
}

fn said(output: &Output) -> String {
    let [told, error] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}: {} {}", output.status, told.trim(), error.trim())
}
