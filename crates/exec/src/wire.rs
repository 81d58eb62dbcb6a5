//! What server and supervisor say to each other, and how it is framed.
//!
//! A frame is its length (four bytes, little endian) and that much JSON. The first byte of a
//! [`Request::Start`] carries file descriptors: the write ends of the job's pipes, its standard input if it is talked to,
//! and the read ends too if it has a place in the spool. A stage gets the input behind the job, with a byte of its own.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::assess::Order;
use crate::cgroup::{Bounds, Group};
use crate::job::Job;
use crate::limits::{CONFINED_OPEN_FILES, FRAME_BYTES_MAX};
use crate::profile::{Confined, Network, Profile, User};
use crate::spool::Place;
use crate::stage::Subject;

/// What the server asks of a supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Start a job. Answered by [`Report::NotStarted`] or, when it is over, [`Report::Ended`].
    Start(Box<Start>),
    /// End processes. Answered by [`Report::Quiet`].
    End(End),
    /// Exit without ending anybody. Not answered.
    Release,
}

/// A job to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    // Paths may be any bytes, so they aren't strings.
    pub(crate) cwd: OsString,
    /// The cgroup of this supervisor, which it enters before its first job.
    pub(crate) cgroup: Option<OsString>,
    /// Whether it is talked to: its standard input comes along, too.
    pub(crate) is_conversation: bool,
    /// Where it is told how the job ended, if the server is dead by then.
    pub(crate) place: Option<Place>,
    /// What it is to be under, if anything; goes to its stage on its own.
    pub(crate) stage: Option<Stage>,
}

/// What a stage does before a job starts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stage {
    /// Cgroups to enter.
    pub(crate) cgroups: Vec<OsString>,
    pub(crate) rlimits: Rlimits,
    pub(crate) confinement: Option<Confinement>,
    /// What is tried instead of starting the job.
    pub(crate) probe: Option<Subject>,
}

impl Stage {
    /// What this order needs beside a supervisor, if anything.
    pub(crate) fn of(order: &Order, group: &Group, held: Bounds) -> Option<Self> {
        let job = &order.job;
        let confinement = match &job.profile {
            Profile::Full => None,
            Profile::Confined(confined) => Some(Confinement::of(confined, &order.protected)),
        };
        let probe = order.probe.clone();
        let rlimits = Rlimits::of(job, held);
        let stage = Self { cgroups: group.entries(), rlimits, confinement, probe };
        let is_idle = stage.cgroups.is_empty() && stage.rlimits == Rlimits::default();
        (!is_idle || stage.confinement.is_some() || stage.probe.is_some()).then_some(stage)
    }
}

impl Confinement {
    fn of(confined: &Confined, protected: &[PathBuf]) -> Self {
        let bytes = |paths: &[PathBuf]| paths.iter().map(|path| path.clone().into_os_string()).collect();
        Self {
            read_write: bytes(&confined.read_write),
            read_only: bytes(&confined.read_only),
            protected: bytes(protected),
            network: confined.network,
            user: confined.user,
        }
    }
}

impl Rlimits {
    /// What no cgroup holds is held for each process, if it was asked for and not a default.
    fn of(job: &Job, held: Bounds) -> Self {
        let mut limits = Self {
            file_bytes: job.effective_quota().file_bytes,
            address_bytes: job.quota.memory_bytes.filter(|_| !held.memory),
            processes: job.quota.processes.filter(|_| !held.processes),
            ..Self::default()
        };
        if job.profile != Profile::Full {
            (limits.core_bytes, limits.open_files) = (Some(0), Some(CONFINED_OPEN_FILES));
        }
        limits
    }
}

/// Limits of each process; what isn't said stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rlimits {
    pub(crate) core_bytes: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) file_bytes: Option<u64>,
    pub(crate) address_bytes: Option<u64>,
    pub(crate) processes: Option<u64>,
}

/// What a confined job may do, and what it may not whatever else it may.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Confinement {
    pub(crate) read_write: Vec<OsString>,
    pub(crate) read_only: Vec<OsString>,
    pub(crate) protected: Vec<OsString>,
    pub(crate) network: Network,
    pub(crate) user: Option<User>,
}

/// What a stage tells its supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum StageReport {
    /// The job couldn't be started.
    NotStarted(NotStarted),
    /// It runs, or is about to take the place of the stage.
    Started,
    /// It ended so; its stage ends with it.
    Ended(Status),
}

/// Whom to end, and how patiently.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) whom: Whom,
    /// How long they may take to be gone unasked.
    pub(crate) settle_ms: u64,
    /// How long they may take between SIGTERM and SIGKILL.
    pub(crate) grace_ms: u64,
}

/// Whom to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Whom {
    /// Every descendant.
    All,
    /// Descendants that hold a pipe of the job.
    PipeHolders,
}

/// What a supervisor tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The job couldn't be started.
    NotStarted(NotStarted),
    /// The main process ended.
    Ended {
        status: Status,
        /// No descendant is left, not even a zombie.
        is_alone: bool,
    },
    /// Nobody is left of those who were to end, or they don't die.
    Quiet {
        /// Who was there when the request came.
        found: Vec<Named>,
        /// Who of those to end is there now.
        stuck: Vec<i32>,
        /// No descendant is left, not even a zombie.
        is_alone: bool,
    },
}

/// At which step a start failed, and the kernel's word for it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct NotStarted {
    pub(crate) step: Step,
    pub(crate) errno: i32,
}

/// The steps of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    EnterCgroup,
    WorkingDir,
    Program,
    Watch,
    Limit,
    Isolate,
    /// The stage ended without a word; the job may have run.
    Stage,
    Root,
    Protect,
    Mount,
    Landlock,
    Privileges,
    Syscalls,
}

/// How the main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Code(i32),
    Signal(i32),
}

/// A process that outlived the main process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) pid: i32,
    pub(crate) command: String,
    pub(crate) holds_pipe: bool,
}

/// The frame of a message; fails with `InvalidInput` if it is longer than a frame may be.
pub(crate) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    match u32::try_from(frame.len() - 4) {
        Ok(length) if length as usize <= FRAME_BYTES_MAX => {
            frame[..4].copy_from_slice(&length.to_le_bytes());
            Ok(frame)
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "message longer than a frame")),
    }
}

/// Writes a message as a whole to a socket that blocks.
pub(crate) fn write_frame(socket: BorrowedFd<'_>, message: &impl Serialize) -> io::Result<()> {
    let frame = encode(message)?;
    let mut rest = &frame[..];
    while !rest.is_empty() {
        let sent = rustix::net::send(socket, rest, rustix::net::SendFlags::NOSIGNAL)?;
        rest = &rest[sent..];
    }
    Ok(())
}

/// Hands a file over, with one byte.
pub(crate) fn write_file(socket: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    attached.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(socket, &[IoSlice::new(b"f")], &mut attached, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes a file over that comes next.
pub(crate) fn read_file(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let received = recvmsg(socket, &mut parts, &mut attached, RecvFlags::CMSG_CLOEXEC)?;
    let mut files = attached.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    let file = files.next().filter(|_| received.bytes == 1);
    file.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no file came"))
}

/// Reads one message and no byte more from a socket that blocks; none at its end.
pub(crate) fn read_frame<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<T>> {
    let mut head = [0; 4];
    if !read_whole(socket, &mut head)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(head) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
    }
    let mut body = vec![0; length];
    if !read_whole(socket, &mut body)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(serde_json::from_slice(&body)?))
}

fn read_whole(socket: BorrowedFd<'_>, mut buffer: &mut [u8]) -> io::Result<bool> {
    while !buffer.is_empty() {
        match rustix::io::read(socket, &mut *buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => buffer = &mut buffer[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Bytes that came in, and the frames in them.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub(crate) buffer: Vec<u8>,
}

impl Frames {
    /// The next message, if it is there as a whole.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((head, rest)) = self.buffer.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(body)?;
        self.buffer.drain(..4 + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut bytes = encode(&Request::Release).unwrap();
        bytes.extend(encode(&Report::Ended { status: Status::Code(7), is_alone: true }).unwrap());
        let mut frames = Frames::default();
        let (mut requests, mut reports) = (0, 0);
        for byte in bytes {
            frames.buffer.push(byte);
            if requests == 0 {
                requests += usize::from(frames.next::<Request>().unwrap().is_some());
            } else if let Some(report) = frames.next::<Report>().unwrap() {
                assert!(matches!(report, Report::Ended { status: Status::Code(7), is_alone: true }));
                reports += 1;
            }
        }
        assert_eq!((requests, reports, frames.buffer.len()), (1, 1, 0));
    }

    #[test]
    fn what_is_too_long_is_refused_on_both_sides() {
        let error = encode(&"x".repeat(FRAME_BYTES_MAX)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let mut frames = Frames { buffer: u32::MAX.to_le_bytes().to_vec() };
        let error = frames.next::<Request>().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_frame_is_read_to_its_end_and_no_further() {
        use std::os::fd::AsFd;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        for code in [1, 2] {
            write_frame(ours.as_fd(), &Status::Code(code)).unwrap();
        }
        drop(ours);
        let next = || read_frame::<Status>(theirs.as_fd()).unwrap();
        assert_eq!([next(), next(), next()], [Some(Status::Code(1)), Some(Status::Code(2)), None]);
    }

    #[test]
    fn a_frame_that_lies_about_its_length_is_refused() {
        use std::os::fd::AsFd;
        for (bytes, kind) in [
            (&u32::MAX.to_le_bytes()[..], io::ErrorKind::InvalidData),
            (b"\x09\0\0\0\"Rele", io::ErrorKind::UnexpectedEof),
            (b"\x09\0\0\0", io::ErrorKind::UnexpectedEof),
        ] {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            rustix::io::write(&ours, bytes).unwrap();
            drop(ours);
            assert_eq!(read_frame::<Request>(theirs.as_fd()).unwrap_err().kind(), kind, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        let mut frames = Frames { buffer: b"\x02\0\0\0{]".to_vec() };
        frames.next::<Request>().unwrap_err();
    }
}
