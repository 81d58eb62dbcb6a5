//! The other end of the protocol: an upstream server, whatever its era and its transport.
//!
//! ```text
//!  Outgoing ── outgoing.rs ──► Sent ── lines.rs | http.rs | sse.rs ──► bytes
//!  (what the caller wants)     (id, body, headers: what the era adds)
//!
//!  bytes ──► Step, Step, …, Step::Response      of one request, read from its `Exchange`
//!        └─► Event                              of the upstream itself, read from `Events`
//! ```
//!
//! `params` and results pass as the bytes that they are. Nothing here dials or spawns: byte streams and a
//! [`Connect`] come from outside, and each wire comes with a [`Driver`], a future that its owner runs.
//! Nor is there a deadline for a request, which is its caller's; only the handshake has its own.

mod connect;
mod error;
mod events;
mod exchange;
mod handshake;
mod http;
mod inbox;
mod lines;
mod list;
mod outgoing;
mod sse;
mod stream;

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;

use crate::abilities::Abilities;
use crate::envelope::Frame;
use crate::era::Era;
use crate::error::RpcError;
use crate::json::{ObjectWriter, Raw};
use crate::limits::{UPSTREAM_HANDSHAKE_TIMEOUT, UPSTREAM_PROBE_TIMEOUT};
use exchange::Source;

pub use connect::{Body, BoxFuture, Connect, ConnectError};
pub use error::UpstreamError;
pub use events::{Event, Events};
pub use exchange::{Asked, Exchange, Step};
pub use handshake::{Declared, EraChoice};
pub use http::Http;
pub use lines::Lines;
pub use list::Listed;
pub use outgoing::{Outgoing, value as header_value};
pub use sse::Sse;

/// What keeps a wire going: whoever holds the wire runs it. It ends when the wire does, and when nobody holds the wire any
/// more. Without it, nothing comes over lines and HTTP+SSE, and over Streamable HTTP nothing but answers.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How an upstream is spoken to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who we are: an `Implementation` object, with `name` and `version`.
    pub client: Raw,
    /// What our side can do when a legacy upstream asks; a modern one is told with each request.
    pub abilities: Abilities,
    /// Which eras to try.
    pub era: EraChoice,
    /// How long each message of the handshake may take.
    pub handshake_timeout: Duration,
    /// How long a process that may be either may think about `server/discover`, its start included, before it is taken for
    /// a legacy one.
    pub probe_timeout: Duration,
}

impl Options {
    /// How to speak as this client (an `Implementation` object), if nothing else is said: it can do nothing when it is asked,
    /// and finds out which era it is.
    pub fn new(client: Raw) -> Self {
        Self {
            client,
            abilities: Abilities::default(),
            era: EraChoice::Auto,
            handshake_timeout: UPSTREAM_HANDSHAKE_TIMEOUT,
            probe_timeout: UPSTREAM_PROBE_TIMEOUT,
        }
    }
}

/// A transport to one upstream.
#[derive(Debug)]
pub enum Wire {
    /// Standard input and output of a process, or any other pair of byte streams.
    Lines(Lines),
    /// Streamable HTTP.
    Http(Http),
    /// HTTP with a stream of events (2024-11-05).
    Sse(Sse),
}

impl Wire {
    /// Sends a request, and gives where its messages come from.
    async fn open(&self, sent: outgoing::Sent) -> Result<Source, UpstreamError> {
        match self {
            Self::Lines(lines) => lines.open(sent).await,
            Self::Http(http) => http.open(sent).await,
            Self::Sse(sse) => sse.open(sent).await,
        }
    }

    /// The number of the session that is spoken in; the other wires have but one.
    fn session(&self) -> u64 {
        match self {
            Self::Http(http) => http.session(),
            Self::Lines(_) | Self::Sse(_) => 0,
        }
    }

    /// Sends a message that nothing comes back for.
    async fn tell(&self, told: outgoing::Told) -> Result<(), UpstreamError> {
        match self {
            Self::Lines(lines) => lines.tell(told.body).await,
            Self::Http(http) => http.tell(told).await,
            Self::Sse(sse) => sse.tell(told.body).await,
        }
    }
}

/// An upstream that we agreed with on how to speak.
#[derive(Debug)]
pub struct Upstream {
    wire: Wire,
    options: Options,
    declared: RwLock<Arc<Declared>>,
    next_id: AtomicI64,
    /// Held by whoever begins a session anew.
    renewing: tokio::sync::Mutex<()>,
}

impl Upstream {
    /// Agrees with an upstream on how to speak. The driver of the wire must be running already.
    ///
    /// # Errors
    /// If it can't be reached, speaks no revision of ours, or didn't answer in time. An upstream whose stream
    /// ends while it is asked for its era may be one that only knows `initialize`: start it anew with [`EraChoice::Legacy`].
    pub async fn connect(wire: Wire, options: Options) -> Result<Self, UpstreamError> {
        let next_id = AtomicI64::new(1);
        let declared = handshake::greet(&wire, &options, &next_id).await?;
        Ok(Self {
            wire,
            options,
            declared: RwLock::new(Arc::new(declared)),
            next_id,
            renewing: tokio::sync::Mutex::default(),
        })
    }

    /// What it says of itself.
    pub fn declared(&self) -> Arc<Declared> {
        Arc::clone(&self.declared.read().expect("nobody panics while holding it"))
    }

    /// The number of its session: another one from when a session was begun anew, which knows nothing of the one before.
    pub fn session(&self) -> u64 {
        self.wire.session()
    }

    /// A number for a request, by which it can be ended while it is still being sent.
    pub fn number(&self) -> i64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request. What comes back is read from the exchange, which ends with the response.
    pub async fn request(&self, outgoing: &Outgoing<'_>) -> Result<Exchange, UpstreamError> {
        self.request_as(self.number(), outgoing).await
    }

    /// Sends a request under a number of its own. Some upstreams answer only when they are done, so that this takes as long
    /// as they do. A session that the upstream forgot is begun anew, once: it did nothing with the request.
    pub async fn request_as(&self, id: i64, outgoing: &Outgoing<'_>) -> Result<Exchange, UpstreamError> {
        let declared = self.declared();
        match self.wire.open(self.write(id, outgoing, &declared)).await {
            Ok(source) => Ok(Exchange::new(id, source)),
            // Boxed: it is rare, and otherwise every request has room for it.
            Err(UpstreamError::SessionGone) => Box::pin(self.request_anew(id, outgoing, &declared)).await,
            Err(error) => Err(error),
        }
    }

    /// The same in a new session, as the one that was declared here is gone.
    async fn request_anew(
        &self,
        id: i64,
        outgoing: &Outgoing<'_>,
        gone: &Arc<Declared>,
    ) -> Result<Exchange, UpstreamError> {
        self.renew(gone).await?;
        let source = self.wire.open(self.write(id, outgoing, &self.declared())).await?;
        Ok(Exchange::new(id, source))
    }

    fn write(&self, id: i64, outgoing: &Outgoing<'_>, declared: &Declared) -> outgoing::Sent {
        outgoing.write(id, declared.revision, &self.options.client)
    }

    /// Begins a new session, if nobody did since this one.
    async fn renew(&self, gone: &Arc<Declared>) -> Result<(), UpstreamError> {
        let _renewing = self.renewing.lock().await;
        if !Arc::ptr_eq(gone, &self.declared()) {
            return Ok(());
        }
        let options = Options { era: EraChoice::Legacy, ..self.options.clone() };
        let declared = handshake::greet(&self.wire, &options, &self.next_id).await?;
        *self.declared.write().expect("nobody panics while holding it") = Arc::new(declared);
        Ok(())
    }

    /// Tells the upstream that nobody waits for a request any more: for whoever has dropped the exchange, or the future that
    /// was to become one. A modern upstream over HTTP has heard it by that. It may have done it all the same.
    pub async fn cancel(&self, id: i64, reason: &str) -> Result<(), UpstreamError> {
        if self.declared().revision.era() == Era::Modern && matches!(self.wire, Wire::Http(_)) {
            return Ok(());
        }
        let params = ObjectWriter::new(96).int("requestId", id).str("reason", reason).end();
        self.notify("notifications/cancelled", Some(&params)).await
    }

    /// Tells something that nothing comes back for.
    pub async fn notify(&self, method: &str, params: Option<&Raw>) -> Result<(), UpstreamError> {
        let revision = self.declared().revision;
        self.wire.tell(outgoing::notification(method, params, revision, &self.options.client)).await
    }

    /// Answers what a legacy upstream asked.
    ///
    /// # Errors
    /// As telling something; also if the session is gone in which it was asked.
    pub async fn answer(&self, asked: &Asked, answer: Result<Raw, RpcError>) -> Result<(), UpstreamError> {
        if asked.session != self.wire.session() {
            return Err(UpstreamError::SessionGone);
        }
        let frame = match answer {
            Ok(result) => Frame::result(&asked.request.id, result),
            Err(error) => Frame::error(Some(&asked.request.id), &error),
        };
        let (body, headers) = (Bytes::from(frame.to_vec()), outgoing::headers(self.declared().revision));
        self.wire.tell(outgoing::Told { body, headers, begins: false }).await
    }

    /// Ends the session, if the upstream keeps one. What is in flight ends with the wire.
    pub async fn close(&self) {
        if let Wire::Http(http) = &self.wire {
            http.close(self.declared().revision).await;
        }
    }
}
