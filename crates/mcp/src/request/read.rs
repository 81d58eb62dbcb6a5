//! What a request asks for, read from its method and parameters.

use std::borrow::Cow;

use super::context::{META_IDEMPOTENCY_KEY, client_name};
use super::{Ask, Filter, List, Params, Question, TaskAsk, Verb, Walk};
use crate::abilities::Abilities;
use crate::envelope::{Notification, RequestId};
use crate::era::{Era, Revision};
use crate::error::RpcError;
use crate::input::Answers;
use crate::json::{Object, ObjectWriter, Raw};
use crate::limits::{
    NAME_BYTES_MAX, NAME_SHOWN_CHARS, SUBSCRIBED_BYTES_MAX, SUBSCRIBED_URIS_MAX, URI_BYTES_MAX,
};
use crate::logging::LogLevel;

impl Ask {
    /// What a request asks for, in the words of its era.
    pub fn read(method: &str, params: &Params, era: Era) -> Result<Self, RpcError> {
        let members = &params.members;
        let walk = |read: Result<Walk, RpcError>| {
            read.map(|walk| Self::Walk(Walk { params: params.raw.clone(), ..walk }))
        };
        match (method, era) {
            ("tools/call", _) => {
                let idempotency_key = params.meta.get_str(META_IDEMPOTENCY_KEY).map(Cow::into_owned);
                walk(read_call(members).map(|walk| Walk { idempotency_key, ..walk }))
            }
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
            ("resources/read", _) => walk(read_resource(members)),
            ("prompts/get", _) => walk(read_prompt(members)),
            ("completion/complete", _) => walk(read_completion(members)),
            (method, _) => Err(RpcError::method_not_found(method)),
        }
    }
}

impl Walk {
    fn new(verb: Verb, name: String, arguments: Raw, answers: Answers) -> Self {
        Self { verb, name, arguments, answers, idempotency_key: None, params: Raw::empty_object() }
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
    Ok(Walk::new(Verb::CallTool, name, arguments, Answers::of(params)?))
}

fn read_name(params: &Object, what: &str) -> Result<String, RpcError> {
    let name = params.get_str("name").filter(|name| name.len() <= NAME_BYTES_MAX);
    name.map(Cow::into_owned).ok_or_else(|| {
        RpcError::invalid_params(format!("`name` must be a string of at most {NAME_BYTES_MAX} bytes: {what}"))
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
    Ok(Walk::new(Verb::ReadResource, name, Raw::empty_object(), answers))
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
    Ok(Walk::new(Verb::GetPrompt, name, arguments, Answers::of(params)?))
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
    Ok(Walk::new(verb, name, arguments, Answers::default()))
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
    id.map(Cow::into_owned).ok_or_else(|| {
        RpcError::invalid_params(format!(
            "`taskId` must be the id of a task, a string of at most {NAME_BYTES_MAX} bytes"
        ))
    })
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
    use super::*;
    use crate::error::{INVALID_PARAMS, METHOD_NOT_FOUND};

    fn ask(method: &str, params: &str, era: Era) -> Result<Ask, RpcError> {
        Ask::read(method, &Params::for_test(params), era)
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
    fn an_error_repeats_little_of_what_it_was_told() {
        let long = "k".repeat(10_000);
        let error = ask("prompts/get", &format!(r#"{{"name":"p","arguments":{{"{long}":1}}}}"#), Era::Modern);
        assert!(error.unwrap_err().message.len() < 200);
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
