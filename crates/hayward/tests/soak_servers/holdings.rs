//! What a process holds, and what is left where it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

/// What a process holds.
#[derive(Clone, Debug)]
pub(crate) struct Holdings {
    pub(crate) descriptors: usize,
    pub(crate) children: usize,
    pub(crate) threads: usize,
    pub(crate) resident_kib: u64,
}

pub(crate) fn holdings(pid: u32) -> Holdings {
    let process = Path::new("/proc").join(pid.to_string());
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let field = |name: &str| -> u64 {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    };
    Holdings {
        descriptors: std::fs::read_dir(process.join("fd")).unwrap().count(),
        children: children(pid).len(),
        threads: usize::try_from(field("Threads:")).unwrap(),
        resident_kib: field("VmRSS:"),
    }
}

fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.map(|thread| std::fs::read_to_string(thread.path().join("children")));
    let children = children.map(Result::unwrap_or_default);
    children.flat_map(|pids| pids.split_whitespace().flat_map(str::parse).collect::<Vec<_>>()).collect()
}

/// Processes whose environment says nothing of them any more, but whose parent was this one.
pub(crate) fn below(pid: u32) -> Vec<u32> {
    children(pid)
}

/// The cgroups that a process is in and this one is not.
pub(crate) fn cgroups_of(pid: Pid) -> BTreeSet<PathBuf> {
    let of = |process: &str| std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    let (own, theirs) = (of("self"), of(&pid.as_raw_nonzero().to_string()));
    let lines = theirs.lines().filter(|line| !own.lines().any(|own| own == *line));
    let found = lines.flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (tree, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        ["", "unified", tree].map(|tree| PathBuf::from(format!("/sys/fs/cgroup/{tree}{path}")))
    });
    found.filter(|path| path.is_dir()).collect()
}

/// Those that are there.
pub(crate) fn existing(cgroups: &BTreeSet<PathBuf>) -> Vec<String> {
    cgroups.iter().filter(|path| path.exists()).map(|path| path.display().to_string()).collect()
}
