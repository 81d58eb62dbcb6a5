//! A raw HTTP client: exactly the bytes that a test says, and the bytes that came back.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, chunks put together.
    pub body: String,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether its body comes in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }

    /// The body as JSON; of an event stream, the data of its last event.
    pub fn json(&self) -> Value {
        let text = match self.header("content-type") {
            Some("text/event-stream") => self.events().pop().unwrap_or_default(),
            _ => self.body.clone(),
        };
        serde_json::from_str(&text).expect("the body is JSON")
    }

    /// The data of every event.
    pub fn events(&self) -> Vec<String> {
        self.body.lines().filter_map(|line| line.strip_prefix("data: ")).map(ToOwned::to_owned).collect()
    }
}

/// Sends raw bytes and reads one answer.
pub async fn send_raw(address: SocketAddr, request: &[u8]) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    // A server that refuses early may close while we still write; its answer counts all the same.
    stream.write_all(request).await.ok();
    read_answer(&mut stream).await
}

/// A POST of JSON with these headers.
pub async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Answer> {
    send_raw(address, &request("POST", address, path, headers, body)).await
}

/// The bytes of a request; `host` and `content-type` are filled in unless they are given.
pub fn request(
    method: &str,
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Vec<u8> {
    let is_given = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !is_given("host") {
        head += &format!("host: {address}\r\n");
    }
    if !is_given("content-type") && !body.is_empty() {
        head += "content-type: application/json\r\n";
    }
    if !is_given("content-length") && !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    format!("{head}\r\n{body}").into_bytes()
}

/// Reads an answer up to its end.
pub async fn read_answer(stream: &mut TcpStream) -> anyhow::Result<Answer> {
    let mut bytes = Vec::new();
    // A reset behind a complete answer is a server that didn't wait for the rest of our body.
    stream.read_to_end(&mut bytes).await.ok();
    let (head, end) = read_head(&bytes)?.context("no answer")?;
    let body = if head.is_chunked() { dechunk(&bytes[end..]) } else { bytes[end..].to_vec() };
    Ok(Answer { body: String::from_utf8_lossy(&body).into_owned(), ..head })
}

/// The head of an answer and where it ends, once it is there as a whole.
pub(crate) fn read_head(bytes: &[u8]) -> anyhow::Result<Option<(Answer, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let Some(status) = status else { bail!("no status line in {head:?}") };
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Ok(Some((Answer { status, headers, body: String::new() }, end + 4)))
}

fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let Some(size) = size.filter(|size| *size > 0) else { break };
        let from = end + 2;
        body.extend_from_slice(&rest[from..(from + size).min(rest.len())]);
        rest = rest.get(from + size + 2..).unwrap_or_default();
    }
    body
}
