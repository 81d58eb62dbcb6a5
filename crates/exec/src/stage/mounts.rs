//! A root directory of its own for a confined job: what it sees is there, and nothing else is.
//!
//! ```text
//!  /            an empty file system, read-only
//!  /usr /etc …  the machine's, read-only
//!  /srv/a       a root of the job
//!  /srv/a/keys  a protected path: an empty directory that nobody may look into
//!  /proc        of the job's processes, read-only
//!  /dev         null and its like
//!  /tmp         the job's
//! ```
//!
//! Landlock doesn't hold modes, owners and times of files, nor Unix sockets; read-only mounts and
//! a tree without the rest of the machine do.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root, umask};

use super::view::{Access, DEVICES, Grant, View};
use crate::limits::CONFINED_TMP;

/// Where the new root is put together. It hides nothing: what is below is reached through [`OLD`].
const NEW: &str = "/tmp";

/// Where the machine's own tree is meanwhile.
const OLD: &str = "/.old";

/// Directories of the job itself.
pub(super) const OWN: &[&str] = &["/tmp", "/dev/shm"];

/// Makes this view the root directory of this process. Only within a mount namespace of its own.
pub(super) fn build(view: &View) -> io::Result<()> {
    umask(Mode::from_raw_mode(0o022));
    // What is mounted here is seen by nobody else.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    begin()?;
    kernel(view)?;
    for grant in &view.grants {
        bind(grant)?;
    }
    for (link, target) in &view.links {
        // A root may be where the link would be.
        if fs::symlink_metadata(link).is_err() {
            symlink(target, link)?;
        }
    }
    for above in view.above_hidden() {
        // A mount point can't be renamed, so that what is hidden stays where it is known.
        mount_bind_recursive(&above, &above)?;
    }
    for hidden in view.hidden.iter().filter(|path| view.access(path).is_some()) {
        hide(hidden)?;
    }
    unmount(OLD, UnmountFlags::DETACH)?;
    fs::remove_dir(OLD)?;
    for point in mount_points(&fs::read_to_string("/proc/self/mountinfo")?) {
        restrict(&point, view)?;
    }
    chdir("/")?;
    Ok(())
}

fn begin() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", NEW, "tmpfs", flags, c"mode=755,size=1m")?;
    let old = Path::new(NEW).join(OLD.trim_start_matches('/'));
    fs::create_dir(&old)?;
    pivot_root(NEW, &old)?;
    Ok(chdir("/")?)
}

/// `/proc`, `/dev` and `/tmp`.
fn kernel(view: &View) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    fs::create_dir("/proc")?;
    // Where something hides a part of `/proc` the kernel gives no fresh one: then it is the machine's.
    if mount("proc", "/proc", "proc", flags, None).is_err() {
        mount_bind_recursive(format!("{OLD}/proc"), "/proc")?;
    }
    fs::create_dir("/dev")?;
    for device in DEVICES {
        File::create(device)?;
        mount_bind(format!("{OLD}{device}"), *device)?;
    }
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        symlink(format!("/proc/self/{target}"), format!("/dev/{name}"))?;
    }
    let options = std::ffi::CString::new(CONFINED_TMP)?;
    for own in OWN.iter().filter(|own| view.access(Path::new(own)).is_none()) {
        fs::create_dir(own)?;
        mount("tmpfs", *own, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, &*options)?;
    }
    Ok(())
}

/// Shows what was found, not what is at its path now.
fn bind(grant: &Grant) -> io::Result<()> {
    if fs::symlink_metadata(&grant.path).is_err() {
        if grant.is_dir {
            fs::create_dir_all(&grant.path)?;
        } else {
            fs::create_dir_all(grant.path.parent().unwrap_or(Path::new("/")))?;
            File::create(&grant.path)?;
        }
    }
    Ok(mount_bind_recursive(format!("/proc/self/fd/{}", grant.file.as_raw_fd()), &grant.path)?)
}

fn hide(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
        mount("tmpfs", path, "tmpfs", flags, c"mode=000,size=4k")?;
    } else {
        // Without devices, not even that can be opened.
        mount_bind(format!("{OLD}/dev/null"), path)?;
    }
    Ok(())
}

/// Takes away from a mount what the job may not do there. What it didn't allow before stays so.
fn restrict(point: &Path, view: &View) -> io::Result<()> {
    let mut flags = MountFlags::BIND | MountFlags::NOSUID | flags_of(point)?;
    let is_own = OWN.iter().any(|own| point == Path::new(own));
    let is_hidden = view.hidden.iter().any(|hidden| point.starts_with(hidden));
    let is_written = is_own || view.access(point) == Some(Access::Write);
    if is_hidden || !is_written {
        flags |= MountFlags::RDONLY;
    }
    if !DEVICES.iter().any(|device| point == Path::new(device)) {
        flags |= MountFlags::NODEV;
    }
    Ok(mount_remount(point, flags, c"")?)
}

fn flags_of(point: &Path) -> io::Result<MountFlags> {
    let now = statvfs(point)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let kept = pairs.into_iter().filter(|(flag, _)| now.contains(*flag));
    Ok(kept.fold(MountFlags::empty(), |all, (_, flag)| all | flag))
}

/// The mount points in a `mountinfo` file, see proc(5).
fn mount_points(mounts: &str) -> Vec<PathBuf> {
    mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).collect()
}

/// Reads the octal escapes of spaces and the like.
fn unescape(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let (mut bytes, mut rest) = (Vec::new(), field.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_may_have_any_name() {
        let mounts =
            "1 2 0:3 / /a\\040b\\134 rw - tmpfs tmpfs rw\n3 1 0:4 /x /c rw shared:1 - ext4 /dev/a rw\n";
        assert_eq!(mount_points(mounts), [Path::new("/a b\\"), Path::new("/c")]);
        assert_eq!(unescape("\\04"), Path::new("\\04"));
    }
}
