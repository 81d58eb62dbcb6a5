//! The parameters of a request as its server is to get them: what the client said, with the server's own name in it.

use hayward_mcp::json::{Object, ObjectWriter, Raw, is_alike};
use hayward_tool::{Call, Verb};

use super::offered::Offered;
use super::state::State;

/// What this gateway says itself, whatever the client said under these names.
const OURS: [&str; 7] = ["name", "uri", "arguments", "ref", "inputResponses", "requestState", "task"];

/// The parameters of a call of this thing.
pub(crate) fn of(offered: &Offered, call: &Call) -> Raw {
    let object = ObjectWriter::new(call.params.as_bytes().len() + 256);
    let object = match call.verb {
        Verb::CallTool => {
            let arguments = offered.arguments(&call.arguments);
            object.str("name", &offered.own).raw("arguments", &arguments)
        }
        Verb::GetPrompt => object.str("name", &offered.own).raw("arguments", &call.arguments),
        Verb::ReadResource => object.str("uri", &call.name),
        Verb::CompletePrompt => object
            .raw("ref", &ObjectWriter::new(64).str("type", "ref/prompt").str("name", &offered.own).end()),
        Verb::CompleteTemplate => object
            .raw("ref", &ObjectWriter::new(64).str("type", "ref/resource").str("uri", &offered.own).end()),
    };
    let object = round(object, call);
    let said = Object::of(&call.params).unwrap_or_else(Object::empty);
    let others = said.iter().filter(|member| !OURS.iter().any(|ours| is_alike(&member.key(), ours)));
    let object = others.fold(object, ObjectWriter::member);
    match call.verb {
        // A completion came by another way than the request of a client.
        Verb::CompletePrompt | Verb::CompleteTemplate if !said.has("argument") => {
            object.splice(&call.arguments).end()
        }
        _ => object.end(),
    }
}

/// What a modern server gets back of the last round.
fn round(object: ObjectWriter, call: &Call) -> ObjectWriter {
    let State::Theirs(state) = State::read(call.round.state.as_ref()) else {
        return match &call.round.answers {
            Some(answers) => object.raw("inputResponses", answers),
            None => object,
        };
    };
    let object =
        call.round.answers.iter().fold(object, |object, answers| object.raw("inputResponses", answers));
    if state.is_empty() { object } else { object.str("requestState", &state) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hayward_api::{Principal, Tier};
    use hayward_mcp::request::List;
    use serde_json::{Value, json};

    use super::*;

    fn raw(value: &Value) -> Raw {
        Raw::of(value).unwrap()
    }

    fn tool() -> Offered {
        let definition = raw(&json!({"name": "own", "inputSchema": {"type": "object"}}));
        Offered::of(List::Tools, &definition, Tier::Operate, Duration::ZERO).unwrap()
    }

    fn call(params: &Value) -> Call {
        let arguments = raw(params.get("arguments").unwrap_or(&json!({})));
        let principal = Principal::local("x", Tier::Operate);
        Call { params: raw(params), ..Call::of_tool("own", arguments, principal, Duration::ZERO) }
    }

    #[test]
    fn a_server_gets_its_own_name_and_all_else_as_it_was_said() {
        let said =
            json!({"name": "ha_own", "arguments": {"a": 1}, "_meta": {"x": [1]}, "future": {"y": null}});
        let sent: Value = of(&tool(), &call(&said)).view().unwrap();
        let expected =
            json!({"name": "own", "arguments": {"a": 1}, "_meta": {"x": [1]}, "future": {"y": null}});
        assert_eq!(sent, expected);
    }

    #[test]
    fn ghsa_4gph_2hhr_5mwg_what_a_careless_reader_takes_for_a_name_is_not_passed_on() {
        let said = json!({"name": "ha_own", "Name": "secret", "NAME": "secret", "argument\u{17f}": {"a": 1}, "nam\u{212a}": 1,
            "Arguments": {"path": "/"}, "RequestState": "x", "names": "kept"});
        let sent: Value = of(&tool(), &call(&said)).view().unwrap();
        assert_eq!(sent, json!({"name": "own", "arguments": {}, "nam\u{212a}": 1, "names": "kept"}));
    }

    #[test]
    fn a_state_that_is_sealed_for_us_never_reaches_a_server() {
        let said =
            json!({"name": "ha_own", "requestState": "sealed", "inputResponses": {"k": {"forged": 1}}});
        let mut call = call(&said);
        let sent: Value = of(&tool(), &call).view().unwrap();
        assert_eq!(sent, json!({"name": "own", "arguments": {}}));
        call.round.answers = Some(raw(&json!({"k": {"action": "accept"}})));
        call.round.state = Some(State::Theirs("theirs".to_owned()).write());
        let sent: Value = of(&tool(), &call).view().unwrap();
        assert_eq!(sent["requestState"], "theirs");
        assert_eq!(sent["inputResponses"], json!({"k": {"action": "accept"}}));
    }
}
