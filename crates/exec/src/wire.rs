//! What server and supervisor say to each other, and how it is framed.
//!
//! A frame is its length (four bytes, little endian) and that much JSON. The first byte of a
//! [`Request::Start`] carries two file descriptors: the write ends of the job's pipes.

use std::ffi::OsString;
use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits::FRAME_BYTES_MAX;

/// What the server asks of a supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Start a job. Answered by [`Report::NotStarted`] or, when it is over, [`Report::Ended`].
    Start(Start),
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
    fn what_is_not_a_message_is_refused() {
        let mut frames = Frames { buffer: b"\x02\0\0\0{]".to_vec() };
        frames.next::<Request>().unwrap_err();
    }
}
