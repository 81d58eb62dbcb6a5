//! A job's output: the first bytes of each stream are kept, all others read and counted.
//!
//! Reading never stops while the job lives, so it never blocks on us, and memory is bounded by
//! what may be kept.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::job::Captured;
use crate::limits::{CAPTURE_BYTES_MIN, CHUNK_BYTES};

/// Both streams of a job.
pub(crate) struct Streams {
    stdout: Stream,
    stderr: Stream,
}

struct Stream {
    /// `None` once it has ended.
    pipe: Option<Receiver>,
    captured: Captured,
    bytes_max: usize,
    /// Where bytes go that aren't kept; empty until there are some.
    discarded: Vec<u8>,
}

impl Streams {
    /// Two new pipes, and their write ends.
    pub(crate) fn open(stdout_max: usize, stderr_max: usize) -> io::Result<(Self, [OwnedFd; 2])> {
        let (stdout, stdout_writer) = Stream::open(stdout_max)?;
        let (stderr, stderr_writer) = Stream::open(stderr_max)?;
        Ok((Self { stdout, stderr }, [stdout_writer, stderr_writer]))
    }

    /// Reads both until nobody holds them. Cancellation-safe.
    async fn drain(&mut self) {
        tokio::join!(self.stdout.drain(), self.stderr.drain());
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

    pub(crate) fn into_captured(self) -> (Captured, Captured) {
        (self.stdout.captured, self.stderr.captured)
    }
}

impl Stream {
    fn open(bytes_max: usize) -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let pipe = Some(Receiver::from_owned_fd(reader)?);
        let captured = Captured::default();
        Ok((Self { pipe, captured, bytes_max, discarded: Vec::new() }, writer))
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
            pipe.take(room as u64).read_buf(bytes).await?
        } else {
            self.discarded.resize(CHUNK_BYTES, 0);
            pipe.read(&mut self.discarded).await?
        };
        self.captured.bytes_total += count as u64;
        Ok(count)
    }
}
