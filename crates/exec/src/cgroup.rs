//! cgroup v2: a folder of our own, a leaf in it for each supervisor, and their end.
//!
//! ```text
//!  <the server's cgroup>/hayward-<pid>-<n>/        the home; locked while its server lives
//!                                         job-1/   a leaf: a supervisor and all below it
//!                                         job-2/
//! ```
//!
//! Works in the pure and in the hybrid layout and needs no controller, only `cgroup.kill`
//! (Linux 5.14). The lock is the kernel's and goes with its holder, so a home without one
//! belongs to a dead server, in whatever pid namespace it ran.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Access, FlockOperation, XattrFlags, access, flock, getxattr, setxattr};
use tokio::time::Instant;

use crate::limits::{GONE, HOME_NAMES_MAX, PAUSE};

/// How the name of a home begins.
const HOME_PREFIX: &str = "hayward-";

/// The mark of a leaf whose processes live on by wish.
const LEFT_MARK: &str = "user.hayward.left";

/// Where the server's leaves are.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    leaves: AtomicU64,
    /// Held for its lock.
    _lock: File,
}

impl Home {
    /// Makes a home beneath the cgroup that this process is in, or says why it can't be.
    pub(crate) fn create() -> Result<Self, String> {
        let parent = own_folder()?;
        let no =
            |what: &str, error: &dyn std::fmt::Display| format!("{what} in `{}`: {error}", parent.display());
        // Who moves from one cgroup to another must own what both are in.
        access(parent.join("cgroup.procs"), Access::WRITE_OK)
            .map_err(|error| no("can't move processes", &error))?;
        let home = Self::make(&parent).map_err(|error| no("can't make a cgroup", &error))?;
        if home.path.join("cgroup.kill").exists() {
            return Ok(home);
        }
        home.remove();
        Err(no("no `cgroup.kill`", &"it needs Linux 5.14"))
    }

    fn make(parent: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        for n in 0..HOME_NAMES_MAX {
            let path = parent.join(format!("{HOME_PREFIX}{pid}-{n}"));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            // Before it was locked, another server may have taken it for a dead one's.
            if let Some(lock) = lock(&path).filter(|_| path.exists()) {
                return Ok(Self { path, leaves: AtomicU64::new(0), _lock: lock });
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a leaf.
    pub(crate) fn leaf(&self) -> io::Result<Leaf> {
        let n = self.leaves.fetch_add(1, Ordering::Relaxed);
        let leaf = Leaf { path: self.path.join(format!("job-{n}")) };
        fs::create_dir(&leaf.path)?;
        Ok(leaf)
    }

    /// Removes the home if no leaf is left in it.
    pub(crate) fn remove(&self) {
        fs::remove_dir(&self.path).ok();
    }

    /// Ends and removes what servers that died left in cgroups beside this one. Blocks.
    pub(crate) fn clean_up_after_others(&self) {
        let homes = self.path.parent().map(folders).unwrap_or_default();
        let is_home = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|n| n.starts_with(HOME_PREFIX))
        };
        for home in homes.into_iter().filter(is_home) {
            // Ours is locked as well, by another open file.
            let Some(_lock) = lock(&home) else { continue };
            for path in folders(&home) {
                Leaf { path }.clear();
            }
            fs::remove_dir(&home).ok();
        }
    }
}

/// A supervisor's cgroup.
#[derive(Debug)]
pub(crate) struct Leaf {
    path: PathBuf,
}

impl Leaf {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Kills everybody in it and beneath it.
    pub(crate) fn kill(&self) {
        // Fails only if it is gone, and then so is everybody in it.
        fs::write(self.path.join("cgroup.kill"), "1").ok();
    }

    /// Says to later servers that who is in it may live on.
    pub(crate) fn mark_left(&self) {
        if let Err(error) = setxattr(&self.path, LEFT_MARK, b"1", XattrFlags::empty()) {
            tracing::warn!(leaf = %self.path.display(), %error, "background processes can't be marked: the next start of the server will end them");
        }
    }

    fn is_left(&self) -> bool {
        getxattr(&self.path, LEFT_MARK, &mut [0_u8; 8]).is_ok()
    }

    fn is_populated(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// Waits until nobody is in it and removes it; says `false` if somebody stays too long.
    pub(crate) async fn vacate(&self) -> bool {
        let until = Instant::now() + GONE;
        let mut pause = PAUSE.0;
        while !self.remove() {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
        true
    }

    /// Removes it, with what a job made beneath it, if nobody is in it; says whether it is gone.
    pub(crate) fn remove(&self) -> bool {
        !self.is_populated() && remove_tree(&self.path)
    }

    /// What becomes of a leaf whose server is dead. Blocks.
    #[expect(clippy::disallowed_methods, reason = "runs on a thread for what blocks")]
    fn clear(&self) {
        if !self.is_left() {
            self.kill();
            let until = std::time::Instant::now() + GONE;
            while self.is_populated() && std::time::Instant::now() < until {
                std::thread::sleep(PAUSE.1);
            }
        }
        self.remove();
    }
}

fn remove_tree(path: &Path) -> bool {
    for below in folders(path) {
        // If it stays, so does what holds it.
        remove_tree(&below);
    }
    match fs::remove_dir(path) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn lock(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

fn own_folder() -> Result<PathBuf, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("`{path}`: {error}"));
    locate(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)
        .ok_or_else(|| "cgroup v2 isn't mounted".to_owned())
}

/// The folder of a process's own v2 cgroup, from its `cgroup` and `mountinfo` files in `/proc`.
fn locate(cgroups: &str, mounts: &str) -> Option<PathBuf> {
    let own = Path::new(cgroups.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // Where the mount shows a part of the tree only, our cgroup must be in that part.
        let below = own.strip_prefix(root).ok()?;
        kind.starts_with("cgroup2 ").then(|| Path::new(point).join(below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cgroups: &str, mounts: &str, expected: Option<&str>) {
        assert_eq!(locate(cgroups, mounts).as_deref(), expected.map(Path::new));
    }

    const PURE: &str = "25 23 0:22 / /sys rw - sysfs sysfs rw\n\
        30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_pure_layout() {
        check("0::/user.slice/a.scope\n", PURE, Some("/sys/fs/cgroup/user.slice/a.scope"));
    }

    #[test]
    fn the_hybrid_layout() {
        check("4:memory:/x\n0::/\n", HYBRID, Some("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn a_mount_that_shows_a_part_of_the_tree() {
        let mounts = "41 31 0:38 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        check("0::/docker/abc/x\n", mounts, Some("/sys/fs/cgroup/x"));
        check("0::/elsewhere\n", mounts, None);
    }

    #[test]
    fn no_cgroup_v2() {
        check("4:memory:/x\n", PURE, None);
        check("0::/\n", "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", None);
    }
}
