//! One HTTP request on its own connection, and its answer if that came as a whole: a torn answer is none.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// An answer that came as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, chunks put together.
    pub body: String,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nobody listens: nothing was sent.
    Nobody,
    /// The connection broke, or nothing came in time: nobody knows what was done.
    Cut,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let rest = &bytes[end + 4..];
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let body = match field("content-length:") {
            Some(length) => rest.get(..length.parse().ok()?)?.to_vec(),
            None if field("transfer-encoding:") == Some("chunked") => join_chunks(rest)?,
            None => return None,
        };
        Some(Self { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// Sends a request with a token.
pub fn send(address: SocketAddr, what: (&str, &str), token: &str, body: &str) -> Result<Answer, NoAnswer> {
    send_within(address, what, token, body, ANSWER_WITHIN)
}

/// The same, and waits for no longer than this.
pub(crate) fn send_within(
    address: SocketAddr,
    (method, path): (&str, &str),
    token: &str,
    body: &str,
    patience: Duration,
) -> Result<Answer, NoAnswer> {
    let mut stream = TcpStream::connect_timeout(&address, patience).map_err(|error| {
        // A daemon that dies with our connection in its queue resets it: nothing of ours was read.
        if error.kind() == ErrorKind::ConnectionRefused { NoAnswer::Nobody } else { NoAnswer::Cut }
    })?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut bytes = Vec::new();
    // An early refusal may close the connection while we still write, and a reset may stand behind a whole answer.
    stream.set_read_timeout(Some(patience)).ok();
    stream.write_all(request.as_bytes()).ok();
    stream.read_to_end(&mut bytes).ok();
    Answer::read(&bytes).ok_or(NoAnswer::Cut)
}

/// Calls a method of the protocol.
pub fn ask(address: SocketAddr, token: &str, method: &str, params: &Value) -> Result<Answer, NoAnswer> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    send(address, ("POST", "/mcp"), token, &body)
}

/// None unless the last chunk, which is empty, is there.
fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 4 + size..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_is_read() {
        let expect = Some(Answer { status: 200, body: "{\"a\"}".to_owned() });
        assert_eq!(Answer::read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"a\"}"), expect);
        let chunked =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{\"\r\n3\r\na\"}\r\n0\r\n\r\n";
        assert_eq!(Answer::read(chunked), expect);
        // Wherever it is cut, it is none.
        for end in 0..chunked.len() - 4 {
            assert_eq!(Answer::read(&chunked[..end]), None, "{end}");
        }
        assert_eq!(Answer::read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"a\""), None);
    }

    #[test]
    fn that_nobody_listens_is_told_apart() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(send(address, ("GET", "/"), "", ""), Err(NoAnswer::Nobody));
    }
}
