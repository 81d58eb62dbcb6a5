//! One connection: a request goes out, the head of its answer comes, then its body. Whoever asks reads it himself, so that an
//! answer wakes nobody but whoever waits for it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::{RecvFlags, recv};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::PlainError;
use super::head::{Awaited, Head};

/// Room to read into, if nothing is known of what comes.
const ROOM: usize = 4 * 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// What came and wasn't taken.
    pub(super) came: BytesMut,
    /// Whether there was more room for that than is kept between two answers.
    has_much_room: bool,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nobody has heard a byte of it: another connection may do.
    Unheard(io::Error),
    Heard(PlainError),
}

/// How a request went out.
struct Sent {
    /// Whether all of it did.
    is_whole: bool,
    /// The head of the answer, if that came before.
    answer: Option<Head>,
}

impl Wire {
    pub(super) async fn dial(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, came: BytesMut::new(), has_much_room: false })
    }

    /// Whether nothing has come since the last answer, as far as this thread has looked: else it was closed, or what speaks
    /// there is no server.
    pub(super) fn seems_quiet(&self) -> bool {
        let would_wait = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.came.is_empty() && self.stream.try_read(&mut [0]).is_err_and(would_wait)
    }

    /// The same, as the kernel knows it.
    pub(super) fn is_quiet(&self) -> bool {
        let looked = recv(&self.stream, &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.came.is_empty() && looked.is_err_and(|error| error == rustix::io::Errno::AGAIN)
    }

    /// It waits for the next request, for who knows how long.
    pub(super) fn rest(&mut self) {
        if std::mem::take(&mut self.has_much_room) {
            self.came = BytesMut::new();
        }
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn ask(&mut self, head: &[u8], body: &Bytes) -> Result<Head, Failed> {
        let mut awaited = Awaited::default();
        let Sent { is_whole, answer } = self.send(Buf::chain(head, &body[..]), &mut awaited).await?;
        let head = match answer {
            Some(head) => head,
            None => self.head(awaited).await.map_err(Failed::Heard)?,
        };
        // What was not sent of it would be the beginning of the next one.
        Ok(Head { is_kept: head.is_kept && is_whole, ..head })
    }

    async fn head(&mut self, mut awaited: Awaited) -> Result<Head, PlainError> {
        loop {
            if let Some(head) = awaited.take(&mut self.came)? {
                return Ok(head);
            }
            if self.read(0).await? == 0 {
                return Err(PlainError::cut_off());
            }
        }
    }

    /// Sends this. Who refuses it before having heard all of it hears no more; who takes it hears it to the end.
    async fn send(&mut self, mut message: impl Buf, awaited: &mut Awaited) -> Result<Sent, Failed> {
        let whole = message.remaining();
        let mut answer: Option<Head> = None;
        while message.has_remaining() {
            if answer.as_ref().is_some_and(|head| !head.status.is_success()) {
                return Ok(Sent { is_whole: false, answer });
            }
            let mut parts = [IoSlice::new(&[]); 2];
            let count = message.chunks_vectored(&mut parts);
            match self.stream.try_write_vectored(&parts[..count]) {
                Ok(length) => message.advance(length),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock if answer.is_some() => {
                        self.stream.writable().await.map_err(broken)?;
                    }
                    io::ErrorKind::WouldBlock => answer = self.answered_meanwhile(awaited).await?,
                    io::ErrorKind::Interrupted => {}
                    _ if message.remaining() == whole => return Err(Failed::Unheard(error)),
                    // Who refuses it by closing the connection may have said why.
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                        return Ok(Sent { is_whole: false, answer });
                    }
                    _ => return Err(broken(error)),
                },
            }
        }
        Ok(Sent { is_whole: true, answer })
    }

    /// Waits until more can be sent, or something comes. Gives the head of the answer, if that is what came.
    async fn answered_meanwhile(&mut self, awaited: &mut Awaited) -> Result<Option<Head>, Failed> {
        tokio::select! {
            biased;
            readable = self.stream.readable() => readable.map_err(broken)?,
            writable = self.stream.writable() => return writable.map(|()| None).map_err(broken),
        }
        match self.stream.try_read_buf(&mut self.came) {
            Ok(0) => Err(Failed::Heard(PlainError::cut_off())),
            Ok(_) => awaited.take(&mut self.came).map_err(Failed::Heard),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(broken(error)),
        }
    }

    /// Reads what comes, into room for so much if that is more than usual; 0 at the end. Cancellation-safe: nothing that came
    /// is lost.
    pub(super) async fn read(&mut self, room: usize) -> Result<usize, PlainError> {
        self.has_much_room |= room > ROOM;
        self.came.reserve(room.max(ROOM));
        self.stream.read_buf(&mut self.came).await.map_err(PlainError::Broken)
    }
}

fn broken(error: io::Error) -> Failed {
    Failed::Heard(PlainError::Broken(error))
}
