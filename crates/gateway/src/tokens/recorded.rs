//! Changes of tokens, recorded like calls, whoever asks for them: each is made as a whole, even if nobody waits for it any more.
//!
//! Whoever calls this has decided that the author may manage tokens.

use std::sync::Arc;

use hayward_api::kinds::token::{Role, TokenSpec};
use hayward_api::{Error, Principal, Source};
use hayward_mcp::json::Raw;
use serde_json::{Value, json};

use super::{Revoked, Tokens};
use crate::protocol::Protocol;
use crate::road::{Arrival, Beside};

/// Characters of a token that the record shows: kind and public id at most.
const SHOWN_CHARS: usize = 22;

/// Who asks for a change.
pub struct Author {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// Where from.
    pub source: Source,
    /// The id of the request; a new one if there is none.
    pub request_id: Option<Arc<str>>,
}

/// [`Tokens::create`], recorded.
pub async fn create(
    protocol: &Protocol,
    tokens: &dyn Tokens,
    author: Author,
    (name, spec): (String, TokenSpec),
) -> Result<String, Error> {
    let told = json!({
        "name": name, "role": spec.role, "min_protocol": spec.min_protocol, "fence": spec.fence,
        "tool_fences": spec.tool_fences, "bounds": spec.bounds, "expires_at": spec.expires_at,
    });
    let change = tokens.create(name, spec, Arc::clone(&author.principal));
    protocol.change(arrival(protocol, author, "tokens.create", &told), change).await
}

/// [`Tokens::revoke`], recorded.
pub async fn revoke(
    protocol: &Protocol,
    tokens: &dyn Tokens,
    author: Author,
    token: String,
) -> Result<Revoked, Error> {
    // A whole token would be a secret in the record: its public beginning says enough.
    let shown: String = token.chars().take(SHOWN_CHARS).collect();
    let change = tokens.revoke(token, Arc::clone(&author.principal));
    protocol.change(arrival(protocol, author, "tokens.revoke", &json!({ "token": shown })), change).await
}

/// [`Tokens::rotate`], recorded.
pub async fn rotate(
    protocol: &Protocol,
    tokens: &dyn Tokens,
    author: Author,
    role: Role,
) -> Result<String, Error> {
    let change = tokens.rotate(role, Arc::clone(&author.principal));
    protocol.change(arrival(protocol, author, "tokens.rotate", &json!({ "role": role })), change).await
}

/// [`Tokens::revoke_role`], recorded.
pub async fn revoke_role(
    protocol: &Protocol,
    tokens: &dyn Tokens,
    author: Author,
    role: Role,
) -> Result<Vec<Revoked>, Error> {
    let change = tokens.revoke_role(role, Arc::clone(&author.principal));
    protocol.change(arrival(protocol, author, "tokens.revoke_role", &json!({ "role": role })), change).await
}

fn arrival(protocol: &Protocol, author: Author, name: &str, arguments: &Value) -> Arrival {
    let request_id = author.request_id.unwrap_or_else(|| protocol.request_id());
    let arguments = Raw::of(arguments).unwrap_or_else(|_| Raw::empty_object());
    Arrival::beside(Beside::ADMIN, (author.principal, author.source, request_id), name, arguments)
}
