//! How everybody in a cgroup is ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::limits::KILL_ROUNDS_MAX;

/// What a tree has to end a cgroup with, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// `cgroup.kill`: one write (v2, Linux 5.14).
    Kill,
    /// `cgroup.freeze`, so that nobody forks while each is killed (v2, Linux 5.2).
    Freeze,
    /// `freezer.state`, the same (v1). Who is frozen dies only when thawed.
    Freezer,
}

impl Hold {
    /// What the cgroup at this path has.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        [Self::Kill, Self::Freeze, Self::Freezer].into_iter().find(|hold| hold.is_in(path))
    }

    /// Whether the cgroup at this path has it.
    pub(crate) fn is_in(self, path: &Path) -> bool {
        let file = match self {
            Self::Kill => "cgroup.kill",
            Self::Freeze => "cgroup.freeze",
            Self::Freezer => "freezer.state",
        };
        path.join(file).exists()
    }

    /// Kills everybody in it and beneath it. Fails only if it is gone, and then so is everybody in it.
    pub(crate) fn kill(self, path: &Path) {
        let write = |file: &str, value: &str| fs::write(path.join(file), value).ok();
        match self {
            Self::Kill => {
                write("cgroup.kill", "1");
            }
            Self::Freeze => {
                write("cgroup.freeze", "1");
                kill_each(path);
                write("cgroup.freeze", "0");
            }
            Self::Freezer => {
                for _ in 0..KILL_ROUNDS_MAX {
                    write("freezer.state", "FROZEN");
                    kill_each(path);
                    write("freezer.state", "THAWED");
                    if members(path).is_empty() {
                        break;
                    }
                }
            }
        }
    }

    /// Whether somebody is in it or beneath it. The dead that nobody has reaped don't count.
    pub(crate) fn is_populated(self, path: &Path) -> bool {
        match self {
            Self::Kill | Self::Freeze => fs::read_to_string(path.join("cgroup.events"))
                .is_ok_and(|events| events.lines().any(|line| line == "populated 1")),
            Self::Freezer => !members(path).is_empty(),
        }
    }
}

/// Each is held by a pidfd before it is looked for again: an id that was reused isn't in there.
fn kill_each(path: &Path) {
    let handles: Vec<_> = members(path).into_iter().filter_map(|pid| Some((pid, open(pid)?))).collect();
    let still = members(path);
    for (pid, handle) in handles.iter().filter(|(pid, _)| still.contains(pid)) {
        if let Err(error) = pidfd_send_signal(handle, Signal::KILL) {
            tracing::debug!(pid, %error, "a process in a cgroup can't be killed");
        }
    }
}

fn open(pid: i32) -> Option<std::os::fd::OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

fn members(path: &Path) -> Vec<i32> {
    let own = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let below = folders(path).into_iter().flat_map(|folder| members(&folder));
    own.lines().filter_map(|line| line.parse().ok()).chain(below).collect()
}

/// The cgroups in a cgroup.
pub(crate) fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Removes a cgroup and those in it; says whether it is gone.
pub(crate) fn remove_tree(path: &Path) -> bool {
    for below in folders(path) {
        // If it stays, so does what holds it.
        remove_tree(&below);
    }
    match fs::remove_dir(path) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
