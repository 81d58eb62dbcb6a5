//! The supervisor's end of the control socket: frames, and the pipes that come with them.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send, sockopt};

use crate::limits::CHUNK_BYTES;
use crate::wire::{Frames, Request};

/// What the server sent and nobody has read yet.
pub(super) struct Inbox {
    socket: BorrowedFd<'static>,
    frames: Frames,
    files: VecDeque<OwnedFd>,
    chunk: Vec<u8>,
}

/// What of its pipes becomes a job's.
pub(super) struct Pipes {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Its standard input, if it is talked to.
    pub(super) stdin: Option<OwnedFd>,
}

impl Inbox {
    /// The control socket on standard input, if there is one.
    pub(super) fn on_stdin() -> Option<Self> {
        let socket = rustix::stdio::stdin();
        sockopt::socket_type(socket).ok()?;
        let chunk = vec![0; CHUNK_BYTES];
        Some(Self { socket, frames: Frames::default(), files: VecDeque::new(), chunk })
    }

    pub(super) fn socket(&self) -> BorrowedFd<'static> {
        self.socket
    }

    /// The next request, if it is there as a whole.
    pub(super) fn next(&mut self) -> io::Result<Option<Request>> {
        self.frames.next()
    }

    /// Reads what is there; says `false` at the end.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut attached = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut self.chunk)];
        let received = recvmsg(self.socket, &mut parts, &mut attached, RecvFlags::CMSG_CLOEXEC)?;
        for message in attached.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        self.frames.buffer.extend_from_slice(&self.chunk[..received.bytes]);
        Ok(received.bytes > 0)
    }

    /// The other ends of these pipes, if they came along.
    pub(super) fn take_readers(&mut self) -> Option<[OwnedFd; 2]> {
        Some([self.files.pop_front()?, self.files.pop_front()?])
    }

    /// The pipes that came with the start of a job.
    pub(super) fn take_pipes(&mut self, has_input: bool) -> io::Result<Pipes> {
        let missing = || io::Error::new(io::ErrorKind::InvalidData, "a start without its pipes");
        let mut next = || self.files.pop_front().ok_or_else(missing);
        let (stdout, stderr) = (next()?, next()?);
        Ok(Pipes { stdout, stderr, stdin: has_input.then(next).transpose()? })
    }

    pub(super) fn reply(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = send(self.socket, bytes, SendFlags::NOSIGNAL)?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }
}

impl Pipes {
    /// By which their holders are found.
    pub(super) fn inodes(&self) -> io::Result<[u64; 2]> {
        Ok([rustix::fs::fstat(&self.stdout)?.st_ino, rustix::fs::fstat(&self.stderr)?.st_ino])
    }
}
