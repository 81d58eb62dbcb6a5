//! The only way to a path: what a tool may open, see and replace goes through here.
//!
//! ```text
//!  text ─► AbsPath ─► O_PATH handle ─► protected? regular? ─► reopened, never opened twice by name
//! ```
//!
//! A path is looked up once. What it led to is judged by what it *is* (device and inode, the real
//! path that the kernel tells, the kind of file), not by how it was spelt, and is then opened through
//! the handle, so that nothing can be swapped in between. No device, FIFO or socket is ever opened.

mod cached;
mod directory;
mod error;
mod feed;
mod handle;
mod identity;
mod in_place;
mod metadata;
mod path;
mod place;
mod protect;
mod replace;
mod rules;
mod temp;
mod tree;
mod turns;
mod walk;

pub(crate) use directory::{Directory, Fence, kind_of, modified};
pub(crate) use error::FsError;
pub(crate) use identity::FileId;
pub(crate) use path::AbsPath;
pub(crate) use replace::Written;
pub(crate) use tree::Tree;

use crate::host::HostConfig;
use crate::limits::size;
use cached::LocalDisks;
use protect::Protection;
use turns::Turns;

/// The files of this machine, with a fence around what is ours.
pub(crate) struct Fs {
    protection: Protection,
    turns: Turns,
    local_disks: LocalDisks,
    syncs: bool,
    in_place_bytes_max: usize,
    rules_bytes_max: usize,
}

impl Fs {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            protection: Protection::new(
                &config.protected,
                &config.extra_protected,
                size(config.limits.protected_files_max),
            ),
            turns: Turns::default(),
            local_disks: LocalDisks::find(),
            syncs: config.sync_files,
            in_place_bytes_max: size(config.limits.in_place_bytes_max),
            rules_bytes_max: size(config.limits.search_rules_bytes_max),
        }
    }

    /// Files without a fence, for tests of this room.
    #[cfg(test)]
    fn bare() -> Self {
        Self {
            protection: Protection::new(&[], &[], 1_000),
            turns: Turns::default(),
            local_disks: LocalDisks::find(),
            syncs: true,
            in_place_bytes_max: 1_000,
            rules_bytes_max: 1_000,
        }
    }
}
