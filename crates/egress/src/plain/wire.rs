//! One connection: a request goes out, the head of its answer comes, then its body. Whoever asks reads it himself, so that an
//! answer wakes nobody but whoever waits for it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::PlainError;
use super::head::{self, Head};

/// Room to read into, if nothing is known of what comes.
const ROOM: usize = 4 * 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// What came and wasn't taken.
    pub(super) came: BytesMut,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nobody has heard a byte of it: another connection may do.
    Unheard(io::Error),
    Heard(PlainError),
}

impl Wire {
    pub(super) async fn dial(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, came: BytesMut::new() })
    }

    /// Whether nothing has come since the last answer: else it was closed, or what speaks there is no server.
    pub(super) fn is_quiet(&self) -> bool {
        let would_wait = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.came.is_empty() && self.stream.try_read(&mut [0]).is_err_and(would_wait)
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn ask(&mut self, head: &[u8], body: &Bytes) -> Result<Head, Failed> {
        let is_heard = self.send(Buf::chain(head, &body[..])).await?;
        let mut seen = 0;
        loop {
            // One that is answered before it was heard may go on being sent for ever.
            let answer = head::taken(&mut self.came, seen).map_err(Failed::Heard)?;
            if let Some(head) = answer {
                return Ok(Head { is_kept: head.is_kept && is_heard, ..head });
            }
            seen = self.came.len();
            if self.read(0).await.map_err(Failed::Heard)? == 0 {
                return Err(Failed::Heard(PlainError::cut_off()));
            }
        }
    }

    /// Sends this, unless it is answered meanwhile. Whether all of it was sent.
    async fn send(&mut self, mut message: impl Buf) -> Result<bool, Failed> {
        let whole = message.remaining();
        while message.has_remaining() {
            let mut parts = [IoSlice::new(&[]); 2];
            let count = message.chunks_vectored(&mut parts);
            match self.stream.try_write_vectored(&parts[..count]) {
                Ok(length) => message.advance(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.answers_before_it_takes_more().await.map_err(broken)? {
                        return Ok(false);
                    }
                }
                // Who refuses before hearing all of it closes the connection, and may have said why.
                Err(error) if message.remaining() == whole => return Err(Failed::Unheard(error)),
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Waits until more can be sent, or something comes: whether it is the latter.
    async fn answers_before_it_takes_more(&mut self) -> io::Result<bool> {
        tokio::select! {
            biased;
            readable = self.stream.readable() => {
                readable?;
                match self.stream.try_read_buf(&mut self.came) {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                    Err(error) => Err(error),
                }
            }
            writable = self.stream.writable() => writable.map(|()| false),
        }
    }

    /// Reads what comes, into room for so much if that is more than usual; 0 at the end. Cancellation-safe: nothing that came
    /// is lost.
    pub(super) async fn read(&mut self, room: usize) -> Result<usize, PlainError> {
        self.came.reserve(room.max(ROOM));
        self.stream.read_buf(&mut self.came).await.map_err(PlainError::Broken)
    }
}

fn broken(error: io::Error) -> Failed {
    Failed::Heard(PlainError::Broken(error))
}
