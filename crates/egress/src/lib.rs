//! Outbound HTTP: the one place from which a request of ours goes somewhere else.
//!
//! What is told to an OpenTelemetry collector, what a command asks a server of ours, and what an upstream is asked go to
//! addresses that the operator names; an address that a stranger names reaches the public alone ([`Reach`]). A request is
//! sent there and nowhere else: no redirect is followed, and no proxy of
//! the environment is asked. It has a deadline, and of the answer a bounded part is read, at once ([`Client::post`]) or
//! as it comes ([`Client::send`]). TLS is rustls with ring and the certificates that this machine or a file trusts.

mod exchange;
mod general;
mod plain;
mod reach;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Method};

pub use exchange::{Options, ReadError, Request, Response, Trust};
use general::General;
use plain::Plain;
pub use plain::PlainError;
pub use reach::{NotPublic, Reach};

/// Bytes of an answer that are read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends requests; connections are kept between them.
#[derive(Clone, Debug)]
pub struct Client {
    general: Arc<General>,
    reach: Reach,
    /// What asks over plain HTTP, where answers are read as they come.
    plain: Option<Arc<Plain>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// How long to wait before the next attempt, in seconds, if that was said.
    pub retry_after_s: Option<u64>,
    /// The beginning of the body, at most [`ANSWER_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The client can't be made.
    #[error("failed to set up an HTTP client")]
    SetUp(#[source] reqwest::Error),
    /// The certificates to trust can't be read.
    #[error("the certificates to trust can't be used")]
    Certificates(#[source] reqwest::Error),
    /// There is no certificate among what is to be trusted.
    #[error("there is no certificate among what is to be trusted")]
    NoCertificate,
    /// The address that it names may not be reached. (What a name stands for is refused as a connection that fails.)
    #[error("the request was not sent")]
    Reach(#[source] NotPublic),
    /// Its address is no URI.
    #[error("the address of a request is none")]
    Address,
    /// The request was not sent over plain HTTP, or nothing came back.
    #[error("failed to send a request")]
    Plain(#[source] PlainError),
    /// The request was not sent, or its answer not read, in time or at all.
    #[error("failed to send a request")]
    Send(#[source] reqwest::Error),
}

impl SendError {
    /// Whether the request may have arrived, though nothing came back.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Send(error) => !error.is_connect() && !error.is_builder(),
            Self::Plain(error) => error.may_have_arrived(),
            Self::SetUp(_) | Self::Certificates(_) | Self::NoCertificate | Self::Reach(_) | Self::Address => {
                false
            }
        }
    }
}

impl Client {
    /// A client whose requests take no longer than this, from the first byte to the last.
    pub fn new(deadline: Duration) -> Self {
        let general = General::new(move |builder| builder.timeout(deadline));
        Self { general: Arc::new(general), reach: Reach::Anywhere, plain: None }
    }

    /// A request to whom may be reached. A name is judged when it is looked up; what is none is judged here.
    fn request(&self, method: Method, url: &str) -> Result<reqwest::RequestBuilder, SendError> {
        if let Some(address) = reach::literal(url) {
            self.reach.check(address).map_err(SendError::Reach)?;
        }
        Ok(self.general.client()?.request(method, url))
    }

    /// Posts this, and waits for the answer. Must be called within a runtime.
    pub async fn post(&self, url: &str, headers: HeaderMap, body: Bytes) -> Result<Answer, SendError> {
        let failed = |error: reqwest::Error| SendError::Send(error.without_url());
        let request = self.request(Method::POST, url)?.headers(headers).body(body);
        let mut response = request.send().await.map_err(failed)?;
        let seconds = |value: &http::HeaderValue| value.to_str().ok()?.trim().parse().ok();
        let retry_after_s = response.headers().get(RETRY_AFTER).and_then(seconds);
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - body.len())]);
            if body.len() == ANSWER_BYTES_MAX {
                break;
            }
        }
        Ok(Answer { status, retry_after_s, body })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::JoinHandle;

    use super::*;

    /// Answers one request with this, and says how it began.
    fn answering(answer: &'static [u8]) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            stream.write_all(answer).unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        (address, served)
    }

    async fn post(url: &str) -> Result<Answer, SendError> {
        let client = Client::new(Duration::from_secs(5));
        client.post(url, HeaderMap::new(), Bytes::from_static(b"x")).await
    }

    #[tokio::test]
    async fn no_redirect_is_followed_and_the_wait_is_told() {
        let answer = b"HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:1/\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno";
        let (address, served) = answering(answer);
        let answer = post(&format!("http://{address}/v1/traces")).await.unwrap();
        assert_eq!((answer.status, answer.retry_after_s, &*answer.body), (307, Some(7), &b"no"[..]));
        assert!(served.join().unwrap().starts_with("POST /v1/traces HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn of_a_long_answer_the_beginning_is_read() {
        let long: &'static [u8] = Box::leak(
            [&b"HTTP/1.1 200 X\r\n\r\n"[..], &vec![b'x'; 2 * ANSWER_BYTES_MAX]].concat().into_boxed_slice(),
        );
        let (address, _served) = answering(long);
        let answer = post(&format!("http://{address}/")).await.unwrap();
        assert_eq!(answer.body.len(), ANSWER_BYTES_MAX);
    }

    #[tokio::test]
    async fn who_speaks_no_tls_is_an_error_that_shows_no_address() {
        let (address, served) = answering(b"HTTP/1.1 200 X\r\n\r\n");
        let error = post(&format!("https://user:hunter2@{address}/")).await.unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        // It began with a handshake, not with the request.
        assert!(served.join().unwrap().starts_with('\u{16}'));
    }
}
