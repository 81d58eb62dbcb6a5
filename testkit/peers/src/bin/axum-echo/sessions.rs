//! Sessions by hand: a map of random ids, and no more. What opens, uses and ends a legacy session here
//! does the least that any server must.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;

use super::{Request, reply};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// Open sessions, and whether their client has said that it is ready.
#[derive(Default)]
struct Sessions(Mutex<HashMap<String, bool>>);

impl Sessions {
    fn open(&self) -> Result<String, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let id = format!("{:032x}", u128::from_ne_bytes(random));
        self.lock().insert(id.clone(), false);
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/sessions`.
pub(super) fn router() -> Router {
    Router::new().route("/sessions", post(answer).delete(end)).with_state(Arc::<Sessions>::default())
}

async fn answer(State(sessions): State<Arc<Sessions>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Request<'_>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match (request.method, request.id) {
        ("initialize", Some(_)) => initialize(&sessions, &request),
        _ if !sessions.lock().contains_key(named(&headers)) => StatusCode::NOT_FOUND.into_response(),
        (_, None) => {
            sessions.lock().insert(named(&headers).to_owned(), true);
            StatusCode::ACCEPTED.into_response()
        }
        ("tools/list", Some(id)) => {
            let schema = json!({"type": "object", "properties": {"message": {"type": "string"}}});
            let tool = json!({"name": "echo", "description": "Says it back.", "inputSchema": schema});
            reply(id, &json!({"tools": [tool]}))
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn initialize(sessions: &Sessions, request: &Request<'_>) -> Response {
    let (Some(id), Ok(session)) = (request.id, sessions.open()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let server = json!({"name": "axum-echo", "version": "0"});
    let result =
        json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": server});
    let mut response = reply(id, &result);
    if let Ok(value) = HeaderValue::from_str(&session) {
        response.headers_mut().insert(SESSION_ID, value);
    }
    response
}

async fn end(State(sessions): State<Arc<Sessions>>, headers: HeaderMap) -> StatusCode {
    match sessions.lock().remove(named(&headers)) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

fn named(headers: &HeaderMap) -> &str {
    headers.get(SESSION_ID).and_then(|id| id.to_str().ok()).unwrap_or_default()
}
