//! One keep-alive connection: send the bytes, read one answer.

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::answer::{Answer, Framing, Head};
use super::protocol::Target;

/// Room for one read.
const READ_BYTES: usize = 64 * 1024;

/// What a connection runs over: a socket, or TLS in one.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<W: AsyncRead + AsyncWrite + Send + Unpin> Wire for W {}

/// A connection.
pub struct Connection {
    stream: Box<dyn Wire>,
    /// What was read and not yet consumed.
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to a server.
    pub async fn open(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(&target.authority).await.context("failed to connect")?;
        stream.set_nodelay(true).context("failed to set TCP_NODELAY")?;
        let stream: Box<dyn Wire> = match &target.trust {
            None => Box::new(stream),
            Some(trust) => Box::new(trust.shake(&target.authority, stream).await?),
        };
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and reads the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        let head = self.begin(request).await?;
        let body = match head.framing {
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunked => self.chunks().await?,
        };
        Ok(Answer { head, body })
    }

    /// Sends a request and reads the head of the answer.
    pub async fn begin(&mut self, request: &[u8]) -> Result<Head> {
        self.stream.write_all(request).await.context("failed to send")?;
        loop {
            if let Some(at) = memmem::find(&self.buffer, b"\r\n\r\n") {
                let head = Head::parse(&String::from_utf8_lossy(&self.buffer[..at]));
                self.buffer.drain(..at + 4);
                return head;
            }
            self.fill().await?;
        }
    }

    /// The stream itself, for what follows a head that has no end.
    pub fn into_stream(self) -> Box<dyn Wire> {
        self.stream
    }

    /// The same with what has come of it already.
    pub fn into_parts(self) -> (Box<dyn Wire>, Vec<u8>) {
        (self.stream, self.buffer)
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    async fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend(chunk);
        }
        Ok(body)
    }

    /// The next piece of a body that comes in pieces, after [`Self::begin`]; none at its end.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let at = self.line_end().await?;
        let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
        let length = usize::from_str_radix(line.trim(), 16).context("bad chunk length")?;
        self.buffer.drain(..at + 2);
        let mut chunk = self.take(length + 2).await?;
        chunk.truncate(length);
        Ok((length > 0).then_some(chunk))
    }

    async fn line_end(&mut self) -> Result<usize> {
        loop {
            if let Some(at) = memmem::find(&self.buffer, b"\r\n") {
                return Ok(at);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        self.buffer.reserve(READ_BYTES);
        let read = self.stream.read_buf(&mut self.buffer).await.context("failed to read")?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }
}
