//! The server's side of one supervisor: start it, talk to it, let it go or end it.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::cgroup::{Home, Leaf};
use crate::environment;
use crate::error::ExecError;
use crate::job::Job;
use crate::limits::{ANSWER, ANSWER_BEFORE_KILL, EXIT, GONE, PAUSE, STOPPED_LOOKS};
use crate::open_files;
use crate::output::Ends;
use crate::processes;
use crate::profile::Profile;
use crate::spool::Place;
use crate::wire::{End, Frames, Named, Report, Request, Stage, Start, encode};

/// The program that becomes a supervisor: its `main` is [`supervise`](crate::supervise).
#[derive(Clone, Debug)]
pub struct SupervisorCommand {
    /// Its path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// A running supervisor.
///
/// Dropping it closes its control socket, on which it ends its job and itself.
pub(crate) struct Supervisor {
    control: UnixStream,
    frames: Frames,
    child: Child,
    pid: Pid,
    leaf: Option<Leaf>,
    /// A request went out in part, or an answer didn't come: no more talk.
    is_mute: bool,
    /// Where it tells how its last job ended, once we are dead.
    place: Option<Place>,
}

/// What a job is started with, beside what it is.
pub(crate) struct Terms {
    /// What it is to be under, if anything.
    pub(crate) stage: Option<Stage>,
    /// Its place in the spool, if it has one.
    pub(crate) place: Option<Place>,
    /// Whether it is talked to.
    pub(crate) is_conversation: bool,
}

/// What a supervisor says after an end.
pub(crate) struct Quiet {
    pub(crate) found: Vec<Named>,
    pub(crate) stuck: Vec<i32>,
    pub(crate) is_alone: bool,
}

/// Somebody was killed but isn't gone yet.
pub(crate) struct Stuck {
    pub(crate) leaf: Option<Leaf>,
}

impl Supervisor {
    /// Starts one. Blocks for about a millisecond; needs a runtime around it.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where supervisors start")]
    pub(crate) fn spawn(command: &SupervisorCommand, home: Option<&Home>) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let leaf = home.map(Home::leaf).transpose()?;
        let spawned = Command::new(&command.program)
            .args(&command.args)
            .args(open_files::argument())
            // What it doesn't know, its /proc/PID/environ doesn't show.
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = spawned.inspect_err(|_| {
            leaf.as_ref().map(Leaf::remove);
        })?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        let pid = pid.expect("a child that nobody waited for has an id");
        let control = UnixStream::from_std(ours)?;
        Ok(Self { control, frames: Frames::default(), child, pid, leaf, is_mute: false, place: None })
    }

    /// Its cgroup, if it has one.
    pub(crate) fn leaf(&self) -> Option<&Leaf> {
        self.leaf.as_ref()
    }

    /// Whether it still listens. An idle supervisor has nothing to say, so a byte is as wrong
    /// as the end.
    pub(crate) fn is_listening(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(&self.control, &mut [0_u8; 1], flags), Err(Errno::AGAIN))
    }

    /// Asks for a job. The write ends of its pipes are only the supervisor's afterwards.
    pub(crate) async fn start(
        &mut self,
        job: &Job,
        Terms { stage, place, is_conversation }: Terms,
        ends: Ends,
    ) -> Result<(), ExecError> {
        let env = match &job.profile {
            Profile::Full => job.env.clone(),
            // Whoever declares a server says its environment; whoever runs a command may be anybody.
            Profile::Confined(_) if is_conversation => job.env.clone(),
            Profile::Confined(confined) => environment::confined(&job.env, confined.network),
        };
        let start = Start {
            program: job.program.clone(),
            args: job.args.clone(),
            env,
            cwd: job.cwd.clone().into(),
            cgroup: self.leaf.as_ref().map(|leaf| leaf.entry().into()),
            is_conversation,
            place: place.clone(),
            stage,
        };
        let frame = encode(&Request::Start(Box::new(start))).map_err(|_| ExecError::ArgumentsTooLong)?;
        self.place = place;
        let files: Vec<_> = ends.write.iter().chain(&ends.input).chain(&ends.read).map(AsFd::as_fd).collect();
        self.send(&frame, &files).await.map_err(|error| ExecError::supervisor("reach", error))
    }

    /// Sends a frame; if this is dropped half-way, nothing more is sent.
    async fn send(&mut self, frame: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.is_mute = true;
        let socket = &self.control;
        let first = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut attached = SendAncillaryBuffer::new(&mut space);
            if !files.is_empty() {
                attached.push(SendAncillaryMessage::ScmRights(files));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            Ok(sendmsg(socket, &[IoSlice::new(frame)], &mut attached, flags)?)
        };
        let sent = socket.async_io(Interest::WRITABLE, first).await?;
        self.control.write_all(&frame[sent..]).await?;
        self.is_mute = false;
        Ok(())
    }

    /// Waits for its next report. Cancellation-safe.
    pub(crate) async fn receive(&mut self) -> Result<Report, ExecError> {
        loop {
            match self.frames.next() {
                Ok(Some(report)) => return Ok(report),
                Ok(None) => {}
                Err(_) => break,
            }
            if self.control.read_buf(&mut self.frames.buffer).await.unwrap_or(0) == 0 {
                break;
            }
        }
        self.is_mute = true;
        Err(ExecError::SupervisorLost)
    }

    /// Ends processes politely, then by force; `None` if it doesn't answer within this time
    /// beyond the waits that it is asked for.
    pub(crate) async fn end(&mut self, end: End, answer: Duration) -> Option<Quiet> {
        let patience = Duration::from_millis(end.settle_ms + end.grace_ms) + answer;
        // Its job may have stopped it.
        kill_process(self.pid, Signal::CONT).ok();
        let pid = self.pid;
        let quiet = tokio::select! {
            quiet = timeout(patience, self.ask_to_end(end)) => quiet.ok().flatten(),
            () = is_kept_stopped(pid) => None,
        };
        self.is_mute |= quiet.is_none();
        quiet
    }

    async fn ask_to_end(&mut self, end: End) -> Option<Quiet> {
        if self.is_mute {
            return None;
        }
        self.send(&encode(&Request::End(end)).ok()?, &[]).await.ok()?;
        loop {
            // The end of the main process may be reported before the request arrives.
            if let Report::Quiet { found, stuck, is_alone } = self.receive().await.ok()? {
                return Some(Quiet { found, stuck, is_alone });
            }
        }
    }

    /// Ends it and all below it.
    pub(crate) async fn retire(mut self) -> Result<(), Stuck> {
        drop(self.control);
        // On the end of its socket it kills what is left, reaps it and exits: no zombie.
        let exit = if self.leaf.is_some() { ANSWER_BEFORE_KILL } else { EXIT };
        let mut is_gone = !self.is_mute && timeout(exit, self.child.wait()).await.is_ok();
        if !is_gone {
            is_gone = force(self.pid, self.leaf.as_ref()).await;
        }
        if is_gone {
            // It has exited, so this only takes its zombie away.
            timeout(EXIT, self.child.wait()).await.ok();
        }
        if let Some(leaf) = &self.leaf {
            leaf.kill();
            is_gone = leaf.vacate().await;
        }
        // It can't know that we live.
        self.place.as_ref().map(Place::take_back);
        if is_gone { Ok(()) } else { Err(Stuck { leaf: self.leaf }) }
    }

    /// Lets it go without ending what is below it; gives the cgroup in which that lives on.
    pub(crate) async fn release(mut self) -> Option<Leaf> {
        if let Some(leaf) = &self.leaf {
            leaf.mark_left();
        }
        let frame = encode(&Request::Release).ok()?;
        let is_told = timeout(ANSWER, self.send(&frame, &[])).await.is_ok_and(|sent| sent.is_ok());
        if !is_told || timeout(EXIT, self.child.wait()).await.is_err() {
            self.child.start_kill().ok();
            timeout(EXIT, self.child.wait()).await.ok();
        }
        self.leaf
    }
}

/// Waits until a supervisor is stopped or traced time and again, although it was told to go on:
/// its job does that, and there is no use in waiting for its answer.
async fn is_kept_stopped(supervisor: Pid) {
    let mut looks = 0;
    while looks < STOPPED_LOOKS {
        tokio::time::sleep(PAUSE.1).await;
        looks = if processes::is_stopped(supervisor.as_raw_pid()) { looks + 1 } else { 0 };
        kill_process(supervisor, Signal::CONT).ok();
    }
}

/// Ends a supervisor that doesn't exit, and what is below it; says whether they are gone.
///
/// Without a cgroup it is helped rather than killed: only its own wait knows for certain that
/// nobody is left, and if this takes too long it goes on alone. It must not have been reaped:
/// by its id its family is found.
async fn force(supervisor: Pid, leaf: Option<&Leaf>) -> bool {
    let until = Instant::now() + GONE;
    let (mut pause, mut looks) = (PAUSE.0, 0);
    // Before the cgroup ends, and the link to who had left it with the supervisor.
    let mut family = processes::family_of(supervisor.as_raw_pid()).unwrap_or_default();
    leaf.map(Leaf::kill);
    // One look may miss who is forked during it.
    while looks < 2 {
        if Instant::now() >= until {
            return false;
        }
        processes::kill(&family);
        // Its job may have stopped it, again and again.
        kill_process(supervisor, Signal::CONT).ok();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
        family = processes::family_of(supervisor.as_raw_pid()).unwrap_or_default();
        looks = if family.is_empty() && has_exited(supervisor) { looks + 1 } else { 0 };
    }
    true
}

/// Looks without reaping.
fn has_exited(child: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(child), look), Ok(None) | Err(Errno::INTR))
}
