//! The rules of Streamable HTTP that depend on headers, for both eras.
//!
//! The body is the truth and headers only repeat it; a modern request whose headers say something
//! else is refused, so that nobody routes on one and executes the other. Works on values of the
//! `http` crate and never opens a socket.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::era::{Era, Revision};
use crate::error::{
    HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND,
    MISSING_CLIENT_CAPABILITY, PARSE_ERROR, RpcError, UNSUPPORTED_PROTOCOL_VERSION,
};
use crate::request::{Params, unsupported_version};

/// The session of a legacy request.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The revision that a request speaks.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Modern: the method of the body.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// Modern: what the method is applied to.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Which forms of an answer a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// `application/json`.
    pub json: bool,
    /// `text/event-stream`.
    pub events: bool,
}

impl Accepts {
    /// Reads `Accept`; a client that names nothing takes JSON.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut accepts = Self { json: false, events: false };
        let mut has_any = false;
        for value in headers.get_all(http::header::ACCEPT) {
            for range in value.to_str().unwrap_or_default().split(',') {
                has_any = true;
                let media = range.split(';').next().unwrap_or_default().trim();
                accepts.json |= is_any(media, &["application/json", "application/*", "*/*"]);
                accepts.events |= media.eq_ignore_ascii_case("text/event-stream");
            }
        }
        if has_any { accepts } else { Self { json: true, events: false } }
    }
}

fn is_any(media: &str, names: &[&str]) -> bool {
    names.iter().any(|name| media.eq_ignore_ascii_case(name))
}

/// Whether a body is declared as JSON, and as nothing else.
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(http::header::CONTENT_TYPE).iter();
    let media = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    values.next().is_none()
        && is_any(media.split(';').next().unwrap_or_default().trim(), &["application/json"])
}

/// The era of a request, and the check that its headers agree with its body.
///
/// A body with modern `_meta` is modern; so is one whose header names a revision that isn't a
/// legacy one, so that a client of a revision still to come is told which ones there are.
pub fn era_of(headers: &HeaderMap, method: &str, params: &Params) -> Result<Era, RpcError> {
    let version = header(headers, &PROTOCOL_VERSION)?;
    let revision = version.and_then(Revision::find);
    let era = match (params.era(), version) {
        (Era::Modern, _) => Era::Modern,
        // `initialize` negotiates in its body; whatever header comes along is of no weight.
        (Era::Legacy, _) if method == "initialize" => Era::Legacy,
        (Era::Legacy, None) => Era::Legacy,
        (Era::Legacy, Some(version)) => {
            revision.map(Revision::era).ok_or_else(|| unsupported_version(version))?
        }
    };
    if era == Era::Modern {
        check_modern(headers, method, params, version)?;
    }
    Ok(era)
}

fn check_modern(
    headers: &HeaderMap,
    method: &str,
    params: &Params,
    version: Option<&str>,
) -> Result<(), RpcError> {
    // A missing `_meta` is told as such; with one, header and body have to name one version.
    if let Some(in_body) = params.version() {
        expect(&PROTOCOL_VERSION, version, &in_body)?;
    }
    expect(&METHOD, header(headers, &METHOD)?, method)?;
    let key = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return Ok(()),
    };
    // A name that is missing in the body is a fault of the parameters, not of the header.
    match params.get_str(key) {
        Some(name) => expect(&NAME, encoded_header(headers, &NAME)?.as_deref(), &name),
        None => Ok(()),
    }
}

/// A header that may stand once. Twice is a mismatch: two readers could take different ones.
fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, RpcError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(mismatch(name, "stands more than once"));
    }
    let text = value.to_str().map_err(|_| mismatch(name, "holds characters beyond ASCII"))?;
    Ok(Some(text.trim()))
}

/// A header that may stand once, and whose value comes as `=?base64?…?=` if it isn't plain ASCII.
pub(crate) fn encoded_header<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<Cow<'a, str>>, RpcError> {
    let Some(value) = header(headers, name)? else {
        return Ok(None);
    };
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(Some(Cow::Borrowed(value)));
    };
    let bytes = STANDARD.decode(encoded).map_err(|_| mismatch(name, "is not valid base64"))?;
    String::from_utf8(bytes).map(|text| Some(Cow::Owned(text))).map_err(|_| mismatch(name, "is not UTF-8"))
}

fn expect(name: &HeaderName, given: Option<&str>, in_body: &str) -> Result<(), RpcError> {
    match given {
        Some(given) if given == in_body => Ok(()),
        Some(_) => Err(mismatch(name, "differs from the body")),
        None => Err(mismatch(name, "is missing")),
    }
}

pub(crate) fn mismatch(name: &HeaderName, what: &str) -> RpcError {
    let name = match name.as_str() {
        "mcp-protocol-version" => "MCP-Protocol-Version",
        "mcp-method" => "Mcp-Method",
        "mcp-name" => "Mcp-Name",
        other => other,
    };
    RpcError::new(
        HEADER_MISMATCH,
        format!("header mismatch: `{name}` {what}; headers repeat what the body says"),
    )
}

/// The revision that the header of a legacy request names, if it names one that we speak.
pub fn named_revision(headers: &HeaderMap) -> Option<Revision> {
    headers
        .get(PROTOCOL_VERSION)
        .and_then(|value| value.to_str().ok())
        .and_then(|version| Revision::find(version.trim()))
}

/// The status of an answer that is an error of this code. On the legacy path a 404 would mean that the session is
/// gone, so there only what isn't a message at all is more than a 200.
pub fn status_of_code(era: Era, code: i64) -> StatusCode {
    match (era, code) {
        (_, PARSE_ERROR | INVALID_REQUEST | UNSUPPORTED_PROTOCOL_VERSION)
        | (Era::Modern, INVALID_PARAMS | HEADER_MISMATCH | MISSING_CLIENT_CAPABILITY) => {
            StatusCode::BAD_REQUEST
        }
        (Era::Modern, METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        (Era::Modern, INTERNAL_ERROR) => StatusCode::INTERNAL_SERVER_ERROR,
        // Our own codes are those of HTTP; these two tell whatever stands between to send less, or later.
        (Era::Modern, 429) => StatusCode::TOO_MANY_REQUESTS,
        (Era::Modern, 503) => StatusCode::SERVICE_UNAVAILABLE,
        (Era::Legacy | Era::Modern, _) => StatusCode::OK,
    }
}

/// The session that a request names, if it names one that could be ours.
pub fn session_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION_ID).and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::envelope::{Message, Request};

    fn request(method: &str, params: &str) -> Request {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        match Message::read(Bytes::from(text)).unwrap() {
            Message::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn era(headers: &HeaderMap, request: &Request) -> Result<Era, RpcError> {
        era_of(headers, &request.method, &Params::of(request))
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;

    #[test]
    fn accept_is_read_as_browsers_and_scripts_write_it() {
        let both = Accepts { json: true, events: true };
        let json = Accepts { json: true, events: false };
        for (value, expect) in [
            ("application/json, text/event-stream", both),
            ("text/event-stream;q=0.9, APPLICATION/JSON", both),
            ("*/*", json),
            ("application/*", json),
            ("text/event-stream", Accepts { json: false, events: true }),
            ("text/html", Accepts { json: false, events: false }),
        ] {
            assert_eq!(Accepts::of(&headers(&[("accept", value)])), expect, "{value}");
        }
        assert_eq!(Accepts::of(&HeaderMap::new()), json);
    }

    #[test]
    fn a_modern_request_has_headers_that_agree() {
        let call = request("tools/call", &format!(r#"{{"name":"ä",{META}}}"#));
        let version = ("mcp-protocol-version", "2026-07-28");
        let good = headers(&[version, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?w6Q=?=")]);
        assert_eq!(era(&good, &call), Ok(Era::Modern));
        for bad in [
            &[version, ("mcp-method", "tools/call")][..],
            &[version, ("mcp-method", "tools/call"), ("mcp-name", "b")],
            &[version, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?!?=")],
            &[version, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?w6Q=?="), ("mcp-name", "b")],
            &[version, ("mcp-method", "TOOLS/CALL"), ("mcp-name", "=?base64?w6Q=?=")],
            &[version, ("mcp-name", "=?base64?w6Q=?=")],
            &[
                ("mcp-protocol-version", "2025-11-25"),
                ("mcp-method", "tools/call"),
                ("mcp-name", "=?base64?w6Q=?="),
            ],
            &[],
        ] {
            assert_eq!(era(&headers(bad), &call).unwrap_err().code, HEADER_MISMATCH, "{bad:?}");
        }
    }

    #[test]
    fn a_legacy_request_needs_no_headers_and_old_ones_are_ignored() {
        let list = request("tools/list", "{}");
        for given in [&[][..], &[("mcp-protocol-version", "2025-06-18"), ("mcp-method", "other")]] {
            assert_eq!(era(&headers(given), &list), Ok(Era::Legacy));
        }
        let unknown = era(&headers(&[("mcp-protocol-version", "2031-01-01")]), &list).unwrap_err();
        assert_eq!(unknown.code, UNSUPPORTED_PROTOCOL_VERSION);
        let initialize = request("initialize", "{}");
        assert_eq!(era(&headers(&[("mcp-protocol-version", "2031-01-01")]), &initialize), Ok(Era::Legacy));
    }

    #[test]
    fn a_modern_header_over_a_body_without_meta_is_modern() {
        let list = request("tools/list", "{}");
        let given = headers(&[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")]);
        assert_eq!(era(&given, &list), Ok(Era::Modern));
    }

    #[test]
    fn an_unknown_method_is_404_in_the_modern_era_only() {
        let error = RpcError::method_not_found("x");
        assert_eq!(status_of_code(Era::Modern, error.code), StatusCode::NOT_FOUND);
        assert_eq!(status_of_code(Era::Legacy, error.code), StatusCode::OK);
    }

    #[test]
    fn too_much_and_not_now_are_told_in_the_status_in_the_modern_era_only() {
        for code in [429, 503] {
            assert_eq!(status_of_code(Era::Modern, code).as_u16(), u16::try_from(code).unwrap());
            assert_eq!(status_of_code(Era::Legacy, code), StatusCode::OK);
        }
        // These would send a client to log in.
        for code in [401, 403] {
            assert_eq!(status_of_code(Era::Modern, code), StatusCode::OK);
        }
    }

    #[test]
    fn only_json_bodies_are_json() {
        for (value, expect) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/jsonx", false),
        ] {
            assert_eq!(is_json(&headers(&[("content-type", value)])), expect, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
        let json = ("content-type", "application/json");
        assert!(!is_json(&headers(&[json, ("content-type", "text/plain")])), "twice is neither");
    }
}
