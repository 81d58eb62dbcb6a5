//! Requests to one upstream: its address, what each of them carries, and the session.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use url::Url;

use super::answer::{self, Media};
use crate::http::SESSION_ID;
use crate::limits::UPSTREAM_SESSION_BYTES_MAX;
use crate::upstream::connect::{Body, Connect};
use crate::upstream::error::UpstreamError;
use crate::upstream::outgoing::Told;
use crate::upstream::stream::EventStream;

/// Behind which event a stream goes on that broke off.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where an upstream is asked.
pub(in crate::upstream) struct Endpoint {
    connect: Arc<dyn Connect>,
    /// None of what is no URI, which nothing is sent to.
    uri: Option<Uri>,
    headers: HeaderMap,
    pub(super) message_bytes_max: usize,
    /// Of a legacy upstream.
    session: Mutex<Session>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("connect", &self.connect).finish_non_exhaustive()
    }
}

/// The session that requests are part of.
#[derive(Clone, Debug, Default)]
pub(in crate::upstream) struct Session {
    /// How many there have been before it.
    pub(super) number: u64,
    /// How the upstream knows it, if it keeps sessions.
    pub(super) id: Option<HeaderValue>,
}

/// What every request carries, without what is for the protocol to say.
pub(in crate::upstream) fn without_reserved(headers: &HeaderMap) -> HeaderMap {
    let is_reserved = |name: &HeaderName| {
        matches!(*name, ACCEPT | CONTENT_TYPE | CONTENT_LENGTH | HOST | TRANSFER_ENCODING)
            || name.as_str().starts_with("mcp-")
            || *name == LAST_EVENT_ID
    };
    let own = headers.iter().filter(|(name, _)| !is_reserved(name));
    let secret = |value: &HeaderValue| {
        let mut value = value.clone();
        value.set_sensitive(true);
        value
    };
    own.map(|(name, value)| (name.clone(), secret(value))).collect()
}

/// An address as requests name it.
pub(in crate::upstream) fn uri(url: &Url) -> Result<Uri, UpstreamError> {
    let mut url = url.clone();
    url.set_fragment(None);
    url.as_str().parse().map_err(|_| no_uri())
}

fn no_uri() -> UpstreamError {
    UpstreamError::Protocol("its address is no URI".to_owned())
}

/// The session that an answer begins.
pub(super) fn session_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut id = headers.get(SESSION_ID).filter(|id| id.len() <= UPSTREAM_SESSION_BYTES_MAX)?.clone();
    id.set_sensitive(true);
    Some(id)
}

impl Endpoint {
    pub(super) fn new(
        connect: Arc<dyn Connect>,
        url: &Url,
        headers: &HeaderMap,
        message_bytes_max: usize,
    ) -> Self {
        let headers = without_reserved(headers);
        Self { connect, uri: uri(url).ok(), headers, message_bytes_max, session: Mutex::default() }
    }

    pub(super) fn session(&self) -> Session {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on requests are part of another session, whose number this is.
    pub(super) fn begin(&self, id: Option<HeaderValue>) -> u64 {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        *session = Session { number: session.number + 1, id };
        session.number
    }

    /// Sends a request.
    pub(super) async fn send(
        &self,
        method: Method,
        said: &HeaderMap,
        body: Bytes,
        session: Option<&HeaderValue>,
    ) -> Result<Response<Box<dyn Body>>, UpstreamError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone().ok_or_else(no_uri)?;
        let headers = request.headers_mut();
        // With room for the session, and for what the transport adds.
        headers.reserve(self.headers.len() + said.len() + 3);
        headers.extend(self.headers.clone());
        for (name, value) in said {
            headers.insert(name, value.clone());
        }
        if let Some(session) = session {
            headers.insert(SESSION_ID, session.clone());
        }
        self.connect.send(request).await.map_err(UpstreamError::Connection)
    }

    /// Sends what nothing comes back for.
    pub(super) async fn tell(&self, told: Told) -> Result<(), UpstreamError> {
        let session = self.session().id;
        self.tell_in(session.as_ref(), told).await
    }

    /// The same in a session that may not have begun yet.
    pub(super) async fn tell_in(
        &self,
        session: Option<&HeaderValue>,
        told: Told,
    ) -> Result<(), UpstreamError> {
        let response = self.send(Method::POST, &told.headers, told.body, session).await?;
        let has_session = session.is_some();
        if response.status().is_success() {
            Ok(())
        } else {
            Err(answer::refused(response, has_session).await)
        }
    }

    /// A stream of events, behind the event of this id if there is one; none if the upstream has no such stream.
    pub(super) async fn listen(
        &self,
        said: &HeaderMap,
        last_id: Option<&str>,
    ) -> Result<Option<EventStream>, UpstreamError> {
        let mut headers = said.clone();
        headers.remove(CONTENT_TYPE);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok()) {
            headers.insert(LAST_EVENT_ID, id);
        }
        let response = self.send(Method::GET, &headers, Bytes::new(), self.session().id.as_ref()).await?;
        match response.status() {
            StatusCode::OK if matches!(answer::media(response.headers()), Media::Events) => {
                Ok(Some(EventStream::new(response.into_body(), self.message_bytes_max)))
            }
            // What isn't said here may be said later.
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::NOT_IMPLEMENTED => Ok(None),
            status if status.is_success() => Ok(None),
            _ => Err(answer::refused(response, false).await),
        }
    }
}
