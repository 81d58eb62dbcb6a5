//! Bodies of answers: frames as they are, or a stream of events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::{HeaderValue, StatusCode, header};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hayward_mcp::envelope::Frame;
use hayward_mcp::error::RpcError;
use hayward_tool::ToolError;
use http_body::{Frame as BodyFrame, SizeHint};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::road::Permit;

/// Marks an answer whose refusal the road has recorded.
#[derive(Clone, Copy)]
pub(crate) struct OnRecord;

/// One frame as JSON.
pub(crate) fn json(status: StatusCode, frame: Frame) -> Response {
    respond(status, "application/json", Pieces::new(frame.pieces))
}

/// The answer to a call, or to several, as JSON; their places on the road are held until it has left.
pub(crate) fn held<H: Send + Unpin + 'static>(status: StatusCode, frame: Frame, hold: H) -> Response {
    respond(status, "application/json", Pieces::held(frame.pieces, hold))
}

/// The same as the only event of a stream.
pub(crate) fn single_event<H: Send + Unpin + 'static>(status: StatusCode, frame: Frame, hold: H) -> Response {
    respond(status, "text/event-stream", Pieces::held(hayward_mcp::sse::event(frame), hold))
}

/// A part of an event stream.
#[derive(Default)]
pub(crate) struct Part {
    /// What is written.
    pub(crate) bytes: Bytes,
    /// The place of the call whose answer ends here.
    pub(crate) hold: Option<Permit>,
}

/// Sends what is due on a stream. False if nobody takes it any more, or if the stream has to end meanwhile.
pub(crate) async fn send(sender: &mpsc::Sender<Part>, pieces: Vec<Bytes>, ended: &CancellationToken) -> bool {
    for bytes in pieces {
        let sent = tokio::select! {
            biased;
            () = ended.cancelled() => return false,
            sent = sender.send(Part { bytes, hold: None }) => sent,
        };
        if sent.is_err() {
            return false;
        }
    }
    true
}

/// Events as they come.
pub(crate) fn events(receiver: mpsc::Receiver<Part>) -> Response {
    event_stream(Stream { receiver, hold: None })
}

/// A body of events.
pub(crate) fn event_stream<B>(body: B) -> Response
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let mut response = respond(StatusCode::OK, "text/event-stream", body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx buffers answers unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// `{"detail": …}`, the form in which the host server's own routes refuse.
pub(crate) fn detail(status: StatusCode, message: &str) -> Response {
    object(status, &serde_json::json!({ "detail": message }))
}

/// The same for what the road refuses.
pub(crate) fn refused(error: &ToolError) -> Response {
    let status = StatusCode::from_u16(error.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    detail(status, &told(error))
}

/// A refusal of the road as an error of the protocol.
pub(crate) fn rpc_error(error: &ToolError) -> RpcError {
    RpcError::new(i64::from(error.kind.http_status()), told(error))
}

fn told(error: &ToolError) -> String {
    match &error.suggestion {
        Some(suggestion) => format!("{}; hint: {suggestion}", error.message),
        None => error.message.clone(),
    }
}

/// A small JSON document.
pub(crate) fn object<T: serde::Serialize>(status: StatusCode, value: &T) -> Response {
    let body = serde_json::to_vec(value).expect("our own documents serialise");
    respond(status, "application/json", Pieces::new(vec![body.into()]))
}

/// Nothing but a status.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn respond<B>(status: StatusCode, media: &'static str, body: B) -> Response
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// Pieces that are written one after the other, with their length known, so that the head and a
/// small body leave in one write.
struct Pieces<H> {
    waiting: VecDeque<Bytes>,
    rest: u64,
    /// Given up when this is dropped.
    #[expect(dead_code, reason = "it is there to be dropped")]
    hold: H,
}

impl Pieces<()> {
    fn new(pieces: Vec<Bytes>) -> Self {
        Self::held(pieces, ())
    }
}

impl<H> Pieces<H> {
    fn held(pieces: Vec<Bytes>, hold: H) -> Self {
        let rest = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { waiting: pieces.into(), rest, hold }
    }
}

impl<H: Unpin> http_body::Body for Pieces<H> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let piece = self.waiting.pop_front();
        self.rest -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(BodyFrame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }
}

/// What comes through a channel. Dropped when the client is gone, which the sender notices.
struct Stream {
    receiver: mpsc::Receiver<Part>,
    /// Given up when this is dropped.
    hold: Option<Permit>,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let part = ready!(self.receiver.poll_recv(cx));
        Poll::Ready(part.map(|Part { bytes, hold }| {
            self.hold = hold.or(self.hold.take());
            Ok(BodyFrame::data(bytes))
        }))
    }
}
