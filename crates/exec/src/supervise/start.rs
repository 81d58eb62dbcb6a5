//! Starting the main process of a job, step by step, so that a failure names its step.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, chdir, fchdir, pidfd_open, waitpid};

use super::inbox::Pipes;
use crate::program;
use crate::stage::Role;
use crate::wire::{NotStarted, Stage, StageReport, Start, Status, Step, read_frame, write_file, write_frame};

/// The main process of the running job, or the stage around it.
pub(super) struct Main {
    pub(super) pid: Pid,
    /// Readable when the process has ended.
    pub(super) handle: OwnedFd,
    /// Where its stage tells how the job ended.
    stage: Option<UnixStream>,
}

impl Main {
    /// Starts the job; its pipes are open only in the job afterwards.
    pub(super) fn start(mut start: Start, pipes: Pipes) -> Result<Self, NotStarted> {
        if let Some(stage) = start.stage.take() {
            return Self::start_staged(&stage, &start, &pipes);
        }
        work_in(&start.cwd).map_err(|error| failed(Step::WorkingDir, &error))?;
        let spawned = spawn(&start, pipes);
        // Back, so that an idle supervisor keeps no file system busy.
        chdir("/").map_err(|error| failed(Step::WorkingDir, &error.into()))?;
        let pid = spawned.map_err(|error| failed(Step::Program, &error))?;
        Self::watch(pid, None)
    }

    /// Where namespaces can be made but are of no use (a policy forbids mounts in them), the job is
    /// confined without. What then can't be held is refused by the stage.
    fn start_staged(stage: &Stage, start: &Start, pipes: &Pipes) -> Result<Self, NotStarted> {
        match Self::start_as(Role::Outer, stage, start, pipes) {
            Err(NotStarted { step: Step::Mount, errno }) if is_forbidden(errno) => {
                Self::start_as(Role::Bare, stage, start, pipes)
            }
            outcome => outcome,
        }
    }

    fn start_as(role: Role, stage: &Stage, start: &Start, pipes: &Pipes) -> Result<Self, NotStarted> {
        let isolate = |error: io::Error| failed(Step::Isolate, &error);
        let (ours, theirs) = UnixStream::pair().map_err(isolate)?;
        let mut command = role.command(OwnedFd::from(theirs).into());
        command.stdout(pipes.stdout.try_clone().map_err(isolate)?);
        command.stderr(pipes.stderr.try_clone().map_err(isolate)?);
        let spawned = command.spawn();
        // With it goes our copy of its end of the socket, so that its end is seen.
        drop(command);
        let pid = Pid::from_child(&spawned.map_err(isolate)?);
        match instruct(&ours, stage, start, pipes.stdin.as_ref()) {
            Ok(()) => Self::watch(pid, Some(ours)),
            Err(why) => {
                // It is at its end, and must not be taken for a survivor of the next job.
                waitpid(Some(pid), WaitOptions::empty()).ok();
                Err(why)
            }
        }
    }

    fn watch(pid: Pid, stage: Option<UnixStream>) -> Result<Self, NotStarted> {
        // Ours until it is reaped, so its id is still its own.
        let handle = pidfd_open(pid, PidfdFlags::empty());
        Ok(Self { pid, handle: handle.map_err(|error| failed(Step::Watch, &error.into()))?, stage })
    }

    /// How the job ended, if its stage told.
    pub(super) fn status(self) -> Option<Status> {
        let stage = self.stage?;
        // A stage that was ended itself tells nothing more, and what it started may still hold this.
        stage.set_nonblocking(true).ok()?;
        match read_frame(stage.as_fd()) {
            Ok(Some(StageReport::Ended(status))) => Some(status),
            _ => None,
        }
    }
}

/// Tells a stage what to do, and waits until the job runs.
fn instruct(
    socket: &UnixStream,
    stage: &Stage,
    start: &Start,
    stdin: Option<&OwnedFd>,
) -> Result<(), NotStarted> {
    let isolate = |error: io::Error| failed(Step::Isolate, &error);
    // Once for each of the two stages: none reads what is the other's.
    let sent = write_frame(socket.as_fd(), stage)
        .and_then(|()| write_frame(socket.as_fd(), stage))
        .and_then(|()| write_frame(socket.as_fd(), start))
        .and_then(|()| stdin.map_or(Ok(()), |stdin| write_file(socket.as_fd(), stdin.as_fd())));
    match read_frame(socket.as_fd()).map_err(isolate)? {
        Some(StageReport::NotStarted(why)) => Err(why),
        Some(StageReport::Ended(_)) | None => {
            Err(failed(Step::Stage, &sent.err().unwrap_or(Errno::PIPE.into())))
        }
        // A job that takes the place of its stage leaves the socket, unless that fails.
        Some(StageReport::Started) if stage.confinement.is_none() => match read_frame(socket.as_fd()) {
            Ok(Some(StageReport::NotStarted(why))) => Err(why),
            _ => Ok(()),
        },
        Some(StageReport::Started) => Ok(()),
    }
}

fn is_forbidden(errno: i32) -> bool {
    matches!(Errno::from_raw_os_error(errno), Errno::PERM | Errno::ACCESS)
}

/// The supervisor itself goes there, not the child: `std` has no hook between fork and exec
/// that is safe, and two system calls more are nothing.
fn work_in(path: &OsStr) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(fchdir(openat(CWD, path, flags, Mode::empty())?)?)
}

fn spawn(start: &Start, pipes: Pipes) -> io::Result<Pid> {
    let mut command = program::command(start, pipes.stdin)?;
    let child = command.stdout(pipes.stdout).stderr(pipes.stderr).spawn()?;
    Ok(Pid::from_child(&child))
}

/// Moves this process into a cgroup.
pub(crate) fn enter(cgroup: &OsStr) -> io::Result<()> {
    fs::write(Path::new(cgroup).join("cgroup.procs"), "0")
}

pub(crate) fn failed(step: Step, error: &io::Error) -> NotStarted {
    NotStarted { step, errno: error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error()) }
}
