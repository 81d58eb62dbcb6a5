//! What a file has beside its content, copied to the file that replaces it.

use std::ffi::CStr;
use std::fs::File;

use rustix::fs::{
    Gid, Mode, Uid, XattrFlags, fchmod, fchown, flistxattr, fremovexattr, fsetxattr, fstat, getxattr,
    listxattr,
};
use rustix::io::Errno;

use super::handle::{Handle, link_to};

/// The access ACL as an attribute; a new file may inherit one that the old file doesn't have.
const ACL: &[u8] = b"system.posix_acl_access";

/// Attributes that speak of the content, not of the file: the kernel drops the first on every write,
/// and only the kernel sets the others.
const OF_CONTENT: [&[u8]; 3] = [b"security.capability", b"security.ima", b"security.evm"];

/// Bits that lend a program the rights of its owner or group. New content must not come by those of the old one; the kernel
/// drops them on a write as well, but for root.
const LENDING: u32 = 0o6000;

/// Copies owner, attributes (ACL and security label among them) and mode, but for the bits that lend rights.
///
/// An error means that the file can't be replaced without losing some of them.
pub(super) fn copy(from: &Handle, to: &File) -> Result<(), Errno> {
    let (old, new) = (from.stat(), fstat(to)?);
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid) {
        // First of all: a change of the owner clears bits of the mode.
        fchown(to, Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid)))?;
    }
    copy_attributes(from, to)?;
    fchmod(to, Mode::from_raw_mode(old.st_mode & !LENDING))
}

/// Drops the bits that lend rights from a file whose content is about to change where it stands.
pub(super) fn lend_nothing(file: &File) -> Result<(), Errno> {
    let mode = fstat(file)?.st_mode;
    if mode & LENDING == 0 {
        return Ok(());
    }
    match fchmod(file, Mode::from_raw_mode(mode & !LENDING)) {
        // Another user's: the kernel drops them when it is written to.
        Err(Errno::PERM) => Ok(()),
        changed => changed,
    }
}

fn copy_attributes(from: &Handle, to: &File) -> Result<(), Errno> {
    let from = link_to(from);
    let names = grow(|list| listxattr(&from, list))?;
    for name in split(&names).filter(|name| !OF_CONTENT.contains(&name.to_bytes())) {
        let value = match grow(|value| getxattr(&from, name, value)) {
            Err(Errno::NODATA) => continue, // it went meanwhile
            value => value?,
        };
        fsetxattr(to, name, &value, XattrFlags::empty())?;
    }
    let is_acl = |name: &CStr| name.to_bytes() == ACL;
    let inherited = grow(|list| flistxattr(to, list))?;
    if let Some(acl) = split(&inherited).find(|name| is_acl(name))
        && !split(&names).any(is_acl)
    {
        fremovexattr(to, acl)?;
    }
    Ok(())
}

/// Reads what may be of any size. A file system without attributes has none.
fn grow(mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 512];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 128 << 10 => buffer.resize(buffer.len() * 4, 0),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}

/// The names of a list, each of which ends with a NUL.
fn split(list: &[u8]) -> impl Iterator<Item = &CStr> {
    list.split_inclusive(|byte| *byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok())
}
