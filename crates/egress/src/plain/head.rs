//! The heads of HTTP/1.1: of a request, as it is written, and of an answer, as it is read (RFC 9112).

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};

use super::PlainError;
use super::body::Framing;

/// Headers of an answer.
const HEADERS_MAX: usize = 100;
/// Bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where its body ends.
    pub(super) framing: Framing,
    /// Whether the connection is there for another request, once the body is read.
    pub(super) is_kept: bool,
}

/// The head of a request to this server. How long it is and whose, the wire says itself, whatever its headers say.
pub(super) fn written(request: &Request<Bytes>, authority: &Authority) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    for part in [request.method().as_str(), " ", target, " HTTP/1.1\r\nhost: ", authority.as_str(), "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    let is_ours = |name: &HeaderName| matches!(*name, HOST | CONTENT_LENGTH | TRANSFER_ENCODING | CONNECTION);
    for (name, value) in request.headers().iter().filter(|(name, _)| !is_ours(name)) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    let has_body =
        !request.body().is_empty() || matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if has_body {
        head.extend_from_slice(format!("content-length: {}\r\n", request.body().len()).as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The head of an answer, taken from what came; none while it isn't whole. `seen` is how much of that was looked at before.
///
/// # Errors
/// If it is none, is too long, or doesn't say where its body ends.
pub(super) fn taken(came: &mut BytesMut, seen: usize) -> Result<Option<Head>, PlainError> {
    while has_end(came, seen) {
        let mut found = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let parsed = parser.parse_response_with_uninit_headers(&mut answer, came, &mut found);
        let httparse::Status::Complete(length) =
            parsed.map_err(|_| PlainError::NoHttp("its head is none"))?
        else {
            break;
        };
        let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(PlainError::NoHttp("its status is none"))?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(PlainError::NoHttp("it goes on in a protocol that nobody asked for"));
        }
        if status.is_informational() {
            // The answer is still to come.
            came.advance(length);
            continue;
        }
        let headers = headers(answer.headers)?;
        let framing = framing(status, &headers)?;
        let is_kept = answer.version == Some(1) && is_kept(&headers);
        came.advance(length);
        return Ok(Some(Head { status, headers, framing, is_kept }));
    }
    if came.len() > HEAD_BYTES_MAX { Err(PlainError::NoHttp("its head is too long")) } else { Ok(None) }
}

/// Whether an empty line came, so that a head that comes in small pieces isn't read again with each of them.
fn has_end(came: &[u8], seen: usize) -> bool {
    let unseen = &came[seen.saturating_sub(3).min(came.len())..];
    let is_end = |at: usize| matches!(unseen[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]);
    memchr::memchr_iter(b'\n', unseen).any(is_end)
}

fn headers(found: &[httparse::Header<'_>]) -> Result<HeaderMap, PlainError> {
    let mut headers = HeaderMap::with_capacity(found.len());
    for httparse::Header { name, value } in found {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(PlainError::NoHttp("a header of its is none"));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// Where a body ends (RFC 9112, 6.3).
fn framing(status: StatusCode, headers: &HeaderMap) -> Result<Framing, PlainError> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::of_length(0));
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        let last = tokens(headers, &TRANSFER_ENCODING).last();
        return Ok(if last.is_some_and(|last| last.eq_ignore_ascii_case("chunked")) {
            Framing::chunked()
        } else {
            Framing::UntilClosed
        });
    }
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for said in value.as_bytes().split(|byte| *byte == b',') {
            let said = digits(said.trim_ascii()).ok_or(PlainError::NoHttp("its length is none"))?;
            if length.replace(said).is_some_and(|before| before != said) {
                return Err(PlainError::NoHttp("it has two lengths"));
            }
        }
    }
    Ok(length.map_or(Framing::UntilClosed, Framing::of_length))
}

/// A number of digits alone.
fn digits(said: &[u8]) -> Option<u64> {
    let said = std::str::from_utf8(said).ok()?;
    said.bytes().all(|byte| byte.is_ascii_digit()).then(|| said.parse().ok())?
}

/// Whether a connection outlives its answer. One that says in two ways how long it is isn't trusted any further.
fn is_kept(headers: &HeaderMap) -> bool {
    let is_close = |option: &str| option.eq_ignore_ascii_case("close");
    let is_said_twice = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
    !is_said_twice && !tokens(headers, &CONNECTION).any(is_close)
}

/// What a header lists.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, PlainError> {
        taken(&mut BytesMut::from(text), 0)
    }

    fn framed(headers: &str) -> Result<(Framing, bool), PlainError> {
        read(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).map(|head| {
            let head = head.expect("it is whole");
            (head.framing, head.is_kept)
        })
    }

    #[test]
    fn a_request_says_itself_whose_and_how_long_it_is() {
        let mut request = Request::new(Bytes::from_static(b"{}"));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "http://a:1/x?y=1".parse().unwrap();
        for name in ["host", "content-length", "transfer-encoding", "connection"] {
            request.headers_mut().insert(name, HeaderValue::from_static("7"));
        }
        request.headers_mut().insert("mcp-name", HeaderValue::from_static("t"));
        let head = written(&request, &Authority::from_static("a:1"));
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "POST /x?y=1 HTTP/1.1\r\nhost: a:1\r\nmcp-name: t\r\ncontent-length: 2\r\n\r\n"
        );
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = "http://a".parse().unwrap();
        let head = written(&request, &Authority::from_static("a"));
        assert_eq!(String::from_utf8(head).unwrap(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }

    #[test]
    fn a_head_is_taken_once_it_is_whole_and_what_follows_stays() {
        let text = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 404 No\r\nA: 1\r\na: 2\r\n\r\nrest";
        let mut came = BytesMut::new();
        for (index, byte) in text[..text.len() - 5].iter().enumerate() {
            let seen = came.len();
            came.extend_from_slice(&[*byte]);
            assert!(taken(&mut came, seen).unwrap().is_none(), "after {index}");
        }
        let seen = came.len();
        came.extend_from_slice(b"\nrest");
        let head = taken(&mut came, seen).unwrap().unwrap();
        assert_eq!(head.status, 404);
        assert_eq!(head.headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(&came[..], b"rest");
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        for (headers, expect) in [
            ("content-length: 5\r\n", (Framing::of_length(5), true)),
            ("content-length: 5, 5\r\nContent-Length: 5\r\n", (Framing::of_length(5), true)),
            ("content-length: 5\r\nconnection: x, Close\r\n", (Framing::of_length(5), false)),
            ("transfer-encoding: gzip, Chunked\r\n", (Framing::chunked(), true)),
            ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", (Framing::chunked(), false)),
            ("transfer-encoding: gzip\r\n", (Framing::UntilClosed, true)),
            ("", (Framing::UntilClosed, true)),
        ] {
            assert_eq!(framed(headers).unwrap(), expect, "{headers:?}");
        }
        let empty = read("HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n").unwrap().unwrap();
        assert_eq!(empty.framing, Framing::of_length(0));
        let old = read("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n").unwrap().unwrap();
        assert!(!old.is_kept);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for headers in [
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: 5, 6\r\n",
            "content-length: +5\r\n",
            "content-length: \r\n",
            "content-length: 99999999999999999999\r\n",
            "a b: 1\r\n",
            "a: 1\0\r\n",
        ] {
            assert!(matches!(framed(headers), Err(PlainError::NoHttp(_))), "{headers:?}");
        }
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 099 Low\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
        ] {
            assert!(matches!(read(text), Err(PlainError::NoHttp(_))), "{text:?}");
        }
        let many = "a: 1\r\n".repeat(HEADERS_MAX + 1);
        assert!(matches!(framed(&many), Err(PlainError::NoHttp(_))));
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(HEAD_BYTES_MAX));
        assert!(matches!(read(&long), Err(PlainError::NoHttp("its head is too long"))));
    }
}
