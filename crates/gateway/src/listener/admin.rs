//! `/admin/tokens`: the administrator makes, lists and revokes tokens.

use std::sync::Arc;

use ::http::{HeaderMap, Request, StatusCode};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use hayward_api::fence::tools::ToolFences;
use hayward_api::kinds::token::{Role, TokenSpec};
use hayward_api::principal::ProtocolRevision;
use hayward_api::{Bounds, Error, Fence, Principal, Reach, Time};
use hayward_auth::{Action, Decision, decide};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer;
use super::body::read as read_body;
use super::http::{App, Arrived, authenticate};
use crate::limits::ADMIN_BODY_BYTES_MAX;
use crate::tokens::TokenView;
use crate::tokens::recorded::{self, Author};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    min_protocol: Option<ProtocolRevision>,
    #[serde(default)]
    fence: Fence,
    #[serde(default)]
    tool_fences: ToolFences,
    #[serde(default)]
    bounds: Bounds,
    #[serde(default)]
    reach: Reach,
    #[serde(default)]
    expires_at: Option<Time>,
}

/// `GET`: a map of id to what is known of the token.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(arrived): Extension<Arrived>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = administrator(&app, &arrived, &headers) {
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
        "min_protocol": token.min_protocol,
        "fence": token.fence,
        "tool_fences": token.tool_fences,
        "bounds": token.bounds,
        "reach": token.reach,
        "expires_at": token.expires_at,
    })
}

/// `POST {name, role?, min_protocol?, expires_at?, bounds?, reach?, fence?, tool_fences?}`: makes a token and shows it, once.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(arrived): Extension<Arrived>,
    request: Request<Body>,
) -> Response {
    let (head, body) = request.into_parts();
    let made = async {
        let actor = administrator(&app, &arrived, &head.headers)?;
        let taken = read_body(&head.headers, body, ADMIN_BODY_BYTES_MAX, &app, (&actor, &arrived.connection))
            .await
            .map_err(|fault| answer::detail(fault.status(), fault.message()))?;
        let bad = |message: &str| answer::detail(StatusCode::BAD_REQUEST, message);
        let wanted: Wanted =
            serde_json::from_slice(&taken.bytes).map_err(|error| bad(&format!("invalid body: {error}")))?;
        let role = role_of(wanted.role.as_deref()).map_err(|message| bad(&message))?;
        let Wanted { name, min_protocol, fence, tool_fences, bounds, reach, expires_at, .. } = wanted;
        let spec = TokenSpec { min_protocol, fence, tool_fences, bounds, reach, expires_at, ..role.into() };
        let made =
            recorded::create(&app.protocol, &*app.tokens, author(&arrived, actor), (name.clone(), spec))
                .await;
        let token = made.map_err(|error| failed(&error))?;
        let shown = json!({ "token": token, "name": name, "role": role });
        Ok(answer::object(StatusCode::OK, &shown))
    };
    made.await.unwrap_or_else(|refused: Response| refused)
}

fn role_of(word: Option<&str>) -> Result<Role, String> {
    match word {
        None | Some("ro") => Ok(Role::Ro),
        Some("rw") => Ok(Role::Rw),
        Some(other) => Err(format!("Invalid role: '{other}'. Must be 'ro' or 'rw'.")),
    }
}

/// `DELETE`: revokes a token; what runs under it is cancelled.
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(arrived): Extension<Arrived>,
    token: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    let Ok(Path(token)) = token else {
        let message = "the id in the path is not UTF-8; hint: GET /admin/tokens lists ids";
        return answer::detail(StatusCode::BAD_REQUEST, message);
    };
    let (head, _body) = request.into_parts();
    let actor = match administrator(&app, &arrived, &head.headers) {
        Ok(actor) => actor,
        Err(refused) => return refused,
    };
    match recorded::revoke(&app.protocol, &*app.tokens, author(&arrived, actor), token).await {
        Ok(revoked) => answer::object(StatusCode::OK, &json!({ "revoked": revoked.id })),
        Err(error) if error.code == hayward_api::Code::NotFound => {
            answer::detail(StatusCode::NOT_FOUND, "Token not found")
        }
        Err(error) => failed(&error),
    }
}

fn author(arrived: &Arrived, principal: Arc<Principal>) -> Author {
    Author { principal, source: arrived.source, request_id: Some(Arc::clone(&arrived.id)) }
}

fn administrator(app: &App, arrived: &Arrived, headers: &HeaderMap) -> Result<Arc<Principal>, Response> {
    let refused = || answer::detail(StatusCode::FORBIDDEN, "Admin token required");
    let principal = authenticate(app, arrived, headers)?.ok_or_else(refused)?;
    match decide(&app.protocol.road().policy(), &principal, &Action::ManageTokens) {
        Decision::Allow => Ok(principal),
        Decision::Deny { .. } => {
            let mut response = refused();
            response.extensions_mut().insert(principal);
            Err(response)
        }
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
