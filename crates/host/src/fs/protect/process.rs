//! What `/proc` would tell of us, and memory by any name.
//!
//! Environment, memory and open files of our own processes hold what the fence protects. A process is
//! ours if it runs our executable: the server itself, its threads, its supervisors.

use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, PROC_SUPER_MAGIC, fstatfs, major, stat};

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
    process_folder(real).filter(|folder| is_ours(folder))
}

fn is_procfs(handle: &Handle) -> bool {
    fstatfs(handle).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
}

/// `/proc/123` of `/proc/123/task/124/environ`.
fn process_folder(real: &Path) -> Option<PathBuf> {
    let is_number = |part: &Component<'_>| part.as_os_str().as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let length = real.components().skip(1).position(|part| is_number(&part))?;
    Some(real.components().take(length + 2).collect())
}

fn is_ours(folder: &Path) -> bool {
    let executable = |folder: &Path| stat(folder.join("exe")).map(|stat| FileId::from(&stat)).ok();
    match executable(Path::new("/proc/self")) {
        Some(own) => executable(folder) == Some(own),
        None => true, // without it nothing can be told apart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_a_path_is_found_wherever_procfs_is_mounted() {
        for (path, expect) in [
            ("/proc/123/environ", Some("/proc/123")),
            ("/proc/123/task/124/mem", Some("/proc/123")),
            ("/mnt/p/9/fd/3", Some("/mnt/p/9")),
            ("/proc/meminfo", None),
        ] {
            assert_eq!(process_folder(Path::new(path)), expect.map(PathBuf::from), "{path}");
        }
    }

    #[test]
    fn we_are_ours_and_init_is_not() {
        assert!(is_ours(Path::new("/proc/self")));
        assert!(is_ours(Path::new("/proc/thread-self")));
        assert!(!is_ours(Path::new("/proc/1")));
    }
}
