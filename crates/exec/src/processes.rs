//! Who descends from whom, read from `/proc`, and signals to them.
//!
//! A process is known by its id and its start time, and signalled through a pidfd that was
//! opened before the start time was compared: an id that was reused meanwhile is never hit.

use std::collections::HashSet;
use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::limits::COMMAND_CHARS_MAX;

/// A process at the moment when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    parent: i32,
    session: i32,
    started: u64,
    is_dead: bool,
}

/// The living family of `root` now: see [`family`].
pub(crate) fn family_of(root: i32) -> io::Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        all.extend(pid.and_then(look));
    }
    Ok(family(root, &all))
}

/// The living descendants of `root`, and the living members of its session: those are its
/// descendants too, but lose that link when they kill `root` and fall to somebody else.
fn family(root: i32, all: &[Process]) -> Vec<Process> {
    let mut known = HashSet::from([root]);
    loop {
        let before = known.len();
        for process in all {
            if known.contains(&process.parent) || process.session == root {
                known.insert(process.pid);
            }
        }
        if known.len() == before {
            break;
        }
    }
    let is_relative = |process: &&Process| process.pid != root && known.contains(&process.pid);
    all.iter().filter(is_relative).filter(|process| !process.is_dead).cloned().collect()
}

impl Process {
    /// Sends a signal, unless this process is gone. What may not be signalled is left to the
    /// caller, who sees that it stays.
    pub(crate) fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return;
        };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            return;
        };
        if look(self.pid).is_some_and(|now| now.started == self.started) {
            pidfd_send_signal(&handle, signal).ok();
        }
    }

    /// Whether it has one of these pipes open.
    pub(crate) fn holds(&self, pipes: [u64; 2]) -> bool {
        let names = pipes.map(|inode| format!("pipe:[{inode}]"));
        let Ok(open) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else {
            return false;
        };
        open.flatten().any(|entry| {
            fs::read_link(entry.path())
                .is_ok_and(|target| names.iter().any(|name| target.as_os_str() == name.as_str()))
        })
    }

    /// Its command line, shortened; `[name]` if it has none.
    pub(crate) fn command(&self) -> String {
        let read = |name: &str| fs::read(format!("/proc/{}/{name}", self.pid)).unwrap_or_default();
        let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let line = match line.trim_end() {
            "" => format!("[{}]", String::from_utf8_lossy(&read("comm")).trim_end()),
            line => line.to_owned(),
        };
        line.chars().take(COMMAND_CHARS_MAX).collect()
    }
}

/// Stops all of them first, so that none sees another die and answers with a fork.
pub(crate) fn kill(processes: &[Process]) {
    for signal in [Signal::STOP, Signal::KILL] {
        for process in processes {
            process.signal(signal);
        }
    }
}

/// When a process started, in ticks since the machine did; none if there is no such process.
pub(crate) fn started(pid: i32) -> Option<u64> {
    look(pid).map(|process| process.started)
}

/// Whether a process is stopped, by a signal or by a tracer.
pub(crate) fn is_stopped(pid: i32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(')').is_some_and(|(_, rest)| matches!(rest.trim_start().chars().next(), Some('T' | 't')))
}

fn look(pid: i32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(pid, &String::from_utf8_lossy(&stat))
}

/// Reads a `stat` file, see proc(5). The name may hold anything, so fields are counted from its end.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let threads: u64 = fields.get(17)?.parse().ok()?;
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        // The first thread of a living process may be a zombie; the others still run.
        is_dead: matches!(*fields.first()?, "Z" | "X") && threads <= 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, session: i32) -> Process {
        Process { pid, parent, session, started: 1, is_dead: false }
    }

    fn pids(root: i32, all: &[Process]) -> Vec<i32> {
        family(root, all).iter().map(|process| process.pid).collect()
    }

    #[test]
    fn a_family_is_descendants_and_session_members_and_nobody_else() {
        let all = [
            process(1, 0, 1),
            process(30, 20, 30), // grandchild that left the session, listed before its parent
            process(10, 1, 10),
            process(20, 10, 10),
            process(40, 1, 10), // lost its parent
            process(41, 40, 41),
            process(50, 1, 50),
        ];
        assert_eq!(pids(10, &all), [30, 20, 40, 41]);
        assert_eq!(pids(50, &all), [0; 0]);
    }

    #[test]
    fn the_dead_are_no_family() {
        let mut dead = process(20, 10, 10);
        dead.is_dead = true;
        assert_eq!(pids(10, &[dead, process(21, 10, 10)]), [21]);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) Z (b)) S 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 2 0 99 0 0";
        let expected = Process { pid: 7, parent: 3, session: 5, started: 99, is_dead: false };
        assert_eq!(parse(7, stat), Some(expected));
        assert_eq!(parse(7, "7 (a"), None);
        assert_eq!(parse(7, "7 (a) S 1"), None);
    }

    #[test]
    fn a_zombie_with_threads_lives() {
        let stat = |threads| format!("7 (a) Z 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 99");
        assert!(parse(7, &stat(1)).unwrap().is_dead);
        assert!(!parse(7, &stat(2)).unwrap().is_dead);
    }
}
