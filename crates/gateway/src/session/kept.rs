//! An event stream that outlives its connection for a while.
//!
//! Its events are numbered and kept until there are too many, so that a client whose connection broke
//! comes back with the number of the last one that it has seen, and misses nothing of what is kept.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hayward_mcp::envelope::Frame;
use hayward_mcp::era::Revision;
use hayward_mcp::sse;
use http_body::Frame as BodyFrame;
use tokio::sync::Notify;

use crate::budget::Reserved;
use crate::limits::{KEPT_BYTES_MAX, KEPT_EVENTS_MAX, STREAM_QUEUE};
use crate::road::Permit;

/// Which stream of its session it is. No two have the same number, so that an id of an event is never taken for
/// one of a later stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamId {
    /// It ends with the answer to a call.
    Call(u64),
    /// It tells what is said outside of calls.
    Standing(u64),
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(number) => write!(f, "c{number}"),
            Self::Standing(number) => write!(f, "s{number}"),
        }
    }
}

/// The stream, as whoever feeds it sees it.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Which one it is.
    pub(crate) id: StreamId,
    state: Mutex<State>,
    /// Fires when a reader has taken something, has come or has gone.
    moved: Notify,
}

#[derive(Debug)]
struct State {
    events: VecDeque<Event>,
    /// Bytes of `events`.
    bytes: usize,
    /// Counts them among what all clients hold in memory.
    held: Reserved,
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
    phase: Phase,
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// More may come.
    Open,
    /// Who reads is sent away, to come back.
    Resting,
    /// Nothing more comes. What is there can still be read.
    Ended,
    /// Nothing more comes, and nobody is waited for.
    Closed,
}

impl Phase {
    fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Closed)
    }
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
    /// A stream that nobody reads yet. `held` counts what it keeps.
    pub(crate) fn new(id: StreamId, held: Reserved) -> Arc<Self> {
        let state = State {
            events: VecDeque::new(),
            bytes: 0,
            held,
            next: 0,
            untaken: 0,
            reader: 0,
            alone_since: Some(Instant::now()),
            waker: None,
            is_silent: false,
            phase: Phase::Open,
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

    /// Adds a message that says that something changed. Said once, it need not be said again before it was taken.
    pub(crate) async fn push_change(&self, frame: Frame) {
        self.room().await;
        let mut state = self.lock();
        if !state.is_waiting(&frame) {
            let id = self.event_id(state.next);
            state.push(sse::numbered(frame, &id), None);
        }
    }

    /// Adds an event without a message, which gives a reader something to come back with. Older clients would take
    /// it for a broken message.
    pub(crate) fn prime_for(&self, revision: Revision) {
        if revision < Revision::V2025_11_25 {
            return;
        }
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
                if state.phase == Phase::Closed
                    || state.alone_since.is_some()
                    || waiting < STREAM_QUEUE as u64
                {
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
        if state.phase == Phase::Open {
            state.phase = Phase::Resting;
            state.push(vec![sse::retry(retry_ms)], None);
        }
    }

    /// Nothing more comes. What is there can still be read.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        if state.phase != Phase::Closed {
            state.phase = Phase::Ended;
        }
        state.wake();
    }

    /// Nothing more comes, and nobody is waited for.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.phase = Phase::Closed;
        state.wake();
        drop(state);
        self.moved.notify_one();
    }

    /// Waits until nobody has read for this long, or the stream is closed. Cancellation-safe.
    pub(crate) async fn abandoned(&self, patience: Duration) {
        loop {
            let moved = self.moved.notified();
            let (phase, alone_since) = {
                let state = self.lock();
                (state.phase, state.alone_since)
            };
            if phase == Phase::Closed {
                return;
            }
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

    /// Whether somebody reads it.
    pub(crate) fn is_heard(&self) -> bool {
        self.lock().alone_since.is_none()
    }

    /// Whether everything was read, as far as we know.
    pub(crate) fn is_read(&self) -> bool {
        let state = self.lock();
        state.phase.is_over() && state.alone_since.is_some() && state.untaken == state.next
    }

    /// Whether the answer came after this event, and was too large to be kept once it was handed over.
    pub(crate) fn has_lost_answer(&self, after: u64) -> bool {
        let state = self.lock();
        let is_there = state.events.back().is_some_and(|event| event.number > after);
        state.phase.is_over() && !is_there && after.saturating_add(1) < state.next
    }

    /// Reads from behind this event on (none: what nobody has taken yet). Whoever reads already is sent away:
    /// a client that comes back knows better than we do that its last connection broke.
    pub(crate) fn read(self: &Arc<Self>, after: Option<u64>) -> Reader {
        let mut state = self.lock();
        state.wake();
        state.reader += 1;
        state.alone_since = None;
        if state.phase == Phase::Resting {
            state.phase = Phase::Open;
        }
        let at = after.map_or(state.untaken, |after| after.saturating_add(1).min(state.next));
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
pub(crate) fn read_event_id(id: &str) -> Option<(StreamId, u64)> {
    let (stream, number) = id.split_once('-')?;
    let stream = match (stream.strip_prefix('c'), stream.strip_prefix('s')) {
        (Some(call), _) => StreamId::Call(call.parse().ok()?),
        (_, Some(standing)) => StreamId::Standing(standing.parse().ok()?),
        (None, None) => return None,
    };
    Some((stream, number.parse().ok()?))
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

    /// Whether this message waits to be taken already.
    fn is_waiting(&self, frame: &Frame) -> bool {
        let message = sse::event(frame.clone());
        let mut waiting = self.events.iter().rev().take_while(|event| event.number >= self.untaken);
        // Before the message stands the id.
        waiting.any(|event| event.pieces.get(1..) == Some(&message))
    }

    /// Forgets the oldest of too many events, or of those that don't fit beside what others hold; the newest is
    /// always kept until it is taken.
    fn trim(&mut self) {
        let is_alone = self.alone_since.is_some();
        while self.is_too_much()
            && let Some(oldest) = self.events.front()
        {
            let is_taken = oldest.number < self.untaken;
            if !is_taken && (!is_alone || self.events.len() == 1) {
                return;
            }
            self.bytes -= oldest.bytes;
            self.untaken = self.untaken.max(oldest.number + 1);
            self.events.pop_front();
        }
    }

    fn is_too_much(&mut self) -> bool {
        let has_room = self.held.resize(self.bytes).is_ok();
        self.events.len() > KEPT_EVENTS_MAX || self.bytes > KEPT_BYTES_MAX || !has_room
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
        if state.phase != Phase::Open {
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
    use crate::budget::Budget;

    const PATIENCE: Duration = Duration::from_millis(20);

    fn frame(text: &str) -> Frame {
        Frame { pieces: vec![Bytes::copy_from_slice(text.as_bytes())] }
    }

    async fn kept(count: usize) -> Arc<Kept> {
        let kept = Kept::new(StreamId::Call(7), Budget::new(usize::MAX).begin_for_test());
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
        assert_eq!(ids(&read(&mut kept.read(None))), ["c7-0", "c7-1", "c7-2"]);
        assert_eq!(ids(&read(&mut kept.read(Some(0)))), ["c7-1", "c7-2"]);
        // What is still to come was not seen yet, whatever somebody says.
        let mut reader = kept.read(Some(99));
        assert_eq!(ids(&read(&mut reader)), [""; 0]);
        kept.push(frame("x"), None).await;
        assert_eq!(ids(&read(&mut reader)), ["c7-3"]);
    }

    #[tokio::test]
    async fn a_second_reader_sends_the_first_one_away() {
        let kept = kept(0).await;
        let (mut first, mut second) = (kept.read(None), kept.read(None));
        kept.push(frame("x"), None).await;
        assert!(first.frame().await.is_none());
        drop(first);
        assert_eq!(ids(&read(&mut second)), ["c7-0"]);
        assert!(kept.abandoned(PATIENCE).now_or_never().is_none(), "somebody reads");
    }

    #[tokio::test]
    async fn a_stream_is_abandoned_once_nobody_has_read_for_a_while() {
        let kept = kept(0).await;
        drop(kept.read(None));
        assert!(kept.abandoned(PATIENCE).now_or_never().is_none(), "it may still come back");
        kept.abandoned(PATIENCE).await;
        // A closed one is waited for by nobody, whether somebody reads or not.
        let reader = kept.read(None);
        assert!(kept.abandoned(PATIENCE).now_or_never().is_none());
        kept.close();
        kept.abandoned(Duration::from_mins(1)).await;
        drop(reader);
        kept.abandoned(Duration::from_mins(1)).await;
    }

    #[tokio::test]
    async fn a_stream_is_read_once_its_end_is_there_and_everything_was_taken() {
        let kept = kept(1).await;
        kept.end();
        assert!(!kept.is_read());
        let mut reader = kept.read(None);
        read(&mut reader);
        assert!(!kept.is_read(), "it may still be on its way");
        drop(reader);
        assert!(kept.is_read());
    }

    #[test]
    fn an_id_of_an_event_says_which_stream_it_is_of() {
        for id in [StreamId::Call(7), StreamId::Standing(12)] {
            assert_eq!(
                read_event_id(&Kept::new(id, Budget::new(0).begin_for_test()).event_id(3)),
                Some((id, 3))
            );
        }
        for bad in ["", "-", "7-1", "c-1", "c7", "c7-", "x7-1", "c7-x", "s-1-1", "c99999999999999999999-1"] {
            assert_eq!(read_event_id(bad), None, "{bad}");
        }
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
        assert_eq!(*ids(&text).last().unwrap(), format!("c7-{}", KEPT_EVENTS_MAX + 4));
        kept.push(frame(&"x".repeat(KEPT_BYTES_MAX + 1)), None).await;
        let text = read(&mut kept.read(Some(0)));
        assert!(text.len() > KEPT_BYTES_MAX, "the newest is kept whatever its size");
    }

    #[tokio::test]
    async fn a_change_is_told_once_until_somebody_has_heard_of_it() {
        let kept = kept(0).await;
        for text in ["a", "b", "a", "a", "b"] {
            kept.push_change(frame(text)).await;
        }
        assert_eq!(ids(&read(&mut kept.read(None))), ["c7-0", "c7-1"]);
        kept.push_change(frame("a")).await;
        assert_eq!(ids(&read(&mut kept.read(None))), ["c7-2"]);
    }

    #[tokio::test]
    async fn an_answer_is_lost_only_if_it_was_too_large_to_be_kept() {
        let large = "x".repeat(KEPT_BYTES_MAX + 1);
        for (answer, is_lost) in [("x", false), (large.as_str(), true)] {
            let kept = kept(1).await;
            kept.push(frame(answer), None).await;
            kept.end();
            assert!(!kept.has_lost_answer(0), "nobody has taken it");
            read(&mut kept.read(None));
            assert_eq!(kept.has_lost_answer(0), is_lost);
            assert!(!kept.has_lost_answer(1), "who has seen it misses nothing");
        }
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
