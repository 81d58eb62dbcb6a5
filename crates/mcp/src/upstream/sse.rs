//! An upstream behind the oldest transport over HTTP (2024-11-05): one stream of events for all that comes, and an
//! address that it names for all that goes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use tokio::sync::{mpsc, watch};
use url::Url;

use super::Driver;
use super::connect::Connect;
use super::error::UpstreamError;
use super::events::{Events, queue};
use super::exchange::Source;
use super::http::{refused, uri, without_reserved};
use super::inbox::Inbox;
use super::outgoing::Sent;
use super::stream::EventStream;
use crate::limits::UPSTREAM_QUEUE_MAX;

/// The wire to such an upstream.
#[derive(Clone, Debug)]
pub struct Sse {
    shared: Arc<Shared>,
    /// What is said at once. While somebody holds it, somebody holds the wire.
    _replies: mpsc::Sender<Bytes>,
}

/// What the driver and the wire share.
struct Shared {
    connect: Arc<dyn Connect>,
    url: Url,
    headers: HeaderMap,
    message_bytes_max: usize,
    inbox: Arc<Inbox>,
    /// Where messages go, once the upstream has said so.
    endpoint: watch::Sender<Option<Uri>>,
    /// Why the stream is over.
    failure: Mutex<Option<UpstreamError>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("connect", &self.connect).finish_non_exhaustive()
    }
}

impl Sse {
    /// A wire to the upstream whose stream is at `url`. Messages have at most so many bytes, and every request carries
    /// these headers. The wire ends when the stream does.
    pub fn over(
        connect: Arc<dyn Connect>,
        url: Url,
        headers: &HeaderMap,
        message_bytes_max: usize,
    ) -> (Self, Events, Driver) {
        let (events, heard) = queue();
        let (endpoint, failure) = (watch::Sender::new(None), Mutex::default());
        let (inbox, headers) = (Inbox::new(events), without_reserved(headers));
        let shared = Arc::new(Shared { connect, url, headers, message_bytes_max, inbox, endpoint, failure });
        let (replies, said) = mpsc::channel(UPSTREAM_QUEUE_MAX);
        let (over, replying) = (Over(Arc::clone(&shared)), replies.downgrade());
        let driver = async move {
            let ended = tokio::select! {
                ended = over.0.hear(&replying) => ended,
                () = over.0.reply(said) => Ok(()),
            };
            if let Err(error) = ended {
                *over.0.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        };
        (Self { shared, _replies: replies }, heard, Box::pin(driver))
    }

    pub(super) async fn open(&self, sent: Sent) -> Result<Source, UpstreamError> {
        let waiting =
            self.shared.inbox.open(sent.id, sent.is_alone).map_err(|error| self.shared.why(error))?;
        self.tell(sent.body).await?;
        Ok(Source::Shared(waiting))
    }

    pub(super) async fn tell(&self, body: Bytes) -> Result<(), UpstreamError> {
        self.shared.tell(body).await
    }
}

/// Ends what is in flight when the driver does, however that ends.
struct Over(Arc<Shared>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.inbox.end();
        // Wakes whoever waits for the endpoint.
        self.0.endpoint.send_replace(None);
    }
}

impl Shared {
    /// Why there is nothing more, for the first who asks; others only hear that it is over.
    fn why(&self, over: UpstreamError) -> UpstreamError {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(over)
    }

    /// Says what is to be said at once, beside the hearing: an upstream that is slow to take it is heard on. Ends when
    /// nobody holds the wire any more.
    async fn reply(&self, mut said: mpsc::Receiver<Bytes>) {
        while let Some(body) = said.recv().await {
            // An upstream that doesn't hear it asks again.
            drop(self.tell(body).await);
        }
    }

    async fn hear(&self, replies: &mpsc::WeakSender<Bytes>) -> Result<(), UpstreamError> {
        let mut headers = self.headers.clone();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let response = self.send(Method::GET, uri(&self.url)?, headers, Bytes::new()).await?;
        if !response.status().is_success() {
            return Err(refused(response, false).await);
        }
        let mut stream = EventStream::new(response.into_body(), self.message_bytes_max);
        loop {
            let event = match stream.next().await {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(()),
                Err(UpstreamError::TooLong { bytes_max }) => {
                    self.inbox.skip(stream.cut(), bytes_max);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match &*event.event {
                "endpoint" => {
                    self.endpoint.send_replace(Some(self.endpoint_of(&event.data)?));
                }
                "message" => {
                    if let Some(frame) = self.inbox.take(&event.data)
                        && let Some(replies) = replies.upgrade()
                    {
                        // One that asks ever more and takes no answer gets none.
                        drop(replies.try_send(frame.to_vec().into()));
                    }
                }
                _ => {}
            }
        }
    }

    /// The address that an `endpoint` names: of the same origin, because that is whom the headers are for.
    fn endpoint_of(&self, data: &[u8]) -> Result<Uri, UpstreamError> {
        let wrong = |what: &str| UpstreamError::Protocol(format!("its endpoint {what}"));
        let text = std::str::from_utf8(data).map_err(|_| wrong("is not UTF-8"))?;
        let endpoint = self.url.join(text.trim()).map_err(|_| wrong("is no URL"))?;
        if endpoint.origin() != self.url.origin() {
            return Err(wrong("is of another origin than its stream"));
        }
        uri(&endpoint)
    }

    async fn send(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<http::Response<Box<dyn super::Body>>, UpstreamError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        self.connect.send(request).await.map_err(UpstreamError::Connection)
    }

    async fn tell(&self, body: Bytes) -> Result<(), UpstreamError> {
        let uri = self.endpoint().await?;
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self.send(Method::POST, uri, headers, body).await?;
        if response.status().is_success() { Ok(()) } else { Err(refused(response, false).await) }
    }

    /// Where messages go; waits until the upstream has said so.
    async fn endpoint(&self) -> Result<Uri, UpstreamError> {
        let mut endpoint = self.endpoint.subscribe();
        loop {
            if self.inbox.is_over() {
                return Err(self.why(UpstreamError::Ended));
            }
            if let Some(uri) = endpoint.borrow_and_update().clone() {
                return Ok(uri);
            }
            // The sender is ours, and lives.
            drop(endpoint.changed().await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, BoxFuture, ConnectError};
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl Connect for Nobody {
        fn send(
            &self,
            _: Request<Bytes>,
        ) -> BoxFuture<'_, Result<http::Response<Box<dyn Body>>, ConnectError>> {
            Box::pin(async {
                Err(ConnectError { what: "nobody is there".to_owned(), may_have_arrived: false })
            })
        }
    }

    fn wire() -> (Sse, Events, Driver) {
        let url = Url::parse("http://up.example:8080/base/sse?k=1").unwrap();
        Sse::over(Arc::new(Nobody), url, &HeaderMap::new(), 1024)
    }

    #[test]
    fn an_endpoint_is_of_the_same_origin_however_it_is_named() {
        let (sse, ..) = wire();
        for (named, expect) in [
            ("/messages?s=1", Some("http://up.example:8080/messages?s=1")),
            ("messages", Some("http://up.example:8080/base/messages")),
            ("?s=1", Some("http://up.example:8080/base/sse?s=1")),
            (" http://up.example:8080/x ", Some("http://up.example:8080/x")),
            ("http://up.example/x", None),
            ("https://up.example:8080/x", None),
            ("//evil.example/x", None),
            ("http://up.example:8080@evil.example/x", None),
            ("file:///etc/passwd", None),
            ("http://[", None),
        ] {
            let got = sse.shared.endpoint_of(named.as_bytes());
            assert_eq!(got.ok().map(|uri| uri.to_string()).as_deref(), expect, "{named}");
        }
        assert!(sse.shared.endpoint_of(b"\xff").is_err());
    }

    #[tokio::test]
    async fn who_waits_for_an_endpoint_hears_why_there_is_none() {
        let (sse, _events, driver) = wire();
        let (told, ()) = tokio::join!(sse.tell(Bytes::from_static(b"{}")), driver);
        assert!(matches!(told, Err(UpstreamError::Connection(_))), "{told:?}");
        assert!(matches!(sse.tell(Bytes::from_static(b"{}")).await, Err(UpstreamError::Ended)));
    }
}
