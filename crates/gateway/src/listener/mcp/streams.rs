//! Event streams that end with the answer to a call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hayward_mcp::envelope::Frame;
use hayward_mcp::sse;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval_at};

use super::super::answer::Part;
use crate::protocol::{Answer, News, RunningCall};
use crate::session::Kept;

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

/// Feeds a stream that its client can come back to, until the answer is in it or the client has been away
/// for too long; then the call is dropped.
pub(super) async fn feed_kept(mut call: RunningCall, first: First, kept: Arc<Kept>, pace: Pace) {
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
            Some(News::Meanwhile(frame)) => push(&kept, frame, pace).await,
            Some(News::Rest { retry_ms }) => kept.rest(retry_ms),
            Some(News::Answer(Answer { frame, hold, .. })) => {
                kept.push(frame, hold).await;
                return kept.end();
            }
        }
        news = tokio::select! {
            biased;
            () = kept.abandoned(pace.resume) => return kept.end(),
            news = call.next() => Some(news),
            _ = silence.tick() => {
                kept.sign_of_life();
                None
            }
        };
    }
}

/// A client that reads slowly is waited for, one that is gone is not.
async fn push(kept: &Kept, frame: Frame, pace: Pace) {
    tokio::select! {
        () = kept.push(frame, None) => {}
        () = kept.abandoned(pace.resume) => {}
    }
}
