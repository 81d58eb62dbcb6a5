//! An event stream that outlives its connection for a while.
//!
//! Its events are numbered and kept until there are too many, so that a client whose connection broke
//! comes back with the number of the last one that it has seen, and misses nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hayward_mcp::envelope::Frame;
use hayward_mcp::sse;
use http_body::Frame as BodyFrame;
use tokio::sync::Notify;

use crate::limits::{KEPT_BYTES_MAX, KEPT_EVENTS_MAX, STREAM_QUEUE};
use crate::road::Permit;

/// The stream, as whoever feeds it sees it.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Its number in its session.
    pub(crate) id: u64,
    state: Mutex<State>,
    /// Fires when a reader has taken something, has come or has gone.
    moved: Notify,
}

#[derive(Debug)]
struct State {
    events: VecDeque<Event>,
    /// Bytes of `events`.
    bytes: usize,
    /// The number of the next event.
    next: u64,
    /// The number of the first event that no reader has taken.
    untaken: u64,
    /// Counts readers: the last one that came is the one that reads.
    reader: u64,
    /// Since when nobody reads; none while somebody does.
    alone_since: Option<Instant>,
    waker: Option<Waker>,
    /// A sign of life is due.
    is_silent: bool,
    /// Nothing more comes.
    is_ended: bool,
    /// Who reads is sent away, to come back.
    is_resting: bool,
}

#[derive(Debug)]
struct Event {
    number: u64,
    pieces: Vec<Bytes>,
    bytes: usize,
    /// The place of the call whose answer this is, until it is taken.
    hold: Option<Permit>,
}

impl Kept {
    /// A stream that nobody reads yet.
    pub(crate) fn new(id: u64) -> Arc<Self> {
        let state = State {
            events: VecDeque::new(),
            bytes: 0,
            next: 0,
            untaken: 0,
            reader: 0,
            alone_since: Some(Instant::now()),
            waker: None,
            is_silent: false,
            is_ended: false,
            is_resting: false,
        };
        Arc::new(Self { id, state: Mutex::new(state), moved: Notify::new() })
    }

    /// Adds a message. Waits while a reader has too much before it; who is away misses the oldest of too
    /// many instead.
    pub(crate) async fn push(&self, frame: Frame, hold: Option<Permit>) {
        self.room().await;
        let mut state = self.lock();
        let id = self.event_id(state.next);
        state.push(sse::numbered(frame, &id), hold);
    }

    /// Adds an event without a message, which gives a reader something to come back with.
    pub(crate) fn prime(&self) {
        let mut state = self.lock();
        let event = sse::prime(&self.event_id(state.next));
        state.push(vec![event], None);
    }

    async fn room(&self) {
        loop {
            let moved = self.moved.notified();
            {
                let state = self.lock();
                let waiting = state.next - state.untaken;
                if state.alone_since.is_some() || waiting < STREAM_QUEUE as u64 {
                    return;
                }
            }
            moved.await;
        }
    }

    /// Shows a reader that somebody is there.
    pub(crate) fn sign_of_life(&self) {
        let mut state = self.lock();
        state.is_silent = true;
        state.wake();
    }

    /// Sends the reader away, to come back after this time.
    pub(crate) fn rest(&self, retry_ms: u64) {
        let mut state = self.lock();
        state.push(vec![sse::retry(retry_ms)], None);
        state.is_resting = true;
        state.wake();
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.is_ended = true;
        state.wake();
        drop(state);
        self.moved.notify_one();
    }

    /// Waits until nobody has read for this long. Cancellation-safe.
    pub(crate) async fn abandoned(&self, patience: Duration) {
        loop {
            let moved = self.moved.notified();
            let alone_since = self.lock().alone_since;
            let Some(since) = alone_since else {
                moved.await;
                continue;
            };
            let rest = patience.saturating_sub(since.elapsed());
            if rest.is_zero() {
                return;
            }
            tokio::select! {
                () = moved => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Whether it can be forgotten: it has ended, and nobody has read for this long.
    pub(crate) fn is_over(&self, patience: Duration) -> bool {
        let state = self.lock();
        state.is_ended && state.alone_since.is_some_and(|since| since.elapsed() >= patience)
    }

    /// Reads from behind this event on (none: what nobody has taken yet). Whoever reads already is sent away:
    /// a client that comes back knows better than we do that its last connection broke.
    pub(crate) fn read(self: &Arc<Self>, after: Option<u64>) -> Reader {
        let mut state = self.lock();
        state.wake();
        state.reader += 1;
        state.alone_since = None;
        state.is_resting = false;
        let at = after.map_or(state.untaken, |after| after.saturating_add(1));
        let number = state.reader;
        drop(state);
        self.moved.notify_one();
        Reader { kept: Arc::clone(self), number, at, pieces: VecDeque::new(), hold: None }
    }

    fn event_id(&self, number: u64) -> String {
        format!("{}-{number}", self.id)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream and the number of an event, as an id says it.
pub(crate) fn read_event_id(id: &str) -> Option<(u64, u64)> {
    let (stream, number) = id.split_once('-')?;
    Some((stream.parse().ok()?, number.parse().ok()?))
}

impl State {
    fn push(&mut self, pieces: Vec<Bytes>, hold: Option<Permit>) {
        let bytes = pieces.iter().map(Bytes::len).sum();
        self.events.push_back(Event { number: self.next, pieces, bytes, hold });
        self.bytes += bytes;
        self.next += 1;
        self.trim();
        self.wake();
    }

    /// Forgets the oldest of too many events; the newest is always kept until it is taken.
    fn trim(&mut self) {
        let is_alone = self.alone_since.is_some();
        while let Some(oldest) = self.events.front() {
            let is_too_much = self.events.len() > KEPT_EVENTS_MAX || self.bytes > KEPT_BYTES_MAX;
            let is_taken = oldest.number < self.untaken;
            let may_go = is_taken || (is_alone && self.events.len() > 1);
            if !is_too_much || !may_go {
                return;
            }
            self.bytes -= oldest.bytes;
            self.untaken = self.untaken.max(oldest.number + 1);
            self.events.pop_front();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The body of an answer that reads the stream. Dropped when its connection is gone.
pub(crate) struct Reader {
    kept: Arc<Kept>,
    /// Which reader it is.
    number: u64,
    /// The number of the next event that it takes.
    at: u64,
    /// What is left of the event that it is at.
    pieces: VecDeque<Bytes>,
    /// The place of the call whose answer it has taken.
    hold: Option<Permit>,
}

impl Reader {
    fn take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(piece));
        }
        let mut state = self.kept.lock();
        if state.reader != self.number {
            return Poll::Ready(None);
        }
        let at = self.at;
        let Some(event) = state.events.iter_mut().find(|event| event.number >= at) else {
            return Self::idle(&mut state, cx);
        };
        self.at = event.number + 1;
        self.pieces = event.pieces.iter().cloned().collect();
        self.hold = event.hold.take().or(self.hold.take());
        state.untaken = state.untaken.max(self.at);
        state.trim();
        drop(state);
        self.kept.moved.notify_one();
        Poll::Ready(self.pieces.pop_front())
    }

    fn idle(state: &mut State, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if state.is_ended || state.is_resting {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut state.is_silent) {
            return Poll::Ready(Some(Bytes::from_static(sse::KEEP_ALIVE)));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        self.take(cx).map(|piece| piece.map(|bytes| Ok(BodyFrame::data(bytes))))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.kept.lock();
        if state.reader == self.number {
            state.alone_since = Some(Instant::now());
            state.waker = None;
            drop(state);
            self.kept.moved.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    fn frame(text: &str) -> Frame {
        Frame { pieces: vec![Bytes::copy_from_slice(text.as_bytes())] }
    }

    async fn kept(count: usize) -> Arc<Kept> {
        let kept = Kept::new(7);
        for number in 0..count {
            kept.push(frame(&number.to_string()), None).await;
        }
        kept
    }

    /// What can be read without waiting.
    fn read(reader: &mut Reader) -> String {
        let mut text = Vec::new();
        while let Some(Some(Ok(frame))) = reader.frame().now_or_never() {
            text.extend_from_slice(&frame.into_data().unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    fn ids(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
    }

    #[tokio::test]
    async fn who_comes_back_gets_what_came_after_the_last_event_that_it_saw() {
        let kept = kept(3).await;
        assert_eq!(ids(&read(&mut kept.read(None))), ["7-0", "7-1", "7-2"]);
        assert_eq!(ids(&read(&mut kept.read(Some(0)))), ["7-1", "7-2"]);
        assert_eq!(read_event_id("7-1"), Some((7, 1)));
        assert_eq!(ids(&read(&mut kept.read(Some(99)))), [""; 0]);
    }

    #[tokio::test]
    async fn a_second_reader_sends_the_first_one_away() {
        let kept = kept(0).await;
        let (mut first, mut second) = (kept.read(None), kept.read(None));
        kept.push(frame("x"), None).await;
        assert!(first.frame().await.is_none());
        drop(first);
        assert_eq!(ids(&read(&mut second)), ["7-0"]);
        assert!(kept.abandoned(PATIENCE).now_or_never().is_none(), "somebody reads");
    }

    #[tokio::test]
    async fn a_stream_is_abandoned_once_nobody_has_read_for_a_while() {
        let kept = kept(0).await;
        drop(kept.read(None));
        assert!(kept.abandoned(PATIENCE).now_or_never().is_none(), "it may still come back");
        kept.abandoned(PATIENCE).await;
        kept.end();
        assert!(kept.is_over(PATIENCE) && !kept.is_over(Duration::from_mins(1)));
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_holds_up_who_feeds_the_stream() {
        let kept = kept(0).await;
        let mut reader = kept.read(None);
        for _ in 0..STREAM_QUEUE {
            kept.push(frame("x"), None).now_or_never().expect("there is room");
        }
        assert!(kept.push(frame("y"), None).now_or_never().is_none());
        assert!(reader.frame().await.is_some());
        kept.push(frame("y"), None).now_or_never().expect("there is room again");
    }

    #[tokio::test]
    async fn while_nobody_reads_the_newest_events_are_kept() {
        let kept = kept(KEPT_EVENTS_MAX + 5).await;
        let text = read(&mut kept.read(Some(0)));
        assert_eq!(ids(&text).len(), KEPT_EVENTS_MAX);
        assert_eq!(*ids(&text).last().unwrap(), format!("7-{}", KEPT_EVENTS_MAX + 4));
        kept.push(frame(&"x".repeat(KEPT_BYTES_MAX + 1)), None).await;
        let text = read(&mut kept.read(Some(0)));
        assert!(text.len() > KEPT_BYTES_MAX, "the newest is kept whatever its size");
    }

    #[tokio::test]
    async fn a_reader_is_sent_away_to_come_back_or_told_the_end() {
        let kept = kept(1).await;
        let mut reader = kept.read(None);
        kept.rest(500);
        assert!(read(&mut reader).ends_with("retry: 500\n\n"));
        assert!(reader.frame().await.is_none());
        let mut reader = kept.read(None);
        kept.sign_of_life();
        assert_eq!(read(&mut reader), ": keep-alive\n\n");
        kept.end();
        assert!(reader.frame().await.is_none());
    }
}
