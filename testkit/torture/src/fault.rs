//! Faults of the disk and of the system while a daemon runs: once, lasting, and gone again without a restart.
//!
//! `strace` is attached for as long as a fault lasts, so that it begins and ends between two calls. A full disk is a
//! real one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::daemon::Daemon;
use crate::history::Verdict;
use crate::house::{House, Subject, Tokens, scratch};
use crate::http;
use crate::namespace::Namespace;
use crate::programs::pause;
use crate::random::Random;
use crate::script::Deed;
use crate::strace::Injection;
use crate::tally::Tally;

/// Calls before a fault, and again when it is gone.
const AROUND: u64 = 4;
/// Calls of each kind during a fault that lasts.
const DURING: u64 = 3;
/// How soon calls are served again when a fault is gone.
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);
/// How long a fault lasts at least: longer than the time after which a closed record is tried again.
const LASTS: Duration = Duration::from_millis(900);
/// How soon a record that can't be synced must have closed.
const NOTICED_WITHIN: Duration = Duration::from_millis(200);

/// Files of the record that are put aside during a fault at most.
const FILES_ASIDE: u64 = 20;

/// Every kind of call, one after the other.
const DEEDS: [Deed; 8] = [
    Deed::Append,
    Deed::AppendOnce,
    Deed::Write,
    Deed::Edit,
    Deed::Read,
    Deed::Denied,
    Deed::Create,
    Deed::Fail,
];

/// System calls that carry bytes to a file.
const WRITES: [&str; 5] = ["write", "pwrite64", "writev", "pwritev", "pwritev2"];
/// System calls that carry a file to the disk.
const SYNCS: [&str; 2] = ["fsync", "fdatasync"];
/// System calls that open a file.
const OPENS: [&str; 1] = ["openat"];
/// System calls that open or take a connection.
const ACCEPTS: [&str; 2] = ["accept", "accept4"];

/// What a fault is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// The files of the record.
    Record,
    /// The files of the database.
    Database,
    /// Whatever the daemon does.
    Everything,
}

/// What is asked of a daemon while a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// Every call is refused, and none has an effect.
    AllRefused,
    /// The same from the moment on at which it can know.
    RefusedSoon,
    /// Every call is served.
    AllServed,
    /// Calls fail with an error that says so, or are served.
    Typed,
    /// Nobody gets through, and nothing happens.
    Unreachable,
}

/// A fault.
#[derive(Clone, Copy, Debug)]
struct Fault {
    name: &'static str,
    calls: &'static [&'static str],
    what: &'static str,
    on: On,
    expect: Expect,
}

const FAULTS: [Fault; 17] = [
    lasting("record, writes: ENOSPC", &WRITES, "error=ENOSPC", On::Record, Expect::AllRefused),
    lasting("record, writes: EIO", &WRITES, "error=EIO", On::Record, Expect::AllRefused),
    lasting("record, writes: EDQUOT", &WRITES, "error=EDQUOT", On::Record, Expect::AllRefused),
    lasting("record, writes: EROFS", &WRITES, "error=EROFS", On::Record, Expect::AllRefused),
    lasting(
        "record, every other write: EINTR",
        &WRITES,
        "error=EINTR:when=1+2",
        On::Record,
        Expect::AllServed,
    ),
    lasting("record, one write: ENOSPC", &WRITES, "error=ENOSPC:when=1", On::Record, Expect::Typed),
    lasting("record, one write: EIO", &WRITES, "error=EIO:when=1", On::Record, Expect::Typed),
    lasting("record, syncs: EIO", &SYNCS, "error=EIO", On::Record, Expect::RefusedSoon),
    lasting("record, syncs: ENOSPC", &SYNCS, "error=ENOSPC", On::Record, Expect::RefusedSoon),
    lasting("record, one sync: EIO", &SYNCS, "error=EIO:when=1", On::Record, Expect::Typed),
    lasting("record, every other sync: EINTR", &SYNCS, "error=EINTR:when=1+2", On::Record, Expect::AllServed),
    lasting("database, writes: ENOSPC", &WRITES, "error=ENOSPC", On::Database, Expect::Typed),
    lasting("database, writes: EIO", &WRITES, "error=EIO", On::Database, Expect::Typed),
    lasting("database, syncs: EIO", &SYNCS, "error=EIO", On::Database, Expect::Typed),
    lasting("every open: EMFILE", &OPENS, "error=EMFILE", On::Everything, Expect::Typed),
    lasting("every open: EIO", &OPENS, "error=EIO", On::Everything, Expect::Typed),
    lasting("every new connection: EMFILE", &ACCEPTS, "error=EMFILE", On::Everything, Expect::Unreachable),
];

const fn lasting(
    name: &'static str,
    calls: &'static [&'static str],
    what: &'static str,
    on: On,
    expect: Expect,
) -> Fault {
    Fault { name, calls, what, on, expect }
}

/// What a fault came to.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What it was.
    pub name: String,
    /// The sum.
    pub tally: Tally,
}

/// Injects every fault with this in its name.
pub fn run(subject: &Subject, only: &str, seed: u64, tell: &dyn Fn(&Trial)) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    let mut random = Random::new(seed);
    for fault in FAULTS.iter().filter(|fault| fault.name.contains(only)) {
        let tally = inject(subject, fault, &mut random).with_context(|| fault.name.to_owned())?;
        let trial = Trial { name: fault.name.to_owned(), tally };
        tell(&trial);
        trials.push(trial);
    }
    Ok(trials)
}

fn inject(subject: &Subject, fault: &Fault, random: &mut Random) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut house = House::new(subject, Tokens::Stored)?;
    let daemon = house.begin_well()?;
    house.play(&daemon, random, 1, AROUND)?;
    let (what, paths) = ((fault.calls, fault.what), fault.paths(&house));
    let injection = Injection::begin(daemon.pid, what, &paths, house.folder())?;
    let during = suffer(&mut house, &daemon, fault.expect)?;
    tally.injected = injection.end()?;
    if tally.injected == 0 {
        tally.violation(format!("{}: no call has failed: the fault was none", fault.name));
    }
    judge(fault, &during, &mut tally);
    finish(&mut house, daemon, random, &mut tally, fault.name)?;
    Ok(tally)
}

impl Fault {
    fn paths(&self, house: &House) -> Vec<PathBuf> {
        let of = |folder: &Path, names: &[&str]| names.iter().map(|name| folder.join(name)).collect();
        match self.on {
            On::Record => {
                let folder = house.data().join("audit");
                let mut paths: Vec<PathBuf> = of(&folder, &["record.jsonl", "record.next.jsonl"]);
                // Under whatever name a file that failed goes on to be open, and the folder with the names.
                paths.extend((1..=FILES_ASIDE).map(|number| folder.join(format!("record.{number}.jsonl"))));
                paths.push(folder);
                paths
            }
            On::Database => of(house.data(), &["hayward.db", "hayward.db-wal", "hayward.db-shm"]),
            On::Everything => Vec::new(),
        }
    }
}

/// Calls of every kind while the fault lasts; what came of each.
fn suffer(house: &mut House, daemon: &Daemon, expect: Expect) -> Result<Vec<(Deed, Verdict)>> {
    let began = Instant::now();
    let mut during = Vec::new();
    if expect == Expect::Unreachable {
        // A client waits in the kernel's queue.
        let health = http::send_within(daemon.address, ("GET", "/health"), "", "", LASTS);
        let verdict = if health.is_ok() { Verdict::Done } else { Verdict::Unanswered };
        return Ok(vec![(Deed::Read, verdict)]);
    }
    if expect == Expect::RefusedSoon {
        // The first record that can't be synced is one that nobody could know of.
        house.send(daemon, Deed::Append)?;
        pause(NOTICED_WITHIN);
    }
    let mut round = 0;
    while round < DURING || began.elapsed() < LASTS {
        round += 1;
        for deed in DEEDS {
            during.push((deed, house.send(daemon, deed)?));
        }
    }
    Ok(during)
}

fn judge(fault: &Fault, during: &[(Deed, Verdict)], tally: &mut Tally) {
    let count = |verdict: Verdict| during.iter().filter(|(_, other)| *other == verdict).count();
    tally.refused += u64::try_from(count(Verdict::Refused)).unwrap_or(0);
    let mut wrong = |is_wrong: &dyn Fn(Deed, Verdict) -> bool| {
        for (deed, verdict) in during.iter().filter(|(deed, verdict)| is_wrong(*deed, *verdict)) {
            tally.violation(format!("{}: {deed:?} came to {verdict:?}", fault.name));
        }
    };
    match fault.expect {
        Expect::AllRefused | Expect::RefusedSoon => wrong(&|_, verdict| verdict != Verdict::Refused),
        Expect::AllServed => wrong(&|deed, verdict| {
            verdict != if deed == Deed::Denied { Verdict::Failed } else { Verdict::Done }
        }),
        Expect::Typed => wrong(&|_, verdict| matches!(verdict, Verdict::Unanswered | Verdict::Turned)),
        Expect::Unreachable => wrong(&|_, verdict| verdict != Verdict::Unanswered),
    }
}

/// The fault is gone: calls are served again, nothing has panicked, and everything holds.
fn finish(
    house: &mut House,
    daemon: Daemon,
    random: &mut Random,
    tally: &mut Tally,
    name: &str,
) -> Result<()> {
    let began = Instant::now();
    // One that changes the database, one that is made once, and one that has an effect.
    for deed in [Deed::Create, Deed::AppendOnce, Deed::Append] {
        while house.send(&daemon, deed)? != Verdict::Done {
            if began.elapsed() > RECOVERED_WITHIN {
                tally.violation(format!("{name}: {deed:?} is not served again: {:?}", house.entries.last()));
                break;
            }
            pause(Duration::from_millis(20));
        }
    }
    tally.slowest_recovery = began.elapsed();
    house.play(&daemon, random, 1, AROUND)?;
    let status = daemon.stop()?;
    if !status.success() {
        tally.violation(format!("{name}: the daemon ended with {status}"));
    }
    house.settle(tally, name)?;
    if tally.violations > 0 {
        tally.told.push(format!("{name}: all of it is in {}", house.keep()));
    }
    tally.calls += u64::try_from(house.entries.len()).unwrap_or(0);
    Ok(())
}

/// Where a full disk is played.
const MOUNTED: &str = "disk";

/// A file system that is full for a while, of each of these kinds.
const DISKS: [(&str, &[&str], &str); 2] = [
    ("a full tmpfs", &["-t", "tmpfs", "-o", "size=3m,mode=700"], "hayward-torture"),
    ("a full ext4", &["-o", "loop"], "image"),
];

/// Fills the disk of the data directory, and frees it again. Fails where nothing may be mounted.
pub fn fill_disks(subject: &Subject, seed: u64, tell: &dyn Fn(&Trial)) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    let mut random = Random::new(seed);
    for (name, options, what) in DISKS {
        let tally = fill(subject, (options, what), &mut random).with_context(|| name.to_owned())?;
        let trial = Trial { name: name.to_owned(), tally };
        tell(&trial);
        trials.push(trial);
    }
    Ok(trials)
}

fn fill(subject: &Subject, (options, what): (&[&str], &str), random: &mut Random) -> Result<Tally> {
    let mut tally = Tally { injected: 1, ..Tally::default() };
    let namespace = Namespace::new()?;
    let dir = scratch()?;
    let mounted = dir.path().join(MOUNTED);
    fs::create_dir(&mounted).context("failed to make a folder")?;
    let image = dir.path().join(what).display().to_string();
    let is_image = options.contains(&"loop");
    if is_image {
        crate::programs::run(&["truncate", "-s", "16M", &image])?;
        crate::programs::run(&["mkfs.ext4", "-q", "-F", "-m", "0", &image])?;
    }
    namespace.mount(options, if is_image { &image } else { what }, &mounted)?;
    let filler = namespace.seen(&mounted.join("filler"));
    let mut house = House::within(subject, &namespace, dir, MOUNTED)?;
    let daemon = house.begin_well()?;
    house.play(&daemon, random, 1, AROUND)?;
    let name = if is_image { DISKS[1].0 } else { DISKS[0].0 };
    let during = suffer_full(&mut house, &daemon, &filler)?;
    let fault = Fault { name, calls: &[], what: "", on: On::Record, expect: Expect::AllRefused };
    judge(&fault, &during, &mut tally);
    fs::remove_file(&filler).context("failed to free a disk")?;
    finish(&mut house, daemon, random, &mut tally, name)?;
    Ok(tally)
}

/// Fills the disk to its last byte, and calls until the record is full, too; then what came of each further call.
fn suffer_full(house: &mut House, daemon: &Daemon, filler: &Path) -> Result<Vec<(Deed, Verdict)>> {
    let began = Instant::now();
    loop {
        top_up(filler);
        if house.send(daemon, Deed::Append)? == Verdict::Refused {
            break;
        }
        anyhow::ensure!(began.elapsed() < Duration::from_secs(30), "the disk never fills up");
    }
    let mut during = Vec::new();
    for _ in 0..DURING {
        for deed in DEEDS {
            top_up(filler);
            during.push((deed, house.send(daemon, deed)?));
        }
    }
    Ok(during)
}

/// Takes what room there is.
fn top_up(filler: &Path) {
    use std::io::Write as _;
    let Ok(mut file) = fs::File::options().create(true).append(true).open(filler) else { return };
    for size in [64 << 10, 4 << 10, 64, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    // What waits to be placed counts only when it is.
    file.sync_all().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_that_is_served_while_nothing_can_be_recorded_is_found() {
        let fault = FAULTS[0];
        let mut tally = Tally::default();
        judge(&fault, &[(Deed::Append, Verdict::Refused)], &mut tally);
        assert_eq!((tally.violations, tally.refused), (0, 1));
        judge(&fault, &[(Deed::Append, Verdict::Refused), (Deed::Read, Verdict::Done)], &mut tally);
        assert_eq!((tally.violations, tally.refused), (1, 2));
    }

    #[test]
    fn where_all_are_served_only_what_is_not_allowed_fails() {
        let fault = Fault { expect: Expect::AllServed, ..FAULTS[0] };
        let mut tally = Tally::default();
        judge(&fault, &[(Deed::Denied, Verdict::Failed), (Deed::Append, Verdict::Done)], &mut tally);
        assert_eq!(tally.violations, 0);
        judge(&fault, &[(Deed::Denied, Verdict::Done), (Deed::Append, Verdict::Failed)], &mut tally);
        assert_eq!(tally.violations, 2);
    }
}
