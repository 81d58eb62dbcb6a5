//! Target `headers`: what headers and body of one HTTP request say together. The input is written like
//! a request without its first line: headers, an empty line, a body.
//!
//! The rules are said once more, in other words: a modern request is served only if each header that
//! repeats the body stands once and says what the body says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hayward_mcp::envelope::{Message, Request};
use hayward_mcp::era::{Era, Revision};
use hayward_mcp::error::{HEADER_MISMATCH, UNSUPPORTED_PROTOCOL_VERSION};
use hayward_mcp::http::{self as rules, Accepts};
use hayward_mcp::request::Params;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

pub(crate) fn check(input: &[u8]) {
    let (headers, body) = read(input);
    check_media(&headers);
    if let Ok(Message::Request(request)) = Message::read(Bytes::copy_from_slice(body)) {
        check_era(&headers, &request);
    }
}

/// The headers up to an empty line, as many as can be sent, and what stands behind it.
pub(crate) fn read(input: &[u8]) -> (HeaderMap, &[u8]) {
    let mut headers = HeaderMap::new();
    let mut rest = input;
    while rest.contains(&b'\n') {
        let (found, behind) = line(rest);
        rest = behind;
        if found.is_empty() {
            break;
        }
        if let Some((name, value)) = header(found) {
            headers.append(name, value);
        }
    }
    (headers, rest)
}

/// The first line, and what stands behind it.
pub(crate) fn line(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &[]),
    }
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
}

fn check_media(headers: &HeaderMap) {
    let list = |name: HeaderName| -> Vec<String> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.map(str::to_ascii_lowercase).collect()
    };
    let accepts = Accepts::of(headers);
    let (accepted, has_any) = (list(ACCEPT).join(","), headers.contains_key(ACCEPT));
    let names = |media: &str| accepted.contains(media);
    let is_json_named = ["application/json", "application/*", "*/*"].iter().any(|media| names(media));
    assert!(!accepts.json || !has_any || is_json_named, "{accepted}");
    assert!(!accepts.events || names("text/event-stream"), "{accepted}");
    if rules::is_json(headers) {
        assert_eq!(headers.get_all(CONTENT_TYPE).iter().count(), 1);
        assert!(list(CONTENT_TYPE).concat().trim_start().starts_with("application/json"));
    }
    if let Some(session) = rules::session_id(headers) {
        assert!(!session.is_empty() && session.is_ascii());
    }
}

fn check_era(headers: &HeaderMap, request: &Request) {
    let params = Params::of(request);
    match rules::era_of(headers, &request.method, &params) {
        Ok(Era::Modern) => check_modern(headers, request, &params),
        Ok(Era::Legacy) => check_legacy(headers, request, &params),
        Err(error) => {
            assert!([HEADER_MISMATCH, UNSUPPORTED_PROTOCOL_VERSION].contains(&error.code), "{error}");
            assert_eq!(rules::status_of_code(Era::Modern, error.code), StatusCode::BAD_REQUEST);
        }
    }
}

fn check_modern(headers: &HeaderMap, request: &Request, params: &Params) {
    assert_eq!(only(headers, &rules::METHOD), Some(request.method.as_str()));
    let version = only(headers, &rules::PROTOCOL_VERSION);
    match params.version() {
        Some(in_body) => assert_eq!(version, Some(&*in_body)),
        // Without a version that can be compared, `_meta` or the header makes it modern all the same.
        None => assert!(params.era() == Era::Modern || is_spoken(version, Era::Modern)),
    }
    let key = match request.method.as_str() {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return,
    };
    if let Some(name) = params.get_str(key) {
        let header = only(headers, &rules::NAME).expect("a name of the body is repeated");
        let encoded = format!("=?base64?{}?=", STANDARD.encode(&*name));
        assert!(header == name || header == encoded, "{header} {name}");
    }
}

fn check_legacy(headers: &HeaderMap, request: &Request, params: &Params) {
    assert_eq!(params.era(), Era::Legacy);
    let version = only(headers, &rules::PROTOCOL_VERSION);
    assert!(version.is_none() || request.method == "initialize" || is_spoken(version, Era::Legacy));
    assert!(headers.get_all(rules::PROTOCOL_VERSION).iter().count() <= 1);
}

fn is_spoken(version: Option<&str>, era: Era) -> bool {
    version.and_then(Revision::find).is_some_and(|revision| revision.era() == era)
}

/// The value of a header that stands exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.trim())
}
