//! How an upstream over HTTP is dialled: by the one client that sends requests of ours.

use std::fmt;

use bytes::Bytes;
use hayward_api::error::with_sources;
use hayward_egress::{Client, ReadError, SendError};
use hayward_mcp::upstream::{Body, BoxFuture, Connect, ConnectError};
use http::{Request, Response};

/// Sends the requests of one upstream.
#[derive(Clone)]
pub struct Dial(Client);

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

impl Dial {
    /// Dials with this client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Connect for Dial {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Box<dyn Body>>, ConnectError>> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let request = hayward_egress::Request {
                method: parts.method,
                url: parts.uri,
                headers: parts.headers,
                body,
            };
            let mut answer = self.0.send(request).await.map_err(|error| not_sent(&error))?;
            let (status, headers) = (answer.status(), answer.take_headers());
            let body: Box<dyn Body> = Box::new(Answer(answer));
            let mut response = Response::new(body);
            *response.status_mut() = http::StatusCode::from_u16(status).map_err(|_| ConnectError {
                what: format!("status {status} is none"),
                may_have_arrived: true,
            })?;
            *response.headers_mut() = headers;
            Ok(response)
        })
    }
}

/// The body of an answer.
struct Answer(hayward_egress::Response);

impl Body for Answer {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, ConnectError>> {
        Box::pin(async {
            self.0.chunk().await.map_err(|error: ReadError| ConnectError {
                what: with_sources(&error),
                may_have_arrived: true,
            })
        })
    }

    fn want(&mut self, bytes: usize) {
        self.0.want(bytes);
    }
}

fn not_sent(error: &SendError) -> ConnectError {
    ConnectError { what: with_sources(error), may_have_arrived: error.may_have_arrived() }
}
