//! Bodies of requests: the whole of them, bounded in size and time.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use axum::BoxError;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use hayward_api::Principal;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::http::App;
use super::places::Connection;
use crate::budget::Reserved;

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    TooLarge,
    Broken,
    TooSlow,
    Overloaded,
}

impl BodyFault {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::TooLarge => "the body is too large; send large files by other means",
            Self::Broken => "the body ended early; hint: send as many bytes as Content-Length says",
            Self::TooSlow => "the body took too long to come; hint: send it at once, or less at a time",
            Self::Overloaded => "the server holds as much as it may; hint: retry in a moment",
        }
    }
}

/// A body, and what holds its place in memory until it is dropped.
pub(crate) struct Taken {
    pub(crate) bytes: Bytes,
    pub(crate) reserved: Reserved,
}

/// Reads a whole body of at most this many bytes, sent by this principal on this connection.
pub(crate) async fn read<B>(
    headers: &HeaderMap,
    body: B,
    bytes_max: u64,
    app: &App,
    sender: (&Arc<Principal>, &Connection),
) -> Result<Taken, BodyFault>
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
    let (principal, connection) = sender;
    let reserved = app.protocol.road().budget().begin(principal);
    match timeout(Duration::from_millis(app.limits.body_timeout_ms), collect(body, reserved, connection))
        .await
    {
        Ok(taken) => taken,
        Err(_elapsed) => Err(BodyFault::TooSlow),
    }
}

async fn collect<B>(
    body: Limited<B>,
    mut reserved: Reserved,
    connection: &Connection,
) -> Result<Taken, BodyFault>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    let mut body = std::pin::pin!(body);
    let mut whole = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let frame = if let Some(frame) = body.frame().now_or_never() {
            frame
        } else {
            connection.waits();
            let frame = body.frame().await;
            connection.is_served();
            frame
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() { BodyFault::TooLarge } else { BodyFault::Broken }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        reserved.grow(data.len()).map_err(|_exhausted| BodyFault::Overloaded)?;
        // Most bodies come as one piece, which is taken as it is.
        if whole.is_empty() && rest.is_empty() {
            whole = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut whole));
            rest.extend_from_slice(&data);
        }
    }
    let bytes = if rest.is_empty() { whole } else { rest.freeze() };
    Ok(Taken { bytes, reserved })
}
