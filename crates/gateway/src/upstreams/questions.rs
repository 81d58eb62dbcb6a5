//! What a server asks of its client while a call runs: who answers it, and how a person is shown it.

use hayward_mcp::envelope::Request;
use hayward_mcp::error::RpcError;
use hayward_mcp::input::{InputMethod, InputRequest};
use hayward_mcp::json::Raw;
use hayward_tool::{Abilities, Round};
use serde_json::Value;

use super::admission::is_hidden;
use super::call::nobody;

/// What people read and nothing else is made of.
const READ: [&str; 4] = ["message", "title", "description", "enumNames"];
const UNSEEN: &str = "a name or a value in it holds characters that people don't see";

/// The key of the one question of a held call.
const KEY: &str = "1";

/// Who answers.
#[derive(Debug)]
pub(crate) enum Judged {
    /// The client of the call.
    ForClient,
    /// We do, with this.
    Answer(Result<Raw, RpcError>),
}

/// Who answers a request of a server, for a client that can do this. On a connection that everybody shares nobody can be
/// asked: it isn't known whom the server means.
pub(crate) fn judge(request: &Request, abilities: Abilities, is_shared: bool) -> Judged {
    if request.method == "ping" {
        return Judged::Answer(Ok(Raw::empty_object()));
    }
    let Some(method) = method(&request.method).filter(|_| !is_shared) else {
        return Judged::Answer(Err(nobody(&request.method)));
    };
    let input = input(method, request);
    if let Some(objection) = objection(&input) {
        return Judged::Answer(Err(RpcError::invalid_params(objection)));
    }
    if abilities.has(input.needs()) {
        return Judged::ForClient;
    }
    Judged::Answer(Err(nobody(&request.method)))
}

/// What speaks against asking this: a person is sent to pages of the web, and to nothing else that a link may open; and what is
/// answered must read as what it is.
pub(crate) fn objection(request: &InputRequest) -> Option<&'static str> {
    visible(request).err()
}

/// The question as a person is shown it: from whom it is, without characters that nobody sees, and without a wish for what
/// others have said. Of one that can't be asked nothing is shown.
pub(crate) fn shown(server: &str, request: InputRequest) -> InputRequest {
    let mut params = match visible(&request) {
        Ok(Some(params)) => params,
        Ok(None) => return request,
        Err(_) => return InputRequest { params: Raw::empty_object(), ..request },
    };
    match request.method {
        InputMethod::Elicit => {
            let message = params.get("message").and_then(Value::as_str).unwrap_or_default();
            params["message"] = format!("[{server}] {message}").into();
        }
        // What goes on in the conversation is none of its business.
        InputMethod::Sample if params.get("includeContext").is_some() => {
            params["includeContext"] = "none".into();
        }
        InputMethod::Sample | InputMethod::ListRoots => return request,
    }
    let params = Raw::of(&params).unwrap_or_else(|_| Raw::empty_object());
    InputRequest { params, ..request }
}

/// What is asked, as it is shown, or what speaks against asking it; none if nobody looks at it.
fn visible(request: &InputRequest) -> Result<Option<Value>, &'static str> {
    if request.method == InputMethod::ListRoots {
        return Ok(None);
    }
    let mut params: Value = request.params.view().map_err(|_| "it can't be read")?;
    if request.method != InputMethod::Elicit {
        return Ok(Some(params));
    }
    for (member, value) in
        params.as_object_mut().into_iter().flatten().filter(|(member, _)| *member != "_meta")
    {
        clean(member, value)?;
    }
    let is_page = |url: &str| matches!(url.split_once("://"), Some(("http" | "https", _)));
    match params.get("mode").map(Value::as_str) {
        None | Some(Some("form")) => {}
        Some(Some("url")) if params.get("url").and_then(Value::as_str).is_some_and(is_page) => {}
        Some(Some("url")) => return Err("`url` must be that of a page: `http://…` or `https://…`"),
        Some(_) => return Err("`mode` is neither `form` nor `url`"),
    }
    Ok(Some(params))
}

/// Takes out of every text that is only read what changes how it is read without being seen; what is answered, or opened, may
/// have nothing of it.
fn clean(name: &str, value: &mut Value) -> Result<(), &'static str> {
    if name.contains(is_hidden) {
        return Err(UNSEEN);
    }
    match value {
        Value::String(text) if text.contains(is_hidden) => {
            if !READ.contains(&name) {
                return Err(UNSEEN);
            }
            *text = text.replace(is_hidden, "");
            Ok(())
        }
        Value::Array(elements) => elements.iter_mut().try_for_each(|element| clean(name, element)),
        Value::Object(members) => members.iter_mut().try_for_each(|(name, value)| clean(name, value)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The question as the server asks it.
pub(crate) fn question(request: &Request) -> InputRequest {
    input(method(&request.method).unwrap_or(InputMethod::Elicit), request)
}

/// What the client answered, for the server.
pub(crate) fn answer(round: &Round) -> Result<Raw, RpcError> {
    let answer = round.answers.as_ref().and_then(hayward_mcp::json::Object::of).and_then(|all| all.get(KEY));
    answer.ok_or_else(|| RpcError::invalid_params("the client answered something else than it was asked"))
}

fn input(method: InputMethod, request: &Request) -> InputRequest {
    let params = request.params.clone().filter(Raw::is_object).unwrap_or_else(Raw::empty_object);
    InputRequest { key: KEY.to_owned(), method, params }
}

fn method(name: &str) -> Option<InputMethod> {
    [InputMethod::Elicit, InputMethod::Sample, InputMethod::ListRoots]
        .into_iter()
        .find(|method| method.as_str() == name)
}

#[cfg(test)]
mod tests {
    use hayward_mcp::envelope::Message;
    use hayward_tool::Ability;
    use serde_json::{Value, json};

    use super::*;

    fn request(method: &str, params: &Value) -> Request {
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        match Message::read(text.into()).unwrap() {
            Message::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn asked(method: &str, params: &Value) -> InputRequest {
        question(&request(method, params))
    }

    #[test]
    fn a_person_sees_from_whom_a_question_is_and_nothing_hidden_in_it() {
        let form = json!({"message": "Delete\u{202e} all?\u{200b}", "_meta": {"x": 1}, "requestedSchema": {
            "type": "object", "properties": {"sure": {"type": "boolean", "title": "Su\u{2066}re"}}}});
        let told = shown("ha", asked("elicitation/create", &form)).params.view::<Value>().unwrap();
        let expected = json!({"message": "[ha] Delete all?", "_meta": {"x": 1}, "requestedSchema": {
            "type": "object", "properties": {"sure": {"type": "boolean", "title": "Sure"}}}});
        assert_eq!(told, expected);
        let sample = json!({"messages": [], "includeContext": "allServers", "maxTokens": 5});
        let told = shown("ha", asked("sampling/createMessage", &sample)).params.view::<Value>().unwrap();
        assert_eq!(told, json!({"messages": [], "includeContext": "none", "maxTokens": 5}));
        let untouched =
            json!({"messages": [{"role": "user", "content": {"type": "text", "text": "\u{200d}"}}]});
        let told = shown("ha", asked("sampling/createMessage", &untouched)).params.view::<Value>().unwrap();
        assert_eq!(told, untouched);
    }

    #[test]
    fn what_can_not_be_read_or_is_answered_unseen_is_not_asked() {
        let can: Abilities = [Ability::ElicitUrl, Ability::ElicitForm, Ability::Sample].into_iter().collect();
        let form = |schema: Value| json!({"message": "?", "requestedSchema": {"properties": schema}});
        for (method, params) in [
            ("elicitation/create", r#"{"message": "?", "x": 1e999}"#.to_owned()),
            (
                "sampling/createMessage",
                r#"{"messages": [], "includeContext": "allServers", "x": 1e999}"#.to_owned(),
            ),
            ("elicitation/create", json!({"mode": "url\u{200b}", "url": "javascript:alert(1)"}).to_string()),
            ("elicitation/create", json!({"mode": "url", "url": "https://x.org/\u{202e}"}).to_string()),
            ("elicitation/create", json!({"mode": "page", "message": "?"}).to_string()),
            ("elicitation/create", json!({"mode": 1, "message": "?"}).to_string()),
            ("elicitation/create", form(json!({"su\u{200b}re": {"type": "boolean"}})).to_string()),
            ("elicitation/create", form(json!({"a": {"type": "string", "enum": ["x\u{202e}"]}})).to_string()),
            ("elicitation/create", form(json!({"a": {"type": "string", "default": "\u{200b}"}})).to_string()),
        ] {
            let text = format!(r#"{{"jsonrpc": "2.0", "id": 1, "method": "{method}", "params": {params}}}"#);
            let Message::Request(request) = Message::read(text.into()).unwrap() else { panic!("{params}") };
            assert!(matches!(judge(&request, can, false), Judged::Answer(Err(_))), "{params}");
            assert_eq!(shown("ha", question(&request)).params.as_str(), "{}", "{params}");
        }
    }

    #[test]
    fn a_person_is_sent_to_pages_only() {
        let can: Abilities = [Ability::ElicitUrl, Ability::ElicitForm].into_iter().collect();
        let page =
            |url: Value| request("elicitation/create", &json!({"mode": "url", "message": "?", "url": url}));
        for good in ["https://x.org/a", "http://127.0.0.1:8/"] {
            assert!(matches!(judge(&page(json!(good)), can, false), Judged::ForClient), "{good}");
        }
        for bad in [
            json!("javascript:alert(1)"),
            json!("file:///etc/passwd"),
            json!("x://y"),
            json!(""),
            json!(7),
            Value::Null,
        ] {
            assert!(matches!(judge(&page(bad.clone()), can, false), Judged::Answer(Err(_))), "{bad}");
        }
        let form = request("elicitation/create", &json!({"message": "?"}));
        assert!(matches!(judge(&form, can, false), Judged::ForClient));
    }

    #[test]
    fn a_client_is_asked_what_it_can_answer_on_a_connection_of_its_own() {
        let form = request("elicitation/create", &json!({"message": "?"}));
        let can: Abilities = [Ability::ElicitForm].into_iter().collect();
        assert!(matches!(judge(&form, can, false), Judged::ForClient));
        assert!(matches!(judge(&form, can, true), Judged::Answer(Err(_))), "nobody knows whom it means");
        assert!(matches!(judge(&form, Abilities::default(), false), Judged::Answer(Err(_))));
        let page = request("elicitation/create", &json!({"mode": "url", "url": "http://x"}));
        assert!(matches!(judge(&page, can, false), Judged::Answer(Err(_))));
        for unknown in ["tools/call", "x"] {
            assert!(matches!(judge(&request(unknown, &json!({})), can, false), Judged::Answer(Err(_))));
        }
        assert!(matches!(judge(&request("ping", &json!({})), can, true), Judged::Answer(Ok(_))));
    }
}
