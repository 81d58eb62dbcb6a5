//! Requests as either era writes them, read into one form that nothing behind has to tell apart.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::abilities::{Abilities, Ability};
use crate::envelope::{Notification, Request, RequestId};
use crate::era::{Era, Revision};
use crate::error::{RpcError, UNSUPPORTED_PROTOCOL_VERSION};
use crate::input::Answers;
use crate::json::{Object, ObjectWriter, Raw};
use crate::limits::{
    CLIENT_BYTES_MAX, ID_BYTES_MAX, NAME_BYTES_MAX, NAME_SHOWN_CHARS, SUBSCRIBED_BYTES_MAX,
    SUBSCRIBED_URIS_MAX, URI_BYTES_MAX,
};
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
    /// What it can do when it is asked.
    pub abilities: Abilities,
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

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Something that is answered at once.
    Question(Question),
    /// Something at the end of the road.
    Walk(Walk),
    /// Modern: tell of changes until one of us hangs up.
    Listen(Filter),
    /// Modern: something about a task.
    Task(TaskAsk),
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
        /// What it can do when it is asked.
        abilities: Abilities,
    },
    /// Modern: who are you, what can you do.
    Discover,
    /// Legacy: are you there.
    Ping,
    /// Legacy: send log messages from this level on.
    SetLogLevel(LogLevel),
    /// What is there.
    List(List),
    /// Legacy: tell of changes of this resource.
    Subscribe(String),
    /// Legacy: tell of them no more.
    Unsubscribe(String),
}

/// The lists that a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// Tools.
    Tools,
    /// Resources with an URI of their own.
    Resources,
    /// Templates of further resources.
    Templates,
    /// Prompts.
    Prompts,
}

/// What can be done with what lies at the end of the road.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// Call a tool.
    CallTool,
    /// Read a resource.
    ReadResource,
    /// Get a prompt.
    GetPrompt,
    /// Complete an argument of a prompt.
    CompletePrompt,
    /// Complete a variable of a template.
    CompleteTemplate,
}

impl Verb {
    /// The method of the protocol.
    pub const fn method(self) -> &'static str {
        match self {
            Self::CallTool => "tools/call",
            Self::ReadResource => "resources/read",
            Self::GetPrompt => "prompts/get",
            Self::CompletePrompt | Self::CompleteTemplate => "completion/complete",
        }
    }
}

/// Something at the end of the road.
#[derive(Clone, Debug)]
pub struct Walk {
    /// What to do with it.
    pub verb: Verb,
    /// Its name, as the client knows it; the URI of a resource or of a template.
    pub name: String,
    /// The arguments: an object. Those of a completion hold `argument` and perhaps `context`.
    pub arguments: Raw,
    /// What the client sends along from the last round.
    pub answers: Answers,
}

/// What a modern client wants to be told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Changes of the list of tools.
    pub tools: bool,
    /// Changes of the list of prompts.
    pub prompts: bool,
    /// Changes of the lists of resources and of templates.
    pub resources: bool,
    /// Changes of these resources.
    pub uris: Vec<String>,
    /// What becomes of these tasks.
    pub tasks: Vec<String>,
}

/// Something about a task (SEP-2663).
#[derive(Clone, Debug)]
pub enum TaskAsk {
    /// How far it is.
    Get(String),
    /// Here is what it asked for.
    Update(String, Answers),
    /// End it.
    Cancel(String),
}

impl TaskAsk {
    /// The method of the protocol.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Get(_) => "tasks/get",
            Self::Update(..) => "tasks/update",
            Self::Cancel(_) => "tasks/cancel",
        }
    }
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
        let members = &params.members;
        match (method, era) {
            ("tools/call", _) => read_call(members).map(Self::Walk),
            ("initialize", Era::Legacy) => read_initialize(members).map(Self::Question),
            ("ping", Era::Legacy) => Ok(Self::Question(Question::Ping)),
            ("logging/setLevel", Era::Legacy) => read_level(members).map(Self::Question),
            ("resources/subscribe", Era::Legacy) => {
                read_uri(members).map(|uri| Self::Question(Question::Subscribe(uri)))
            }
            ("resources/unsubscribe", Era::Legacy) => {
                read_uri(members).map(|uri| Self::Question(Question::Unsubscribe(uri)))
            }
            ("server/discover", Era::Modern) => Ok(Self::Question(Question::Discover)),
            ("subscriptions/listen", Era::Modern) => read_filter(members).map(Self::Listen),
            ("tasks/get", Era::Modern) => read_task(members).map(|id| Self::Task(TaskAsk::Get(id))),
            ("tasks/cancel", Era::Modern) => read_task(members).map(|id| Self::Task(TaskAsk::Cancel(id))),
            ("tasks/update", Era::Modern) => read_update(members).map(Self::Task),
            ("tools/list", _) => read_list(members, List::Tools),
            ("resources/list", _) => read_list(members, List::Resources),
            ("resources/templates/list", _) => read_list(members, List::Templates),
            ("prompts/list", _) => read_list(members, List::Prompts),
            ("resources/read", _) => read_resource(members).map(Self::Walk),
            ("prompts/get", _) => read_prompt(members).map(Self::Walk),
            ("completion/complete", _) => read_completion(members).map(Self::Walk),
            (method, _) => Err(RpcError::method_not_found(method)),
        }
    }
}

fn read_initialize(params: &Object) -> Result<Question, RpcError> {
    let asked = params.get_str("protocolVersion").ok_or_else(|| {
        RpcError::invalid_params("`protocolVersion` is missing: name the revision that you speak")
    })?;
    let client = params.get("clientInfo").map(|info| client_name(&info)).unwrap_or_default();
    let abilities = params.get("capabilities").map(|raw| Abilities::of(&raw)).unwrap_or_default();
    Ok(Question::Initialize { revision: Revision::negotiate(&asked), client, abilities })
}

fn read_level(params: &Object) -> Result<Question, RpcError> {
    let level = params.get_str("level").and_then(|level| LogLevel::find(&level));
    level.map(Question::SetLogLevel).ok_or_else(|| {
        RpcError::invalid_params(
            "`level` must be one of debug, info, notice, warning, error, critical, alert, emergency",
        )
    })
}

/// Every list is on one page, so no cursor is ever ours.
fn read_list(params: &Object, list: List) -> Result<Ask, RpcError> {
    match params.get("cursor") {
        Some(cursor) if !cursor.is_null() => {
            Err(RpcError::invalid_params("unknown `cursor`: the whole list is on the first page"))
        }
        _ => Ok(Ask::Question(Question::List(list))),
    }
}

fn read_call(params: &Object) -> Result<Walk, RpcError> {
    let name = read_name(params, "name the tool to call")?;
    let arguments = read_arguments(params)?;
    Ok(Walk { verb: Verb::CallTool, name, arguments, answers: Answers::of(params)? })
}

fn read_name(params: &Object, what: &str) -> Result<String, RpcError> {
    let name = params.get_str("name").filter(|name| name.len() <= NAME_BYTES_MAX);
    name.map(Cow::into_owned).ok_or_else(|| {
        RpcError::invalid_params(format!("`name` must be a string of at most 256 bytes: {what}"))
    })
}

fn read_arguments(params: &Object) -> Result<Raw, RpcError> {
    match params.get("arguments") {
        None => Ok(Raw::empty_object()),
        Some(raw) if raw.is_null() => Ok(Raw::empty_object()),
        Some(raw) if raw.is_object() => Ok(raw),
        Some(_) => Err(RpcError::invalid_params("`arguments` must be an object")),
    }
}

fn read_uri(params: &Object) -> Result<String, RpcError> {
    let uri = params.get_str("uri").filter(|uri| is_uri(uri));
    uri.map(Cow::into_owned).ok_or_else(|| {
        RpcError::invalid_params("`uri` must be the URI of a resource, as resources/list names it")
    })
}

fn is_uri(text: &str) -> bool {
    !text.is_empty() && text.len() <= URI_BYTES_MAX && !text.contains(|c: char| c.is_control())
}

fn read_resource(params: &Object) -> Result<Walk, RpcError> {
    let (name, answers) = (read_uri(params)?, Answers::of(params)?);
    Ok(Walk { verb: Verb::ReadResource, name, arguments: Raw::empty_object(), answers })
}

fn read_prompt(params: &Object) -> Result<Walk, RpcError> {
    let name = read_name(params, "name the prompt to get")?;
    let arguments = read_arguments(params)?;
    let members = Object::of(&arguments).unwrap_or_else(Object::empty);
    if let Some(member) = members.iter().find(|member| member.text().is_none()) {
        let message = format!(
            "the argument `{}` must be a string, as all arguments of prompts",
            shortened(&member.key())
        );
        return Err(RpcError::invalid_params(message));
    }
    Ok(Walk { verb: Verb::GetPrompt, name, arguments, answers: Answers::of(params)? })
}

/// A name of a client's, as an error repeats it.
fn shortened(name: &str) -> String {
    name.chars().take(NAME_SHOWN_CHARS).collect()
}

fn read_completion(params: &Object) -> Result<Walk, RpcError> {
    let wrong = || {
        RpcError::invalid_params(
            "`ref` must be {\"type\": \"ref/prompt\", \"name\"} or {\"type\": \"ref/resource\", \"uri\"}, \
             and `argument` {\"name\", \"value\"}, all strings",
        )
    };
    let reference = params.get_object("ref").ok_or_else(wrong)?;
    let (verb, name) = match reference.get_str("type").as_deref() {
        Some("ref/prompt") => (Verb::CompletePrompt, read_name(&reference, "name the prompt")?),
        Some("ref/resource") => (Verb::CompleteTemplate, read_uri(&reference)?),
        _ => return Err(wrong()),
    };
    let argument = params.get("argument").ok_or_else(wrong)?;
    let members = Object::of(&argument).ok_or_else(wrong)?;
    if members.get_str("name").is_none() || members.get_str("value").is_none() {
        return Err(wrong());
    }
    let arguments = ObjectWriter::new(128).raw("argument", &argument);
    let arguments = match params.get("context").filter(Raw::is_object) {
        Some(context) => arguments.raw("context", &context).end(),
        None => arguments.end(),
    };
    Ok(Walk { verb, name, arguments, answers: Answers::default() })
}

fn read_filter(params: &Object) -> Result<Filter, RpcError> {
    let wanted = params.get_object("notifications").ok_or_else(|| {
        RpcError::invalid_params("`notifications` is missing: an object that says what to tell of")
    })?;
    let is_set = |key: &str| wanted.get(key).is_some_and(|raw| raw.as_str() == "true");
    let [uris, tasks] = ["resourceSubscriptions", "taskIds"].map(|key| read_texts(&wanted, key));
    Ok(Filter {
        tools: is_set("toolsListChanged"),
        prompts: is_set("promptsListChanged"),
        resources: is_set("resourcesListChanged"),
        uris: uris?,
        tasks: tasks?,
    })
}

fn read_texts(params: &Object, key: &str) -> Result<Vec<String>, RpcError> {
    let Some(raw) = params.get(key) else {
        return Ok(Vec::new());
    };
    let wrong = || {
        RpcError::invalid_params(format!(
            "`{key}` must be an array of at most {SUBSCRIBED_URIS_MAX} strings, of {SUBSCRIBED_BYTES_MAX} bytes together"
        ))
    };
    let elements = raw.elements(SUBSCRIBED_URIS_MAX + 1);
    let bytes: usize = elements.iter().map(|element| element.as_bytes().len()).sum();
    let is_array = raw.as_bytes().first() == Some(&b'[');
    if !is_array || elements.len() > SUBSCRIBED_URIS_MAX || bytes > SUBSCRIBED_BYTES_MAX {
        return Err(wrong());
    }
    let texts =
        elements.iter().map(|element| element.text().filter(|text| is_uri(text)).map(Cow::into_owned));
    texts.collect::<Option<_>>().ok_or_else(wrong)
}

fn read_task(params: &Object) -> Result<String, RpcError> {
    let id = params.get_str("taskId").filter(|id| id.len() <= NAME_BYTES_MAX);
    id.map(Cow::into_owned).ok_or_else(|| RpcError::invalid_params("`taskId` must be the id of a task"))
}

fn read_update(params: &Object) -> Result<TaskAsk, RpcError> {
    let answers = Answers::of(params)?;
    if answers.responses.is_none() {
        return Err(RpcError::invalid_params(
            "`inputResponses` is missing: send the answers that the task waits for",
        ));
    }
    Ok(TaskAsk::Update(read_task(params)?, answers))
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
            ("resources/subscribe", Era::Modern),
            ("logging/setLevel", Era::Modern),
            ("subscriptions/listen", Era::Legacy),
            ("tasks/get", Era::Legacy),
            ("tasks/list", Era::Modern),
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
            let Ok(Ask::Walk(call)) = ask("tools/call", params, Era::Legacy) else { panic!("{params}") };
            assert_eq!((call.name.as_str(), call.arguments.as_str()), ("t", "{}"));
        }
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(257));
        for params in ["{}", &long, r#"{"name":1}"#, r#"{"name":"t","arguments":[]}"#] {
            let error = ask("tools/call", params, Era::Legacy).unwrap_err();
            assert_eq!(error.code, INVALID_PARAMS, "{params}");
        }
    }

    fn walk(method: &str, params: &str) -> Result<(Verb, String, String), RpcError> {
        match ask(method, params, Era::Modern)? {
            Ask::Walk(walk) => Ok((walk.verb, walk.name, walk.arguments.as_str().to_owned())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_lies_at_the_end_of_the_road_is_named_in_one_form() {
        for (method, params, verb, name, arguments) in [
            ("resources/read", r#"{"uri":"a://b"}"#, Verb::ReadResource, "a://b", "{}"),
            ("prompts/get", r#"{"name":"p","arguments":{"a":"1"}}"#, Verb::GetPrompt, "p", r#"{"a":"1"}"#),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"v"}}"#,
                Verb::CompletePrompt,
                "p",
                r#"{"argument":{"name":"a","value":"v"}}"#,
            ),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/resource","uri":"a://{b}"},"argument":{"name":"b","value":""},"context":{}}"#,
                Verb::CompleteTemplate,
                "a://{b}",
                r#"{"argument":{"name":"b","value":""},"context":{}}"#,
            ),
        ] {
            assert_eq!(walk(method, params), Ok((verb, name.to_owned(), arguments.to_owned())), "{params}");
            assert_eq!(verb.method(), method);
        }
    }

    #[test]
    fn parameters_of_another_shape_are_refused() {
        let long = format!(r#"{{"uri":"{}"}}"#, "x".repeat(URI_BYTES_MAX + 1));
        for (method, params) in [
            ("resources/read", "{}"),
            ("resources/read", r#"{"uri":""}"#),
            ("resources/read", r#"{"uri":"a\nb"}"#),
            ("resources/read", &long),
            ("prompts/get", r#"{"name":"p","arguments":{"a":1}}"#),
            ("prompts/get", r#"{"arguments":{}}"#),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/x","name":"p"},"argument":{"name":"a","value":"v"}}"#,
            ),
            ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a"}}"#),
            ("subscriptions/listen", "{}"),
            ("subscriptions/listen", r#"{"notifications":{"resourceSubscriptions":"a"}}"#),
            ("subscriptions/listen", r#"{"notifications":{"taskIds":[1]}}"#),
            ("tools/list", r#"{"cursor":"2"}"#),
            ("tasks/get", "{}"),
            ("tasks/update", r#"{"taskId":"t"}"#),
        ] {
            let error = ask(method, params, Era::Modern).unwrap_err();
            assert_eq!(error.code, INVALID_PARAMS, "{method} {params}");
        }
    }

    #[test]
    fn a_filter_holds_what_was_asked_for_and_nothing_more() {
        let params = r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":false,
            "resourceSubscriptions":["a://b"],"taskIds":[ ]}}"#;
        let Ok(Ask::Listen(filter)) = ask("subscriptions/listen", params, Era::Modern) else { panic!() };
        let expected = Filter { tools: true, uris: vec!["a://b".to_owned()], ..Filter::default() };
        assert_eq!(filter, expected);
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
            let context = Context::modern(&self::params("tools/call", &params)).unwrap();
            assert_eq!(context.trace_parent.is_some(), is_kept, "{text}");
        }
    }

    #[test]
    fn what_outlives_its_request_or_is_repeated_is_small_and_in_memory_of_its_own() {
        for (token, is_kept) in [("p".to_owned(), true), ("x".repeat(ID_BYTES_MAX), false)] {
            let params = self::params("tools/call", &MODERN.replace("\"p\"", &format!("\"{token}\"")));
            assert_eq!(
                Context::modern(&params).unwrap().progress_token.is_some(),
                is_kept,
                "{}",
                token.len()
            );
        }
        let long = "k".repeat(10_000);
        let error = ask("prompts/get", &format!(r#"{{"name":"p","arguments":{{"{long}":1}}}}"#), Era::Modern);
        assert!(error.unwrap_err().message.len() < 200, "an error repeats little of what it was told");
    }

    #[test]
    fn a_subscription_is_bounded_in_number_and_in_bytes() {
        let filter = |uris: &[String]| {
            let uris = serde_json::to_string(uris).unwrap();
            ask(
                "subscriptions/listen",
                &format!(r#"{{"notifications":{{"resourceSubscriptions":{uris}}}}}"#),
                Era::Modern,
            )
        };
        let uri = |number: usize| format!("a://{number}");
        let long = |number: usize| format!("a://{number}{}", "x".repeat(4_000));
        assert!(filter(&(0..SUBSCRIBED_URIS_MAX).map(uri).collect::<Vec<_>>()).is_ok());
        assert!(filter(&(0..=SUBSCRIBED_URIS_MAX).map(uri).collect::<Vec<_>>()).is_err());
        assert!(filter(&(0..10).map(long).collect::<Vec<_>>()).is_ok());
        assert!(filter(&(0..20).map(long).collect::<Vec<_>>()).is_err());
    }
}
