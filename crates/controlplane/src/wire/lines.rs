//! Answers that go on: lines of JSON, until there are no more, or the client leaves or may no more.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use hayward_api::Code;
use http::{HeaderValue, header};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::asked::Asked;
use crate::plane::{Plane, Watching};
use crate::refusal::Refusal;

/// What tells them.
pub(crate) trait Lines: Send + 'static {
    /// What comes next, one line or several; none at the end.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// A place for such an answer: there are not more of them than there may be.
pub(crate) fn place(asked: &Asked) -> Result<Watching, Refusal> {
    asked.plane.watchers.open(&asked.caller.principal.credential).ok_or_else(|| {
        let refusal = Refusal::new(Code::RateLimited, "there are as many watches as there may be");
        refusal.hint("close one, or ask again later")
    })
}

/// When a sign of life is due.
pub(crate) fn heartbeat(plane: &Plane) -> Interval {
    let every = Duration::from_millis(plane.limits.watch_heartbeat_ms);
    let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The answer.
pub(crate) fn streamed(lines: impl Lines) -> Response {
    let lines = stream::unfold(Box::new(lines), |mut lines| async move {
        let line = lines.next().await?;
        Some((Ok::<_, Infallible>(line), lines))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx buffers answers unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
