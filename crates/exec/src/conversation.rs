//! Jobs that are talked to: servers on standard input and output.
//!
//! Pipes and no socket, although one would do for both: over a socket a job could hand us descriptors of its own, and what
//! closing those costs (a connection that lingers) would be ours to pay.

use std::fmt;
use std::io;
use std::pin::Pin;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::error::ExecError;
use crate::job::Finished;
use crate::output::Ends;

/// A job that is talked to.
pub struct Conversation {
    /// Its standard input; to drop this is its end.
    pub input: Sender,
    /// Its standard output.
    pub output: Receiver,
    /// Its standard error. Somebody has to read it: a job that can't write waits.
    pub stderr: Receiver,
    /// How it ends. It is ended if nobody waits for this any more; it has to be polled for nothing else.
    pub finished: Pin<Box<dyn Future<Output = Result<Finished, ExecError>> + Send>>,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("input", &self.input).finish_non_exhaustive()
    }
}

/// Our ends of the pipes of a job.
pub(crate) struct Ours {
    pub(crate) input: Sender,
    pub(crate) output: Receiver,
    pub(crate) stderr: Receiver,
}

/// Both ends of the pipes of a job.
pub(crate) fn connect() -> io::Result<(Ours, Ends)> {
    let [(stdin, input), (output, stdout), (stderr, errors)] =
        [pipe_with(PipeFlags::CLOEXEC)?, pipe_with(PipeFlags::CLOEXEC)?, pipe_with(PipeFlags::CLOEXEC)?];
    let ours = Ours {
        input: Sender::from_owned_fd(input)?,
        output: Receiver::from_owned_fd(output)?,
        stderr: Receiver::from_owned_fd(stderr)?,
    };
    Ok((ours, Ends { write: [stdout, errors], input: Some(stdin), read: Vec::new() }))
}
