//! How much memory this process may have: what the machine has, or less if a cgroup says so.

use std::fs;
use std::path::Path;

use crate::cgroup::Trees;

/// Bytes of memory that this process and what is in a cgroup with it may take; none if nothing says how many.
pub fn memory_bytes_max() -> Option<u64> {
    let trees = Trees::read();
    let v2 = trees.v2().and_then(|own| least(&own, "memory.max"));
    let v1 = trees.v1("memory").and_then(|own| least(&own, "memory.limit_in_bytes"));
    let machine = rustix::system::sysinfo();
    let machine = machine.totalram.checked_mul(u64::from(machine.mem_unit));
    [v2, v1, machine].into_iter().flatten().min()
}

/// The least that this cgroup or one around it allows.
fn least(own: &Path, name: &str) -> Option<u64> {
    // Where there is no limit, a word stands (`max`).
    own.ancestors().filter_map(|folder| fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_limits_counts() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        assert_eq!(least(&inner, "memory.max"), None);
        for (folder, limit) in
            [(inner.as_path(), "max\n"), (&dir.path().join("a"), "1000\n"), (dir.path(), "9\n")]
        {
            fs::write(folder.join("memory.max"), limit).unwrap();
        }
        assert_eq!(least(&inner, "memory.max"), Some(9));
        fs::write(inner.join("memory.max"), "5\n").unwrap();
        assert_eq!(least(&inner, "memory.max"), Some(5));
    }

    #[test]
    fn this_machine_has_some() {
        assert!(memory_bytes_max().unwrap() > 1 << 20);
    }
}
