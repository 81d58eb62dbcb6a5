//! The port to whatever sends HTTP requests: who dials, over which TLS and to which addresses is not for the protocol.

use std::fmt::Debug;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};

/// A future that a port gives.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends requests to one upstream. It follows no redirect, and sets no deadline beyond those of a connection.
pub trait Connect: Send + Sync + Debug {
    /// Sends a request and waits for the head of its answer.
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Box<dyn Body>>, ConnectError>>;
}

/// The body of an answer, as it comes. Dropping it hangs up.
pub trait Body: Send {
    /// The next piece; none at its end. Cancellation-safe: a piece is not lost.
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, ConnectError>>;

    /// Whoever reads can't use a piece of fewer bytes, if so many are to come. They may come in smaller ones all the same.
    fn want(&mut self, _bytes: usize) {}
}

/// Why nothing came back, or no more.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ConnectError {
    /// What happened, for the log and for whoever manages the upstream; no credentials.
    pub what: String,
    /// Whether the request may have arrived.
    pub may_have_arrived: bool,
}
