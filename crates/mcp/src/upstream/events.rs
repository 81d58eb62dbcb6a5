//! What an upstream says beside its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::exchange::Asked;
use crate::envelope::Notification;
use crate::limits::UPSTREAM_EVENTS_MAX;

/// Something that belongs to no request of ours.
#[derive(Clone, Debug)]
pub enum Event {
    /// It tells something.
    Notification(Notification),
    /// It asks something, and waits for [`super::Upstream::answer`].
    Request(Asked),
    /// Some of what it said is lost, because so much came at once or a stream broke off: whatever it may have changed is to
    /// be asked for.
    Lost,
}

/// The events of one upstream, in order.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Receiver<Event>,
    has_lost: Arc<AtomicBool>,
}

/// Where a wire puts them.
#[derive(Clone, Debug)]
pub(super) struct EventSender {
    queue: mpsc::Sender<Event>,
    has_lost: Arc<AtomicBool>,
}

pub(super) fn queue() -> (EventSender, Events) {
    let (sender, receiver) = mpsc::channel(UPSTREAM_EVENTS_MAX);
    let has_lost = Arc::new(AtomicBool::new(false));
    (EventSender { queue: sender, has_lost: Arc::clone(&has_lost) }, Events { queue: receiver, has_lost })
}

impl EventSender {
    /// Puts an event in line; false if there is no room for it, or nobody who would hear it.
    pub(super) fn send(&self, event: Event) -> bool {
        let is_sent = self.queue.try_send(event).is_ok();
        if !is_sent {
            self.has_lost.store(true, Ordering::Release);
            // Wakes a reader who has emptied the line meanwhile.
            drop(self.queue.try_send(Event::Lost));
        }
        is_sent
    }

    /// Something may have been said that nobody heard.
    pub(super) fn lose(&self) {
        self.send(Event::Lost);
    }
}

impl Events {
    /// The next event; none when the wire is gone. That something is lost is told before what is still in line, also before
    /// what came earlier. Cancellation-safe.
    pub async fn next(&mut self) -> Option<Event> {
        if self.has_lost.swap(false, Ordering::Acquire) {
            return Some(Event::Lost);
        }
        self.queue.recv().await
    }
}
