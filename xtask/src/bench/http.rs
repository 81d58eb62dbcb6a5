//! One HTTP request on its own connection: for probing and for setting servers up, not for load.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long a server may take to answer a probe.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Posts JSON and returns the body of a 200 or 201 answer.
pub(crate) fn post(url: &str, token: &str, headers: &str, body: &str) -> Result<String> {
    let rest = url.strip_prefix("http://").context("the URL is not plain HTTP")?;
    let (authority, path) = rest.split_once('/').context("the URL has no path")?;
    let mut stream = TcpStream::connect(authority).context("failed to connect")?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).context("failed to set a deadline")?;
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         Authorization: Bearer {token}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).context("failed to send")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("failed to read")?;
    body_of(&String::from_utf8_lossy(&answer))
}

fn body_of(answer: &str) -> Result<String> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no head")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if !matches!(status, "200" | "201") {
        bail!("status {status}: {body}");
    }
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Ok(if is_chunked { join_chunks(body) } else { body.to_owned() })
}

fn join_chunks(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        let Some(chunk) = after.get(..length).filter(|_| length > 0) else {
            break;
        };
        body.push_str(chunk);
        rest = after[length..].trim_start_matches("\r\n");
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_whole_or_in_chunks() {
        assert_eq!(body_of("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}").unwrap(), "{}");
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n3\r\na\"}\r\n0\r\n\r\n";
        assert_eq!(body_of(chunked).unwrap(), "{\"a\"}");
    }

    #[test]
    fn other_answers_are_errors() {
        assert!(body_of("HTTP/1.1 401 Unauthorized\r\n\r\nno").is_err());
        assert!(body_of("nonsense").is_err());
    }
}
