//! Requests as either era writes them, read into one form that nothing behind has to tell apart.

use std::borrow::Cow;
use std::sync::Arc;

use crate::envelope::{Notification, Request, RequestId};
use crate::era::{Era, Revision};
use crate::error::{RpcError, UNSUPPORTED_PROTOCOL_VERSION};
use crate::json::{Object, ObjectWriter, Raw};
use crate::limits::{CLIENT_BYTES_MAX, NAME_BYTES_MAX};
use crate::logging::LogLevel;

/// The key of `_meta` that makes a request modern.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The key of `_meta` for what the client can do.
pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The key of `_meta` for who the client says it is.
pub const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";

/// The key of `_meta` for the log messages that the client wants.
pub const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// What a legacy client and we agreed on; the modern era repeats it in every request.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The revision that is spoken.
    pub revision: Revision,
    /// Who the client says it is; empty if it doesn't.
    pub client: Arc<str>,
    /// The least serious log messages that it wants.
    pub log_level: LogLevel,
}

impl Default for Agreed {
    /// What holds for a client that never said `initialize` to this process.
    fn default() -> Self {
        Self { revision: Revision::ASSUMED_LEGACY, client: Arc::default(), log_level: LogLevel::Info }
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
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Something that is answered at once.
    Question(Question),
    /// A call of a tool.
    Call(CallTool),
}

/// What is answered at once.
#[derive(Clone, Debug)]
pub enum Question {
    /// Legacy: begin a session.
    Initialize {
        /// The revision that will be spoken.
        revision: Revision,
        /// Who the client says it is.
        client: Arc<str>,
    },
    /// Modern: who are you, what can you do.
    Discover,
    /// Legacy: are you there.
    Ping,
    /// Legacy: send log messages from this level on.
    SetLogLevel(LogLevel),
    /// Which tools are there.
    ListTools,
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub struct CallTool {
    /// The name of the tool, as the client knows it.
    pub name: String,
    /// The arguments: an object.
    pub arguments: Raw,
}

/// The parameters of a request, taken apart once.
#[derive(Clone, Debug)]
pub struct Params {
    members: Object,
    meta: Object,
}

impl Params {
    /// The parameters of a request; none are an empty object.
    pub fn of(request: &Request) -> Self {
        let members = request.params.as_ref().and_then(Object::of).unwrap_or_else(Object::empty);
        let meta = members.get_object("_meta").unwrap_or_else(Object::empty);
        Self { members, meta }
    }

    /// Which era the request's own content says it is of.
    pub fn era(&self) -> Era {
        if self.meta.has(META_VERSION) { Era::Modern } else { Era::Legacy }
    }

    /// The parameter of this name, if it is a string.
    pub fn get_str(&self, name: &str) -> Option<Cow<'_, str>> {
        self.members.get_str(name)
    }

    /// The revision that the body names, if it names one.
    pub fn version(&self) -> Option<Cow<'_, str>> {
        self.meta.get_str(META_VERSION)
    }
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
        if !meta.get(META_CAPABILITIES).is_some_and(|raw| raw.is_object()) {
            return Err(missing(META_CAPABILITIES));
        }
        let client = meta.get(META_CLIENT).map(|info| client_name(&info)).unwrap_or_default();
        let log_level = meta.get_str(META_LOG_LEVEL).and_then(|level| LogLevel::find(&level));
        Ok(Self { revision, client, log_level, progress_token: progress_token(meta) })
    }

    /// Reads the `_meta` of a legacy request; the rest was agreed on before.
    pub fn legacy(params: &Params, agreed: Agreed) -> Self {
        let progress_token = progress_token(&params.meta);
        let Agreed { revision, client, log_level } = agreed;
        Self { revision, client, log_level: Some(log_level), progress_token }
    }

    /// The era of the revision.
    pub fn era(&self) -> Era {
        self.revision.era()
    }
}

fn progress_token(meta: &Object) -> Option<Raw> {
    let is_token = |raw: &Raw| matches!(raw.as_bytes().first(), Some(b'"' | b'-' | b'0'..=b'9'));
    meta.get("progressToken").filter(is_token)
}

/// A version that we don't speak in the modern way, with those that we do: what `server/discover` says.
pub fn unsupported_version(requested: &str) -> RpcError {
    let data =
        ObjectWriter::new(120).raw("supported", &Revision::modern_names()).str("requested", requested).end();
    RpcError::new(UNSUPPORTED_PROTOCOL_VERSION, "unsupported protocol version: use one of `data.supported`")
        .with_data(data)
}

/// Name and version of a client as one text, shortened, without control characters.
fn client_name(info: &Raw) -> Arc<str> {
    let info = Object::of(info).unwrap_or_else(Object::empty);
    let [name, version] = ["name", "version"].map(|key| info.get_str(key).unwrap_or_default());
    let mut text = String::with_capacity(name.len() + 1 + version.len());
    for word in [&name, " ", &version] {
        text.extend(word.chars().filter(|character| !character.is_control()));
    }
    let text = text.trim();
    text[..text.floor_char_boundary(CLIENT_BYTES_MAX)].into()
}

impl Ask {
    /// What a request asks for, in the words of its era.
    pub fn read(method: &str, params: &Params, era: Era) -> Result<Self, RpcError> {
        match (method, era) {
            ("initialize", Era::Legacy) => read_initialize(&params.members),
            ("ping", Era::Legacy) => Ok(Self::Question(Question::Ping)),
            ("logging/setLevel", Era::Legacy) => read_level(&params.members),
            ("server/discover", Era::Modern) => Ok(Self::Question(Question::Discover)),
            ("tools/list", _) => Ok(Self::Question(Question::ListTools)),
            ("tools/call", _) => read_call(&params.members).map(Self::Call),
            (method, _) => Err(RpcError::method_not_found(method)),
        }
    }
}

fn read_initialize(params: &Object) -> Result<Ask, RpcError> {
    let asked = params.get_str("protocolVersion").ok_or_else(|| {
        RpcError::invalid_params("`protocolVersion` is missing: name the revision that you speak")
    })?;
    let client = params.get("clientInfo").map(|info| client_name(&info)).unwrap_or_default();
    Ok(Ask::Question(Question::Initialize { revision: Revision::negotiate(&asked), client }))
}

fn read_level(params: &Object) -> Result<Ask, RpcError> {
    params
        .get_str("level")
        .and_then(|level| LogLevel::find(&level))
        .map(|level| Ask::Question(Question::SetLogLevel(level)))
        .ok_or_else(|| {
            RpcError::invalid_params(
                "`level` must be one of debug, info, notice, warning, error, critical, alert, emergency",
            )
        })
}

fn read_call(params: &Object) -> Result<CallTool, RpcError> {
    let name = params.get_str("name").filter(|name| name.len() <= NAME_BYTES_MAX).ok_or_else(|| {
        RpcError::invalid_params("`name` must be a string of at most 256 bytes: name the tool to call")
    })?;
    let arguments = match params.get("arguments") {
        None => Raw::empty_object(),
        Some(raw) if raw.is_null() => Raw::empty_object(),
        Some(raw) if raw.is_object() => raw,
        Some(_) => return Err(RpcError::invalid_params("`arguments` must be an object")),
    };
    Ok(CallTool { name: name.into_owned(), arguments })
}

/// The request that a `notifications/cancelled` speaks of.
pub fn read_cancelled(notification: &Notification) -> Option<RequestId> {
    let params = notification.params.as_ref().and_then(Object::of)?;
    RequestId::read(&params.get("requestId")?).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::envelope::Message;
    use crate::error::{INVALID_PARAMS, METHOD_NOT_FOUND};

    fn request(method: &str, params: &str) -> Request {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        match Message::read(Bytes::from(text)).unwrap() {
            Message::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn params(method: &str, params: &str) -> Params {
        Params::of(&request(method, params))
    }

    fn ask(method: &str, params: &str, era: Era) -> Result<Ask, RpcError> {
        Ask::read(method, &self::params(method, params), era)
    }

    const MODERN: &str = r#"{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":{},"progressToken":"p",
        "io.modelcontextprotocol/clientInfo":{"name":"c\u001b","version":"1"}}}"#;

    #[test]
    fn the_content_of_a_request_tells_its_era() {
        assert_eq!(params("x", MODERN).era(), Era::Modern);
        assert_eq!(params("x", r#"{"_meta":{"progressToken":1}}"#).era(), Era::Legacy);
        assert_eq!(params("x", "{}").era(), Era::Legacy);
    }

    #[test]
    fn a_modern_request_carries_its_context() {
        let context = Context::modern(&params("tools/call", MODERN)).unwrap();
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
            let error = Context::modern(&self::params("tools/list", params)).unwrap_err();
            assert_eq!(error.code, code, "{params}");
        }
        let error = Context::modern(&params("x", &old)).unwrap_err();
        let data: serde_json::Value = error.data.unwrap().view().unwrap();
        assert_eq!(data["requested"], "2025-11-25");
        assert_eq!(data["supported"], serde_json::json!(["2026-07-28"]));
    }

    #[test]
    fn each_era_has_its_own_methods() {
        for (method, era) in [
            ("initialize", Era::Modern),
            ("ping", Era::Modern),
            ("server/discover", Era::Legacy),
            ("tools/Call", Era::Legacy),
            ("nope", Era::Modern),
        ] {
            let error = ask(method, "{}", era).unwrap_err();
            assert_eq!(error.code, METHOD_NOT_FOUND, "{method}");
        }
    }

    #[test]
    fn a_call_may_come_without_arguments_and_not_without_a_name() {
        for params in
            [r#"{"name":"t"}"#, r#"{"name":"t","arguments":null}"#, r#"{"name":"t","arguments":{}}"#]
        {
            let Ok(Ask::Call(call)) = ask("tools/call", params, Era::Legacy) else { panic!("{params}") };
            assert_eq!((call.name.as_str(), call.arguments.as_str()), ("t", "{}"));
        }
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(257));
        for params in ["{}", &long, r#"{"name":1}"#, r#"{"name":"t","arguments":[]}"#] {
            let error = ask("tools/call", params, Era::Legacy).unwrap_err();
            assert_eq!(error.code, INVALID_PARAMS, "{params}");
        }
    }
}
