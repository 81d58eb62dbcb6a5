//! An upstream behind Streamable HTTP, of either era.
//!
//! ```text
//!  request       POST ──► 200 json                 the response
//!                    └──► 200 events, … response   own.rs; legacy: broken off ──► GET, Last-Event-ID ──► …
//!  legacy only   GET  ──► events                   hearing.rs, for as long as the session lives
//! ```

mod answer;
mod endpoint;
mod hearing;
mod own;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use tokio::sync::watch;
use url::Url;

use super::Driver;
use super::connect::{Body, Connect};
use super::error::UpstreamError;
use super::events::{Events, queue};
use super::exchange::{Source, Step};
use super::inbox::number;
use super::outgoing::{self, Sent, Told};
use crate::envelope::Message;
use crate::era::Revision;
use crate::limits::UPSTREAM_CLOSE_TIMEOUT;
use answer::Media;
pub(super) use answer::refused;
use endpoint::{Endpoint, Session};
pub(super) use endpoint::{uri, without_reserved};
use hearing::Begun;
pub(super) use own::Own;

/// The wire to such an upstream.
#[derive(Debug)]
pub struct Http {
    endpoint: Arc<Endpoint>,
    /// The session that has begun; none of a modern upstream.
    begun: watch::Sender<Begun>,
    /// The session that is being begun.
    beginning: Mutex<Option<HeaderValue>>,
}

impl Http {
    /// A wire to the upstream at `url`, whose messages have at most so many bytes. Every request carries these headers
    /// beside what the protocol says, e.g. a credential; what the
    /// protocol says itself is left out of them.
    pub fn over(
        connect: Arc<dyn Connect>,
        url: &Url,
        headers: &HeaderMap,
        message_bytes_max: usize,
    ) -> (Self, Events, Driver) {
        let (events, heard) = queue();
        let (begun, sessions) = watch::channel(None);
        let endpoint = Arc::new(Endpoint::new(connect, url, headers, message_bytes_max));
        let driver = Box::pin(hearing::run(Arc::clone(&endpoint), sessions, events));
        (Self { endpoint, begun, beginning: Mutex::default() }, heard, driver)
    }

    pub(super) async fn open(&self, sent: Sent) -> Result<Source, UpstreamError> {
        let Sent { id, body, headers, era, begins, is_alone } = sent;
        // Others go on in the old session until there is a new one.
        let session = if begins { Session::default() } else { self.endpoint.session() };
        let response = self.endpoint.send(Method::POST, &headers, body, session.id.as_ref()).await?;
        if !response.status().is_success() {
            let error = Box::pin(answer::refusal(response, session.id.is_some())).await?;
            return Ok(Source::Whole(Some(Step::Response(Err(error)))));
        }
        if begins {
            *self.beginning() = endpoint::session_of(response.headers());
        }
        let source = match answer::media(response.headers()) {
            Media::Json => Source::Whole(Some(self.read(id, response).await?)),
            Media::Events => {
                let body = response.into_body();
                let request = Sent { id, body: Bytes::new(), headers, era, begins, is_alone };
                Source::Own(Box::new(Own::new(&self.endpoint, session.number, request, body)))
            }
            Media::Other(media) => {
                let status = response.status().as_u16();
                let what = format!("a request was answered with status {status} and `{media}`");
                return Err(UpstreamError::Protocol(what));
            }
        };
        Ok(source)
    }

    pub(super) async fn tell(&self, told: Told) -> Result<(), UpstreamError> {
        if told.begins {
            let session = self.beginning().clone();
            return self.endpoint.tell_in(session.as_ref(), told).await;
        }
        self.endpoint.tell(told).await
    }

    /// A legacy session has begun: from now on requests are part of it, and there is something to be heard of it.
    pub(super) fn begin(&self, revision: Revision) {
        let session = self.endpoint.begin(self.beginning().take());
        self.begun.send_replace(Some((session, revision)));
    }

    fn beginning(&self) -> MutexGuard<'_, Option<HeaderValue>> {
        self.beginning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the session that requests are part of.
    pub(super) fn session(&self) -> u64 {
        self.endpoint.session().number
    }

    pub(super) async fn close(&self, revision: Revision) {
        self.begun.send_replace(None);
        let Some(session) = self.endpoint.session().id else { return };
        self.endpoint.begin(None);
        let headers = outgoing::headers(revision);
        let told = self.endpoint.send(Method::DELETE, &headers, Bytes::new(), Some(&session));
        // An upstream that doesn't hear it forgets the session by itself.
        drop(tokio::time::timeout(UPSTREAM_CLOSE_TIMEOUT, told).await);
    }

    /// An answer that is one message.
    async fn read(&self, id: i64, response: Response<Box<dyn Body>>) -> Result<Step, UpstreamError> {
        let bytes = answer::read_to_end(response, self.endpoint.message_bytes_max).await?;
        match Message::read_of_server(bytes.clone()) {
            Ok(Message::Response(response)) if number(response.id.as_raw()) == Some(id) => {
                Ok(Step::Response(response.result))
            }
            Ok(_) => Err(UpstreamError::Protocol("the answer is not the response to the request".to_owned())),
            Err(rejected) => match answer::error_without_id(bytes) {
                Some(error) => Ok(Step::Response(Err(error))),
                None => Err(UpstreamError::Protocol(rejected.error.message)),
            },
        }
    }
}
