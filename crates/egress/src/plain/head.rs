//! The heads of HTTP/1.1: of a request, as it is written, and of an answer, as it is read (RFC 9112).

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};

use super::PlainError;
use super::body::{Chunk, Framing};

/// Headers of an answer.
const HEADERS_MAX: usize = 100;
/// How often a server may say that its answer is still to come.
const INTERIM_MAX: usize = 16;
/// Bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const TOO_LONG: PlainError = PlainError::NoHttp("its head is too long");

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

/// The head of an answer that is waited for.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// How much of what came was looked at, and no end of a head found.
    seen: usize,
    /// How many answers said that the answer is still to come.
    interim: usize,
}

/// The head of a request to this server. How long it is and whose, the wire says itself, whatever its headers say.
pub(super) fn written(request: &Request<Bytes>, authority: &Authority) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    // Not as it is kept: a query alone has no path there.
    let target = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let (method, host) = (request.method().as_str(), authority.as_str());
    for part in [method, " ", &target, " HTTP/1.1\r\nhost: ", host, "\r\n"] {
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

impl Awaited {
    /// The head, taken from what came; none while it isn't whole.
    ///
    /// # Errors
    /// If it is none, is too long, or doesn't say where its body ends.
    pub(super) fn take(&mut self, came: &mut BytesMut) -> Result<Option<Head>, PlainError> {
        while self.is_whole(came) {
            let (length, head) = read(came)?;
            came.advance(length);
            self.seen = 0;
            if !head.status.is_informational() {
                return Ok(Some(head));
            }
            self.interim += 1;
            if self.interim > INTERIM_MAX {
                return Err(PlainError::NoHttp("it says again and again that it is still to come"));
            }
        }
        if came.len() > HEAD_BYTES_MAX { Err(TOO_LONG) } else { Ok(None) }
    }

    /// Whether an empty line came. What was looked at isn't looked at again, so that a head may come in small pieces.
    fn is_whole(&mut self, came: &mut BytesMut) -> bool {
        if self.seen == 0 {
            let blank = came.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            came.advance(blank);
        }
        let from = self.seen.saturating_sub(2);
        self.seen = came.len();
        has_end(&came[from..])
    }
}

/// The head that what came begins with, and how long it is.
fn read(came: &[u8]) -> Result<(usize, Head), PlainError> {
    let mut found = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let parsed = parser.parse_response_with_uninit_headers(&mut answer, came, &mut found);
    let Ok(httparse::Status::Complete(length)) = parsed else {
        return Err(PlainError::NoHttp("its head can't be read"));
    };
    if length > HEAD_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(PlainError::NoHttp("there is no such status"))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(PlainError::NoHttp("it goes on in a protocol that nobody asked for"));
    }
    let mut headers = headers(answer.headers)?;
    let framing = framing(status, &headers)?;
    let is_kept = answer.version == Some(1) && is_kept(&headers);
    if headers.contains_key(TRANSFER_ENCODING) {
        // Nobody is to go by it.
        headers.remove(CONTENT_LENGTH);
    }
    Ok((length, Head { status, headers, framing, is_kept }))
}

/// Whether an empty line stands in this.
fn has_end(text: &[u8]) -> bool {
    let is_end = |at: usize| matches!(text[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]);
    memchr::memchr_iter(b'\n', text).any(is_end)
}

fn headers(found: &[httparse::Header<'_>]) -> Result<HeaderMap, PlainError> {
    let mut headers = HeaderMap::with_capacity(found.len());
    for httparse::Header { name, value } in found {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(PlainError::NoHttp("one of its headers can't be read"));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// Where a body ends (RFC 9112, 6.3).
fn framing(status: StatusCode, headers: &HeaderMap) -> Result<Framing, PlainError> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Length(0));
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        let last = tokens(headers, &TRANSFER_ENCODING).last();
        return Ok(if last.is_some_and(|last| last.eq_ignore_ascii_case("chunked")) {
            Framing::Chunked(Chunk::Size)
        } else {
            Framing::UntilClosed
        });
    }
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for said in value.as_bytes().split(|byte| *byte == b',') {
            let said = digits(said.trim_ascii()).ok_or(PlainError::NoHttp("its length is no number"))?;
            if length.replace(said).is_some_and(|before| before != said) {
                return Err(PlainError::NoHttp("it has two lengths"));
            }
        }
    }
    Ok(length.map_or(Framing::UntilClosed, Framing::Length))
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

    fn taken(text: &str) -> Result<Option<Head>, PlainError> {
        Awaited::default().take(&mut BytesMut::from(text))
    }

    fn framed(headers: &str) -> Result<(Framing, bool), PlainError> {
        taken(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).map(|head| {
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
        let hints = format!("\r\nHTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n", "x".repeat(200));
        let text = format!("{hints}HTTP/1.1 404 No\r\nA: 1\r\na: 2\r\n\r\n");
        for piece in
            (1..=text.len()).filter(|piece| *piece < 9 || piece % 50 == 0 || *piece + 60 > text.len())
        {
            let (mut awaited, mut came, mut head) = (Awaited::default(), BytesMut::new(), None);
            for piece in text.as_bytes().chunks(piece) {
                assert!(head.is_none(), "it was whole before its end");
                came.extend_from_slice(piece);
                head = awaited.take(&mut came).unwrap();
            }
            let head = head.unwrap_or_else(|| panic!("in pieces of {piece}"));
            assert_eq!(head.status, 404);
            assert_eq!(head.headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
            assert!(came.is_empty());
        }
        let mut came = BytesMut::from("HTTP/1.1 200 OK\n\nrest");
        assert!(Awaited::default().take(&mut came).unwrap().is_some());
        assert_eq!(&came[..], b"rest");
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        for (headers, expect) in [
            ("content-length: 5\r\n", (Framing::Length(5), true)),
            ("content-length: 5, 5\r\nContent-Length: 5\r\n", (Framing::Length(5), true)),
            ("content-length: 5\r\nconnection: x, Close\r\n", (Framing::Length(5), false)),
            ("transfer-encoding: gzip, Chunked\r\n", (Framing::Chunked(Chunk::Size), true)),
            ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", (Framing::Chunked(Chunk::Size), false)),
            ("transfer-encoding: gzip\r\n", (Framing::UntilClosed, true)),
            ("", (Framing::UntilClosed, true)),
        ] {
            assert_eq!(framed(headers).unwrap(), expect, "{headers:?}");
        }
        let empty = taken("HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n").unwrap().unwrap();
        assert_eq!(empty.framing, Framing::Length(0));
        let both = taken("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n")
            .unwrap()
            .unwrap();
        assert!(!both.headers.contains_key(CONTENT_LENGTH), "nobody is to go by it");
        let old = taken("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n").unwrap().unwrap();
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
            assert!(matches!(taken(text), Err(PlainError::NoHttp(_))), "{text:?}");
        }
        let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(INTERIM_MAX + 1);
        assert!(matches!(taken(&interim), Err(PlainError::NoHttp(_))));
        let many = "a: 1\r\n".repeat(HEADERS_MAX + 1);
        assert!(matches!(framed(&many), Err(PlainError::NoHttp(_))));
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(HEAD_BYTES_MAX));
        assert!(matches!(taken(&long), Err(PlainError::NoHttp("its head is too long"))));
        let whole = format!("{long}\r\n\r\n");
        assert!(matches!(taken(&whole), Err(PlainError::NoHttp("its head is too long"))));
    }
}
