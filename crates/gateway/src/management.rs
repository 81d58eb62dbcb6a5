//! Requests that manage, in the record: intents and outcomes around them like those of calls, and what is refused.

use std::sync::Arc;

use hayward_api::{Caller, Error};
use hayward_mcp::json::Raw;
use serde_json::Value;

use crate::protocol::Protocol;
use crate::road::{Arrival, Beside, Refused};

/// What a refusal of a decision is called in the record.
const RBAC_DECISION: &str = "rbac_decision";
/// The code of such a refusal.
const FORBIDDEN: i64 = 403;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Managed {
    /// Its name in the record, e.g. `servers.create`.
    pub name: String,
    /// What of: an object without secrets.
    pub arguments: Value,
    /// Whether anything may be different afterwards: then it waits for the disk, where calls do.
    pub effect: Effect,
}

/// Whether something may be different afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing will.
    Look,
    /// It may.
    Change,
}

/// Does it, recorded around, to its end even if nobody waits for it any more.
pub async fn record<T: Send + 'static>(
    protocol: &Protocol,
    caller: Caller,
    managed: Managed,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let beside = match managed.effect {
        Effect::Look => Beside::LOOK,
        Effect::Change => Beside::MANAGE,
    };
    let arguments = Raw::of(&managed.arguments).unwrap_or_else(|_| Raw::empty_object());
    let who = (caller.principal, caller.source, caller.request_id);
    protocol.change(Arrival::beside(beside, who, &managed.name, arguments), work).await
}

/// Records that somebody asked for this and may not have it. The first of a kind is recorded before this returns; who
/// goes on is counted.
pub async fn deny(protocol: &Protocol, caller: &Caller, name: String, reason: String) {
    let refused = Refused {
        principal: Arc::clone(&caller.principal),
        source: caller.source,
        request_id: Arc::clone(&caller.request_id),
        method: RBAC_DECISION.to_owned(),
        name,
        code: FORBIDDEN,
        reason,
    };
    protocol.road().refuse(refused).await;
}
