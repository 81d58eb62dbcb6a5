//! A new file beside the one that it will replace, gone again unless it does.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, fallocate, openat, unlinkat};
use rustix::io::Errno;

/// A file without its final name. Removed when dropped, whatever then bears its name.
pub(super) struct Temp<'a> {
    parent: &'a OwnedFd,
    name: String,
    file: File,
    is_gone: bool,
}

impl<'a> Temp<'a> {
    /// Makes an empty one. `mode` is subject to the umask.
    pub(super) fn create(parent: &'a OwnedFd, mode: Mode) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let name = fresh_name()?;
            match openat(parent, &name, flags, mode) {
                Err(Errno::EXIST) => {}
                opened => {
                    let file = opened?.into();
                    return Ok(Self { parent, name, file, is_gone: false });
                }
            }
        }
    }

    /// Writes all of the content. Asks for the space first, so that a full disk is told early.
    pub(super) fn fill(&mut self, content: &[u8]) -> Result<(), Errno> {
        reserve(&self.file, FallocateFlags::empty(), content.len())?;
        self.file.write_all(content).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Says that its name is taken over by its final one.
    pub(super) fn is_renamed(&mut self) {
        self.is_gone = true;
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.is_gone {
            // Nobody is left to tell if that fails; the name says whose it was.
            unlinkat(self.parent, &self.name, AtFlags::empty()).ok();
        }
    }
}

/// Asks the file system for space; one that can't say in advance is no error.
pub(super) fn reserve(file: impl AsFd, flags: FallocateFlags, bytes: usize) -> Result<(), Errno> {
    if bytes == 0 {
        return Ok(());
    }
    match fallocate(file, flags, 0, bytes as u64) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        other => other,
    }
}

/// A name for now that nobody else takes.
pub(super) fn fresh_name() -> Result<String, Errno> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
    let random = u64::from_ne_bytes(random);
    Ok(format!(".hayward-{}-{random:016x}.tmp", std::process::id()))
}
