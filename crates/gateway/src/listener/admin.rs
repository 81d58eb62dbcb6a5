//! `/admin/tokens`: the administrator makes, lists and revokes tokens.

use std::sync::Arc;

use ::http::{HeaderMap, Request, StatusCode};
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::response::Response;
use hayward_api::kinds::token::Role;
use hayward_api::{Error, Principal};
use hayward_auth::{Action, Decision, decide};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer;
use super::http::{App, authenticate};
use crate::tokens::TokenView;

/// Bytes of the body of one request for a token.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    #[serde(default)]
    role: Option<String>,
}

/// `GET`: a map of id to what is known of the token.
pub(crate) async fn list(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let Err(refused) = administrator(&app, &headers) {
        return refused;
    }
    match app.tokens.list().await {
        Ok(tokens) => {
            let map: Map<String, Value> =
                tokens.into_iter().map(|token| (token.id.clone(), shown(&token))).collect();
            answer::object(StatusCode::OK, &map)
        }
        Err(error) => failed(&error),
    }
}

/// What a list shows of a token; its id is the key already.
fn shown(token: &TokenView) -> Value {
    json!({
        "name": token.name,
        "created_at": token.created_at,
        "last_used": token.last_used,
        "enabled": token.enabled,
        "role": token.role,
    })
}

/// `POST {name, role?}`: makes a token and shows it, once.
pub(crate) async fn create(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let administrator = match administrator(&app, &head.headers) {
        Ok(administrator) => administrator,
        Err(refused) => return refused,
    };
    let wanted = match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(bytes) => serde_json::from_slice::<Wanted>(&bytes),
        Err(_too_large) => return answer::detail(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
    };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return answer::detail(StatusCode::BAD_REQUEST, &format!("invalid body: {error}")),
    };
    let role = match wanted.role.as_deref() {
        None | Some("ro") => Role::Ro,
        Some("rw") => Role::Rw,
        Some(other) => {
            let message = format!("Invalid role: '{other}'. Must be 'ro' or 'rw'.");
            return answer::detail(StatusCode::BAD_REQUEST, &message);
        }
    };
    match app.tokens.create(&wanted.name, role, &administrator).await {
        Ok(token) => {
            let shown = json!({ "token": token, "name": wanted.name, "role": role });
            answer::object(StatusCode::OK, &shown)
        }
        Err(error) => failed(&error),
    }
}

/// `DELETE`: revokes a token; what runs under it is cancelled.
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    let administrator = match administrator(&app, &headers) {
        Ok(administrator) => administrator,
        Err(refused) => return refused,
    };
    match app.tokens.revoke(&token, &administrator).await {
        Ok(id) => answer::object(StatusCode::OK, &json!({ "revoked": id })),
        Err(error) if error.code == hayward_api::Code::NotFound => {
            answer::detail(StatusCode::NOT_FOUND, "Token not found")
        }
        Err(error) => failed(&error),
    }
}

fn administrator(app: &App, headers: &HeaderMap) -> Result<Arc<Principal>, Response> {
    let refused = || answer::detail(StatusCode::FORBIDDEN, "Admin token required");
    let principal = authenticate(app, headers)?.ok_or_else(refused)?;
    match decide(&principal, &Action::ManageTokens) {
        Decision::Allow => Ok(principal),
        Decision::Deny { .. } => Err(refused()),
    }
}

fn failed(error: &Error) -> Response {
    if let Some(detail) = &error.detail {
        tracing::error!(code = %error.code, detail, "a token request failed");
    }
    let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = match &error.hint {
        Some(hint) => format!("{}; hint: {hint}", error.message),
        None => error.message.clone(),
    };
    answer::detail(status, &message)
}
