//! One keep-alive connection: send the bytes, read one answer, judge it.

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Era, Load};

/// Room for one read.
const READ_BYTES: usize = 64 * 1024;

/// An answer: its head as text, where its body lies in the buffer.
struct Answer {
    status: u16,
    session: Option<String>,
    body: Vec<u8>,
}

/// How the end of a body is known.
enum Framing {
    Length(usize),
    Chunked,
}

pub(super) struct Connection {
    stream: TcpStream,
    /// What was read and not yet consumed.
    buffer: Vec<u8>,
    request: Vec<u8>,
}

impl Connection {
    /// Connects and, in the legacy era, shakes hands.
    pub(super) async fn open(load: &Load) -> Result<Self> {
        let stream = TcpStream::connect(&load.authority).await.context("failed to connect")?;
        stream.set_nodelay(true).context("failed to set TCP_NODELAY")?;
        let mut connection = Self { stream, buffer: Vec::new(), request: Vec::new() };
        let session = match load.plan.era {
            Era::Legacy => connection.shake_hands(load).await.context("handshake failed")?,
            Era::Modern | Era::Raw => None,
        };
        connection.request = load.plan.request(session.as_deref());
        Ok(connection)
    }

    async fn shake_hands(&mut self, load: &Load) -> Result<Option<String>> {
        let answer = self.send(&load.plan.initialize()).await?;
        ensure!(answer.status == 200, "initialize: status {}", answer.status);
        self.send(&load.plan.initialized(answer.session.as_deref())).await?;
        Ok(answer.session)
    }

    /// Sends the request and judges the answer.
    pub(super) async fn exchange(&mut self) -> Result<()> {
        let request = std::mem::take(&mut self.request);
        let answer = self.send(&request).await;
        self.request = request;
        judge(&answer?)
    }

    async fn send(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await.context("failed to send")?;
        let (head, end) = self.head().await?;
        let (status, session, framing) = parse_head(&head)?;
        self.buffer.drain(..end);
        let body = match framing {
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunked => self.chunks().await?,
        };
        Ok(Answer { status, session, body })
    }

    /// Reads until the head is complete; returns it and where it ends.
    async fn head(&mut self) -> Result<(String, usize)> {
        loop {
            if let Some(at) = memmem::find(&self.buffer, b"\r\n\r\n") {
                return Ok((String::from_utf8_lossy(&self.buffer[..at]).into_owned(), at + 4));
            }
            self.fill().await?;
        }
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
        loop {
            let at = self.line_end().await?;
            let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
            let length = usize::from_str_radix(line.trim(), 16).context("bad chunk length")?;
            self.buffer.drain(..at + 2);
            let chunk = self.take(length + 2).await?;
            if length == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
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

fn parse_head(head: &str) -> Result<(u16, Option<String>, Framing)> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?;
    let status = status.parse().context("bad status")?;
    let (mut session, mut framing) = (None, Framing::Length(0));
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => framing = Framing::Length(value.parse().context("bad length")?),
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => {
                framing = Framing::Chunked;
            }
            "mcp-session-id" => session = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok((status, session, framing))
}

/// A call that failed inside of a good frame is an error too.
fn judge(answer: &Answer) -> Result<()> {
    let signs: [&[u8]; 5] = [
        br#""isError":true"#,
        br#""isError": true"#,
        br#""error":{"#,
        br#"\"success\": false"#,
        br#"\"success\":false"#,
    ];
    let is_fault = signs.iter().any(|sign| memmem::find(&answer.body, sign).is_some());
    if answer.status != 200 || is_fault {
        let body = String::from_utf8_lossy(&answer.body);
        let start: String = body.chars().take(200).collect();
        bail!("status {}: {start}", answer.status);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, session: None, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_good_answer_passes() {
        let body = r#"{"jsonrpc":"2.0","id":2,"result":{"content":[],"isError":false}}"#;
        assert!(judge(&answer(200, body)).is_ok());
    }

    #[test]
    fn status_error_and_tool_error_fail() {
        assert!(judge(&answer(503, "{}")).is_err());
        assert!(judge(&answer(200, r#"{"error":{"code":-32601}}"#)).is_err());
        assert!(judge(&answer(200, r#"{"result":{"isError":true}}"#)).is_err());
        assert!(judge(&answer(200, r#"{"text":"{\"success\": false}"}"#)).is_err());
    }

    #[test]
    fn heads_are_read_in_any_case() {
        let head = "HTTP/1.1 202 Accepted\r\nMCP-Session-ID: abc\r\nTransfer-Encoding: chunked";
        let (status, session, framing) = parse_head(head).unwrap();
        assert_eq!((status, session.as_deref()), (202, Some("abc")));
        assert!(matches!(framing, Framing::Chunked));
        assert!(parse_head("nonsense").is_err());
    }
}
