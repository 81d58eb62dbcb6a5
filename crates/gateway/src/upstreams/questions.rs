//! What a server asks of its client while a call runs: who answers it, and how a person is shown it.

use std::borrow::Cow;

use hayward_mcp::envelope::Request;
use hayward_mcp::error::RpcError;
use hayward_mcp::input::{InputMethod, InputRequest};
use hayward_mcp::json::Raw;
use hayward_tool::{Abilities, Round};
use serde_json::Value;

use super::admission::is_hidden;
use super::call::nobody;

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

/// What speaks against asking this: a person is sent to pages of the web, and to nothing else that a link may open.
pub(crate) fn objection(request: &InputRequest) -> Option<&'static str> {
    let is_page = |url: &str| matches!(url.split_once("://"), Some(("http" | "https", _)));
    let params = hayward_mcp::json::Object::of(&request.params)?;
    let is_url = request.method == InputMethod::Elicit && params.get_str("mode").as_deref() == Some("url");
    let is_fit = params.get_str("url").is_some_and(|url| is_page(&url));
    (is_url && !is_fit).then_some("`url` must be that of a page: `http://…` or `https://…`")
}

/// The question as a person is shown it: from whom it is, without characters that nobody sees, and without a wish for what
/// others have said.
pub(crate) fn shown(server: &str, request: InputRequest) -> InputRequest {
    let Ok(mut params) = request.params.view::<Value>() else { return request };
    match request.method {
        InputMethod::Elicit => {
            strip(&mut params);
            let message = params.get("message").and_then(Value::as_str).unwrap_or_default();
            params["message"] = format!("[{server}] {message}").into();
        }
        // What goes on in the conversation is none of its business.
        InputMethod::Sample if params.get("includeContext").is_some() => {
            params["includeContext"] = "none".into();
        }
        InputMethod::Sample | InputMethod::ListRoots => return request,
    }
    match Raw::of(&params) {
        Ok(params) => InputRequest { params, ..request },
        Err(_) => request,
    }
}

/// Takes out of every text what changes how it is read without being seen.
fn strip(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(visible) = visible(text) {
                *text = visible;
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(strip),
        Value::Object(members) => members.values_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn visible(text: &str) -> Cow<'_, str> {
    if text.contains(is_hidden) { text.replace(is_hidden, "").into() } else { text.into() }
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
