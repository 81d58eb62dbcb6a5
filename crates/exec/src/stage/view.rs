//! What a confined job sees of the file system, resolved to real paths and held open.
//!
//! Paths are followed once, here. What is mounted and granted later is what was found, whatever
//! was put in its place meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::limits::SETTINGS_MAX;
use crate::profile::Network;
use crate::supervise::failed;
use crate::system::{KERNEL, RESOLVER, SECRETS, SETTINGS, SYSTEM, is_private};
use crate::wire::{Confinement, NotStarted, Step};

/// Devices that give nothing away.
pub(super) const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// See the module.
pub(super) struct View {
    /// What is seen, parents before what is below them.
    pub(super) grants: Vec<Grant>,
    /// Links of the system to what is granted: what they are called and what they say.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    /// What is below a grant and not for the job.
    pub(super) hidden: Vec<PathBuf>,
}

/// A file or directory that a job sees.
pub(super) struct Grant {
    /// Its real path.
    pub(super) path: PathBuf,
    /// What was found there.
    pub(super) file: OwnedFd,
    pub(super) access: Access,
    pub(super) is_dir: bool,
}

/// What is done with a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl View {
    /// Finds what this fence speaks of.
    ///
    /// Without a mount namespace nothing can be laid over a protected path, so a root that is
    /// written to and holds one is refused.
    pub(super) fn resolve(fence: &Confinement, has_namespaces: bool) -> Result<Self, NotStarted> {
        let root = |error: &io::Error| failed(Step::Root, error);
        let mut view = Self { grants: Vec::new(), links: Vec::new(), hidden: Vec::new() };
        let secrets = SECRETS.iter().map(Path::new);
        let hidden = secrets.chain(fence.protected.iter().map(Path::new));
        // What isn't there can't be read.
        view.hidden = hidden.filter_map(|path| path.canonicalize().ok()).collect();
        if rustix::process::geteuid().is_root() && fence.user.is_none() {
            // Root without privileges still owns the files of root.
            let mut looked_at = 0;
            view.hide_private(Path::new(SETTINGS), &mut looked_at).map_err(|error| root(&error))?;
        }
        for path in &fence.read_write {
            view.grant(Path::new(path), Access::Write).map_err(|error| root(&error))?;
        }
        for path in &fence.read_only {
            view.grant(Path::new(path), Access::Read).map_err(|error| root(&error))?;
        }
        view.check_roots(has_namespaces)?;
        view.grant_system(fence.network).map_err(|error| root(&error))?;
        view.grants.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(view)
    }

    /// Hides what below this isn't for everybody.
    fn hide_private(&mut self, path: &Path, looked_at: &mut usize) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // What is gone by now hides itself.
            let Ok(metadata) = entry.metadata() else { continue };
            let path = entry.path();
            *looked_at += 1;
            if *looked_at > SETTINGS_MAX {
                return Err(Errno::TOOBIG.into());
            }
            if metadata.is_symlink() || self.hidden.contains(&path) {
                continue;
            }
            if is_private(&metadata) {
                self.hidden.push(path);
            } else if metadata.is_dir() {
                self.hide_private(&path, looked_at)?;
            }
        }
        Ok(())
    }

    fn check_roots(&self, has_namespaces: bool) -> Result<(), NotStarted> {
        for Grant { path, access, .. } in &self.grants {
            let is_kernel = KERNEL.iter().any(|kernel| path.starts_with(kernel));
            if is_kernel || path == Path::new("/") {
                return Err(failed(Step::Root, &Errno::PERM.into()));
            }
            let is_within = self.hidden.iter().any(|hidden| path.starts_with(hidden));
            let holds = *access == Access::Write && self.holds_hidden(path);
            if is_within || (holds && !has_namespaces) {
                return Err(failed(Step::Protect, &Errno::PERM.into()));
            }
        }
        Ok(())
    }

    /// The directories between a root that is written to and what is hidden below it, upper ones first.
    pub(super) fn above_hidden(&self) -> BTreeSet<PathBuf> {
        let written = |path: &&Path| {
            self.access(path) == Some(Access::Write) && self.grants.iter().all(|grant| grant.path != **path)
        };
        let above = |hidden: &PathBuf| -> Vec<PathBuf> {
            hidden.ancestors().skip(1).filter(written).map(Path::to_owned).collect()
        };
        self.hidden.iter().flat_map(above).collect()
    }

    /// Whether something below this is hidden.
    pub(super) fn holds_hidden(&self, path: &Path) -> bool {
        self.hidden.iter().any(|hidden| hidden.starts_with(path))
    }

    fn grant_system(&mut self, network: Network) -> io::Result<()> {
        for path in SYSTEM.iter().map(Path::new) {
            match fs::symlink_metadata(path) {
                Err(_) => {}
                Ok(metadata) if metadata.is_symlink() => {
                    self.links.push((path.to_owned(), fs::read_link(path)?));
                    self.grant_unless_seen(path)?;
                }
                Ok(_) => self.grant_unless_seen(path)?,
            }
        }
        if network == Network::Shared {
            for path in RESOLVER.iter().map(Path::new).filter(|path| path.exists()) {
                self.grant_unless_seen(path)?;
            }
        }
        Ok(())
    }

    fn grant_unless_seen(&mut self, path: &Path) -> io::Result<()> {
        let real = path.canonicalize()?;
        let is_seen = self.grants.iter().any(|grant| real.starts_with(&grant.path));
        if is_seen { Ok(()) } else { self.grant(&real, Access::Read) }
    }

    /// Adds a grant by its real path; where the same is granted twice, writing goes before reading. No link is followed:
    /// whoever may write above a root could put one in its place.
    fn grant(&mut self, path: &Path, access: Access) -> io::Result<()> {
        let path = path.components().collect::<PathBuf>();
        if self.grants.iter().any(|grant| grant.path == path) {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat2(CWD, &path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        let is_dir = kind.is_dir();
        if !is_dir && !kind.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.grants.push(Grant { path, file, access, is_dir });
        Ok(())
    }

    /// What may be done at this path, by the grant that is nearest to it.
    pub(super) fn access(&self, path: &Path) -> Option<Access> {
        let above = self.grants.iter().filter(|grant| path.starts_with(&grant.path));
        above.max_by_key(|grant| grant.path.components().count()).map(|grant| grant.access)
    }
}
