//! Reading what the kernel has in memory anyway, without a thread.
//!
//! To hand a small read to another thread costs more than the read. So it is done at once if it can't
//! wait for anything: the path is in the kernel's cache (`RESOLVE_CACHED`), the file on a local disk
//! (no server or daemon that may not answer), its content in memory (`RWF_NOWAIT`), and the inventory
//! of protected files fresh. In all other cases, errors included, the answer is "not now".

use std::collections::HashSet;
use std::fs::{File, read_to_string};
use std::io::IoSliceMut;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, fstat, major, makedev, openat2, statx,
};
use rustix::io::{ReadWriteFlags, preadv2};

use super::handle::Handle;
use super::path::AbsPath;
use super::{Access, Fs};
use crate::limits::CACHED_BYTES_MAX;

/// File systems on a local disk in the kernel.
const LOCAL: [&str; 5] = ["ext2", "ext3", "ext4", "xfs", "f2fs"];

/// The devices of local disks, as mounted when we started. One that is mounted later costs a thread.
pub(super) struct LocalDisks(HashSet<u64>);

impl LocalDisks {
    pub(super) fn find() -> Self {
        let mounts = read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self(mounts.lines().filter_map(local_device).collect())
    }
}

/// The device of a line of `mountinfo` (`proc_pid_mountinfo(5)`), if that is a local disk.
fn local_device(line: &str) -> Option<u64> {
    let (mount, file_system) = line.split_once(" - ")?;
    let (major_number, minor_number) = mount.split(' ').nth(2)?.split_once(':')?;
    let device = makedev(major_number.parse().ok()?, minor_number.parse().ok()?);
    // Numbers without a disk behind them are given to other file systems later.
    (LOCAL.contains(&file_system.split(' ').next()?) && major(device) != 0).then_some(device)
}

impl Fs {
    /// The content of a small regular file that isn't protected, if it can be had at once.
    pub(crate) fn read_cached(&self, path: &AbsPath) -> Option<Vec<u8>> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let how = ResolveFlags::CACHED | self.reach.resolve_flags();
        let fd = openat2(CWD, path.as_path(), flags, Mode::empty(), how).ok()?;
        let how = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let device = statx(&fd, "", how, StatxFlags::TYPE).ok()?;
        if !self.local_disks.0.contains(&makedev(device.stx_dev_major, device.stx_dev_minor)) {
            return None;
        }
        let handle = Handle::of(fd).ok()?;
        handle.require_regular(path.as_path()).ok()?;
        let has_one_name = handle.stat().st_nlink == 1;
        let is_free = has_one_name && self.protection.is_fresh();
        if !is_free || self.check(&handle, path.as_path(), Access::Read).is_err() {
            return None;
        }
        read_now(&File::from(handle.reopen(OFlags::RDONLY).ok()?))
    }
}

fn read_now(file: &File) -> Option<Vec<u8>> {
    let bytes = usize::try_from(fstat(file).ok()?.st_size).ok()?;
    if bytes > CACHED_BYTES_MAX {
        return None;
    }
    let mut content = vec![0; bytes];
    let count = preadv2(file, &mut [IoSliceMut::new(&mut content)], 0, ReadWriteFlags::NOWAIT).ok()?;
    (count == bytes).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_disks_are_told_from_all_else() {
        for (line, expect) in [
            ("36 35 98:1 / / rw,noatime master:1 - ext4 /dev/root rw", Some(makedev(98, 1))),
            ("36 35 254:0 /a\\040b /mnt rw - xfs /dev/vda rw", Some(makedev(254, 0))),
            ("36 35 8:1 / /mnt rw - fuseblk /dev/sda1 rw", None),
            ("36 35 0:44 / /mnt rw - nfs4 server:/ rw", None),
            ("36 35 0:45 / /mnt rw - ext4 odd rw", None),
            ("", None),
        ] {
            assert_eq!(local_device(line), expect, "{line}");
        }
    }

    #[test]
    fn a_small_file_of_one_name_is_read_at_once_and_nothing_else_is() {
        let root = tempfile::TempDir::new().unwrap();
        let fs = Fs::bare();
        let file = |name: &str, content: &[u8]| {
            let path = root.path().join(name);
            std::os::unix::fs::FileExt::write_all_at(&File::create(&path).unwrap(), content, 0).unwrap();
            AbsPath::parse(path.to_str().unwrap()).unwrap()
        };
        let (small, empty) = (file("small", b"content"), file("empty", b""));
        if fs.read_cached(&small).is_none() {
            // A file that was just written is in memory; so it is the disk that isn't local.
            let mounts = read_to_string("/proc/self/mountinfo").unwrap();
            let device = fstat(File::open(small.as_path()).unwrap()).unwrap().st_dev;
            assert!(!mounts.lines().filter_map(local_device).any(|local| local == device));
            return;
        }
        assert_eq!(fs.read_cached(&small).unwrap(), b"content");
        assert_eq!(fs.read_cached(&empty).unwrap(), b"");
        let large = file("large", &vec![b'x'; CACHED_BYTES_MAX + 1]);
        let two_names = file("two_names", b"content");
        std::fs::hard_link(two_names.as_path(), root.path().join("other_name")).unwrap();
        let folder = AbsPath::parse(root.path().to_str().unwrap()).unwrap();
        let missing = AbsPath::parse("/no/such/file").unwrap();
        let kernels = AbsPath::parse("/proc/meminfo").unwrap();
        for path in [large, two_names, folder, missing, kernels] {
            assert_eq!(fs.read_cached(&path), None, "{}", path.as_path().display());
        }
    }
}
