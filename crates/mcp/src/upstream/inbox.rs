//! Who waits for what on a stream that all requests share.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::error::UpstreamError;
use super::events::{Event, EventSender};
use super::exchange::{Asked, Step};
use crate::envelope::{Frame, Message, Notification, Rejected, Request, Response};
use crate::error::{INTERNAL_ERROR, RpcError};
use crate::json::{Object, Raw};
use crate::limits::{UPSTREAM_PROGRESS_BYTES_MAX, UPSTREAM_STEPS_MAX};

/// The requests in flight on one stream.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    events: EventSender,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<i64, Arc<Slot>>,
    is_over: bool,
}

/// What came for one request and was not read yet.
#[derive(Debug, Default)]
struct Slot {
    queue: Mutex<VecDeque<Result<Step, UpstreamError>>>,
    told: Notify,
}

impl Slot {
    fn push(&self, step: Result<Step, UpstreamError>) {
        let mut queue = held(&self.queue);
        // Of progress that nobody reads the newest is enough. Nothing else is ever in the way: what comes last comes once.
        if queue.len() >= UPSTREAM_STEPS_MAX && matches!(step, Ok(Step::Progress(_))) {
            queue.pop_back();
        }
        queue.push_back(step);
        drop(queue);
        self.told.notify_one();
    }
}

/// What is locked here is changed in one step: whoever panicked left it whole.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request that waits. Dropping it forgets the request.
#[derive(Debug)]
pub(super) struct Waiting {
    inbox: Arc<Inbox>,
    id: i64,
    slot: Arc<Slot>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        held(&self.inbox.state).slots.remove(&self.id);
    }
}

impl Waiting {
    /// The next thing that came. Cancellation-safe.
    pub(super) async fn next(&mut self) -> Result<Step, UpstreamError> {
        loop {
            let told = self.slot.told.notified();
            if let Some(step) = held(&self.slot.queue).pop_front() {
                return step;
            }
            told.await;
        }
    }
}

impl Inbox {
    pub(super) fn new(events: EventSender) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), events })
    }

    /// Waits for what comes for this request, from now on.
    pub(super) fn open(self: &Arc<Self>, id: i64) -> Result<Waiting, UpstreamError> {
        let mut state = held(&self.state);
        if state.is_over {
            return Err(UpstreamError::Ended);
        }
        let slot = Arc::<Slot>::default();
        state.slots.insert(id, Arc::clone(&slot));
        drop(state);
        Ok(Waiting { inbox: Arc::clone(self), id, slot })
    }

    /// Whether the stream is over.
    pub(super) fn is_over(&self) -> bool {
        held(&self.state).is_over
    }

    /// Nothing more will come: every request in flight ends.
    pub(super) fn end(&self) {
        let mut state = held(&self.state);
        state.is_over = true;
        let slots = std::mem::take(&mut state.slots);
        drop(state);
        for slot in slots.into_values() {
            slot.push(Err(UpstreamError::Ended));
        }
    }

    /// Something was too long to be read. Nobody knows which answer it was, so all that wait hear of it.
    pub(super) fn skip(&self, bytes_max: usize) {
        let slots = std::mem::take(&mut held(&self.state).slots);
        for slot in slots.into_values() {
            slot.push(Err(UpstreamError::TooLong { bytes_max }));
        }
    }

    /// Hands a message to whom it is for, and gives what is to be said at once. What is no message is nobody's: some
    /// servers write their log beside it.
    pub(super) fn take(&self, bytes: &Bytes) -> Option<Frame> {
        match Message::read_of_server(bytes.clone()) {
            Ok(Message::Response(response)) => self.take_response(response),
            Ok(Message::Notification(notification)) => self.take_notification(notification),
            Ok(Message::Request(request)) => {
                return answer_at_once(Asked { request, session: 0 }, &self.events);
            }
            Err(rejected) => self.reject(bytes, &rejected),
        }
        None
    }

    fn take_response(&self, Response { id, result }: Response) {
        // The first response is the only one.
        let slot = number(id.as_raw()).and_then(|id| held(&self.state).slots.remove(&id));
        if let Some(slot) = slot {
            slot.push(Ok(Step::Response(result)));
        }
    }

    /// What can't be read is an answer all the same if it says whose: whoever waits for it waits in vain.
    fn reject(&self, bytes: &[u8], rejected: &Rejected) {
        let slot = id_of(bytes).and_then(|id| held(&self.state).slots.remove(&id));
        if let Some(slot) = slot {
            slot.push(Err(UpstreamError::Protocol(rejected.error.message.clone())));
        }
    }

    fn take_notification(&self, notification: Notification) {
        if notification.method != PROGRESS {
            self.events.send(Event::Notification(notification));
        } else if let Some((id, params)) = progress_of(&notification)
            && let Some(slot) = self.slot(id)
        {
            slot.push(Ok(Step::Progress(params)));
        }
    }

    fn slot(&self, id: i64) -> Option<Arc<Slot>> {
        held(&self.state).slots.get(&id).cloned()
    }
}

/// The id that a message says where messages say it, whatever else is wrong with it: before its result, or behind it.
fn id_of(bytes: &[u8]) -> Option<i64> {
    const KEY: &[u8] = b"\"id\":";
    let head = &bytes[..bytes.len().min(ID_EDGE_BYTES)];
    let nested = memchr::memchr2(b'{', b'[', head.get(1..)?).map_or(head.len(), |at| at + 1);
    let tail = &bytes[bytes.len().saturating_sub(ID_EDGE_BYTES)..];
    let before = memchr::memmem::find(&head[..nested], KEY).map(|at| &head[at + KEY.len()..]);
    let behind = || memchr::memmem::rfind(tail, KEY).map(|at| &tail[at + KEY.len()..]);
    let digits = |text: &[u8]| {
        let text = text.trim_ascii_start();
        let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        let id = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
        Some((id, text[end..].trim_ascii().to_vec()))
    };
    if let Some((id, _)) = before.and_then(digits) {
        return Some(id);
    }
    // Only if nothing but the end of the message follows.
    behind().and_then(digits).filter(|(_, rest)| rest == b"}").map(|(id, _)| id)
}

/// Bytes at both ends of a message in which its id is looked for.
const ID_EDGE_BYTES: usize = 64;

/// The number that an id of ours is.
pub(super) fn number(id: &Raw) -> Option<i64> {
    id.as_str().parse().ok()
}

/// How progress is told.
pub(super) const PROGRESS: &str = "notifications/progress";

/// The request that progress is of, and its parameters; none if it is of no request of ours, or too long to be kept.
pub(super) fn progress_of(notification: &Notification) -> Option<(i64, Raw)> {
    let params = notification.params.as_ref().filter(|_| notification.method == PROGRESS)?;
    let token = Object::of(params)?.get("progressToken")?;
    let is_short = params.as_bytes().len() <= UPSTREAM_PROGRESS_BYTES_MAX;
    number(&token).filter(|_| is_short).map(|id| (id, params.detached()))
}

/// The answer to a ping.
pub(super) fn pong(request: &Request) -> Option<Frame> {
    (request.method == "ping").then(|| Frame::result(&request.id, Raw::empty_object()))
}

/// What a server is told at once; what isn't told at once is put in line for whoever can.
pub(super) fn answer_at_once(asked: Asked, events: &EventSender) -> Option<Frame> {
    if let Some(pong) = pong(&asked.request) {
        return Some(pong);
    }
    let id = asked.request.id.clone();
    let is_sent = events.send(Event::Request(asked));
    (!is_sent).then(|| Frame::error(Some(&id), &RpcError::new(INTERNAL_ERROR, BUSY)))
}

const BUSY: &str = "nobody is free to answer this now: try again later";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_what_cannot_be_read_is_found_where_messages_say_it_and_nowhere_else() {
        let long = "x".repeat(1_000);
        for (text, expect) in [
            (format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"a":1,"a":"{long}"}}}}"#), Some(7)),
            (format!(r#"{{"result":{{"a":"{long}","a":2}},"jsonrpc":"2.0","id": 12}}"#), Some(12)),
            (format!(r#"{{"result":{{"a":"{long}","id":5}}}}"#), None),
            (format!(r#"{{"result":{{"id":5,"a":"{long}"}}}}"#), None),
            (r#"{"jsonrpc":"2.0","id":"7","result":{}}"#.to_owned(), None),
            ("starting up".to_owned(), None),
            (String::new(), None),
            ("{".to_owned(), None),
        ] {
            assert_eq!(id_of(text.as_bytes()), expect, "{text}");
        }
    }
}
