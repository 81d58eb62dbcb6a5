//! `/api/…` and `/healthz`: requests that manage. Here they are bounded like all others and their sender is identified;
//! whoever mounts the routes answers them, finds a [`Caller`] in their extensions, and decides and records by itself.

use std::sync::{Arc, LazyLock};

use ::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hayward_api::problem::{PROBLEM_JSON, Problem};
use hayward_api::{Caller, Code, Error, Principal};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::answer::OnRecord;
use super::body::{BodyFault, read as read_body};
use super::guard::Objection;
use super::http::{App, Arrived, authenticate};
use crate::limits::ADMIN_BODY_BYTES_MAX;

/// What a body of such a request may be declared as. A web page can send none of these without asking first.
const MEDIA: [&str; 5] = [
    "application/json",
    "application/merge-patch+json",
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
];

static NOBODY: LazyLock<Arc<Principal>> = LazyLock::new(|| Arc::new(Principal::anonymous()));

/// Whether a request for this path manages.
pub(crate) fn is_its(path: &str) -> bool {
    path == "/healthz" || path == "/api" || path.starts_with("/api/")
}

/// Whether a body is declared as what it may be. One that isn't there need not be.
pub(crate) fn is_declared(headers: &HeaderMap) -> bool {
    let is_empty = !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.get(header::CONTENT_LENGTH).is_none_or(|length| length.as_bytes() == b"0");
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(media) = values.next() else { return is_empty };
    let media = media.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    values.next().is_none() && MEDIA.iter().any(|known| media.eq_ignore_ascii_case(known))
}

/// Identifies the sender, takes the body, and has it answered.
pub(crate) async fn answer(
    app: &Arc<App>,
    routes: &Router,
    arrived: Arrived,
    request: Request<Incoming>,
) -> Response {
    let (head, body) = request.into_parts();
    let principal = match identify(app, &arrived, &head.headers) {
        Ok(principal) => principal,
        Err(refused) => return problem_of(&refused, "this token", &arrived.id),
    };
    let is_nobody = Arc::ptr_eq(&principal, &NOBODY);
    let bytes_max = if is_nobody { ADMIN_BODY_BYTES_MAX } else { app.limits.body_bytes_max };
    let taken = read_body(&head.headers, body, bytes_max, app, (&principal, &arrived.connection)).await;
    let taken = match taken {
        Ok(taken) => taken,
        Err(fault) => return faulty(fault, bytes_max, &arrived.id),
    };
    let mut request = Request::from_parts(head, Body::from(taken.bytes));
    let caller = Caller {
        principal: Arc::clone(&principal),
        source: arrived.source,
        request_id: Arc::clone(&arrived.id),
    };
    request.extensions_mut().insert(caller);
    let Ok(mut response) = routes.clone().oneshot(request).await;
    // What is not permitted is in the record already. Who isn't known is for us to record, and to slow down.
    if response.status() == StatusCode::FORBIDDEN {
        response.extensions_mut().insert(OnRecord);
    }
    if !is_nobody {
        response.extensions_mut().insert(principal);
    }
    drop(taken.reserved);
    response
}

/// Whoever the bearer token belongs to; nobody if there is none. One that belongs to nobody is refused.
fn identify(app: &App, arrived: &Arrived, headers: &HeaderMap) -> Result<Arc<Principal>, Response> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Ok(Arc::clone(&NOBODY));
    }
    let known = authenticate(app, arrived, headers)?;
    known.ok_or_else(|| super::http::unauthenticated("Invalid or disabled token"))
}

/// What the guard objects to, in the form of these routes.
pub(crate) fn objected(objection: Objection, request_id: &str) -> Response {
    let error = match objection {
        Objection::Host | Objection::Origin => told(Code::Forbidden, objection.message()),
        Objection::ContentType => {
            Error::new(Code::Invalid, format!("Content-Type must be one of {}", MEDIA.join(", ")))
        }
    };
    problem(&error, objection.status().as_u16(), request_id)
}

/// A refusal of this listener in the form of these routes; what comes too fast is of `who`.
pub(crate) fn problem_of(refused: &Response, who: &str, request_id: &str) -> Response {
    let error = match refused.status() {
        StatusCode::TOO_MANY_REQUESTS => Error::new(Code::RateLimited, format!("too many requests of {who}"))
            .with_hint("wait as long as `Retry-After` says"),
        _ => Error::new(Code::Unauthenticated, "the bearer token is not valid, or not any more")
            .with_hint("run `hayward login`, or ask an administrator for a token"),
    };
    let mut response = problem(&error, error.code.http_status(), request_id);
    for name in [header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
        if let Some(value) = refused.headers().get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    // Who is behind a token that is refused for where it comes from is for the record.
    if let Some(principal) = refused.extensions().get::<Arc<Principal>>() {
        response.extensions_mut().insert(Arc::clone(principal));
    }
    response
}

fn faulty(fault: BodyFault, bytes_max: u64, request_id: &str) -> Response {
    let error = match fault {
        BodyFault::TooLarge => {
            Error::new(Code::TooLarge, format!("the body has more than {bytes_max} bytes"))
                .with_hint("send less at a time")
        }
        BodyFault::Broken => told(Code::Invalid, fault.message()),
        BodyFault::TooSlow => told(Code::Timeout, fault.message()),
        BodyFault::Overloaded => told(Code::Unavailable, fault.message()),
    };
    problem(&error, fault.status().as_u16(), request_id)
}

/// A text that may end with its hint.
fn told(code: Code, text: &str) -> Error {
    match text.split_once("; hint: ") {
        Some((message, hint)) => Error::new(code, message).with_hint(hint),
        None => Error::new(code, text),
    }
}

fn problem(error: &Error, status: u16, request_id: &str) -> Response {
    let problem = Problem { status, ..Problem::new(error, request_id) };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_body_is_declared_as_something_that_no_page_sends_unasked() {
        for media in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/merge-patch+json",
            "application/yaml",
            "text/yaml",
        ] {
            assert!(is_declared(&headers(&[("content-type", media), ("content-length", "2")])), "{media}");
        }
        for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", ""] {
            assert!(!is_declared(&headers(&[("content-type", media), ("content-length", "2")])), "{media}");
        }
        assert!(is_declared(&headers(&[])) && is_declared(&headers(&[("content-length", "0")])));
        assert!(!is_declared(&headers(&[("content-length", "1")])));
        assert!(!is_declared(&headers(&[("transfer-encoding", "chunked")])));
    }

    #[test]
    fn only_its_own_paths_are_its() {
        for path in ["/api", "/api/v1/servers", "/healthz", "/api/"] {
            assert!(is_its(path), "{path}");
        }
        for path in ["/", "/health", "/apis", "/mcp", "/healthz/x"] {
            assert!(!is_its(path), "{path}");
        }
    }
}
