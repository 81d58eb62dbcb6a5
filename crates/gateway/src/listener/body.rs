//! Bodies of requests: the whole of them, bounded in size and time.

use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use axum::BoxError;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::limits::Limits;

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    TooLarge,
    Broken,
    TooSlow,
}

impl BodyFault {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::TooLarge => "the body is too large; send large files by other means",
            Self::Broken => "the body ended early; hint: send as many bytes as Content-Length says",
            Self::TooSlow => "the body took too long to come; hint: send it at once, or less at a time",
        }
    }
}

/// Reads a whole body of at most this many bytes.
pub(crate) async fn read<B>(
    headers: &HeaderMap,
    body: B,
    bytes_max: u64,
    limits: &Limits,
) -> Result<Bytes, BodyFault>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // One that says that it is too large isn't read at all.
    if declared.is_some_and(|length| length > bytes_max) {
        return Err(BodyFault::TooLarge);
    }
    let body = Limited::new(body, usize::try_from(bytes_max).unwrap_or(usize::MAX));
    match timeout(Duration::from_millis(limits.body_timeout_ms), body.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyFault::TooLarge),
        Ok(Err(_broken)) => Err(BodyFault::Broken),
        Err(_elapsed) => Err(BodyFault::TooSlow),
    }
}
