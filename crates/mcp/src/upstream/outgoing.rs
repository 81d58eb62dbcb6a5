//! Messages as an upstream of either era wants them: what the caller says, and around it what the protocol says.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use crate::abilities::Abilities;
use crate::era::{Era, Revision};
use crate::http::{METHOD, NAME, PROTOCOL_VERSION};
use crate::json::{Object, ObjectWriter, Raw, is_alike};
use crate::logging::LogLevel;
use crate::param_headers::ParamHeaders;
use crate::request::{META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_VERSION};

/// A request to an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The method.
    pub method: &'a str,
    /// What it is applied to, as the upstream knows it: what `params` says under `name`, `uri` or `taskId`.
    pub name: Option<&'a str>,
    /// The parameters: an object. Of its `_meta`, what the protocol itself says there is left out, and said anew.
    pub params: Option<&'a Raw>,
    /// Whether somebody wants to hear how far it is.
    pub has_progress: bool,
    /// The least serious log messages that somebody wants, from a modern upstream.
    pub log_level: Option<LogLevel>,
    /// What whoever is asked in between can do; for a modern upstream.
    pub abilities: Abilities,
    /// Which arguments of the tool are said in headers as well, to a modern upstream over HTTP.
    pub mirrored: Option<&'a ParamHeaders>,
    /// Whether whoever asks has the connection alone: what the upstream logs meanwhile, on a stream that all requests share, is
    /// meant for the newest such request.
    pub is_alone: bool,
}

impl<'a> Outgoing<'a> {
    /// A request that nobody hears anything of but its response.
    pub fn new(method: &'a str, params: Option<&'a Raw>) -> Self {
        Self {
            method,
            name: None,
            params,
            has_progress: false,
            log_level: None,
            abilities: Abilities::default(),
            mirrored: None,
            is_alone: false,
        }
    }

    /// The same, applied to something.
    #[must_use]
    pub fn on(self, name: &'a str) -> Self {
        Self { name: Some(name), ..self }
    }
}

/// A request as it goes out.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: i64,
    pub(super) body: Bytes,
    pub(super) headers: HeaderMap,
    pub(super) era: Era,
    /// Whether it begins a session.
    pub(super) begins: bool,
    /// See [`Outgoing::is_alone`].
    pub(super) is_alone: bool,
}

/// A message that nothing comes back for, as it goes out.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) body: Bytes,
    pub(super) headers: HeaderMap,
    /// Whether it ends the handshake of a session.
    pub(super) begins: bool,
}

impl Outgoing<'_> {
    /// This request in the words of a revision.
    pub(super) fn write(&self, id: i64, revision: Revision, client: &Raw) -> Sent {
        let era = revision.era();
        let params = self.params.and_then(Object::of).unwrap_or_else(Object::empty);
        let has_meta = self.has_progress || era == Era::Modern || params.has("_meta");
        let mut object =
            ObjectWriter::new(self.byte_len()).str("jsonrpc", "2.0").int("id", id).str("method", self.method);
        if self.params.is_some() || has_meta {
            object = object.object("params", |object| {
                let object = without_meta(&params, object);
                if !has_meta {
                    return object;
                }
                object.object("_meta", |meta| self.meta(id, &params, (revision, client), meta))
            });
        }
        let mut headers = headers(revision);
        if era == Era::Modern {
            self.mirror(&params, &mut headers);
        }
        let begins = self.method == "initialize";
        if begins {
            // The revision is still to be agreed on.
            headers.remove(PROTOCOL_VERSION);
        }
        Sent { id, body: object.end().into_bytes(), headers, era, begins, is_alone: self.is_alone }
    }

    fn byte_len(&self) -> usize {
        self.params.map_or(0, |params| params.as_bytes().len()) + 512
    }

    fn meta(
        &self,
        id: i64,
        params: &Object,
        (revision, client): (Revision, &Raw),
        meta: ObjectWriter,
    ) -> ObjectWriter {
        let mut meta = said_by_caller(params, meta);
        if self.has_progress {
            meta = meta.int("progressToken", id);
        }
        if revision.era() == Era::Modern {
            meta = modern_meta(meta, revision, client, self.abilities);
            if let Some(level) = self.log_level {
                meta = meta.str(META_LOG_LEVEL, level.as_str());
            }
        }
        meta
    }

    /// Says in headers what a modern body says: the method, what it is applied to, and what the tool wants there.
    fn mirror(&self, params: &Object, headers: &mut HeaderMap) {
        headers.insert(METHOD, value(self.method));
        if let Some(name) = self.name {
            headers.insert(NAME, value(name));
        }
        if let Some(mirrored) = self.mirrored {
            let arguments = params.get("arguments").unwrap_or_else(Raw::empty_object);
            for (name, text) in mirrored.of_call(&arguments) {
                headers.insert(name, value(&text));
            }
        }
    }
}

/// A notification in the words of a revision.
pub(super) fn notification(method: &str, params: Option<&Raw>, revision: Revision, client: &Raw) -> Told {
    let mut headers = headers(revision);
    let members = params.and_then(Object::of).unwrap_or_else(Object::empty);
    let object = ObjectWriter::new(256).str("jsonrpc", "2.0").str("method", method);
    let object = if revision.era() == Era::Modern {
        headers.insert(METHOD, value(method));
        object.object("params", |object| {
            without_meta(&members, object).object("_meta", |meta| {
                modern_meta(said_by_caller(&members, meta), revision, client, Abilities::default())
            })
        })
    } else {
        params.into_iter().fold(object, |object, params| object.raw("params", params))
    };
    Told { body: object.end().into_bytes(), headers, begins: method == "notifications/initialized" }
}

/// The headers that every message of a revision carries.
pub(super) fn headers(revision: Revision) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
    headers
}

/// What of `_meta` is the caller's own.
fn said_by_caller(params: &Object, meta: ObjectWriter) -> ObjectWriter {
    const SAID_ANEW: [&str; 5] =
        [META_VERSION, META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, "progressToken"];
    let Some(said) = params.get_object("_meta") else { return meta };
    let own = said.iter().filter(|member| !SAID_ANEW.iter().any(|key| is_alike(&member.key(), key)));
    own.fold(meta, ObjectWriter::member)
}

fn modern_meta(meta: ObjectWriter, revision: Revision, client: &Raw, abilities: Abilities) -> ObjectWriter {
    meta.str(META_VERSION, revision.as_str())
        .raw(META_CAPABILITIES, &abilities.to_capabilities())
        .raw(META_CLIENT, client)
}

/// The members as they are, but for `_meta`, and what a careless reader takes for it.
fn without_meta(params: &Object, object: ObjectWriter) -> ObjectWriter {
    params.iter().filter(|member| !is_alike(&member.key(), "_meta")).fold(object, ObjectWriter::member)
}

/// Text as the value of a header (2026-07-28, basic/transports): as it is if that can be said in a header and is not
/// taken for something else, encoded if not.
pub fn value(text: &str) -> HeaderValue {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim() == text
        && !text.starts_with("=?base64?");
    let said =
        if is_plain { Cow::Borrowed(text) } else { format!("=?base64?{}?=", STANDARD.encode(text)).into() };
    HeaderValue::from_str(&said).expect("visible ASCII and blanks are the value of a header")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn client() -> Raw {
        Raw::of(&json!({"name": "us", "version": "1"})).unwrap()
    }

    fn written(outgoing: &Outgoing<'_>, revision: Revision) -> (Value, HeaderMap) {
        let Sent { body, headers, .. } = outgoing.write(7, revision, &client());
        (serde_json::from_slice(&body).unwrap(), headers)
    }

    #[test]
    fn what_the_caller_says_passes_and_what_the_protocol_says_is_said_anew() {
        let params = Raw::of(&json!({
            "name": "t", "arguments": {"n": 1.0}, "unknown": [1], "_META": {"progressToken": 9},
            "_meta": {"own": "x", "progressToken": "theirs", "ProgressToken": 9, "traceparent": "00-a",
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "them"}},
        }))
        .unwrap();
        let outgoing = Outgoing { has_progress: true, ..Outgoing::new("tools/call", Some(&params)).on("t") };
        let (legacy, headers) = written(&outgoing, Revision::V2025_11_25);
        assert_eq!(
            legacy,
            json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
                "name": "t", "arguments": {"n": 1.0}, "unknown": [1],
                "_meta": {"own": "x", "traceparent": "00-a", "progressToken": 7}}})
        );
        assert!(headers.get("mcp-name").is_none() && headers["mcp-protocol-version"] == "2025-11-25");
        let (modern, headers) = written(&outgoing, Revision::V2026_07_28);
        assert_eq!(
            modern["params"]["_meta"],
            json!({"own": "x", "traceparent": "00-a", "progressToken": 7,
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "us", "version": "1"}})
        );
        assert_eq!((&headers["mcp-method"], &headers["mcp-name"]), (&value("tools/call"), &value("t")));
    }

    #[test]
    fn a_request_without_parameters_has_them_only_where_they_are_needed() {
        let outgoing = Outgoing::new("tools/list", None);
        let (legacy, _) = written(&outgoing, Revision::V2025_03_26);
        assert_eq!(legacy, json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"}));
        let (modern, _) = written(&outgoing, Revision::V2026_07_28);
        assert!(modern["params"]["_meta"].is_object(), "{modern}");
    }

    #[test]
    fn arguments_are_said_in_headers_where_the_tool_wants_it() {
        let schema = Raw::of(&json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "count": {"type": "integer", "x-mcp-header": "Count"},
            "deep": {"type": "object", "properties": {"on": {"type": "boolean", "x-mcp-header": "On"}}},
            "left": {"type": "string", "x-mcp-header": "Left"},
        }}))
        .unwrap();
        let mirrored = ParamHeaders::of(&schema).unwrap();
        let params = Raw::parse(
            r#"{"name":"t","arguments":{"region":" Zürich","count":4.2e1,"deep":{"on":true},"left":null}}"#,
            crate::limits::JSON,
        )
        .unwrap();
        let outgoing =
            Outgoing { mirrored: Some(&mirrored), ..Outgoing::new("tools/call", Some(&params)).on("t") };
        let (_, headers) = written(&outgoing, Revision::V2026_07_28);
        let arguments = Object::of(&params).unwrap().get("arguments").unwrap();
        assert_eq!(mirrored.check(&headers, &arguments), Ok(()));
        assert_eq!(headers["mcp-param-count"], "42");
        assert_eq!(headers["mcp-param-region"], "=?base64?IFrDvHJpY2g=?=");
        assert!(headers.get("mcp-param-left").is_none());
        let (_, headers) = written(&outgoing, Revision::V2025_11_25);
        assert!(headers.get("mcp-param-count").is_none());
    }

    #[test]
    fn a_value_that_a_header_cannot_say_is_encoded() {
        for (text, expect) in [
            ("plain name", "plain name"),
            ("", ""),
            (" x", "=?base64?IHg=?="),
            ("a\nb", "=?base64?YQpi?="),
            ("=?base64?x?=", "=?base64?PT9iYXNlNjQ/eD89?="),
            ("ä", "=?base64?w6Q=?="),
        ] {
            assert_eq!(value(text), expect, "{text:?}");
        }
    }
}
