//! What goes the road beside calls: changes of who may do what, other settings, transfers.

use std::sync::Arc;

use hayward_api::{Code, Principal, Source, Tier};
use hayward_mcp::json::Raw;
use hayward_tool::{Abilities, Round, Verb};

use super::{Arrival, Refused, Road};
use crate::endpoint::Endpoint;
use crate::upstreams::Expired;

/// What it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside {
    /// The word for it in the record.
    pub(crate) method: &'static str,
    /// Its tier, if it has one.
    pub(crate) tier: Option<Tier>,
}

impl Beside {
    /// A change of who may do what.
    pub(crate) const ADMIN: Self = Self { method: "admin", tier: None };

    /// A change of what is declared, or of who is signed in.
    pub(crate) const MANAGE: Self = Self { method: "manage", tier: None };

    /// A look at what is declared.
    pub(crate) const LOOK: Self = Self { method: "manage", tier: Some(Tier::Read) };

    /// The beginning of a session.
    pub(crate) const BIND: Self = Self { method: "session_bind", tier: Some(Tier::Read) };

    /// A change of settings.
    pub(super) const CONFIG: Self = Self { method: "config", tier: None };
}

impl Beside {
    /// Whether what is asked for is named by a word of ours, and not by whoever asks.
    pub(super) fn is_named_by_us(self) -> bool {
        [Self::ADMIN, Self::MANAGE, Self::LOOK, Self::BIND, Self::CONFIG]
            .iter()
            .any(|ours| ours.method == self.method)
    }
}

impl Road {
    /// Records calls that were held because their server asked something, and that nobody came back for, until nobody can be
    /// held any more.
    pub async fn record_expired(&self) {
        let Some(mut expired) = self.upstreams().take_expired() else { return };
        while let Some(Expired { principal, server, correlation_id }) = expired.recv().await {
            self.let_go(&principal.credential, &correlation_id).await;
            let refused = Refused {
                principal,
                source: Source::default(),
                request_id: correlation_id,
                method: Verb::CallTool.method().to_owned(),
                name: server.to_string(),
                code: i64::from(Code::Timeout.http_status()),
                reason: "the call was cancelled: nobody answered what its server asked".to_owned(),
            };
            self.refuse(refused).await;
        }
    }
}

impl Arrival {
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
