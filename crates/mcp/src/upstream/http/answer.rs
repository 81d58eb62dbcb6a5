//! Answers over HTTP: what they are written in, what comes with a status that isn't a success.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Response, StatusCode};

use crate::json::{Object, Raw};
use crate::limits::{JSON, UPSTREAM_REFUSAL_BYTES_MAX, UPSTREAM_SHOWN_CHARS};
use crate::upstream::connect::Body;
use crate::upstream::error::UpstreamError;

/// What an answer is written in.
pub(in crate::upstream) enum Media {
    /// `application/json`.
    Json,
    /// `text/event-stream`.
    Events,
    /// Something else, as it is called.
    Other(String),
}

pub(in crate::upstream) fn media(headers: &HeaderMap) -> Media {
    let said = text(headers, &CONTENT_TYPE).unwrap_or_default();
    let said = said.split(';').next().unwrap_or_default().trim();
    if said.eq_ignore_ascii_case("application/json") {
        Media::Json
    } else if said.eq_ignore_ascii_case("text/event-stream") {
        Media::Events
    } else {
        Media::Other(said.chars().take(UPSTREAM_SHOWN_CHARS).collect())
    }
}

/// The whole of an answer, if it has no more than so many bytes.
pub(super) async fn read_to_end(
    response: Response<Box<dyn Body>>,
    bytes_max: usize,
) -> Result<Bytes, UpstreamError> {
    let too_long = || UpstreamError::TooLong { bytes_max };
    let said = text(response.headers(), &CONTENT_LENGTH).and_then(|length| length.parse().ok());
    if said.is_some_and(|length: usize| length > bytes_max) {
        return Err(too_long());
    }
    let mut body = response.into_body();
    body.want(said.unwrap_or(0));
    let mut whole = Vec::new();
    while let Some(chunk) = body.chunk().await.map_err(UpstreamError::Connection)? {
        // Nearly every answer is one piece, and is passed on as it is.
        if whole.is_empty() && said == Some(chunk.len()) {
            return Ok(chunk);
        }
        if whole.len() + chunk.len() > bytes_max {
            return Err(too_long());
        }
        if whole.is_empty() {
            whole.reserve_exact(said.unwrap_or(chunk.len()));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.into())
}

/// The error of an answer that names no request, as one to a request that couldn't be read.
pub(super) fn error_without_id(bytes: Bytes) -> Option<Raw> {
    let answer = Object::of(&Raw::parse(bytes, JSON).ok()?)?;
    let is_nobodys = answer.get("id").is_none_or(|id| id.is_null());
    answer.get("error").filter(|error| is_nobodys && error.is_object())
}

/// Why a message was not taken that nothing comes back for.
pub(in crate::upstream) async fn refused(
    response: Response<Box<dyn Body>>,
    has_session: bool,
) -> UpstreamError {
    let status = response.status().as_u16();
    let retry_after_s = retry_after(response.headers());
    match refusal(response, has_session).await {
        Err(error) => error,
        // An error object answers nothing here.
        Ok(_) => UpstreamError::Status { status, retry_after_s },
    }
}

/// The error object that comes with a status that isn't a success.
///
/// # Errors
/// What the status says, if there is none, or if it says more than that.
pub(super) async fn refusal(
    response: Response<Box<dyn Body>>,
    has_session: bool,
) -> Result<Raw, UpstreamError> {
    let status = response.status();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let challenge = text(response.headers(), &WWW_AUTHENTICATE).map(ToOwned::to_owned);
        return Err(UpstreamError::Unauthorized { status: status.as_u16(), challenge });
    }
    let retry_after_s = retry_after(response.headers());
    let refusal = error_of(response).await;
    // An error under the id of the request is an answer to it. What else there is to a 404 is that the session is gone;
    // the SDK of TypeScript has servers say it in words.
    let is_answer = refusal.as_ref().is_some_and(|refusal| refusal.is_answer);
    let says_so = |refusal: &Refusal| is_about_session(&refusal.error);
    let is_gone = match status {
        StatusCode::NOT_FOUND => true,
        StatusCode::BAD_REQUEST => refusal.as_ref().is_some_and(says_so),
        _ => false,
    };
    match refusal {
        _ if has_session && is_gone && !is_answer => Err(UpstreamError::SessionGone),
        Some(refusal) => Ok(refusal.error),
        None => Err(UpstreamError::Status { status: status.as_u16(), retry_after_s }),
    }
}

/// The error object of an answer.
struct Refusal {
    error: Raw,
    /// Whether it names the request that it answers.
    is_answer: bool,
}

fn retry_after(headers: &HeaderMap) -> Option<u64> {
    text(headers, &RETRY_AFTER)?.trim().parse().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn error_of(response: Response<Box<dyn Body>>) -> Option<Refusal> {
    let body = match media(response.headers()) {
        Media::Json => read_to_end(response, UPSTREAM_REFUSAL_BYTES_MAX).await.ok()?,
        Media::Events | Media::Other(_) => return None,
    };
    let answer = Object::of(&Raw::parse(body, JSON).ok()?)?;
    let is_answer = answer.get("id").is_some_and(|id| !id.is_null());
    let error = answer.get("error").filter(Raw::is_object)?;
    Some(Refusal { error, is_answer })
}

fn is_about_session(error: &Raw) -> bool {
    let members = Object::of(error);
    let message = members.as_ref().and_then(|error| error.get_str("message"));
    message.is_some_and(|message| message.to_ascii_lowercase().contains("session"))
}
