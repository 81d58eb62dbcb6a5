//! What a legacy upstream says in a session beside its answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::{mpsc, watch};

use super::endpoint::Endpoint;
use crate::envelope::Message;
use crate::era::Revision;
use crate::limits::{UPSTREAM_QUEUE_MAX, UPSTREAM_RETRY_MS, UPSTREAM_RETRY_MS_MAX};
use crate::upstream::error::UpstreamError;
use crate::upstream::events::{Event, EventSender};
use crate::upstream::exchange::Asked;
use crate::upstream::inbox::{PROGRESS, answer_at_once};
use crate::upstream::outgoing::{self, Told};
use crate::upstream::stream::EventStream;

/// A session that has begun: its number, and what is spoken in it.
pub(super) type Begun = Option<(u64, Revision)>;

/// Hears one session after the other, until the wire is gone.
pub(super) async fn run(endpoint: Arc<Endpoint>, mut sessions: watch::Receiver<Begun>, events: EventSender) {
    let mut heard = None;
    loop {
        let begun = *sessions.borrow_and_update();
        // Nobody told in this session what changed since the last one, nor what was asked for in that.
        if let Some((session, _)) = begun
            && heard.replace(session).is_some_and(|before| before != session)
        {
            events.lose();
        }
        let hearing = async {
            if let Some((session, revision)) = begun {
                let hearing = Hearing::new(&endpoint, session, revision, &events);
                hearing.run().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = hearing => {}
            changed = sessions.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// One session that is heard.
struct Hearing<'a> {
    endpoint: &'a Endpoint,
    session: u64,
    headers: HeaderMap,
    events: &'a EventSender,
    /// What is to be said at once. Said beside the hearing, so that an upstream which is slow to take it is heard on.
    replies: mpsc::Sender<Bytes>,
    said: tokio::sync::Mutex<mpsc::Receiver<Bytes>>,
}

impl<'a> Hearing<'a> {
    fn new(endpoint: &'a Endpoint, session: u64, revision: Revision, events: &'a EventSender) -> Self {
        let (replies, said) = mpsc::channel(UPSTREAM_QUEUE_MAX);
        let headers = outgoing::headers(revision);
        Self { endpoint, session, headers, events, replies, said: said.into() }
    }

    async fn run(&self) {
        tokio::select! {
            () = self.hear() => {}
            () = self.reply() => {}
        }
    }

    async fn reply(&self) {
        let mut said = self.said.lock().await;
        while let Some(body) = said.recv().await {
            // An upstream that doesn't hear it asks again.
            drop(self.endpoint.tell(Told { body, headers: self.headers.clone(), begins: false }).await);
        }
    }

    /// Hears until the upstream says that there is nothing to be heard. A stream that breaks off is resumed, ever more rarely
    /// while nothing comes of it; what was said meanwhile is lost if it doesn't say where to go on.
    async fn hear(&self) {
        let mut last_id: Option<Arc<str>> = None;
        let mut pause_ms = UPSTREAM_RETRY_MS;
        let mut is_first = true;
        loop {
            let mut said_ms = None;
            match self.endpoint.listen(&self.headers, last_id.as_deref()).await {
                Ok(Some(mut stream)) => {
                    if !is_first && last_id.is_none() {
                        self.events.lose();
                    }
                    is_first = false;
                    if self.hear_stream(&mut stream).await {
                        pause_ms = UPSTREAM_RETRY_MS;
                    }
                    let (id, retry_ms) = stream.place();
                    last_id = id.or(last_id);
                    said_ms = retry_ms;
                }
                Ok(None) => return,
                Err(_) => {}
            }
            let pause = said_ms.unwrap_or(0).max(pause_ms).min(UPSTREAM_RETRY_MS_MAX);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            pause_ms = (pause_ms * 2).min(UPSTREAM_RETRY_MS_MAX);
        }
    }

    /// Hears one stream to its end, and says whether anything came.
    async fn hear_stream(&self, stream: &mut EventStream) -> bool {
        let mut has_come = false;
        loop {
            match stream.next().await {
                Ok(Some(event)) => {
                    has_come = true;
                    if !event.data.is_empty() && event.event == "message" {
                        self.take(event.data);
                    }
                }
                Err(UpstreamError::TooLong { .. }) => {
                    self.events.lose();
                    return has_come;
                }
                Ok(None) | Err(_) => return has_come,
            }
        }
    }

    fn take(&self, data: Bytes) {
        // What is no message is nobody's.
        let reply = match Message::read_of_server(data) {
            Ok(Message::Notification(notification)) if notification.method != PROGRESS => {
                self.events.send(Event::Notification(notification));
                None
            }
            Ok(Message::Request(request)) => {
                answer_at_once(Asked { request, session: self.session }, self.events)
            }
            Ok(Message::Notification(_) | Message::Response(_)) | Err(_) => None,
        };
        if let Some(frame) = reply {
            // One that asks ever more and takes no answer gets none.
            drop(self.replies.try_send(frame.to_vec().into()));
        }
    }
}
