//! Cgroups: a folder of our own, a leaf in it for each supervisor, and their end.
//!
//! ```text
//!  <the server's cgroup>/hayward-<pid>-<n>/        the home; locked while its server lives
//!                                         job-1/   a leaf: a supervisor and all below it
//!                                         job-2/
//!                                         self/    the server, where it had to make room
//! ```
//!
//! Holding together needs no controller, only `cgroup.kill` (Linux 5.14) or a freezer; bounds
//! need controllers, and are in [`bounds`]. The lock is the kernel's and goes with its holder, so
//! a home without one belongs to a dead server, in whatever pid namespace it ran.

mod bounds;
mod delegation;
mod hold;
mod layout;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Access, FlockOperation, XattrFlags, access, flock, getxattr, setxattr};
use tokio::time::Instant;

use crate::limits::{GONE, HOME_NAMES_MAX, PAUSE};
use delegation::Delegation;
use hold::{folders, remove_tree};

pub use bounds::Bounds;
pub(crate) use bounds::{Controller, Controllers, Group};
pub(crate) use hold::Hold;
pub use layout::Layout;
pub(crate) use layout::Trees;

/// How the name of a home begins.
const HOME_PREFIX: &str = "hayward-";

/// The mark of a leaf whose processes live on by wish. v1 trees take no `user.` attributes.
const LEFT_MARKS: [&str; 2] = ["user.hayward.left", "trusted.hayward.left"];

/// Where the server's leaves are.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    hold: Hold,
    leaves: AtomicU64,
    delegation: Delegation,
    /// Held for its lock.
    _lock: File,
}

impl Home {
    /// Makes a home beneath the cgroup that this process is in, to be ended in this way or in the
    /// strongest that there is, or says why it can't be.
    pub(crate) fn create(trees: &Trees, wanted: Option<Hold>) -> Result<Self, String> {
        let parents = [trees.v2(), trees.v1("freezer")];
        let mut made = parents.iter().flatten().map(|parent| Self::create_in(parent, wanted));
        let first = made.next().unwrap_or_else(|| Err("no cgroup tree is mounted".to_owned()));
        // Where none will do, what is wrong with the better one is what counts.
        first.or_else(|why| made.find_map(Result::ok).ok_or(why))
    }

    fn create_in(parent: &Path, wanted: Option<Hold>) -> Result<Self, String> {
        let no =
            |what: &str, error: &dyn std::fmt::Display| format!("{what} in `{}`: {error}", parent.display());
        // Who moves from one cgroup to another must own what both are in.
        access(parent.join("cgroup.procs"), Access::WRITE_OK)
            .map_err(|error| no("can't move processes", &error))?;
        let (path, lock) = make_home(parent).map_err(|error| no("can't make a cgroup", &error))?;
        let Some(hold) =
            Hold::of(&path).map(|strongest| wanted.filter(|hold| hold.is_in(&path)).unwrap_or(strongest))
        else {
            remove_tree(&path);
            return Err(no("nothing to end it by", &"it needs Linux 5.2, or a freezer"));
        };
        if wanted.is_some_and(|wanted| wanted != hold) {
            remove_tree(&path);
            return Err(no("no such end", &"it was asked for by name"));
        }
        let delegation = match hold {
            Hold::Freezer => Delegation::default(),
            _ => Delegation::take(parent, &path, &Controller::ALL.map(Controller::name)),
        };
        Ok(Self { path, hold, leaves: AtomicU64::new(0), delegation, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn hold(&self) -> Hold {
        self.hold
    }

    /// The controllers that its leaves may hand on.
    pub(crate) fn controllers(&self) -> Vec<Controller> {
        let all = Controller::ALL.into_iter();
        all.filter(|controller| self.delegation.has(controller.name())).collect()
    }

    /// Makes a leaf.
    pub(crate) fn leaf(&self) -> io::Result<Leaf> {
        let n = self.leaves.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("job-{n}"));
        fs::create_dir(&path)?;
        let mut leaf = Leaf { entry: path.clone(), path, hold: self.hold };
        if self.delegation.hand_on(&leaf.path)? {
            // Who hands controllers on has no processes itself.
            leaf.entry = leaf.path.join("main");
            fs::create_dir(&leaf.entry)?;
        }
        Ok(leaf)
    }

    /// Removes the home if no leaf is left in it.
    pub(crate) fn remove(&self) {
        self.delegation.give_back();
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
                Leaf { entry: path.clone(), path, hold: self.hold }.clear();
            }
            fs::remove_dir(&home).ok();
        }
    }
}

/// Makes a locked folder beneath a cgroup.
fn make_home(parent: &Path) -> io::Result<(PathBuf, File)> {
    let pid = std::process::id();
    for n in 0..HOME_NAMES_MAX {
        let path = parent.join(format!("{HOME_PREFIX}{pid}-{n}"));
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        // Before it was locked, another server may have taken it for a dead one's.
        if let Some(lock) = lock(&path).filter(|_| path.exists()) {
            return Ok((path, lock));
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A supervisor's cgroup.
#[derive(Debug)]
pub(crate) struct Leaf {
    path: PathBuf,
    /// Where the supervisor itself is.
    entry: PathBuf,
    hold: Hold,
}

impl Leaf {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The cgroup of a job that somebody is still in: removed when they are gone.
    fn of_group(path: &Path) -> Self {
        Self { path: path.to_owned(), entry: path.to_owned(), hold: Hold::Freezer }
    }

    /// What its supervisor enters.
    pub(crate) fn entry(&self) -> &Path {
        &self.entry
    }

    /// Kills everybody in it and beneath it.
    pub(crate) fn kill(&self) {
        self.hold.kill(&self.path);
    }

    /// Says to later servers that who is in it may live on.
    pub(crate) fn mark_left(&self) {
        let marked = LEFT_MARKS.map(|mark| setxattr(&self.path, mark, b"1", XattrFlags::empty()));
        if let [Err(error), Err(_)] = marked {
            tracing::warn!(leaf = %self.path.display(), %error, "background processes can't be marked: the next start of the server will end them");
        }
    }

    fn is_left(&self) -> bool {
        LEFT_MARKS.iter().any(|mark| getxattr(&self.path, *mark, &mut [0_u8; 8]).is_ok())
    }

    fn is_populated(&self) -> bool {
        self.hold.is_populated(&self.path)
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

fn lock(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}
