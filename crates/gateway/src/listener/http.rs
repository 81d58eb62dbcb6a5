//! The routes, and what stands before all of them.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use hayward_api::principal::PrincipalKind;
use hayward_api::{Code, Error, Principal, Source};
use hayward_tool::Transfers;
use serde_json::json;

use super::guard::Guard;
use super::pace::Pace;
use super::places::Connection;
use super::proxies::{Forwarded, Proxies};
use super::sse::OldClients;
use super::tls::Tls;
use super::{admin, answer, files, management, mcp, metrics, sse};
use crate::endpoint::Endpoint;
use crate::limits::{Limits, REQUEST_ID_BYTES_MAX};
use crate::protocol::Protocol;
use crate::road::Road;
use crate::session::Sessions;
use crate::tokens::Tokens;

/// What the routes work with: whatever is said in settings, and what goes on under them. It stays as it is; a change of
/// settings makes another one, see [`Front`](super::Front).
pub struct App {
    /// The protocol, with the road behind it.
    pub protocol: Arc<Protocol>,
    /// Sessions of legacy clients.
    pub sessions: Sessions,
    /// Clients of the oldest transport.
    pub old_clients: OldClients,
    /// What keeps tokens.
    pub tokens: Arc<dyn Tokens>,
    /// What redeems tickets for files.
    pub transfers: Arc<dyn Transfers>,
    /// What answers `/api/…` and `/healthz`, if anything does; see [`management`](super::management).
    pub management: Option<Router>,
    /// Peers that are believed what they say of their clients.
    pub proxies: Proxies,
    /// What connections to ports begin with; none: HTTP at once.
    pub tls: Option<Arc<Tls>>,
    /// What every request must pass.
    pub guard: Guard,
    /// How fast requests may come.
    pub pace: Pace,
    /// The limits in force.
    pub limits: Limits,
    /// The version that is told.
    pub version: &'static str,
}

/// What a request is known by before anything of it was read.
#[derive(Clone)]
pub(crate) struct Arrived {
    /// Its id, for the answer, the record and the log.
    pub(crate) id: Arc<str>,
    /// Where it comes from.
    pub(crate) source: Source,
    /// Its connection.
    pub(crate) connection: Arc<Connection>,
    /// The endpoint that its path is of.
    pub(crate) endpoint: Endpoint,
}

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A path that is served.
pub struct Route {
    /// The path; a part in braces stands for any.
    pub path: &'static str,
    /// The methods that it answers.
    pub methods: &'static [&'static str],
    /// Whether it answers without a credential.
    pub is_public: bool,
    answer: fn() -> MethodRouter<Arc<App>>,
}

/// Every route. The test that tries what must be refused walks this table.
pub const ROUTES: [Route; 13] = [
    Route {
        path: "/mcp",
        methods: &["POST", "GET", "DELETE"],
        is_public: false,
        // What is posted goes past the router: see `accept.rs`.
        answer: || get(mcp::get).delete(mcp::delete),
    },
    Route {
        path: "/projects/{name}/mcp",
        methods: &["POST", "GET", "DELETE"],
        is_public: false,
        answer: || get(mcp::get).delete(mcp::delete),
    },
    Route {
        path: "/servers/{name}/mcp",
        methods: &["POST", "GET", "DELETE"],
        is_public: false,
        answer: || get(mcp::get).delete(mcp::delete),
    },
    Route { path: "/sse", methods: &["GET"], is_public: false, answer: || get(sse::open) },
    Route { path: "/projects/{name}/sse", methods: &["GET"], is_public: false, answer: || get(sse::open) },
    Route { path: "/servers/{name}/sse", methods: &["GET"], is_public: false, answer: || get(sse::open) },
    Route { path: "/messages", methods: &["POST"], is_public: false, answer: || post(sse::post) },
    Route { path: "/health", methods: &["GET"], is_public: true, answer: || get(health) },
    Route { path: "/version", methods: &["GET"], is_public: true, answer: || get(version) },
    Route { path: "/metrics", methods: &["GET"], is_public: false, answer: || get(metrics::get) },
    Route {
        path: "/admin/tokens",
        methods: &["GET", "POST"],
        is_public: false,
        answer: || get(admin::list).post(admin::create),
    },
    Route {
        path: "/admin/tokens/{token}",
        methods: &["DELETE"],
        is_public: false,
        answer: || delete(admin::revoke),
    },
    Route {
        path: "/files/raw/{ticket}",
        methods: &["PUT", "GET", "HEAD"],
        // The ticket is the credential.
        is_public: true,
        answer: || get(files::get).put(files::put).head(files::head),
    },
];

/// What answers them.
pub fn router(app: Arc<App>) -> Router {
    ROUTES
        .iter()
        .fold(Router::new(), |router, route| router.route(route.path, (route.answer)()))
        .fallback(|| async { answer::detail(StatusCode::NOT_FOUND, "Not Found") })
        .method_not_allowed_fallback(|| async {
            answer::detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        })
        .with_state(app)
}

async fn health(State(app): State<Arc<App>>) -> Response {
    if app.protocol.road().is_recording() {
        return answer::object(StatusCode::OK, &json!({ "status": "ok", "version": app.version }));
    }
    let reason = "calls can't be recorded, so they are refused";
    let body = json!({ "status": "unavailable", "version": app.version, "reason": reason });
    answer::object(StatusCode::SERVICE_UNAVAILABLE, &body)
}

async fn version(State(app): State<Arc<App>>) -> Response {
    answer::object(StatusCode::OK, &json!({ "version": app.version }))
}

/// Names the request, and checks what every request must pass.
pub(crate) fn enter<B>(
    app: &App,
    forwarded: &Forwarded<'_>,
    connection: &Arc<Connection>,
    request: &Request<B>,
) -> Result<Arrived, Response> {
    let id = chosen_id(request.headers()).unwrap_or_else(|| app.protocol.request_id());
    if let Err(objection) = app.guard.check(request, forwarded) {
        let refused = if management::is_its(request.uri().path()) {
            management::objected(objection, &id)
        } else {
            answer::detail(objection.status(), objection.message())
        };
        return Err(named(refused, &id));
    }
    // What a web page sends costs nobody else's pace.
    if let Some(Err(wait)) = forwarded.source.ip().map(|ip| app.pace.of_address(ip)) {
        return Err(held_up(request.uri().path(), "this address", wait, &id));
    }
    let endpoint = Endpoint::of_path(request.uri().path()).map(|(endpoint, _)| endpoint);
    let (endpoint, connection) = (endpoint.unwrap_or_default(), Arc::clone(connection));
    Ok(Arrived { id, source: forwarded.source, connection, endpoint })
}

/// Puts the id of its request on an answer.
pub(crate) fn named(mut response: Response, id: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The id that the client chose, if it is sane.
fn chosen_id(headers: &HeaderMap) -> Option<Arc<str>> {
    let id = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let is_sane = (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    is_sane.then(|| id.into())
}

/// Step 2, identify: the caller of a tool route.
pub(crate) fn identify(
    app: &App,
    arrived: &Arrived,
    headers: &HeaderMap,
) -> Result<Arc<Principal>, Response> {
    let principal =
        authenticate(app, arrived, headers)?.ok_or_else(|| unauthenticated("Invalid or disabled token"))?;
    if is_caller(&principal) { Ok(principal) } else { Err(unauthenticated("Invalid or disabled token")) }
}

/// Whether it calls tools: the administrator's token manages, and that for metrics watches.
pub(crate) fn is_caller(principal: &Principal) -> bool {
    match principal.kind {
        PrincipalKind::Token | PrincipalKind::Local | PrincipalKind::User | PrincipalKind::ServiceAccount => {
            true
        }
        PrincipalKind::Admin | PrincipalKind::Metrics | PrincipalKind::Anonymous => false,
    }
}

/// What a caller is told who asks for an endpoint that isn't there, or of which it may use nothing: both are the same to it.
pub(crate) fn closed(road: &Road, endpoint: &Endpoint, principal: &Principal) -> Option<Error> {
    if road.has_endpoint(endpoint, principal) {
        return None;
    }
    if let Some(why) = road.why_not_served(endpoint, principal) {
        return Some(Error::new(Code::Unsupported, format!("`{endpoint}` is not served: {why}")));
    }
    let message = format!(
        "Not Found: `{endpoint}` is no endpoint, has no servers, or may not be used with this credential"
    );
    let error = Error::new(Code::NotFound, message);
    Some(error.with_hint(
        "`hayward get projects -o wide` and `hayward get servers` tell what there is; a token reaches what it was made for \
         (`hayward token add --project NAME` or `--server NAME`)",
    ))
}

/// The status and the text of it.
pub(crate) fn closed_as(error: &Error) -> (StatusCode, String) {
    let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::NOT_FOUND);
    let hint = error.hint.as_ref().map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    (status, error.message.clone() + &hint)
}

/// Whoever the bearer token belongs to; none for a token that belongs to nobody, or comes from elsewhere than it may.
pub(crate) fn authenticate(
    app: &App,
    arrived: &Arrived,
    headers: &HeaderMap,
) -> Result<Option<Arc<Principal>>, Response> {
    let token = bearer(headers).ok_or_else(|| unauthenticated("Missing Bearer token"))?;
    let Some(principal) = app.protocol.road().identify(token) else { return Ok(None) };
    if !principal.bounds.accepts(arrived.source.ip()) {
        // Whoever found it learns nothing; whoever reads the record does.
        let mut refused = unauthenticated("Invalid or disabled token");
        refused.extensions_mut().insert(principal);
        return Err(refused);
    }
    match app.pace.of_principal(&principal) {
        Ok(()) => Ok(Some(principal)),
        Err(wait) => Err(too_fast("this token", wait)),
    }
}

pub(crate) fn too_fast(who: &str, wait: Duration) -> Response {
    let seconds = wait.as_secs_f64().ceil().max(1.0);
    let message = format!("too many requests of {who}; hint: go on in {seconds} s");
    let mut response = answer::detail(StatusCode::TOO_MANY_REQUESTS, &message);
    if let Ok(value) = HeaderValue::from_str(&format!("{seconds}")) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// The same before any route, in the form of the routes that the path is of.
pub(crate) fn held_up(path: &str, who: &str, wait: Duration, id: &str) -> Response {
    let refused = too_fast(who, wait);
    let refused = if management::is_its(path) { management::problem_of(&refused, who, id) } else { refused };
    named(refused, id)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, token) = values.next()?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let is_usable = values.next().is_none() && scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
    is_usable.then_some(token)
}

pub(crate) fn unauthenticated(message: &str) -> Response {
    let mut response = answer::detail(StatusCode::UNAUTHORIZED, message);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_bearer_token_stands_once_behind_its_scheme() {
        assert_eq!(bearer(&headers(&[("authorization", "bearer  x")])), Some("x"));
        for bad in [
            &[][..],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic x")],
            &[("authorization", "x")],
        ] {
            assert_eq!(bearer(&headers(bad)), None, "{bad:?}");
        }
        assert_eq!(bearer(&headers(&[("authorization", "Bearer a"), ("authorization", "Bearer b")])), None);
    }

    #[test]
    fn a_sane_request_id_is_kept_and_another_is_not() {
        assert_eq!(chosen_id(&headers(&[("x-request-id", "abc-1.2:3_4")])).as_deref(), Some("abc-1.2:3_4"));
        for bad in ["a b", "", "\"", &"x".repeat(129)] {
            assert_eq!(chosen_id(&headers(&[("x-request-id", bad)])), None);
        }
    }
}
