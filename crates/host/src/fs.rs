//! The only way to a path: what a tool may open, see and replace goes through here.
//!
//! ```text
//!  text ─► AbsPath ─► O_PATH handle ─► in reach? protected? regular? ─► reopened, never opened twice by name
//! ```
//!
//! A path is looked up once. What it led to is judged by what it *is* (device and inode, the real
//! path that the kernel tells, the kind of file), not by how it was spelt, and is then opened through
//! the handle, so that nothing can be swapped in between. No device, FIFO or socket is ever opened.
//!
//! Each caller has an [`Fs`] of its own, which reaches as far as the caller's fence says.

mod cached;
mod directory;
mod error;
mod feed;
mod handle;
mod identity;
mod in_place;
mod incoming;
mod metadata;
mod path;
mod place;
mod protect;
mod reach;
mod replace;
mod rules;
mod temp;
mod tree;
mod turns;
mod walk;

use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use hayward_api::Fence as CallerFence;
use rustix::fs::{CWD, Mode, OFlags, openat, openat2};
use rustix::io::Errno;

pub(crate) use directory::{Directory, Fence, kind_of, modified};
pub(crate) use error::FsError;
pub(crate) use identity::FileId;
pub(crate) use incoming::{Incoming, Overwrite};
pub(crate) use path::AbsPath;
pub(crate) use reach::Access;
pub(crate) use replace::Written;
pub(crate) use tree::Tree;

use crate::host::{HostConfig, HostSettings};
use crate::limits::size;
use cached::LocalDisks;
use handle::Handle;
use protect::Protection;
use reach::Reach;
use turns::Turns;

/// The files of this machine as one caller reaches them, with a fence around what is ours.
#[derive(Clone)]
pub(crate) struct Fs {
    machine: Arc<Machine>,
    reach: Reach,
}

/// What all callers share.
pub(crate) struct Machine {
    protection: Arc<Protection>,
    turns: Arc<Turns>,
    local_disks: Arc<LocalDisks>,
    syncs: bool,
    in_place_bytes_max: usize,
    rules_bytes_max: usize,
}

impl Deref for Fs {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

impl Fs {
    /// The files of this machine, for a caller without a fence.
    pub(crate) fn new(config: &HostConfig) -> Self {
        let machine = Machine {
            protection: Arc::new(Protection::new(
                &config.protected,
                &config.extra_protected,
                size(config.limits.protected_files_max),
            )),
            turns: Arc::default(),
            local_disks: Arc::new(LocalDisks::find()),
            syncs: config.sync_files,
            in_place_bytes_max: size(config.limits.in_place_bytes_max),
            rules_bytes_max: size(config.limits.search_rules_bytes_max),
        };
        Self { machine: Arc::new(machine), reach: Reach::default() }
    }

    /// The same files under other settings.
    pub(crate) fn under(&self, settings: &HostSettings) -> Self {
        let HostSettings { protected, extra_protected, limits, .. } = settings;
        let Machine { protection, turns, local_disks, .. } = &*self.machine;
        let machine = Machine {
            protection: if protection.is_of(protected, extra_protected) {
                Arc::clone(protection)
            } else {
                let files_max = size(limits.protected_files_max);
                Arc::new(Protection::new(protected, extra_protected, files_max))
            },
            turns: Arc::clone(turns),
            local_disks: Arc::clone(local_disks),
            syncs: settings.sync_files,
            in_place_bytes_max: size(limits.in_place_bytes_max),
            rules_bytes_max: size(limits.search_rules_bytes_max),
        };
        Self { machine: Arc::new(machine), reach: Reach::default() }
    }

    /// The same files for the caller of this fence. Looks its roots up, so call it where that may block.
    pub(crate) fn reaching(&self, fence: &CallerFence) -> Result<Self, FsError> {
        Ok(Self { machine: Arc::clone(&self.machine), reach: Reach::of(fence)? })
    }

    /// Whether the caller has roots, beyond which it reaches nothing.
    pub(crate) fn is_narrow(&self) -> bool {
        self.reach.is_narrow()
    }

    /// Refuses a handle that is out of reach or protected; `path` is what the caller named it.
    fn check(&self, handle: &Handle, path: &Path, access: Access) -> Result<(), FsError> {
        self.reach.check(handle, path, access)?;
        self.protection.check(handle)
    }

    /// Refuses a path that doesn't exist if it would be out of reach or in a protected place. Its caller
    /// named it `path`; `end` is where symbolic links lead from there.
    fn check_missing(&self, end: &Path, path: &Path, access: Access) -> Result<(), FsError> {
        let look = |above: &Path| Handle::of(self.open_path(CWD, above, OFlags::empty()).ok()?).ok();
        let above = end.ancestors().skip(1).find_map(|above| Some((look(above)?, above)));
        let Some((handle, above)) = above else {
            return self.reach.outside(path).map_or(Ok(()), Err);
        };
        let rest = end.strip_prefix(above).unwrap_or(end);
        self.reach.check_missing((&handle, rest), path, access)?;
        self.protection.check_missing(&handle, rest)
    }

    /// Holds what a path leads to, without opening it. For a caller with roots, no magic link leads there.
    fn open_path(&self, from: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
        if self.is_narrow() {
            openat2(from, path, flags, Mode::empty(), self.reach.resolve_flags())
        } else {
            openat(from, path, flags, Mode::empty())
        }
    }

    /// Files without a fence, for tests of this room.
    #[cfg(test)]
    fn bare() -> Self {
        let machine = Machine {
            protection: Arc::new(Protection::new(&[], &[], 1_000)),
            turns: Arc::default(),
            local_disks: Arc::new(LocalDisks::find()),
            syncs: true,
            in_place_bytes_max: 1_000,
            rules_bytes_max: 1_000,
        };
        Self { machine: Arc::new(machine), reach: Reach::default() }
    }
}
