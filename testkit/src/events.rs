//! An answer as it comes: its head first, then event by event, left wherever a test wants to.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Answer, read_head};

/// How long anything may take to come on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// One event, or a block of comments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name; `endpoint` and `message` are the ones in use.
    pub name: Option<String>,
    /// What a client comes back with.
    pub id: Option<String>,
    /// Its data, lines put together.
    pub data: Option<String>,
    /// When to come back, in milliseconds.
    pub retry_ms: Option<u64>,
}

impl Event {
    fn read(block: &str) -> Self {
        let mut event = Self::default();
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "event" => event.name = Some(value),
                "id" => event.id = Some(value),
                "retry" => event.retry_ms = value.parse().ok(),
                "data" => {
                    event.data = Some(event.data.map_or(value.clone(), |data| format!("{data}\n{value}")));
                }
                _ => {}
            }
        }
        event
    }

    /// The message that it carries, if it carries one.
    pub fn message(&self) -> Option<Value> {
        serde_json::from_str(self.data.as_deref()?).ok()
    }
}

/// An answer whose body is still coming.
#[derive(Debug)]
pub struct Events {
    /// The status code and the headers; the body stays empty.
    pub head: Answer,
    /// The id of the last event that had one.
    pub last_id: Option<String>,
    stream: TcpStream,
    /// Bytes of the body as they came, chunks and all.
    raw: Vec<u8>,
    /// What they hold, up to the event that is read next.
    text: Vec<u8>,
    is_over: bool,
}

impl Events {
    /// Sends a request and reads the head of its answer.
    pub async fn open(address: SocketAddr, request: &[u8]) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request).await?;
        let mut raw = Vec::new();
        let (head, end) = loop {
            if let Some(head) = read_head(&raw)? {
                break head;
            }
            ensure!(read_some(&mut stream, &mut raw).await? > 0, "no answer");
        };
        raw.drain(..end);
        Ok(Self { head, last_id: None, stream, raw, text: Vec::new(), is_over: false })
    }

    /// The next event or comment; none at the end of the stream. A connection that breaks before that is an error.
    pub async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                let event = Event::read(std::str::from_utf8(&block)?);
                self.last_id = event.id.clone().or(self.last_id.take());
                return Ok(Some(event));
            }
            if !self.more().await? {
                ensure!(self.text.is_empty(), "half an event at the end: {:?}", self.text);
                return Ok(None);
            }
        }
    }

    /// The next message, whatever stands between.
    pub async fn message(&mut self) -> anyhow::Result<Value> {
        let message = async {
            loop {
                let event = self.next().await?.context("the stream has ended")?;
                if let Some(message) = event.message() {
                    return Ok(message);
                }
            }
        };
        timeout(PATIENCE, message).await.context("no message comes")?
    }

    /// The messages up to the end of the stream.
    pub async fn messages(&mut self) -> anyhow::Result<Vec<Value>> {
        let messages = async {
            let mut messages = Vec::new();
            while let Some(event) = self.next().await? {
                messages.extend(event.message());
            }
            Ok(messages)
        };
        timeout(PATIENCE, messages).await.context("it does not end")?
    }

    /// Reads to the end of a body that is no event stream.
    pub async fn whole(mut self) -> anyhow::Result<Answer> {
        if self.head.is_chunked() {
            while self.more().await? {}
        } else {
            while read_some(&mut self.stream, &mut self.raw).await? > 0 {}
            self.text = self.raw;
        }
        Ok(Answer { body: String::from_utf8(self.text)?, ..self.head })
    }

    /// Hangs up, and waits until the server has noticed: what it sends later goes nowhere.
    pub async fn hang_up(mut self) -> anyhow::Result<()> {
        self.stream.shutdown().await?;
        let silence = async {
            while read_some(&mut self.stream, &mut self.raw).await? > 0 {}
            Ok(())
        };
        timeout(PATIENCE, silence).await.context("the server does not notice")?
    }

    /// Reads one chunk more; false at the end.
    async fn more(&mut self) -> anyhow::Result<bool> {
        ensure!(self.head.is_chunked(), "no stream: {:?}", self.head);
        while !self.is_over {
            if let Some((chunk, end)) = first_chunk(&self.raw)? {
                self.text.extend_from_slice(&self.raw[chunk.clone()]);
                self.raw.drain(..end);
                self.is_over = chunk.is_empty();
                return Ok(!self.is_over);
            }
            ensure!(read_some(&mut self.stream, &mut self.raw).await? > 0, "the connection broke");
        }
        Ok(false)
    }
}

async fn read_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> anyhow::Result<usize> {
    Ok(timeout(PATIENCE, stream.read_buf(bytes)).await.context("nothing comes")??)
}

/// Where the first chunk lies, and where it ends, once it is there as a whole.
fn first_chunk(raw: &[u8]) -> anyhow::Result<Option<(std::ops::Range<usize>, usize)>> {
    let Some(line) = raw.windows(2).position(|two| two == b"\r\n") else {
        return Ok(None);
    };
    let Ok(size) = usize::from_str_radix(std::str::from_utf8(&raw[..line])?, 16) else {
        bail!("no size of a chunk: {:?}", &raw[..line]);
    };
    let from = line + 2;
    let end = from + size + 2;
    Ok((raw.len() >= end).then_some((from..from + size, end)))
}
