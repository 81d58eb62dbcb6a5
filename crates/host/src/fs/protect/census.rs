//! The inventory of protected files, by what they are.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags, open, openat, stat};

use super::super::directory::{Directory, kind_of};
use super::super::identity::FileId;
use super::Root;

/// How our own directories are opened; no symbolic link of ours is followed.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Which files are protected, at one moment.
pub(crate) struct Census {
    taken: Instant,
    protected: HashMap<FileId, PathBuf>,
    /// Devices that hold protected files: a file elsewhere can't be one of them.
    devices: HashSet<u64>,
    /// Whether all files beneath our data were seen.
    is_complete: bool,
}

impl Census {
    /// Takes it now: protected paths themselves, and all beneath them that is ours.
    pub(super) fn take(roots: &[Root], files_max: usize) -> Self {
        let mut census = Self {
            taken: Instant::now(),
            protected: HashMap::new(),
            devices: HashSet::new(),
            is_complete: true,
        };
        for root in roots {
            let Ok(stat) = stat(&root.real) else { continue };
            census.add((&stat).into(), &root.shown);
            if root.is_ours && kind_of(&stat) == FileType::Directory {
                census.add_beneath(&root.real, &root.shown, files_max);
            }
        }
        census
    }

    fn add(&mut self, id: FileId, root: &Path) {
        self.devices.insert(id.dev);
        self.protected.entry(id).or_insert_with(|| root.to_owned());
    }

    fn add_beneath(&mut self, real: &Path, root: &Path, files_max: usize) {
        let mut waiting: Vec<OwnedFd> = open(real, DIRECTORY, Mode::empty()).into_iter().collect();
        while let Some(directory) = waiting.pop().and_then(|fd| Directory::new(fd).ok()) {
            directory.each_name(|name, _| {
                if self.protected.len() >= files_max {
                    self.is_complete = false;
                    return ControlFlow::Break(());
                }
                if let Ok(stat) = directory.look(name) {
                    self.add((&stat).into(), root);
                    if kind_of(&stat) == FileType::Directory {
                        waiting.extend(openat(directory.fd(), name, DIRECTORY, Mode::empty()));
                    }
                }
                ControlFlow::Continue(())
            });
            if !self.is_complete {
                return;
            }
        }
    }

    pub(super) fn age(&self) -> Duration {
        self.taken.elapsed()
    }

    /// The protected path that this file belongs to.
    pub(crate) fn root_of(&self, id: FileId) -> Option<&Path> {
        self.protected.get(&id).map(PathBuf::as_path)
    }

    pub(super) fn shares_device(&self, id: FileId) -> bool {
        self.devices.contains(&id.dev)
    }

    /// Whether a file that isn't in it can't be one of ours.
    pub(super) fn knows_all(&self, id: FileId) -> bool {
        self.is_complete || !self.shares_device(id)
    }
}
