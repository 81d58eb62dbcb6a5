//! Limits of each process of a job, for what no cgroup holds.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::wire::Rlimits;

/// Lowers what is said, for this process and all that it starts.
pub(super) fn apply(limits: &Rlimits) -> io::Result<()> {
    let table = [
        (Resource::Core, limits.core_bytes),
        (Resource::Nofile, limits.open_files),
        (Resource::Fsize, limits.file_bytes),
        (Resource::As, limits.address_bytes),
        (Resource::Nproc, limits.processes),
    ];
    for (resource, wanted) in table {
        if let Some(wanted) = wanted {
            let before = getrlimit(resource).maximum;
            // A hard limit is never raised.
            let limit = Some(before.map_or(wanted, |before| before.min(wanted)));
            setrlimit(resource, Rlimit { current: limit, maximum: limit })?;
        }
    }
    Ok(())
}
