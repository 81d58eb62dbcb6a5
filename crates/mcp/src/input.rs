//! What a server asks of a client before it can answer, and what comes back.
//!
//! The legacy era asks by requests of its own while a call runs; the modern one ends the request with
//! `input_required`, and the client sends it again with the answers (SEP-2322). Both are rounds of the
//! same kind: questions under keys, answers under the same keys.

use serde::{Deserialize, Serialize};

use crate::abilities::{Abilities, Ability};
use crate::error::{MISSING_CLIENT_CAPABILITY, RpcError};
use crate::json::{Object, ObjectWriter, Raw};
use crate::limits::{ANSWERS_BYTES_MAX, ANSWERS_MAX, STATE_BYTES_MAX};

/// How a client is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputMethod {
    /// Asks its user.
    Elicit,
    /// Asks its model.
    Sample,
    /// Asks for the folders that it works in.
    ListRoots,
}

impl InputMethod {
    /// The method of the protocol.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Elicit => "elicitation/create",
            Self::Sample => "sampling/createMessage",
            Self::ListRoots => "roots/list",
        }
    }
}

/// One question to a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InputRequest {
    /// What its answer will stand under.
    pub key: String,
    /// How it is asked.
    pub method: InputMethod,
    /// The parameters: an object.
    pub params: Raw,
}

impl InputRequest {
    /// What the client must be able to do.
    pub fn needs(&self) -> Ability {
        let params = Object::of(&self.params).unwrap_or_else(Object::empty);
        match self.method {
            InputMethod::Elicit if params.get_str("mode").as_deref() == Some("url") => Ability::ElicitUrl,
            InputMethod::Elicit => Ability::ElicitForm,
            InputMethod::Sample if params.has("tools") => Ability::SampleWithTools,
            InputMethod::Sample => Ability::Sample,
            InputMethod::ListRoots => Ability::ListRoots,
        }
    }
}

/// The `inputRequests` of a result: questions by their keys.
pub fn requests_to_raw(requests: &[InputRequest]) -> Raw {
    requests
        .iter()
        .fold(ObjectWriter::new(256), |object, request| {
            let asked = ObjectWriter::new(64 + request.params.as_bytes().len())
                .str("method", request.method.as_str())
                .raw("params", &request.params)
                .end();
            object.raw(&request.key, &asked)
        })
        .end()
}

/// A modern result that asks instead of answering.
pub fn required(requests: &[InputRequest], state: Option<&str>) -> Raw {
    let object = ObjectWriter::new(512)
        .str("resultType", "input_required")
        .raw("inputRequests", &requests_to_raw(requests));
    match state {
        Some(state) => object.str("requestState", state).end(),
        None => object.end(),
    }
}

/// The client can't do what is needed to serve it.
pub fn missing(abilities: Abilities) -> RpcError {
    let capabilities = abilities.to_capabilities();
    let message = format!("this needs a client that declares the capabilities `{}`", capabilities.as_str());
    let data = ObjectWriter::new(96).raw("requiredCapabilities", &capabilities).end();
    RpcError::new(MISSING_CLIENT_CAPABILITY, message).with_data(data)
}

/// What a client sends along when it asks again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answers {
    /// Its answers by key: an object of objects.
    pub responses: Option<Raw>,
    /// The state that it was given, untouched and not trusted.
    pub state: Option<String>,
}

impl Answers {
    /// Reads `inputResponses` and `requestState` of a request.
    pub(crate) fn of(params: &Object) -> Result<Self, RpcError> {
        let responses = params.get("inputResponses");
        if let Some(responses) = &responses {
            check_responses(responses)?;
        }
        let state = match params.get("requestState") {
            None => None,
            Some(raw) => Some(read_state(&raw)?),
        };
        Ok(Self { responses, state })
    }
}

fn check_responses(responses: &Raw) -> Result<(), RpcError> {
    let wrong = || {
        RpcError::invalid_params(
            "`inputResponses` must be an object that holds the result of each input request under its key",
        )
    };
    let members = Object::of(responses).ok_or_else(wrong)?;
    if responses.as_bytes().len() > ANSWERS_BYTES_MAX {
        return Err(RpcError::invalid_params(format!(
            "`inputResponses` must have at most {ANSWERS_BYTES_MAX} bytes: send smaller answers"
        )));
    }
    let mut count = 0_usize;
    for member in members.iter() {
        count += 1;
        if count > ANSWERS_MAX || !member.value().is_object() {
            return Err(wrong());
        }
    }
    Ok(())
}

fn read_state(raw: &Raw) -> Result<String, RpcError> {
    raw.text().filter(|state| state.len() <= STATE_BYTES_MAX).map(std::borrow::Cow::into_owned).ok_or_else(
        || RpcError::invalid_params("`requestState` must be the string that the last answer held, unchanged"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(method: InputMethod, params: &Value) -> InputRequest {
        InputRequest { key: "k".to_owned(), method, params: Raw::of(params).unwrap() }
    }

    fn answers(params: &Value) -> Result<Answers, RpcError> {
        Answers::of(&Object::of(&Raw::of(params).unwrap()).unwrap())
    }

    #[test]
    fn a_question_says_what_its_client_must_be_able_to_do() {
        for (method, params, needs) in [
            (InputMethod::Elicit, json!({"message": "?"}), Ability::ElicitForm),
            (InputMethod::Elicit, json!({"mode": "form"}), Ability::ElicitForm),
            (InputMethod::Elicit, json!({"mode": "url"}), Ability::ElicitUrl),
            (InputMethod::Sample, json!({"messages": []}), Ability::Sample),
            (InputMethod::Sample, json!({"tools": []}), Ability::SampleWithTools),
            (InputMethod::ListRoots, json!({}), Ability::ListRoots),
        ] {
            let request = request(method, &params);
            assert_eq!(request.needs(), needs);
            let error = missing(needs.into());
            let data: Value = error.data.unwrap().view().unwrap();
            let declared = Raw::of(&data["requiredCapabilities"]).unwrap();
            assert!(Abilities::of(&declared).has(needs), "{params}");
        }
    }

    #[test]
    fn a_result_that_asks_holds_questions_by_their_keys() {
        let asked = [request(InputMethod::Elicit, &json!({"message": "?"}))];
        let value: Value = required(&asked, Some("s")).view().unwrap();
        assert_eq!(value["resultType"], "input_required");
        assert_eq!(value["inputRequests"]["k"]["method"], "elicitation/create");
        assert_eq!(value["inputRequests"]["k"]["params"], json!({"message": "?"}));
        assert_eq!(value["requestState"], "s");
        let value: Value = required(&asked, None).view().unwrap();
        assert!(value.get("requestState").is_none());
    }

    #[test]
    fn answers_are_read_as_they_are() {
        let given = answers(&json!({"inputResponses": {"a": {"x": 1}}, "requestState": "s"})).unwrap();
        assert_eq!(given.responses.unwrap().as_str(), r#"{"a":{"x":1}}"#);
        assert_eq!(given.state.as_deref(), Some("s"));
        let none = answers(&json!({})).unwrap();
        assert!(none.responses.is_none() && none.state.is_none());
    }

    #[test]
    fn answers_of_another_shape_are_refused() {
        let many: serde_json::Map<_, _> = (0..=ANSWERS_MAX).map(|n| (n.to_string(), json!({}))).collect();
        for bad in [
            json!({"inputResponses": []}),
            json!({"inputResponses": null}),
            json!({"inputResponses": {"a": 1}}),
            json!({"inputResponses": {"a": null}}),
            json!({"inputResponses": many}),
            json!({"inputResponses": {"a": {"x": "x".repeat(ANSWERS_BYTES_MAX)}}}),
            json!({"requestState": 1}),
            json!({"requestState": null}),
            json!({"requestState": "x".repeat(STATE_BYTES_MAX + 1)}),
        ] {
            let error = answers(&bad).unwrap_err();
            assert_eq!(error.code, crate::error::INVALID_PARAMS);
        }
    }
}
