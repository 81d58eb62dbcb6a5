//! Power cuts: an ext4 of its own is shut down under load, without what it hasn't written yet, and mounted again.
//!
//! The daemon is stopped first: a sync that is under way when a file system is shut down may say that it has succeeded, and
//! whoever is cut off, too, never hears it. What the file system has handed to its device survives; what a disk may lose of its
//! own cache is not played.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::daemon::{Daemon, Started};
use crate::history::{Entry, Promise};
use crate::house::{House, Subject, scratch};
use crate::namespace::Namespace;
use crate::programs::{self, pause};
use crate::random::Random;
use crate::tally::Tally;

/// Clients at once.
const CLIENTS: u64 = 4;
/// Calls of each: more than it makes until the cut.
const CALLS: u64 = 400;
/// Power cuts of one disk.
const CUTS: u64 = 10;
/// Size of the disk.
const DISK_BYTES: u64 = 64 << 20;
/// Where it is mounted.
const MOUNTED: &str = "disk";
/// The shortest and the longest time under load until the cut.
const LOAD_MS: (u64, u64) = (20, 500);
/// How old a record must be to be on the disk where only the death of the process is provided for, if the machine
/// has nothing else to do.
pub const GRACE: Duration = Duration::from_millis(100);

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: nothing more reaches the disk.
const SHUTDOWN: &str =
    "open(my $f, '<', $ARGV[0]) or die $!; my $how = pack('L', 2); ioctl($f, 0x8004587d, $how) or die $!";

/// What the record promises of a call above the tier `read`, when it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk.
    Strict,
    /// It is on the disk a little later.
    Process,
}

/// How many, and which.
#[derive(Clone, Copy, Debug)]
pub struct Cuts {
    /// Power cuts.
    pub count: u64,
    /// What chance is made of.
    pub seed: u64,
    /// What is promised.
    pub durability: Durability,
    /// How old a record must be where it is promised for a little later; it is under load for as long beforehand.
    pub grace: Duration,
}

/// Why the power can't be cut here; none if it can.
pub fn missing() -> Option<String> {
    for program in ["mkfs.ext4", "mount", "umount", "nsenter", "unshare", "perl"] {
        if !programs::has(program) {
            return Some(format!("`{program}` is not installed"));
        }
    }
    let tried = Namespace::new().and_then(|namespace| disk(&namespace).map(drop));
    tried.err().map(|error| format!("no disk may be mounted: {error:#}"))
}

/// Cuts the power as often as wanted.
pub fn run(subject: &Subject, cuts: Cuts, tell: &dyn Fn(&Tally)) -> Result<Tally> {
    let mut all = Tally::default();
    let mut disks = 0;
    while all.injected < cuts.count {
        disks += 1;
        let count = CUTS.min(cuts.count - all.injected);
        let mut random = Random::new(cuts.seed.wrapping_mul(1_000_033).wrapping_add(disks));
        all.add(torture(subject, count, cuts, &mut random)?);
        tell(&all);
    }
    Ok(all)
}

/// A disk and where it is mounted.
fn disk(namespace: &Namespace) -> Result<TempDir> {
    let dir = scratch()?;
    let (image, mounted) = (dir.path().join("image"), dir.path().join(MOUNTED));
    File::create(&image).and_then(|file| file.set_len(DISK_BYTES)).context("failed to make a disk")?;
    std::fs::create_dir(&mounted).context("failed to make a folder")?;
    programs::run(&["mkfs.ext4", "-q", "-F", &image.display().to_string()])?;
    mount(namespace, dir.path())?;
    Ok(dir)
}

fn mount(namespace: &Namespace, dir: &Path) -> Result<()> {
    let image = dir.join("image").display().to_string();
    namespace.mount(&["-o", "loop"], &image, &dir.join(MOUNTED))
}

fn torture(subject: &Subject, count: u64, cuts: Cuts, random: &mut Random) -> Result<Tally> {
    let namespace = Namespace::new()?;
    let dir = disk(&namespace)?;
    let place = dir.path().to_owned();
    let mut house = House::within(subject, &namespace, dir, MOUNTED)?;
    let mut tally = Tally::default();
    for number in 1..=count {
        let Started::Ready(daemon) = house.begin(&[])? else {
            tally.violation(format!("no start before power cut {number}: {}", house.log()));
            break;
        };
        let load = cuts.grace.saturating_sub(GRACE) + load(random);
        let cut = play_until_cut(&mut house, &namespace, daemon, load, random)?;
        house.promise(|entry| promise(entry, cut, cuts));
        tally.injected += 1;
        namespace.unmount(&place.join(MOUNTED))?;
        mount(&namespace, &place)?;
        house.settle(&mut tally, &format!("power cut {number}"))?;
        if tally.violations > 0 {
            break;
        }
    }
    tally.calls = u64::try_from(house.entries.len()).unwrap_or(0);
    namespace.unmount(&place.join(MOUNTED))?;
    Ok(tally)
}

fn load(random: &mut Random) -> Duration {
    Duration::from_millis(LOAD_MS.0 + random.below(LOAD_MS.1 - LOAD_MS.0))
}

/// Plays under load, cuts, and ends the daemon; returns a moment that was before the cut.
fn play_until_cut(
    house: &mut House,
    namespace: &Namespace,
    daemon: Daemon,
    load: Duration,
    random: &mut Random,
) -> Result<Instant> {
    let mounted = house.data().parent().context("a data directory lies somewhere")?.display().to_string();
    let tracks = house.script(random, CLIENTS, CALLS);
    let client = house.client(&daemon);
    let (played, cut) = std::thread::scope(|scope| {
        let playing = scope.spawn(|| client.play(&tracks));
        pause(load);
        let cut = Instant::now();
        daemon.signal(rustix::process::Signal::STOP);
        let done = namespace.run(&["perl", "-e", SHUTDOWN, &mounted]);
        daemon.signal(rustix::process::Signal::KILL);
        let played = playing.join().expect("a client doesn't panic");
        (played, done.map(|_| cut))
    });
    house.entries.extend(played?);
    daemon.kill()?;
    cut.context("failed to cut the power")
}

/// What is promised of the record of a call that ended then.
fn promise(entry: &Entry, cut: Instant, cuts: Cuts) -> Promise {
    let is_old = entry.reply.is_ok() && entry.ended + cuts.grace <= cut;
    if is_old || (cuts.durability == Durability::Strict && entry.call.is_operation()) {
        Promise::ALL
    } else {
        Promise::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::entry;
    use crate::script::Deed;

    #[test]
    fn what_is_old_or_strict_is_promised() {
        let cut = Instant::now() + Duration::from_secs(5);
        let of = |deed: Deed, before: u64, durability: Durability| {
            let entry = Entry {
                ended: cut.checked_sub(Duration::from_millis(before)).unwrap(),
                ..entry(1, deed, 200, "")
            };
            let cuts = Cuts { count: 1, seed: 1, durability, grace: GRACE };
            promise(&entry, cut, cuts) == Promise::ALL
        };
        assert!(of(Deed::Append, 101, Durability::Process) && of(Deed::Read, 101, Durability::Process));
        assert!(!of(Deed::Append, 99, Durability::Process));
        assert!(of(Deed::Append, 0, Durability::Strict) && !of(Deed::Read, 99, Durability::Strict));
    }
}
