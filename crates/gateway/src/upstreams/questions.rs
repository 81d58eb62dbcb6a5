//! What a legacy server asks of its client while a call runs, and who answers.

use hayward_mcp::envelope::Request;
use hayward_mcp::error::RpcError;
use hayward_mcp::input::{InputMethod, InputRequest};
use hayward_mcp::json::Raw;
use hayward_tool::{Abilities, Round};

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
    if abilities.has(input(method, request).needs()) {
        return Judged::ForClient;
    }
    Judged::Answer(Err(nobody(&request.method)))
}

/// The question as the client is asked it.
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
