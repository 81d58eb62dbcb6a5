//! One call of one thing that a server offers.

use std::sync::Arc;
use std::time::Duration;

use hayward_api::Principal;
use hayward_mcp::abilities::Abilities;
use hayward_mcp::json::{Object, Raw};
use hayward_mcp::request::Verb;
use serde::{Deserialize, Serialize};

/// One call, however it came, as it crosses the seam to what runs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The request id of the record; unique, and ours.
    pub id: Arc<str>,
    /// The id of the request that began what this one goes on with; its own, if it begins something.
    #[serde(default)]
    pub correlation_id: Arc<str>,
    /// What to do with it.
    pub verb: Verb,
    /// Its own name (not the one that a project exposes it under): of a tool or a prompt, or the URI of
    /// a resource or a template.
    pub name: Arc<str>,
    /// The arguments: a checked JSON object. Those of a completion hold `argument` and perhaps `context`.
    pub arguments: Raw,
    /// The parameters of the request as the client wrote them, for who passes them on: an object.
    pub params: Raw,
    /// Who calls.
    pub caller: Caller,
    /// How long it may run, in milliseconds; what runs it may end it sooner.
    pub timeout_ms: u64,
    /// Whether whoever passes it on should wait for what goes on elsewhere as a task: its client can't ask later, and knows
    /// nothing of that.
    pub is_patient: bool,
    /// What the rounds before this one have brought.
    pub round: Round,
}

impl Call {
    /// A call of a tool in one round, by a client that says nothing of itself.
    pub fn of_tool(name: &str, arguments: Raw, principal: Principal, timeout: Duration) -> Self {
        let caller = Caller {
            principal: Arc::new(principal),
            client: Arc::default(),
            abilities: Abilities::default(),
            session: None,
        };
        Self {
            id: "1".into(),
            correlation_id: "1".into(),
            verb: Verb::CallTool,
            name: name.into(),
            arguments,
            params: Raw::empty_object(),
            caller,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            is_patient: false,
            round: Round::default(),
        }
    }
}

/// Who calls, as far as a tool may know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Caller {
    /// Verified by us.
    pub principal: Arc<Principal>,
    /// What the client says it is, e.g. `claude-code 2.1`; claimed, never trusted.
    pub client: Arc<str>,
    /// What the client can do when it is asked.
    pub abilities: Abilities,
    /// Its session, where it has one; never shown to anybody.
    pub session: Option<Arc<str>>,
}

/// What the rounds before this one have brought: a call that needs something of its client is made again
/// when the client has answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// The client's answers by key: an object of objects, each to be checked.
    pub answers: Option<Raw>,
    /// The state that the last round left; nobody else has changed it.
    pub state: Option<Raw>,
    /// Whether it runs as a task: nobody waits for the answer, and it may take as long as it may run.
    pub is_task: bool,
}

impl Round {
    /// The answer to the question of this key, if there is one: an object.
    pub fn answer(&self, key: &str) -> Option<Object> {
        self.answers.as_ref().and_then(Object::of)?.get_object(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_by_its_key_if_it_is_an_object() {
        let answers = Raw::of(&serde_json::json!({"a": {"action": "accept"}, "b": 1})).unwrap();
        let round = Round { answers: Some(answers), ..Round::default() };
        assert_eq!(round.answer("a").unwrap().get_str("action").as_deref(), Some("accept"));
        assert!(round.answer("b").is_none() && round.answer("c").is_none());
        assert!(Round::default().answer("a").is_none());
    }
}
