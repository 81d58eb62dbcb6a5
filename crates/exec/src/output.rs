//! A job's output: the first bytes of each stream are kept, all others read and counted.
//!
//! Reading never stops while the job lives, so it never blocks on us, and memory is bounded by
//! what may be kept. What is kept of a job that runs for long is in the spool, too, until its result is there.

use std::fs::File;
use std::future::Future;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep_until};

use crate::job::Captured;
use crate::limits::{CAPTURE_BYTES_MIN, CHUNK_BYTES, SPOOL_AFTER};
use crate::spool::Place;

/// Both streams of a job.
pub(crate) struct Streams {
    stdout: Stream,
    stderr: Stream,
    spooling: Option<Spooling>,
}

/// Whether output is kept beside memory.
struct Spooling {
    place: Place,
    since: Instant,
    has_begun: bool,
}

/// The ends of a job's pipes that go to its supervisor.
pub(crate) struct Ends {
    /// To be the job's: standard output, then standard error.
    pub(crate) write: [OwnedFd; 2],
    /// To be the job's standard input, if it is talked to.
    pub(crate) input: Option<OwnedFd>,
    /// Nobody else's once we are dead; none if the job has no place in the spool.
    pub(crate) read: Vec<OwnedFd>,
}

struct Stream {
    /// `None` once it has ended.
    pipe: Option<Receiver>,
    captured: Captured,
    bytes_max: usize,
    /// Where bytes go that aren't kept; empty until there are some.
    discarded: Vec<u8>,
    /// Where what is kept is written, too.
    copy: Option<Copy>,
}

/// A copy of what is kept, beside memory.
struct Copy {
    file: File,
    place: Place,
    name: &'static str,
}

impl Copy {
    /// Writes what has come; if that fails, there is no copy any more: one with a hole would be taken for the whole.
    fn keeps(&mut self, bytes: &[u8]) -> bool {
        let written = self.file.write_all(bytes);
        if let Err(error) = &written {
            tracing::warn!(%error, name = self.name, "output is not spooled any more");
            self.place.remove_output(self.name);
        }
        written.is_ok()
    }
}

impl Streams {
    /// Two new pipes, and their ends for the supervisor.
    pub(crate) fn open(
        stdout_max: usize,
        stderr_max: usize,
        place: Option<Place>,
    ) -> io::Result<(Self, Ends)> {
        let (stdout, stdout_writer) = Stream::open(stdout_max)?;
        let (stderr, stderr_writer) = Stream::open(stderr_max)?;
        let read = match place {
            Some(_) => vec![stdout.reader()?, stderr.reader()?],
            None => Vec::new(),
        };
        let spooling = place.map(|place| Spooling { place, since: Instant::now(), has_begun: false });
        Ok((
            Self { stdout, stderr, spooling },
            Ends { write: [stdout_writer, stderr_writer], input: None, read },
        ))
    }

    /// Nothing to read: somebody else has the other ends.
    pub(crate) fn none() -> Self {
        let stream = || Stream {
            pipe: None,
            captured: Captured::default(),
            bytes_max: 0,
            discarded: Vec::new(),
            copy: None,
        };
        Self { stdout: stream(), stderr: stream(), spooling: None }
    }

    /// Reads both until nobody holds them. Cancellation-safe.
    async fn drain(&mut self) {
        if let Some(Spooling { since, has_begun: false, .. }) = self.spooling {
            tokio::select! {
                biased;
                () = self.read() => return,
                () = sleep_until(since + SPOOL_AFTER) => self.spool(),
            }
        }
        self.read().await;
    }

    async fn read(&mut self) {
        tokio::join!(self.stdout.drain(), self.stderr.drain());
    }

    /// From now on what is kept is written to the spool, beginning with what is there. Where that isn't possible, it
    /// is in memory only.
    fn spool(&mut self) {
        let Some(spooling) = &mut self.spooling else { return };
        spooling.has_begun = true;
        for (stream, name) in [(&mut self.stdout, "stdout"), (&mut self.stderr, "stderr")] {
            let begun = spooling.place.output(name).and_then(|mut copy| {
                copy.write_all(&stream.captured.bytes)?;
                Ok(copy)
            });
            stream.copy = match begun {
                Ok(file) => Some(Copy { file, place: spooling.place.clone(), name }),
                Err(error) => {
                    tracing::warn!(%error, name, "output is not spooled");
                    spooling.place.remove_output(name);
                    None
                }
            };
        }
    }

    /// Reads both until nobody holds them, but not for longer than this.
    pub(crate) async fn drain_within(&mut self, patience: Duration) {
        // That it took longer is no error: what was there has been read.
        tokio::time::timeout(patience, self.drain()).await.ok();
    }

    /// Waits for something and reads meanwhile.
    pub(crate) async fn drain_during<T>(&mut self, something: impl Future<Output = T>) -> T {
        let mut something = pin!(something);
        tokio::select! {
            biased;
            done = &mut something => return done,
            () = self.drain() => {}
        }
        something.await
    }

    pub(crate) fn into_captured(mut self) -> (Captured, Captured) {
        (std::mem::take(&mut self.stdout.captured), std::mem::take(&mut self.stderr.captured))
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        if let Some(Spooling { place, has_begun: true, .. }) = &self.spooling {
            place.remove_outputs();
        }
    }
}

impl Stream {
    fn open(bytes_max: usize) -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let pipe = Some(Receiver::from_owned_fd(reader)?);
        let captured = Captured::default();
        Ok((Self { pipe, captured, bytes_max, discarded: Vec::new(), copy: None }, writer))
    }

    /// A further end of the same pipe.
    fn reader(&self) -> io::Result<OwnedFd> {
        let pipe = self.pipe.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(rustix::io::fcntl_dupfd_cloexec(pipe, 0)?)
    }

    async fn drain(&mut self) {
        // An error of a pipe would be its end as well.
        while self.read().await.unwrap_or(0) > 0 {}
        self.pipe = None;
    }

    async fn read(&mut self) -> io::Result<usize> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(0);
        };
        let bytes = &mut self.captured.bytes;
        let room = self.bytes_max - bytes.len();
        let count = if room > 0 {
            bytes.reserve(room.min(CAPTURE_BYTES_MIN));
            let known = bytes.len();
            let count = pipe.take(room as u64).read_buf(bytes).await?;
            self.copy.take_if(|copy| !copy.keeps(&bytes[known..]));
            count
        } else {
            self.discarded.resize(CHUNK_BYTES, 0);
            pipe.read(&mut self.discarded).await?
        };
        self.captured.bytes_total += count as u64;
        Ok(count)
    }
}
