//! What `/proc` would tell of us, and memory by any name.
//!
//! Environment, memory and open files of our own processes hold what the fence protects. A process is
//! ours if it runs our executable: the server itself, its threads, its supervisors.

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, PROC_SUPER_MAGIC, fstatfs, major, stat, statfs};

use super::super::handle::Handle;
use super::super::identity::FileId;

/// The protected place of `/proc` that this handle leads to, if it does.
pub(super) fn protected_place(handle: &Handle) -> Option<PathBuf> {
    // File systems without a device have major number 0; all others can't be procfs.
    if major(handle.stat().st_dev) != 0 || !is_procfs(handle) {
        return None;
    }
    let real = handle.real();
    let is_memory = matches!(real.file_name()?.to_str()?, "mem" | "kcore" | "kmem" | "kpagecgroup");
    if is_memory && FileType::from_raw_mode(handle.stat().st_mode) == FileType::RegularFile {
        return Some(real.to_owned());
    }
    if real.parent().is_none_or(|parent| !is_procfs_path(parent)) && !handle.is_directory() {
        // One file of /proc under another name: whose it is can't be told any more.
        return Some(real.to_owned());
    }
    let folders = real.ancestors().take_while(|above| is_procfs_path(above));
    let (ours, rest) = folders.filter(|folder| is_ours(folder)).find_map(|folder| {
        let rest = real.strip_prefix(folder).ok()?;
        Some((folder, rest))
    })?;
    (!is_of_everybody(rest)).then(|| ours.to_owned())
}

fn is_procfs(handle: &Handle) -> bool {
    fstatfs(handle).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
}

fn is_procfs_path(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
}

/// What `/proc/net` and `/proc/mounts` lead to for whoever asks: a part of a process by its path only.
fn is_of_everybody(rest: &Path) -> bool {
    rest.starts_with("net") || ["mounts", "mountinfo"].iter().any(|name| rest == Path::new(name))
}

/// Whether this folder of a process, by whatever path, is of one of ours.
fn is_ours(folder: &Path) -> bool {
    let executable = |folder: &Path| stat(folder.join("exe")).map(|stat| FileId::from(&stat));
    match (executable(folder), executable(Path::new("/proc/self"))) {
        (Ok(found), Ok(own)) => found == own,
        // Without our own executable nothing can be told apart, so every process is taken for ours.
        (Ok(_), Err(_)) => true,
        (Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_ours_and_others_are_not() {
        assert!(is_ours(Path::new("/proc/self")));
        assert!(is_ours(Path::new("/proc/thread-self")));
        for other in ["/proc/1", "/proc", "/proc/self/net", "/etc"] {
            assert!(!is_ours(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn what_proc_says_to_everybody_is_not_ours_alone() {
        for (rest, expect) in [
            ("net/tcp", true),
            ("mounts", true),
            ("environ", false),
            ("network", false),
            ("task/1/net/tcp", false),
            ("", false),
        ] {
            assert_eq!(is_of_everybody(Path::new(rest)), expect, "{rest}");
        }
    }
}
