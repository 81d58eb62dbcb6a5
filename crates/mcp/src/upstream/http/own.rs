//! The stream of one request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::endpoint::Endpoint;
use crate::envelope::{Message, Notification};
use crate::era::Era;
use crate::limits::{UPSTREAM_RESUMES_MAX, UPSTREAM_RETRY_MS, UPSTREAM_RETRY_MS_MAX, UPSTREAM_RETRY_MS_MIN};
use crate::upstream::connect::{Body, BoxFuture};
use crate::upstream::error::UpstreamError;
use crate::upstream::exchange::{Asked, Step};
use crate::upstream::inbox::{PROGRESS, number, pong, progress_of};
use crate::upstream::outgoing::{Sent, Told};
use crate::upstream::stream::EventStream;

/// The stream of one request.
pub(in crate::upstream) struct Own {
    endpoint: Arc<Endpoint>,
    /// The number of the session that it is part of.
    session: u64,
    id: i64,
    era: Era,
    /// What a request to go on carries.
    headers: HeaderMap,
    /// None while it is broken off.
    stream: Option<EventStream>,
    /// Behind which event to go on.
    last_id: Option<Arc<str>>,
    retry_ms: u64,
    /// What is tried while it is broken off.
    resuming: Option<BoxFuture<'static, Result<Option<EventStream>, UpstreamError>>>,
    /// How often it was resumed since the last event.
    resumes: u32,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("id", &self.id).field("era", &self.era).finish_non_exhaustive()
    }
}

impl Own {
    pub(super) fn new(endpoint: &Arc<Endpoint>, session: u64, request: Sent, body: Box<dyn Body>) -> Self {
        let Sent { id, headers, era, .. } = request;
        Self {
            endpoint: Arc::clone(endpoint),
            session,
            id,
            era,
            headers,
            stream: Some(EventStream::new(body, endpoint.message_bytes_max)),
            last_id: None,
            retry_ms: UPSTREAM_RETRY_MS,
            resuming: None,
            resumes: 0,
        }
    }

    /// The next message of the request. Cancellation-safe.
    pub(in crate::upstream) async fn next(&mut self) -> Result<Step, UpstreamError> {
        loop {
            let Some(stream) = &mut self.stream else {
                self.resume().await?;
                continue;
            };
            let event = match stream.next().await {
                Ok(Some(event)) => event,
                Ok(None) => {
                    self.break_off(UpstreamError::Ended)?;
                    continue;
                }
                Err(broken @ UpstreamError::Connection(_)) => {
                    self.break_off(broken)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.resumes = 0;
            if event.data.is_empty() || event.event != "message" {
                continue;
            }
            let message = Message::read_of_server(event.data)
                .map_err(|rejected| UpstreamError::Protocol(rejected.error.message))?;
            if let Some(step) = self.take(message).await {
                return Ok(step);
            }
        }
    }

    /// By a reference that nobody else has: others could be sent to another thread only with a body that several may read.
    async fn take(&mut self, message: Message) -> Option<Step> {
        match message {
            Message::Response(response) if number(response.id.as_raw()) == Some(self.id) => {
                Some(Step::Response(response.result))
            }
            Message::Notification(notification) => self.told(notification),
            Message::Request(request) => {
                if let Some(pong) = pong(&request) {
                    let body = pong.to_vec().into();
                    let told = Told { body, headers: self.headers.clone(), begins: false };
                    // An upstream that doesn't hear it asks again; the request goes on.
                    drop(self.endpoint.tell(told).await);
                    return None;
                }
                // A modern upstream asks nothing in this way.
                let asked = Asked { request, session: self.session };
                (self.era == Era::Legacy).then_some(Step::Request(asked))
            }
            // To another request, on a stream that was resumed.
            Message::Response(_) => None,
        }
    }

    fn told(&self, notification: Notification) -> Option<Step> {
        if notification.method != PROGRESS {
            return Some(Step::Notification(notification));
        }
        let (id, params) = progress_of(&notification)?;
        (id == self.id).then_some(Step::Progress(params))
    }

    /// Notes where to go on; if that can't be, this is how it ended.
    fn break_off(&mut self, ended: UpstreamError) -> Result<(), UpstreamError> {
        if let Some(stream) = self.stream.take() {
            let (last_id, retry_ms) = stream.place();
            self.last_id = last_id.or(self.last_id.take());
            self.retry_ms =
                retry_ms.unwrap_or(self.retry_ms).clamp(UPSTREAM_RETRY_MS_MIN, UPSTREAM_RETRY_MS_MAX);
        }
        let can_go_on =
            self.era == Era::Legacy && self.last_id.is_some() && self.resumes < UPSTREAM_RESUMES_MAX;
        match ended {
            _ if can_go_on => Ok(()),
            ended if ended.may_have_arrived() => Err(ended),
            // What can't be reached now was reached before.
            _ => Err(UpstreamError::Ended),
        }
    }

    /// Tries to go on, once. Cancellation-safe: whoever comes back waits for the rest of it.
    async fn resume(&mut self) -> Result<(), UpstreamError> {
        if self.endpoint.session().number != self.session {
            // Another session knows nothing of it.
            return Err(UpstreamError::Ended);
        }
        let resuming = self.resuming.get_or_insert_with(|| {
            let (endpoint, headers) = (Arc::clone(&self.endpoint), self.headers.clone());
            let (pause, last_id) = (Duration::from_millis(self.retry_ms), self.last_id.clone());
            Box::pin(async move {
                tokio::time::sleep(pause).await;
                endpoint.listen(&headers, last_id.as_deref()).await
            })
        });
        let told = resuming.as_mut().await;
        self.resuming = None;
        self.resumes += 1;
        match told {
            Ok(Some(stream)) => {
                self.stream = Some(stream);
                Ok(())
            }
            Ok(None) => Err(UpstreamError::Ended),
            Err(broken) => self.break_off(broken),
        }
    }
}
