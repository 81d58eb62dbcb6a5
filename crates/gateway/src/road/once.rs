//! Between steps 7 and 8: what its client may send again under a key of its own is done once.
//!
//! A broken connection loses an answer, and the client can't know whether the call was made. With a key, it asks again
//! and gets the answer of the first time; while that one runs it is told so, and when nobody knows what came of it, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hayward_api::{Code, Ending, Fence, Tier};
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_mcp::state::digest;
use hayward_store::{Claimed, Moment, ReceiptKey, Store};
use hayward_tool::{Outcome, Reply, ToolError, Verb, Verdict};

use super::route::Route;
use super::{Arrival, Road};
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, KEPT_REPLY_BYTES_MAX};
use crate::upstreams::State;

/// The argument that names a key, of a tool that has none of this name.
const ARGUMENT: &str = "idempotency_key";

/// The keys of calls that servers have begun and that wait for answers of their clients, and what began each: nobody makes such a
/// call a second time meanwhile. What began it may bear an id that its client chose, and others may choose the same.
#[derive(Debug, Default)]
pub(super) struct HeldKeys(Mutex<HashMap<ReceiptKey, Arc<str>>>);

impl HeldKeys {
    fn lock(&self) -> MutexGuard<'_, HashMap<ReceiptKey, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, correlation_id: &Arc<str>, receipt: &ReceiptKey) {
        self.lock().insert(receipt.clone(), Arc::clone(correlation_id));
    }

    fn forget(&self, receipt: &ReceiptKey) {
        self.lock().remove(receipt);
    }

    /// Those of this credential that this has begun.
    fn take(&self, credential: &str, correlation_id: &str) -> Vec<ReceiptKey> {
        let is_it =
            |receipt: &ReceiptKey, id: &Arc<str>| receipt.credential == credential && **id == *correlation_id;
        self.lock().extract_if(|receipt, id| is_it(receipt, id)).map(|(receipt, _)| receipt).collect()
    }

    /// Whether this call goes on with one that has the key already.
    fn has(&self, correlation_id: &str, receipt: &ReceiptKey) -> bool {
        self.lock().get(receipt).is_some_and(|id| **id == *correlation_id)
    }
}

/// A call that is made once under its key.
#[derive(Debug)]
pub(super) struct Keyed {
    receipt: ReceiptKey,
    /// What the key stands for.
    digest: [u8; 32],
    /// The arguments without the key.
    pub(super) arguments: Raw,
}

impl Keyed {
    /// The key of a call that has an effect, if it has one; refused if it can't be one. The fence is the one that
    /// holds for the call.
    pub(super) fn of(arrival: &Arrival, fence: &Fence, route: &Route) -> Result<Option<Self>, ToolError> {
        if route.tier() == Tier::Read {
            return Ok(None);
        }
        let members = Object::of(&arrival.arguments);
        let argument = members.as_ref().and_then(|members| members.get(ARGUMENT));
        let argument = argument.filter(|_| !route.declares(ARGUMENT));
        let said = match &argument {
            Some(raw) => Some(raw.text().ok_or_else(|| invalid("must be a string"))?.into_owned()),
            None => None,
        };
        let key = match (said, &arrival.idempotency_key) {
            (Some(said), Some(other)) if said != *other => {
                return Err(invalid("is another one in `_meta`: send one of them"));
            }
            (Some(key), _) => key,
            (None, Some(key)) => key.clone(),
            (None, None) => return Ok(None),
        };
        if key.is_empty()
            || key.len() > IDEMPOTENCY_KEY_BYTES_MAX
            || !key.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(invalid(&format!(
                "must have 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters, without spaces"
            )));
        }
        let arguments = match (members, argument) {
            (Some(members), Some(_)) => without(&members, arrival.arguments.as_bytes().len()),
            _ => arrival.arguments.clone(),
        };
        // What it stands for depends on how far it reaches.
        let fence = serde_json::to_string(fence).unwrap_or_default();
        let name = format!("{}\0{}\0{fence}", arrival.endpoint, arrival.name);
        let digest = digest(arrival.form().method(), &name, arguments.as_bytes());
        let credential = arrival.principal.credential.clone();
        Ok(Some(Self { receipt: ReceiptKey { credential, key }, digest, arguments }))
    }

    /// Whether an earlier round of the call has claimed it.
    pub(super) fn is_claimed(&self, arrival: &Arrival, held: &HeldKeys) -> bool {
        // A task has the key that its call has claimed.
        arrival.round.is_task || held.has(&arrival.correlation_id, &self.receipt)
    }

    /// Claims the key for this call, or says what else the call comes to.
    pub(super) async fn claim(&self, store: &Store, arrival: &Arrival, now: Moment) -> Result<(), Outcome> {
        let verb = arrival.form();
        let claimed = store.claim_receipt(&self.receipt, &self.digest, now).await;
        let claimed = claimed.map_err(|error| {
            let error = hayward_api::Error::from(error);
            tracing::error!(detail = error.detail, "a key can't be claimed");
            let told = ToolError::new(
                "Unavailable",
                Code::Unavailable,
                format!("{}; nothing was done", error.message),
            );
            Outcome::failed(verb, told.suggest("retry with the same key"))
        })?;
        match claimed {
            Claimed::New => Ok(()),
            Claimed::Done(Some(reply)) => Err(repeated(verb, &reply)),
            Claimed::Done(None) => Err(refused(
                verb,
                "ResultNotKept",
                "the call was made under this key, and its result was too large to be kept",
                "look at what it did; a new key makes the call again",
            )),
            Claimed::Running => Err(refused(
                verb,
                "InProgress",
                "the call that was made under this key still runs",
                "wait, then send the same call with the same key for its result",
            )),
            Claimed::Lost => Err(refused(
                verb,
                "OutcomeUnknown",
                "another process began the call that was made under this key: it may still run on another node, or have ended with it",
                "send the same call with the same key again later; a new key, which makes it again, only after a look at what it did",
            )),
            Claimed::OfAnother => Err(refused(
                verb,
                "KeyReused",
                "another call was made under this key",
                "use a new key for each call that is not a repetition",
            )),
            Claimed::Full => {
                let error = ToolError::new(
                    "RateLimited",
                    Code::RateLimited,
                    "too many keys are remembered for this credential",
                );
                Err(Outcome::failed(
                    verb,
                    error.suggest("call without a key, or wait until older ones are forgotten"),
                ))
            }
        }
    }

    /// Keeps what the call has come to. One that only asks has not been made, but for one that its server has begun; nor has one
    /// that came to nothing. A task goes on.
    pub(super) async fn settle(
        &self,
        (store, held): (&Store, &HeldKeys),
        arrival: &Arrival,
        outcome: &Outcome,
    ) {
        let Outcome { reply, verdict, .. } = outcome;
        match reply {
            Reply::Ask { state, .. } if State::read(state.as_ref()).has_begun() => {
                return held.keep(&arrival.correlation_id, &self.receipt);
            }
            Reply::Ask { .. } | Reply::GoOn { .. } => {}
            Reply::Result(_) | Reply::Error { .. } => held.forget(&self.receipt),
        }
        let settled = match reply {
            _ if verdict.is_unmade && !arrival.round.is_task => store.release_receipt(&self.receipt).await,
            Reply::Ask { .. } if arrival.round.is_task => return,
            Reply::GoOn { .. } => return,
            Reply::Ask { .. } => store.release_receipt(&self.receipt).await,
            Reply::Result(_) | Reply::Error { .. } => {
                let reply =
                    serde_json::to_vec(reply).ok().filter(|reply| reply.len() <= KEPT_REPLY_BYTES_MAX);
                store.settle_receipt(&self.receipt, reply.as_deref()).await
            }
        };
        if let Err(error) = settled {
            // The key stays claimed, so that nothing is done twice.
            tracing::error!(error = &error as &dyn std::error::Error, "what came of a key can't be kept");
        }
    }

    /// Gives the key back: the call was not made after all.
    pub(super) async fn release(&self, store: &Store) {
        if let Err(error) = store.release_receipt(&self.receipt).await {
            tracing::error!(error = &error as &dyn std::error::Error, "a key can't be given back");
        }
    }
}

impl Road {
    /// A call that its server has begun has no further round: whoever asks for its key again is told that.
    pub(super) async fn let_go(&self, credential: &str, correlation_id: &str) {
        for receipt in self.held_keys.take(credential, correlation_id) {
            let error =
                ToolError::timeout("what the server asked was not answered, and the call was cancelled")
                    .suggest("it may have been done in part: look before you call again, under a new key");
            let reply = serde_json::to_vec(&Outcome::failed(Verb::CallTool, error).reply).ok();
            if let Err(error) = self.store.settle_receipt(&receipt, reply.as_deref()).await {
                tracing::error!(error = &error as &dyn std::error::Error, "what came of a key can't be kept");
            }
        }
    }
}

fn without(members: &Object, bytes: usize) -> Raw {
    let kept = members.iter().filter(|member| !member.is(ARGUMENT));
    kept.fold(ObjectWriter::new(bytes), ObjectWriter::member).end()
}

fn invalid(message: &str) -> ToolError {
    ToolError::new("InvalidArguments", Code::Invalid, format!("`{ARGUMENT}` {message}"))
        .suggest("send a random text of your own, the same one for every repetition of this call")
}

/// The reply of the first time.
fn repeated(verb: Verb, reply: &[u8]) -> Outcome {
    match serde_json::from_slice(reply) {
        Ok(reply) => {
            let verdict = Verdict { code: Some("Repeated".to_owned()), ..Verdict::ok() };
            Outcome { verdict, reply, detail: None }
        }
        Err(error) => {
            Outcome::failed(verb, ToolError::internal(format!("a kept reply can't be read: {error}")))
        }
    }
}

fn refused(verb: Verb, code: &'static str, message: &str, suggestion: &str) -> Outcome {
    let outcome = Outcome::failed(verb, ToolError::new(code, Code::Conflict, message).suggest(suggestion));
    Outcome { verdict: Verdict::failed(Ending::Denied, code, message), ..outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(credential: &str, key: &str) -> ReceiptKey {
        ReceiptKey { credential: credential.to_owned(), key: key.to_owned() }
    }

    #[test]
    fn an_id_that_somebody_else_chose_as_well_takes_no_key_and_gives_none() {
        let (held, id) = (HeldKeys::default(), Arc::<str>::from("id"));
        let (mine, theirs, other) = (receipt("me", "k"), receipt("them", "k"), receipt("me", "other"));
        held.keep(&id, &mine);
        assert!(held.has("id", &mine) && !held.has("id", &theirs) && !held.has("id", &other));
        held.keep(&id, &theirs);
        assert_eq!(held.take("them", "id"), [theirs]);
        assert!(held.has("id", &mine), "it is held still");
        held.keep(&id, &other);
        held.forget(&other);
        assert!(held.take("me", "another").is_empty());
        assert_eq!(held.take("me", "id"), [mine]);
        assert!(held.lock().is_empty());
    }
}
