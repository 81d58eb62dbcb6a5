//! Who waits for what on a stream that all requests share.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::error::UpstreamError;
use super::events::{Event, EventSender};
use super::exchange::{Asked, Step};
use crate::cut::{Cut, Whose};
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
    /// Those who hear what is logged, the newest last.
    alone: Vec<i64>,
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
        // Of progress and logs that nobody reads the newest is enough. Nothing else is ever in the way: what comes last comes
        // once.
        if queue.len() >= UPSTREAM_STEPS_MAX && matches!(step, Ok(Step::Progress(_) | Step::Notification(_)))
        {
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
        let mut state = held(&self.inbox.state);
        state.slots.remove(&self.id);
        state.alone.retain(|id| *id != self.id);
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

    /// Waits for what comes for this request, from now on; and for what is logged, where whoever asks is alone.
    pub(super) fn open(self: &Arc<Self>, id: i64, is_alone: bool) -> Result<Waiting, UpstreamError> {
        let mut state = held(&self.state);
        if state.is_over {
            return Err(UpstreamError::Ended);
        }
        let slot = Arc::<Slot>::default();
        state.slots.insert(id, Arc::clone(&slot));
        if is_alone {
            state.alone.push(id);
        }
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

    /// Something was too long to be read. If nobody knows which answer it was, all that wait hear of it.
    pub(super) fn skip(&self, cut: &Cut, bytes_max: usize) {
        match cut.whose() {
            Whose::Response(id) => self.fail(id, UpstreamError::TooLong { bytes_max }),
            Whose::Nobody => self.events.lose(),
            Whose::Unknown => {
                let slots = std::mem::take(&mut held(&self.state).slots);
                for slot in slots.into_values() {
                    slot.push(Err(UpstreamError::TooLong { bytes_max }));
                }
            }
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
        if let Whose::Response(id) = Cut::of(bytes).whose() {
            self.fail(id, UpstreamError::Protocol(rejected.error.message.clone()));
        }
    }

    fn fail(&self, id: i64, error: UpstreamError) {
        let slot = held(&self.state).slots.remove(&id);
        if let Some(slot) = slot {
            slot.push(Err(error));
        }
    }

    fn take_notification(&self, notification: Notification) {
        if let Some(slot) = self.hearer(&notification) {
            let params = notification.params.map(|params| params.detached());
            slot.push(Ok(Step::Notification(Notification { params, ..notification })));
        } else if notification.method != PROGRESS {
            self.events.send(Event::Notification(notification));
        } else if let Some((id, params)) = progress_of(&notification)
            && let Some(slot) = self.slot(id)
        {
            slot.push(Ok(Step::Progress(params)));
        }
    }

    /// Who hears this, if it is logged, and short enough to be kept.
    fn hearer(&self, notification: &Notification) -> Option<Arc<Slot>> {
        let bytes = notification.params.as_ref().map_or(0, |params| params.as_bytes().len());
        if notification.method != LOGGED || bytes > UPSTREAM_PROGRESS_BYTES_MAX {
            return None;
        }
        let state = held(&self.state);
        state.alone.iter().rev().find_map(|id| state.slots.get(id).cloned())
    }

    fn slot(&self, id: i64) -> Option<Arc<Slot>> {
        held(&self.state).slots.get(&id).cloned()
    }
}

/// The number that an id of ours is.
pub(super) fn number(id: &Raw) -> Option<i64> {
    id.as_str().parse().ok()
}

/// How it is told what an upstream logs.
const LOGGED: &str = "notifications/message";

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
