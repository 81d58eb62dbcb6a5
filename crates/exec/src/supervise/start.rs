//! Starting the main process of a job, step by step, so that a failure names its step.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Access, CWD, Mode, OFlags, access, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, chdir, fchdir, pidfd_open};

use super::inbox::Pipes;
use crate::wire::{NotStarted, Start, Step};

/// The main process of the running job.
pub(super) struct Main {
    pub(super) pid: Pid,
    /// Readable when the process has ended.
    pub(super) handle: OwnedFd,
}

impl Main {
    /// Starts the job; its pipes are open only in the job afterwards.
    pub(super) fn start(start: &Start, pipes: Pipes) -> Result<Self, NotStarted> {
        work_in(&start.cwd).map_err(|error| failed(Step::WorkingDir, &error))?;
        let spawned = spawn(start, pipes);
        // Back, so that an idle supervisor keeps no file system busy.
        chdir("/").map_err(|error| failed(Step::WorkingDir, &error.into()))?;
        let pid = spawned.map_err(|error| failed(Step::Program, &error))?;
        // Ours until it is reaped, so its id is still its own.
        let handle = pidfd_open(pid, PidfdFlags::empty());
        Ok(Self { pid, handle: handle.map_err(|error| failed(Step::Watch, &error.into()))? })
    }
}

/// The supervisor itself goes there, not the child: `std` has no hook between fork and exec
/// that is safe, and two system calls more are nothing.
fn work_in(path: &OsStr) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(fchdir(openat(CWD, path, flags, Mode::empty())?)?)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place where jobs start")]
fn spawn(start: &Start, pipes: Pipes) -> io::Result<Pid> {
    let search = start.env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
    let child = Command::new(find(&start.program, search)?)
        .arg0(&start.program)
        .args(&start.args)
        .env_clear()
        .envs(start.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(pipes.stdout)
        .stderr(pipes.stderr)
        .process_group(0)
        .spawn()?;
    Ok(Pid::from_child(&child))
}

/// Looks a program up ourselves: `std` would fork instead of `posix_spawn` to do so. Relative
/// entries of the search path are passed over: they would find what a job wrote.
fn find(program: &str, search: &str) -> io::Result<PathBuf> {
    if program.contains('/') {
        return Ok(program.into());
    }
    let mut error = Errno::NOENT;
    for folder in search.split(':').filter(|folder| folder.starts_with('/')) {
        let path = Path::new(folder).join(program);
        match access(&path, Access::EXEC_OK) {
            Ok(()) if path.is_file() => return Ok(path),
            Err(Errno::ACCESS) => error = Errno::ACCESS,
            _ => {}
        }
    }
    Err(error.into())
}

/// Moves this process into a cgroup.
pub(super) fn enter(cgroup: &OsStr) -> io::Result<()> {
    fs::write(Path::new(cgroup).join("cgroup.procs"), "0")
}

pub(super) fn failed(step: Step, error: &io::Error) -> NotStarted {
    NotStarted { step, errno: error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_absolute_entries_only() {
        assert_eq!(find("sh", "/nonexistent:/bin:/usr/bin").unwrap(), Path::new("/bin/sh"));
        assert_eq!(find("./x", "").unwrap(), Path::new("./x"));
        for search in ["", ".", "bin", "/nonexistent"] {
            let error = find("sh", search).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{search}");
        }
    }

    #[test]
    fn a_directory_or_a_plain_file_is_no_program() {
        assert_eq!(find("etc", "/").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(find("passwd", "/etc").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
