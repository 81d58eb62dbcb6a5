//! A stage between supervisor and job: it takes on what the job is to be under, then starts it.
//!
//! ```text
//!  supervisor ─┬─ job                                  full, no quota
//!              ├─ stage ⇒ job                          full with a quota: becomes the job
//!              └─ outer stage ── inner stage ── job    confined
//!                 (cgroups,      (pid 1 in there:
//!                  namespaces)    mounts, Landlock,
//!                                 privileges, seccomp)
//! ```
//!
//! Between fork and exec no code of ours may run (that would need `unsafe`), so a stage is our own
//! program once more. It is single-threaded, restricts itself for good, and what it starts inherits
//! that. It hears from its supervisor what is wanted, and says on the same socket what became of it.
//! When the inner stage ends, the kernel ends whoever is left in its namespace.
//!
//! Without namespaces the outer stage does the work of the inner one as well.

mod isolation;
mod landlock;
mod mounts;
mod privileges;
mod probe;
mod rlimits;
mod syscalls;
mod view;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, chdir, wait};

use crate::program;
use crate::supervise::{enter, failed, status_of};
use crate::wire::{
    Confinement, NotStarted, Stage, StageReport, Start, Status, Step, read_file, read_frame, write_frame,
};
use view::View;

pub(crate) use probe::{Finding, Subject};

/// Which part of the work a stage does; the last argument of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Takes what namespaces it can get.
    Outer,
    /// Takes none: those that there are have turned out to be of no use.
    Bare,
    /// Is the first process in the namespaces of an outer stage.
    Inner,
}

impl Role {
    const ALL: [Self; 3] = [Self::Outer, Self::Bare, Self::Inner];

    const fn argument(self) -> &'static str {
        match self {
            Self::Outer => "stage=outer",
            Self::Bare => "stage=bare",
            Self::Inner => "stage=inner",
        }
    }

    /// The role that these arguments give to a process.
    pub(crate) fn of(args: impl Iterator<Item = OsString>) -> Option<Self> {
        let last = args.last()?;
        Self::ALL.into_iter().find(|role| last == role.argument())
    }

    /// This program again, in this role, with a socket or our own to talk on.
    #[expect(clippy::disallowed_methods, reason = "a stage starts here")]
    pub(crate) fn command(self, socket: Stdio) -> Command {
        let is_role = |arg: &OsString| Self::ALL.iter().any(|role| arg == role.argument());
        let mut command = Command::new("/proc/self/exe");
        command.args(std::env::args_os().skip(1).filter(|arg| !is_role(arg))).arg(self.argument());
        command.env_clear().stdin(socket);
        command
    }
}

/// Runs a stage whose socket is standard input.
pub(crate) fn run(role: Role) -> ExitCode {
    let result = match role {
        Role::Outer => outer(),
        Role::Bare => receive().and_then(|stage| prepare(&stage).and_then(|()| inner(false))),
        Role::Inner => inner(true),
    };
    match result {
        Ok(code) => code,
        Err(why) => {
            // If nobody listens, nobody waits either.
            tell(&StageReport::NotStarted(why)).ok();
            ExitCode::FAILURE
        }
    }
}

fn outer() -> Result<ExitCode, NotStarted> {
    let stage = receive()?;
    prepare(&stage)?;
    let Some(confinement) = &stage.confinement else {
        return become_job();
    };
    if isolation::enter(confinement.network).is_err() {
        return inner(false);
    }
    // Out of reach of the job, were it to find this process.
    privileges::hide().map_err(|error| failed(Step::Privileges, &error))?;
    // Opened now: while the inner stage moves the root directory, it moves for this process too.
    let null = null().map_err(|error| failed(Step::Isolate, &error))?;
    let spawned = Role::Inner.command(Stdio::inherit()).spawn();
    let child = Pid::from_child(&spawned.map_err(|error| failed(Step::Isolate, &error))?);
    let_go_of_pipes(&null).map_err(|error| failed(Step::Isolate, &error))?;
    let status = wait_for(child).map_err(|error| failed(Step::Watch, &error))?;
    if status != Status::Code(0) {
        // It was ended before it could tell, and with it the job. If it did tell, that was read first.
        tell(&StageReport::Ended(status)).ok();
    }
    Ok(ExitCode::SUCCESS)
}

/// What has to be done while this process is still in the namespaces of its supervisor.
fn prepare(stage: &Stage) -> Result<(), NotStarted> {
    let mut entered = stage.cgroups.iter().map(|cgroup| enter(cgroup));
    entered.try_for_each(|entered| entered.map_err(|error| failed(Step::EnterCgroup, &error)))
}

/// A job that isn't confined takes the place of its stage.
fn become_job() -> Result<ExitCode, NotStarted> {
    let (stage, start): (Stage, Start) = (receive()?, receive()?);
    rlimits::apply(&stage.rlimits).map_err(|error| failed(Step::Limit, &error))?;
    go_to(&start)?;
    if let Some(subject) = &stage.probe {
        return try_out(subject);
    }
    let stdin = input(&start)?;
    let mut command = program::command(&start, stdin).map_err(|error| failed(Step::Program, &error))?;
    // The socket must not be the job's, but its end must be ours until the job runs.
    let socket = rustix::io::fcntl_dupfd_cloexec(socket(), 3);
    let socket = socket.map_err(|error| failed(Step::Program, &error.into()))?;
    write_frame(socket.as_fd(), &StageReport::Started).map_err(|error| failed(Step::Watch, &error))?;
    let error = failed(Step::Program, &command.exec());
    // Standard input is no socket any more.
    write_frame(socket.as_fd(), &StageReport::NotStarted(error)).ok();
    Ok(ExitCode::FAILURE)
}

fn inner(has_namespaces: bool) -> Result<ExitCode, NotStarted> {
    let (stage, start): (Stage, Start) = (receive()?, receive()?);
    let stdin = input(&start)?;
    let fence = stage.confinement.as_ref().ok_or_else(|| failed(Step::Isolate, &Errno::INVAL.into()))?;
    confine(&stage, fence, &start, has_namespaces)?;
    if let Some(subject) = &stage.probe {
        return try_out(subject);
    }
    let spawned = program::command(&start, stdin).and_then(|mut command| command.spawn());
    let job = Pid::from_child(&spawned.map_err(|error| failed(Step::Program, &error))?);
    let watch = |error: io::Error| failed(Step::Watch, &error);
    tell(&StageReport::Started).map_err(watch)?;
    null().and_then(|null| let_go_of_pipes(&null)).map_err(watch)?;
    let status = wait_for(job).map_err(watch)?;
    tell(&StageReport::Ended(status)).map_err(watch)?;
    Ok(ExitCode::SUCCESS)
}

/// The order matters: each step needs what a later one takes away.
fn confine(
    stage: &Stage,
    fence: &Confinement,
    start: &Start,
    has_namespaces: bool,
) -> Result<(), NotStarted> {
    let view = View::resolve(fence, has_namespaces)?;
    if has_namespaces {
        mounts::build(&view).map_err(|error| failed(Step::Mount, &error))?;
    }
    let rules = landlock::rules(&view, fence.network, has_namespaces)
        .map_err(|error| failed(Step::Landlock, &error))?;
    privileges::drop_all(fence.user).map_err(|error| failed(Step::Privileges, &error))?;
    rlimits::apply(&stage.rlimits).map_err(|error| failed(Step::Limit, &error))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    go_to(start)?;
    landlock::restrict(rules).map_err(|error| failed(Step::Landlock, &error))?;
    syscalls::deny(fence.network, has_namespaces).map_err(|error| failed(Step::Syscalls, &error))
}

fn try_out(subject: &Subject) -> Result<ExitCode, NotStarted> {
    tell(&StageReport::Started).map_err(|error| failed(Step::Watch, &error))?;
    probe::run(subject).map_err(|error| failed(Step::Program, &error))
}

fn go_to(start: &Start) -> Result<(), NotStarted> {
    chdir(&*start.cwd).map_err(|error| failed(Step::WorkingDir, &error.into()))
}

/// The job's pipes end when the job does, not when we do.
fn let_go_of_pipes(null: &File) -> io::Result<()> {
    rustix::stdio::dup2_stdout(null)?;
    Ok(rustix::stdio::dup2_stderr(null)?)
}

fn null() -> io::Result<File> {
    File::options().write(true).open("/dev/null")
}

/// Reaps whoever falls to this process until this child has ended.
fn wait_for(child: Pid) -> io::Result<Status> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => return Ok(status_of(status)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn receive<T: serde::de::DeserializeOwned>() -> Result<T, NotStarted> {
    let frame = read_frame(socket()).and_then(|frame| frame.ok_or_else(|| Errno::PIPE.into()));
    frame.map_err(|error| failed(Step::Isolate, &error))
}

/// What the job reads, if it is talked to: it comes behind the job.
fn input(start: &Start) -> Result<Option<OwnedFd>, NotStarted> {
    let read = || read_file(socket()).map_err(|error| failed(Step::Isolate, &error));
    start.is_conversation.then(read).transpose()
}

fn tell(report: &StageReport) -> io::Result<()> {
    write_frame(socket(), report)
}

fn socket() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}
