//! What goes down the road: who wants what, and where from.

use std::sync::Arc;

use hayward_api::{Principal, Source};
use hayward_mcp::envelope::RequestId;
use hayward_mcp::era::Revision;
use hayward_mcp::json::Raw;
use hayward_tool::{Abilities, Caller, Round, Verb};

use super::Beside;
use crate::endpoint::Endpoint;

/// A call as it arrives at the road: who, what, and where from.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Verified by `identify`.
    pub principal: Arc<Principal>,
    /// Where it comes from.
    pub source: Source,
    /// The id that the record and the answer carry.
    pub request_id: Arc<str>,
    /// The id of the request that began what this one goes on with: its own, if it begins something itself.
    pub(crate) correlation_id: Arc<str>,
    /// The id that the client gave its request, if it is one of the protocol.
    pub(crate) rpc_id: Option<RequestId>,
    /// What the client says it is.
    pub client: Arc<str>,
    /// The trace that it is part of (W3C `traceparent`), as the client says.
    pub trace_parent: Option<String>,
    /// The revision of the protocol that it speaks, if it speaks any.
    pub revision: Option<Revision>,
    /// What the client can do when it is asked.
    pub abilities: Abilities,
    /// Where it came in.
    pub(crate) endpoint: Endpoint,
    /// The session that it is of, where there is one.
    pub(crate) session: Option<Arc<str>>,
    /// The parameters of its request, as they came.
    pub(crate) params: Raw,
    /// What to do; none for a change beside the tools.
    pub verb: Option<Verb>,
    /// The name of the tool or prompt, or the URI of the resource, as the client knows it.
    pub name: String,
    /// The arguments: a checked object.
    pub arguments: Raw,
    /// What the rounds before this one have brought.
    pub round: Round,
    /// The key under which it is made once, if it has an effect; unchecked.
    pub(crate) idempotency_key: Option<String>,
    /// What this round uses up, if it may be done once only.
    pub(crate) spends: Option<Spends>,
    /// What it is, if it is no call.
    pub(crate) beside: Beside,
}

/// A state that is good for one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spends {
    /// What tells it from every other.
    pub(crate) nonce: [u8; 24],
    /// From when on it is refused anyway, in seconds since 1970.
    pub(crate) expires_unix: i64,
}

impl Arrival {
    /// The form in which a refusal is told.
    pub(crate) fn form(&self) -> Verb {
        self.verb.unwrap_or(Verb::CallTool)
    }

    /// Who calls, as servers are told: with the fence that holds for this call.
    pub(super) fn caller(&self, principal: &Arc<Principal>) -> Caller {
        Caller {
            principal: Arc::clone(principal),
            client: Arc::clone(&self.client),
            abilities: self.abilities,
            session: self.session.clone(),
        }
    }

    /// Something of this name that is no call of a client: who wants it, from where, and under which id.
    pub(crate) fn beside(
        beside: Beside,
        (principal, source, request_id): (Arc<Principal>, Source, Arc<str>),
        name: &str,
        arguments: Raw,
    ) -> Self {
        Self {
            principal,
            source,
            correlation_id: Arc::clone(&request_id),
            request_id,
            client: Arc::default(),
            rpc_id: None,
            trace_parent: None,
            revision: None,
            endpoint: Endpoint::Default,
            session: None,
            params: Raw::empty_object(),
            abilities: Abilities::default(),
            verb: None,
            name: name.to_owned(),
            arguments,
            round: Round::default(),
            idempotency_key: None,
            spends: None,
            beside,
        }
    }
}
