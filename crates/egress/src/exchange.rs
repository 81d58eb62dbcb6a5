//! Requests of any method, whose answers are read as they come.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::{Client, SendError, builder};

/// What a client is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a connection may take to be there.
    pub connect_timeout: Duration,
    /// How long nothing at all may come while an answer is awaited or read.
    pub silence_timeout: Duration,
    /// Whose certificates are trusted.
    pub trust: Trust,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Nobody's: what is asked speaks no TLS, and nothing is set up for it.
    Nobody,
    /// Those that this machine trusts.
    System,
    /// Those of this text (PEM), and no others.
    Only(Vec<u8>),
}

/// A request.
#[derive(Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its whole address.
    pub url: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; none if it is empty.
    pub body: Bytes,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Response(reqwest::Response);

/// Why no whole body came.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is longer than it may be.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// It broke off, or was not there in time.
    #[error("the answer broke off")]
    Broken(#[source] reqwest::Error),
}

impl Client {
    /// A client for requests whose answers may take as long as something comes. It stands on TCP without delay.
    pub fn with(options: &Options) -> Result<Self, SendError> {
        let builder = builder()
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.silence_timeout)
            .tcp_nodelay(true);
        Self::build(match &options.trust {
            Trust::System => builder,
            Trust::Nobody => builder.tls_certs_only([]),
            Trust::Only(pem) => builder.tls_certs_only(certificates(pem)?),
        })
    }

    /// Sends this, and waits for the head of the answer. Must be called within a runtime.
    pub async fn send(&self, request: Request) -> Result<Response, SendError> {
        let Request { method, url, headers, body } = request;
        let mut sent = self.0.request(method, url).headers(headers);
        if !body.is_empty() {
            sent = sent.body(body);
        }
        sent.send().await.map(Response).map_err(|error| SendError::Send(error.without_url()))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, SendError> {
    let found = reqwest::Certificate::from_pem_bundle(pem)
        .map_err(|error| SendError::Certificates(error.without_url()))?;
    if found.is_empty() { Err(SendError::NoCertificate) } else { Ok(found) }
}

impl Response {
    /// Its status.
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The next piece of the body; none at its end. Cancellation-safe: a piece is not lost.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        self.0.chunk().await.map_err(|error| ReadError::Broken(error.without_url()))
    }

    /// The whole body, which may have so many bytes.
    pub async fn whole(mut self, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
        let told = self.0.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = Vec::with_capacity(told.unwrap_or(0).min(bytes_max));
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > bytes_max {
                return Err(ReadError::TooLong(bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    fn answering(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _read = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer).unwrap();
            // Left open, so that what breaks off does so in time only.
            std::thread::park_timeout(Duration::from_secs(5));
        });
        address
    }

    fn client(trust: Trust) -> Result<Client, SendError> {
        let (connect_timeout, silence_timeout) = (Duration::from_secs(5), Duration::from_millis(300));
        Client::with(&Options { connect_timeout, silence_timeout, trust })
    }

    async fn get(address: SocketAddr) -> Response {
        let url = format!("http://{address}/");
        let request = Request { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() };
        client(Trust::Nobody).unwrap().send(request).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_read_as_it_comes_and_silence_ends_it() {
        let address = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
        let mut response = get(address).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.chunk().await.unwrap().unwrap(), "hello");
        assert!(matches!(response.chunk().await, Err(ReadError::Broken(_))));
    }

    #[tokio::test]
    async fn a_whole_answer_may_not_be_longer_than_said() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(get(answering(answer)).await.whole(5).await.unwrap(), b"hello");
        assert!(matches!(get(answering(answer)).await.whole(4).await, Err(ReadError::TooLong(4))));
    }

    #[test]
    fn trust_needs_certificates() {
        assert!(matches!(client(Trust::Only(b"nothing".to_vec())), Err(SendError::NoCertificate)));
        let bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
        assert!(client(Trust::Only(bad)).is_err());
        assert!(client(Trust::Nobody).is_ok());
    }
}
