//! Requests of any method, whose answers are read as they come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Uri};

use crate::general::General;
use crate::plain::{self, Plain, PlainError};
use crate::reach::{Judge, Reach};
use crate::{Client, SendError};

/// What a client is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a connection may take to be there.
    pub connect_timeout: Duration,
    /// How long nothing at all may come while an answer is awaited or read.
    pub silence_timeout: Duration,
    /// Whose certificates are trusted.
    pub trust: Trust,
    /// How many connections to one server are kept between requests.
    pub idle_connections_max: usize,
    /// Whom requests may reach.
    pub reach: Reach,
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
    pub url: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; none if it is empty.
    pub body: Bytes,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Response(Came);

/// How it came.
#[derive(Debug)]
enum Came {
    Plain(Box<plain::Response>),
    Other(reqwest::Response),
}

/// Why no whole body came.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is longer than it may be.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// It broke off, or was not there in time.
    #[error("the answer broke off")]
    Broken(#[source] reqwest::Error),
    /// The same over plain HTTP.
    #[error("the answer broke off")]
    Plain(#[source] PlainError),
}

impl Client {
    /// A client for requests whose answers may take as long as something comes. It stands on TCP without delay.
    pub fn with(options: &Options) -> Result<Self, SendError> {
        let &Options { connect_timeout, silence_timeout, idle_connections_max, reach, .. } = options;
        let only = match &options.trust {
            Trust::System => None,
            Trust::Nobody => Some(Vec::new()),
            Trust::Only(pem) => Some(certificates(pem)?),
        };
        let general = General::new(move |builder| {
            let builder = builder
                .connect_timeout(connect_timeout)
                .read_timeout(silence_timeout)
                .tcp_nodelay(true)
                .pool_max_idle_per_host(idle_connections_max);
            let builder = match reach {
                Reach::Anywhere => builder,
                Reach::Public => builder.dns_resolver(Judge),
            };
            match &only {
                None => builder,
                Some(certificates) => builder.tls_certs_only(certificates.clone()),
            }
        });
        if matches!(options.trust, Trust::Only(_)) {
            // Whether they are certificates shows when they are used.
            general.client()?;
        }
        let plain = Plain::new(reach, idle_connections_max, (connect_timeout, silence_timeout));
        Ok(Self { general: Arc::new(general), reach, plain: Some(plain) })
    }

    /// Sends this, and waits for the head of the answer. Must be called within a runtime.
    pub async fn send(&self, request: Request) -> Result<Response, SendError> {
        let Request { method, url, headers, body } = request;
        if let Some(plain) = self.plain.as_ref().filter(|_| Plain::takes(&url)) {
            let mut request = http::Request::new(body);
            (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, url, headers);
            let response = plain.send(request).await.map_err(SendError::Plain)?;
            return Ok(Response(Came::Plain(Box::new(response))));
        }
        let mut sent = self.request(method, &url.to_string())?.headers(headers);
        if !body.is_empty() {
            sent = sent.body(body);
        }
        Box::pin(sent.send())
            .await
            .map(|response| Response(Came::Other(response)))
            .map_err(|error| SendError::Send(error.without_url()))
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
        match &self.0 {
            Came::Plain(response) => response.status.as_u16(),
            Came::Other(response) => response.status().as_u16(),
        }
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        match &self.0 {
            Came::Plain(response) => &response.headers,
            Came::Other(response) => response.headers(),
        }
    }

    /// Its headers, which it has no more from then on.
    pub fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(match &mut self.0 {
            Came::Plain(response) => &mut response.headers,
            Came::Other(response) => response.headers_mut(),
        })
    }

    /// The next piece of the body; none at its end. Cancellation-safe: a piece is not lost.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        match &mut self.0 {
            Came::Plain(response) => response.chunk().await.map_err(ReadError::Plain),
            Came::Other(response) => {
                response.chunk().await.map_err(|error| ReadError::Broken(error.without_url()))
            }
        }
    }

    /// From now on, pieces have so many bytes, if so many are known to come: for whoever can't use fewer. Over TLS they come as
    /// they come.
    pub fn want(&mut self, bytes: usize) {
        if let Came::Plain(response) = &mut self.0 {
            response.want(bytes);
        }
    }

    /// The whole body, which may have so many bytes.
    pub async fn whole(mut self, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
        let told = self.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let mut body = Vec::with_capacity(told.unwrap_or(0_usize).min(bytes_max));
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
    use crate::NotPublic;

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
        Client::with(&Options {
            connect_timeout,
            silence_timeout,
            trust,
            idle_connections_max: 1,
            reach: Reach::Anywhere,
        })
    }

    async fn get(address: SocketAddr) -> Response {
        let url = format!("http://{address}/").parse().unwrap();
        let request = Request { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() };
        client(Trust::Nobody).unwrap().send(request).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_read_as_it_comes_and_silence_ends_it() {
        let address = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
        let mut response = get(address).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.chunk().await.unwrap().unwrap(), "hello");
        assert!(matches!(response.chunk().await, Err(ReadError::Plain(PlainError::Silent(_)))));
    }

    #[tokio::test]
    async fn a_whole_answer_may_not_be_longer_than_said() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(get(answering(answer)).await.whole(5).await.unwrap(), b"hello");
        assert!(matches!(get(answering(answer)).await.whole(4).await, Err(ReadError::TooLong(4))));
    }

    #[tokio::test]
    async fn who_may_reach_the_public_alone_reaches_nobody_of_ours_however_they_are_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connect_timeout, silence_timeout) = (Duration::from_secs(5), Duration::from_secs(5));
        let options = Options {
            connect_timeout,
            silence_timeout,
            trust: Trust::Nobody,
            idle_connections_max: 1,
            reach: Reach::Public,
        };
        let client = Client::with(&options).unwrap();
        for host in [
            "127.0.0.1",
            "localhost",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "0x7f.0x0.0x0.0x1",
            "0",
            "0.0.0.0",
            "%31%32%37.0.0.1",
            "127\u{3002}0\u{3002}0\u{3002}1",
            "\u{ff11}27.0.0.1",
            "user@127.0.0.1",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[2002:7f00:1::]",
        ] {
            let url = url::Url::parse(&format!("http://{host}:{port}/")).unwrap().as_str().parse().unwrap();
            let request = Request { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() };
            let told = client.send(request).await.unwrap_err();
            assert!(!told.may_have_arrived(), "{host}");
            // Not because nobody listens there.
            let mut causes =
                std::iter::successors(Some(&told as &dyn std::error::Error), |error| error.source());
            assert!(causes.any(<dyn std::error::Error>::is::<NotPublic>), "{host}: {told:?}");
            let posted = client.post(&format!("http://{host}:{port}/"), HeaderMap::new(), Bytes::new()).await;
            assert!(posted.is_err(), "{host}");
        }
        let came = listener.accept();
        assert!(came.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    }

    #[test]
    fn trust_needs_certificates() {
        assert!(matches!(client(Trust::Only(b"nothing".to_vec())), Err(SendError::NoCertificate)));
        let bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
        assert!(client(Trust::Only(bad)).is_err());
        assert!(client(Trust::Nobody).is_ok());
    }
}
