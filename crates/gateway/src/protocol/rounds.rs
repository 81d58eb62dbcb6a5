//! What a call needs of its client before it can be answered: as many rounds as it takes.
//!
//! Behind the road a round looks the same in both eras. In front of it, a legacy client is asked by requests of
//! ours while its own one waits; a modern client gets the questions as its answer, with the state of the call
//! sealed, and asks again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use hayward_api::Code;
use hayward_mcp::era::Era;
use hayward_mcp::error::{INVALID_PARAMS, RESOURCE_NOT_FOUND, RpcError};
use hayward_mcp::input::{self, Answers, InputRequest};
use hayward_mcp::json::{self, ObjectWriter, Raw};
use hayward_mcp::limits::ANSWERS_BYTES_MAX;
use hayward_mcp::request::Walk;
use hayward_mcp::result;
use hayward_mcp::state::{Binding, StateError, digest};
use hayward_tool::{Abilities, Outcome, ProgressQueue, Reply, Round, ToolError, Verb};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Protocol, Sender, carried};
use crate::asking::{Asking, Outbox};
use crate::budget::Reserved;
use crate::endpoint::Endpoint;
use crate::limits::ROUNDS_MAX;
use crate::road::{Arrival, Permit, Spends, incapable};

/// A call on its way through its rounds.
pub(super) struct Walking {
    pub(super) arrival: Arrival,
    pub(super) era: Era,
    pub(super) cancel: CancellationToken,
    pub(super) progress: Option<ProgressQueue>,
    /// How a legacy client is asked, if it can be.
    pub(super) way_back: Option<(Asking, Outbox)>,
}

impl Walking {
    /// Bytes of what its round is called with.
    pub(super) fn call_bytes(&self) -> usize {
        let Round { answers, state, .. } = &self.arrival.round;
        let carried: usize = [answers, state].into_iter().flatten().map(|raw| raw.as_bytes().len()).sum();
        self.arrival.arguments.as_bytes().len() + carried
    }
}

/// What a request goes on with.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) round: Round,
    /// What this round uses up.
    pub(super) spends: Option<Spends>,
    /// The id of the request that began it, if it isn't this one.
    pub(super) correlation_id: Option<Arc<str>>,
}

/// What a request is answered with.
type Answered = (Result<Raw, RpcError>, Option<Permit>);

impl Protocol {
    /// Reads what a client brings along from the last round.
    pub(super) fn open_round(&self, walk: &Walk, sender: &Sender, era: Era) -> Result<Opened, RpcError> {
        // The legacy era knows nothing of this.
        if era == Era::Legacy {
            return Ok(Opened::default());
        }
        let Answers { responses, state } = &walk.answers;
        let opened = state.as_deref().map(|sealed| self.open_state(walk, sender, sealed)).transpose()?;
        let opened = opened.unwrap_or_default();
        Ok(Opened { round: Round { answers: responses.clone(), ..opened.round }, ..opened })
    }

    fn open_state(
        &self,
        walk: &Walk,
        Sender { endpoint, principal, .. }: &Sender,
        sealed: &str,
    ) -> Result<Opened, RpcError> {
        let bound = bound_to(endpoint, walk.verb, &walk.name, &walk.arguments);
        let now = self.road.counted_unix();
        let refused = |error: StateError| {
            tracing::info!(%error, "a state was refused");
            if error == StateError::Elsewhere {
                return elsewhere();
            }
            error.to_rpc()
        };
        let binding = Binding { principal: &principal.credential, digest: bound };
        let opened = self.states.open(&binding, sealed, now).map_err(refused)?;
        // What has an effect is done once for each round; reading again does no harm.
        let is_once = self.road.has_effect(endpoint, walk.verb, &walk.name);
        let spends = is_once.then_some(Spends { nonce: opened.nonce, expires_unix: opened.expires_unix });
        let (correlation_id, state) = carried::part(opened.content);
        let state = Raw::parse(state, hayward_mcp::limits::JSON).map_err(|_| {
            RpcError::invalid_params("the state is not ours: call again without `requestState`")
        })?;
        let round = Round { state: Some(state), answers: None, is_task: false };
        Ok(Opened { round, spends, correlation_id })
    }

    /// Walks the road, again and again if need be, until the request can be answered.
    pub(super) async fn walk(self: &Arc<Self>, mut walking: Walking) -> Answered {
        // What the client's answers hold in memory while they are worked with.
        let mut answers_held = None;
        for _ in 0..ROUNDS_MAX {
            let (reply, hold) =
                self.road.call(&walking.arrival, &walking.cancel, walking.progress.clone()).await;
            drop(answers_held.take());
            // A legacy client doesn't come again: what this round was refused before it came to is over.
            if walking.era == Era::Legacy && matches!(reply, Reply::Result(_) | Reply::Error { .. }) {
                self.road.release_held(&walking.arrival).await;
            }
            match reply {
                Reply::Result(raw) => return (Ok(self.dress(&walking, raw)), hold),
                Reply::Error { code, message, data } => {
                    return (Err(era_error(walking.era, RpcError { code, message, data })), hold);
                }
                Reply::GoOn { state } => return (self.become_task(walking, state), hold),
                Reply::Ask { requests, state } => {
                    match self.ask(&walking, &requests, state.as_ref(), hold).await {
                        Asked::Answered(answers, held) => {
                            walking.arrival.round = Round { answers: Some(answers), state, is_task: false };
                            answers_held = Some(held);
                        }
                        Asked::Reply(answered, hold) => return (answered, hold),
                    }
                }
            }
        }
        self.road.release(walking.arrival.round.state.as_ref(), &walking.arrival).await;
        let error = ToolError::new("TooManyRounds", Code::Internal, "the call asked too many times");
        (self.failed(&walking, error), None)
    }

    async fn ask(
        &self,
        walking: &Walking,
        requests: &[InputRequest],
        state: Option<&Raw>,
        hold: Option<Permit>,
    ) -> Asked {
        let lacking = lacking(requests, walking.arrival.abilities);
        let asked = match (walking.era, lacking.is_empty()) {
            (Era::Modern, false) => Asked::Reply(Err(input::missing(lacking)), hold),
            (Era::Modern, true) => match self.required(walking, requests, state) {
                // It comes again with the answers.
                Ok(required) => return Asked::Reply(Ok(required), hold),
                Err(error) => Asked::Reply(Err(error), hold),
            },
            (Era::Legacy, false) => Asked::Reply(self.failed(walking, incapable(lacking)), hold),
            (Era::Legacy, true) => {
                // A person may take long to answer: others get the place meanwhile.
                drop(hold);
                match self.ask_back(walking, requests).await {
                    Ok((answers, held)) => return Asked::Answered(answers, held),
                    Err(error) => Asked::Reply(self.failed(walking, error), None),
                }
            }
        };
        // There is no further round.
        self.road.release(state, &walking.arrival).await;
        asked
    }

    /// Asks a legacy client everything at once, and waits for all of its answers.
    async fn ask_back(
        &self,
        walking: &Walking,
        requests: &[InputRequest],
    ) -> Result<(Raw, Reserved), ToolError> {
        let Some((asking, outbox)) = &walking.way_back else {
            let message = "the client takes no requests here: it has no session, or reads no event streams";
            return Err(ToolError::new("ClientUnreachable", Code::Unsupported, message)
                .suggest("call from a client that keeps a session and accepts text/event-stream"));
        };
        let held = Mutex::new(self.road.budget().begin(&walking.arrival.principal));
        let questions = requests.iter().map(|request| {
            let held = &held;
            let mut question = asking.ask(request.method.as_str(), &request.params, outbox);
            async move {
                let answer = question
                    .answer()
                    .await
                    .map_err(|error| refused(&format!("the client refused: {}", reason(&error))))?;
                let bytes = answer.as_bytes().len();
                if bytes > ANSWERS_BYTES_MAX / requests.len().max(1) {
                    return Err(refused("the client's answer is too large"));
                }
                if !answer.is_object() {
                    return Err(refused("the client answered something that is no object"));
                }
                held.lock().unwrap_or_else(PoisonError::into_inner).grow(bytes)?;
                Ok((request.key.as_str(), answer.detached()))
            }
        });
        let patience = Duration::from_millis(self.limits.answer_timeout_ms);
        // While it waits it is no running call, but an open stream like any other.
        let waiting = self.road.open_stream(&walking.arrival.principal)?;
        let quiet = self.road.quiet();
        let answers = tokio::select! {
            biased;
            () = walking.cancel.cancelled() => return Err(ToolError::cancelled()),
            () = waiting.pulled.cancelled() => return Err(ToolError::cancelled()),
            () = quiet.cancelled() => return Err(ToolError::cancelled()),
            answers = timeout(patience, try_join_all(questions)) => answers.map_err(|_| {
                ToolError::timeout("the client did not answer what the call asked").suggest("call again")
            })??,
        };
        let object = ObjectWriter::new(256);
        let answers = answers.into_iter().fold(object, |object, (key, answer)| object.raw(key, &answer));
        Ok((answers.end(), held.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Asks a modern client: the request is over, and comes again with the answers.
    fn required(
        &self,
        walking: &Walking,
        requests: &[InputRequest],
        state: Option<&Raw>,
    ) -> Result<Raw, RpcError> {
        let sealed = state.map(|state| self.seal_state(&walking.arrival, state)).transpose()?;
        Ok(input::required(requests, sealed.as_deref()))
    }

    fn seal_state(&self, arrival: &Arrival, state: &Raw) -> Result<String, RpcError> {
        let verb = arrival.verb.unwrap_or(Verb::CallTool);
        let bound = bound_to(&arrival.endpoint, verb, &arrival.name, &arrival.arguments);
        let binding = Binding { principal: &arrival.principal.credential, digest: bound };
        let lifetime = u32::try_from(self.limits.state_lifetime_ms / 1000).unwrap_or(u32::MAX);
        let content = carried::join(&arrival.correlation_id, state.as_bytes());
        self.states.seal(&binding, &content, self.road.counted_unix(), lifetime).map_err(|error| {
            tracing::error!(%error, "a state can't be sealed");
            RpcError::new(
                hayward_mcp::error::INTERNAL_ERROR,
                "the call can't be continued: look into the log",
            )
        })
    }

    /// What each era adds to a result.
    fn dress(&self, walking: &Walking, raw: Raw) -> Raw {
        match walking.arrival.verb {
            Some(Verb::ReadResource) => {
                let hint =
                    self.road.cache(&walking.arrival.endpoint, Verb::ReadResource, &walking.arrival.name);
                result::contents(walking.era, raw, hint)
            }
            _ => result::complete(walking.era, raw),
        }
    }

    pub(super) fn failed(&self, walking: &Walking, error: ToolError) -> Result<Raw, RpcError> {
        match Outcome::failed(walking.arrival.verb.unwrap_or(Verb::CallTool), error).reply {
            Reply::Result(raw) => Ok(self.dress(walking, raw)),
            Reply::Error { code, message, data } => {
                Err(era_error(walking.era, RpcError { code, message, data }))
            }
            Reply::Ask { .. } | Reply::GoOn { .. } => unreachable!("a failure asks nothing"),
        }
    }
}

/// What became of asking.
enum Asked {
    /// The answers are here, and what counts them among what is held in memory.
    Answered(Raw, Reserved),
    /// The request is answered.
    Reply(Result<Raw, RpcError>, Option<Permit>),
}

/// What a client is told whose call goes on at another node, or went on before a restart.
fn elsewhere() -> RpcError {
    let message = "another node has to go on with this call, or the one that could was started anew: go back to the node \
                   that asked, or call again without requestState";
    let data = ObjectWriter::new(64).str("code", Code::Unavailable.as_str()).end();
    RpcError::new(i64::from(Code::Unavailable.http_status()), message).with_data(data)
}

/// What a state belongs to: the same request, made again.
fn bound_to(endpoint: &Endpoint, verb: Verb, name: &str, arguments: &Raw) -> [u8; 32] {
    digest(&format!("{endpoint} {}", verb.method()), name, arguments.as_bytes())
}

/// The modern era has no code of its own for a resource that isn't there.
pub(super) fn era_error(era: Era, error: RpcError) -> RpcError {
    match (era, error.code) {
        (Era::Modern, RESOURCE_NOT_FOUND) => RpcError { code: INVALID_PARAMS, ..error },
        _ => error,
    }
}

/// What a client can't answer of what is asked.
pub(super) fn lacking(requests: &[InputRequest], abilities: Abilities) -> Abilities {
    requests.iter().map(InputRequest::needs).filter(|needs| !abilities.has(*needs)).collect()
}

fn refused(message: &str) -> ToolError {
    ToolError::new("ClientRefused", Code::Forbidden, message).suggest("ask the user before you call again")
}

/// What an error object says.
fn reason(error: &Raw) -> String {
    let object = json::Object::of(error).unwrap_or_else(json::Object::empty);
    let message = object.get_str("message").map(std::borrow::Cow::into_owned);
    message.unwrap_or_else(|| "without a reason".to_owned())
}
