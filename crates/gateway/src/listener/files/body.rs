//! Bodies of transfers: pumped into a channel, or out of one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use hayward_tool::Incoming;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::places::Connection;

/// Hands the body of a request on, chunk by chunk. Whoever receives it sees whether it came to its end: it may have
/// broken off, or have made a pause of more than this.
pub(super) async fn pump(
    body: Body,
    chunks: mpsc::Sender<Incoming>,
    stall: Duration,
    connection: &Connection,
) {
    let mut body = body;
    loop {
        let frame = if let Some(frame) = body.frame().now_or_never() {
            frame
        } else {
            connection.waits();
            // Who receives may have had enough before anything more comes.
            let frame = tokio::select! {
                () = chunks.closed() => return,
                frame = timeout(stall, body.frame()) => frame,
            };
            connection.is_served();
            let Ok(frame) = frame else { return };
            frame
        };
        let chunk = match frame {
            None => Incoming::End,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Incoming::Chunk(data),
                // Trailers say nothing of a file.
                Err(_) => continue,
            },
            Some(Err(_)) => return,
        };
        let is_end = matches!(chunk, Incoming::End);
        if chunks.send(chunk).await.is_err() || is_end {
            return;
        }
    }
}

/// The body of a download, whose length is known.
pub(super) struct FileBody {
    chunks: mpsc::Receiver<Bytes>,
    rest: u64,
}

impl FileBody {
    pub(super) fn new(chunks: mpsc::Receiver<Bytes>, bytes: u64) -> Self {
        Self { chunks, rest: bytes }
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.rest == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(match ready!(self.chunks.poll_recv(cx)) {
            Some(chunk) => {
                self.rest = self.rest.saturating_sub(chunk.len() as u64);
                Ok(Frame::data(chunk))
            }
            // So the connection is cut, and nobody takes a part for the whole.
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }
}
