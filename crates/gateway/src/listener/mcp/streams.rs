//! Event streams that end with the answer to a call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hayward_mcp::sse;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval_at};
use tokio_util::sync::CancellationToken;

use super::super::answer::Part;
use crate::protocol::{Answer, News, RunningCall};
use crate::road::Permit;
use crate::session::{Kept, Session};

/// How an event stream goes on.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// Time between signs of life.
    pub(super) keep_alive: Duration,
    /// Time in which a client may come back.
    pub(super) resume: Duration,
}

impl Pace {
    pub(super) fn signs_of_life(self) -> Interval {
        interval_at(Instant::now() + self.keep_alive, self.keep_alive)
    }
}

/// What the stream begins with.
pub(super) enum First {
    /// Nothing was said yet.
    SignOfLife,
    /// This was.
    News(News),
}

/// Feeds a stream that lives as long as its connection, until the answer is out or the client is gone; then the
/// call is dropped, which cancels it if it still runs.
pub(super) async fn feed(mut call: RunningCall, first: First, sender: mpsc::Sender<Part>, pace: Pace) {
    let mut silence = pace.signs_of_life();
    let mut pieces = match first {
        First::SignOfLife => keep_alive(),
        First::News(news) => match pieces_of(news) {
            Ok(pieces) => pieces,
            Err(answer) => return finish(answer, &sender).await,
        },
    };
    loop {
        for bytes in pieces {
            if sender.send(Part { bytes, hold: None }).await.is_err() {
                return;
            }
        }
        pieces = tokio::select! {
            biased;
            () = sender.closed() => return,
            news = call.next() => match pieces_of(news) {
                Ok(pieces) => pieces,
                Err(answer) => return finish(answer, &sender).await,
            },
            _ = silence.tick() => keep_alive(),
        };
    }
}

fn pieces_of(news: News) -> Result<Vec<Bytes>, Answer> {
    match news {
        News::Meanwhile(frame) => Ok(sse::event(frame)),
        // Nobody could come back here.
        News::Rest { .. } => Ok(Vec::new()),
        News::Answer(answer) => Err(answer),
    }
}

/// Sends the answer; the last part of it takes the call's place on the road along.
async fn finish(Answer { frame, mut hold, .. }: Answer, sender: &mpsc::Sender<Part>) {
    let pieces = sse::event(frame);
    let last = pieces.len().saturating_sub(1);
    for (at, bytes) in pieces.into_iter().enumerate() {
        let hold = if at == last { hold.take() } else { None };
        if sender.send(Part { bytes, hold }).await.is_err() {
            return;
        }
    }
}

fn keep_alive() -> Vec<Bytes> {
    vec![Bytes::from_static(sse::KEEP_ALIVE)]
}

/// A stream that its client can come back to.
pub(super) struct Keeping {
    pub(super) session: Arc<Session>,
    pub(super) kept: Arc<Kept>,
    /// Its place among those that are kept.
    pub(super) place: Permit,
    /// Fires when the server is about to go.
    pub(super) closing: CancellationToken,
    pub(super) pace: Pace,
}

impl Keeping {
    /// Feeds the stream until the answer is in it or its client has been away for too long, and keeps it for a while.
    pub(super) async fn feed(self, call: RunningCall, first: First) {
        self.follow(call, first).await;
        // The client may have lost what it was sent, or not have come back yet.
        tokio::select! {
            () = self.kept.abandoned(self.pace.resume) => {}
            () = self.place.pulled.cancelled() => {}
            () = self.closing.cancelled() => {}
        }
        self.session.drop_stream(&self.kept);
    }

    /// Follows the call; dropped at the end, it is cancelled if it still runs.
    async fn follow(&self, mut call: RunningCall, first: First) {
        let Self { kept, pace, .. } = self;
        let mut silence = pace.signs_of_life();
        let mut news = match first {
            First::SignOfLife => {
                kept.sign_of_life();
                None
            }
            First::News(news) => Some(news),
        };
        loop {
            match news.take() {
                None => {}
                Some(News::Meanwhile(frame)) => kept.push(frame, None).await,
                Some(News::Rest { retry_ms }) => kept.rest(retry_ms),
                Some(News::Answer(Answer { frame, hold, .. })) => {
                    kept.push(frame, hold).await;
                    return kept.end();
                }
            }
            news = tokio::select! {
                biased;
                () = kept.abandoned(pace.resume) => return,
                news = call.next() => Some(news),
                _ = silence.tick() => {
                    kept.sign_of_life();
                    None
                }
            };
        }
    }
}
