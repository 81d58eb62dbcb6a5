//! What a request says beside what it asks for: its revision, its client, what that can do and wants to hear.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Params, Question};
use crate::abilities::{Abilities, Ability};
use crate::era::{Era, Revision};
use crate::error::{RpcError, UNSUPPORTED_PROTOCOL_VERSION};
use crate::json::{Object, ObjectWriter, Raw};
use crate::limits::{CLIENT_BYTES_MAX, ID_BYTES_MAX};
use crate::logging::LogLevel;

/// The key of `_meta` that makes a request modern.
pub(crate) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The key of `_meta` for what the client can do.
pub(crate) const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The key of `_meta` for who the client says it is.
pub(crate) const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";

/// The key of `_meta` for the log messages that the client wants.
pub(crate) const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// The key of `_meta` under which a call may be repeated without doing it twice; ours.
pub const META_IDEMPOTENCY_KEY: &str = "hayward/idempotencyKey";

/// What a legacy client and we agreed on; the modern era repeats it in every request.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The revision that is spoken.
    pub revision: Revision,
    /// Who the client says it is; empty if it doesn't.
    pub client: Arc<str>,
    /// The least serious log messages that it wants.
    pub log_level: LogLevel,
    /// What it can do when it is asked.
    pub abilities: Abilities,
}

impl Agreed {
    /// What is agreed on with this question, if it begins a session.
    pub fn by(question: &Question) -> Option<Self> {
        match question {
            Question::Initialize { revision, client, abilities } => Some(Self {
                revision: *revision,
                client: Arc::clone(client),
                abilities: *abilities,
                ..Self::default()
            }),
            _ => None,
        }
    }
}

impl Default for Agreed {
    /// What holds for a client that never said `initialize` to this process.
    fn default() -> Self {
        Self {
            revision: Revision::ASSUMED_LEGACY,
            client: Arc::default(),
            log_level: LogLevel::Info,
            abilities: Abilities::default(),
        }
    }
}

/// What a request says beside what it asks for.
#[derive(Clone, Debug)]
pub struct Context {
    /// The revision that it speaks.
    pub revision: Revision,
    /// Who the client says it is; empty if it doesn't.
    pub client: Arc<str>,
    /// The least serious log messages that the client wants; none if it wants no log messages.
    pub log_level: Option<LogLevel>,
    /// What to send progress under, if the client wants any: a string or a number.
    pub progress_token: Option<Raw>,
    /// What the client can do when it is asked.
    pub abilities: Abilities,
    /// The trace that the request is part of (W3C `traceparent`), as the client says; unchecked.
    pub trace_parent: Option<String>,
}
impl Context {
    /// Reads the `_meta` of a modern request: version and capabilities are required.
    pub fn modern(params: &Params) -> Result<Self, RpcError> {
        let meta = &params.meta;
        let missing = |key: &str| {
            RpcError::invalid_params(format!("`_meta` lacks `{key}`, which every request carries"))
        };
        let version = meta.get_str(META_VERSION).ok_or_else(|| missing(META_VERSION))?;
        let revision = Revision::find(&version)
            .filter(|revision| revision.era() == Era::Modern)
            .ok_or_else(|| unsupported_version(&version))?;
        let capabilities =
            meta.get(META_CAPABILITIES).filter(Raw::is_object).ok_or_else(|| missing(META_CAPABILITIES))?;
        let client = meta.get(META_CLIENT).map(|info| client_name(&info)).unwrap_or_default();
        let log_level = meta.get_str(META_LOG_LEVEL).and_then(|level| LogLevel::find(&level));
        Ok(Self {
            revision,
            client,
            log_level,
            progress_token: progress_token(meta),
            abilities: Abilities::of(&capabilities),
            trace_parent: trace_parent(meta),
        })
    }

    /// Reads the `_meta` of a legacy request; the rest was agreed on before.
    pub fn legacy(params: &Params, agreed: Agreed) -> Self {
        let Agreed { revision, client, log_level, abilities } = agreed;
        let (progress_token, trace_parent) = (progress_token(&params.meta), trace_parent(&params.meta));
        // An extension of the modern era.
        let abilities = abilities.without(Ability::Tasks);
        Self { revision, client, log_level: Some(log_level), progress_token, abilities, trace_parent }
    }

    /// The era of the revision.
    pub fn era(&self) -> Era {
        self.revision.era()
    }
}

fn progress_token(meta: &Object) -> Option<Raw> {
    // It is repeated in every message, and outlives the request that it came in.
    let is_token = |raw: &Raw| {
        raw.as_bytes().len() <= ID_BYTES_MAX
            && matches!(raw.as_bytes().first(), Some(b'"' | b'-' | b'0'..=b'9'))
    };
    meta.get("progressToken").filter(is_token).map(|raw| raw.detached())
}

/// What it says is for the log only, so whatever has another form than the field's one version is left out.
fn trace_parent(meta: &Object) -> Option<String> {
    meta.get_str("traceparent").filter(|text| is_trace_parent(text)).map(Cow::into_owned)
}

/// Version, trace, parent and flags in lower case (W3C Trace Context, 3.2); neither of the ids is all zeros.
fn is_trace_parent(text: &str) -> bool {
    const BYTES: usize = 55;
    let is_hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_id = |part: &str, len: usize| is_hex(part, len) && part.bytes().any(|b| b != b'0');
    if text.len() != BYTES {
        return false;
    }
    match text.split('-').collect::<Vec<_>>()[..] {
        ["00", trace, parent, flags] => is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2),
        _ => false,
    }
}

/// A version that we don't speak in the modern way, with those that we do: what `server/discover` says.
pub fn unsupported_version(requested: &str) -> RpcError {
    let data =
        ObjectWriter::new(120).raw("supported", &Revision::modern_names()).str("requested", requested).end();
    RpcError::new(UNSUPPORTED_PROTOCOL_VERSION, "unsupported protocol version: use one of `data.supported`")
        .with_data(data)
}

/// Name and version of a client as one text, shortened, without control characters.
pub(super) fn client_name(info: &Raw) -> Arc<str> {
    let info = Object::of(info).unwrap_or_else(Object::empty);
    let [name, version] = ["name", "version"].map(|key| info.get_str(key).unwrap_or_default());
    let mut text = String::with_capacity(name.len() + 1 + version.len());
    for word in [&name, " ", &version] {
        text.extend(word.chars().filter(|character| !character.is_control()));
    }
    let text = text.trim();
    text[..text.floor_char_boundary(CLIENT_BYTES_MAX)].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::INVALID_PARAMS;

    const MODERN: &str = r#"{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":{},"progressToken":"p",
        "io.modelcontextprotocol/clientInfo":{"name":"c\u001b","version":"1"}}}"#;

    #[test]
    fn a_modern_request_carries_its_context() {
        let context = Context::modern(&Params::for_test(MODERN)).unwrap();
        assert_eq!(context.revision, Revision::V2026_07_28);
        assert_eq!(&*context.client, "c 1");
        assert_eq!(context.progress_token.unwrap().as_str(), "\"p\"");
    }

    #[test]
    fn a_modern_request_without_its_context_is_refused() {
        let no_capabilities = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
        let old = no_capabilities.replace("2026-07-28", "2025-11-25");
        for (params, code) in
            [("{}", INVALID_PARAMS), (no_capabilities, INVALID_PARAMS), (&old, UNSUPPORTED_PROTOCOL_VERSION)]
        {
            let error = Context::modern(&Params::for_test(params)).unwrap_err();
            assert_eq!(error.code, code, "{params}");
        }
        let error = Context::modern(&Params::for_test(&old)).unwrap_err();
        let data: serde_json::Value = error.data.unwrap().view().unwrap();
        assert_eq!(data["requested"], "2025-11-25");
        assert_eq!(data["supported"], serde_json::json!(["2026-07-28"]));
    }

    #[test]
    fn a_trace_is_kept_if_it_can_be_one() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (text, is_kept) in [
            (trace, true),
            ("00-x", false),
            ("", false),
            (&"-".repeat(55), false),
            (&"a".repeat(55), false),
            (&trace.replace('0', "\u{e9}"), false),
            (&trace.replace("00-0", "ff-0"), false),
            (&trace.to_uppercase(), false),
            (&trace.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), false),
            (&trace.replace("b7ad6b7169203331", &"0".repeat(16)), false),
            (&format!("{trace}-00"), false),
        ] {
            let params =
                MODERN.replace("\"progressToken\"", &format!("\"traceparent\":\"{text}\",\"progressToken\""));
            let context = Context::modern(&Params::for_test(&params)).unwrap();
            assert_eq!(context.trace_parent.is_some(), is_kept, "{text}");
        }
    }

    #[test]
    fn a_progress_token_that_is_repeated_in_every_message_is_small() {
        for (token, is_kept) in [("p".to_owned(), true), ("x".repeat(ID_BYTES_MAX), false)] {
            let params = Params::for_test(&MODERN.replace("\"p\"", &format!("\"{token}\"")));
            assert_eq!(
                Context::modern(&params).unwrap().progress_token.is_some(),
                is_kept,
                "{}",
                token.len()
            );
        }
    }
}
