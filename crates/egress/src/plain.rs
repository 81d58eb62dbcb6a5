//! Requests over plain HTTP/1.1, which is what neighbours are asked with.
//!
//! A connection is used again by the thread that opened it alone, so that a request and its answer wake no other thread. One
//! that is idle is closed when others are opened, and when nobody has the client any more.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::reach::{self, NotPublic, Reach};

/// How long an idle connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(90);

/// What connections are made and kept with.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) connect_timeout: Duration,
    pub(crate) silence_timeout: Duration,
    /// How many idle connections to one server are kept by one thread.
    pub(crate) idle_max: usize,
    pub(crate) reach: Reach,
    idle: Mutex<HashMap<Key, Vec<Idle>>>,
    tasks: TaskTracker,
}

/// Whose a connection is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    thread: ThreadId,
    authority: Authority,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// The address names a network that may not be reached.
    #[error("the request was not sent")]
    Reach(#[source] NotPublic),
    /// Nobody took the connection.
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    /// Nobody took the connection in time.
    #[error("nobody took the connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The connection broke, or what came is no HTTP.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Silent(Duration),
}

impl PlainError {
    /// Whether the request may have arrived.
    pub(crate) fn may_have_arrived(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Silent(_))
    }
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    /// Where its connection goes once the body is read.
    back: Option<(Arc<Plain>, Key, SendRequest<Full<Bytes>>)>,
    silence_timeout: Duration,
}

impl Plain {
    pub(crate) fn new(
        reach: Reach,
        idle_max: usize,
        (connect_timeout, silence_timeout): (Duration, Duration),
    ) -> Arc<Self> {
        Arc::new(Self {
            connect_timeout,
            silence_timeout,
            idle_max,
            reach,
            idle: Mutex::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Whether this address is asked in this way: over HTTP, and without a credential in it.
    pub(crate) fn takes(url: &Uri) -> bool {
        let is_bare = |authority: &Authority| !authority.as_str().contains('@');
        url.scheme() == Some(&Scheme::HTTP) && url.authority().is_some_and(is_bare)
    }

    /// Sends this, and waits for the head of the answer. Must be called within a runtime.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: http::Request<Bytes>,
    ) -> Result<Response, PlainError> {
        let (mut request, authority) = in_origin_form(request.map(Full::new));
        let key = Key { thread: thread::current().id(), authority };
        while let Some(mut sender) = self.take(&key) {
            if sender.ready().await.is_err() {
                continue;
            }
            match self.answer(sender.try_send_request(request)).await? {
                Ok(response) => return Ok(self.response(response, key, sender)),
                // Nobody has heard of it: its server has closed the connection meanwhile.
                Err(mut error) => match error.take_message() {
                    Some(back) => request = back,
                    None => return Err(PlainError::Broken(error.into_error())),
                },
            }
        }
        // Boxed, as most requests find a connection: they need no room for it.
        let mut sender = Box::pin(self.connect(&key.authority)).await?;
        let response = self.answer(sender.send_request(request)).await?.map_err(PlainError::Broken)?;
        Ok(self.response(response, key, sender))
    }

    async fn answer<T>(&self, answering: impl Future<Output = T>) -> Result<T, PlainError> {
        timeout(self.silence_timeout, answering).await.map_err(|_| PlainError::Silent(self.silence_timeout))
    }

    fn response(
        self: &Arc<Self>,
        response: http::Response<Incoming>,
        key: Key,
        sender: SendRequest<Full<Bytes>>,
    ) -> Response {
        let (head, body) = response.into_parts();
        let mut response = Response {
            status: head.status,
            headers: head.headers,
            body,
            back: Some((Arc::clone(self), key, sender)),
            silence_timeout: self.silence_timeout,
        };
        response.give_back_at_end();
        response
    }

    fn take(&self, key: &Key) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle();
        let own = idle.get_mut(key)?;
        loop {
            let Idle { sender, since } = own.pop()?;
            if !sender.is_closed() && since.elapsed() < IDLE_MAX {
                return Some(sender);
            }
        }
    }

    fn give_back(&self, key: Key, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle();
        let own = idle.entry(key).or_default();
        if own.len() < self.idle_max && !sender.is_closed() {
            own.push(Idle { sender, since: Instant::now() });
        }
    }

    async fn connect(&self, authority: &Authority) -> Result<SendRequest<Full<Bytes>>, PlainError> {
        self.idle().retain(|_, own| {
            own.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < IDLE_MAX);
            !own.is_empty()
        });
        let connecting = timeout(self.connect_timeout, self.dial(authority));
        let stream = connecting.await.map_err(|_| PlainError::ConnectTimeout(self.connect_timeout))??;
        stream.set_nodelay(true).map_err(PlainError::Connect)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(PlainError::Broken)?;
        self.tasks.spawn(async move {
            // How it ended is told to whoever waits for an answer on it.
            drop(connection.await);
        });
        Ok(sender)
    }

    async fn dial(&self, authority: &Authority) -> Result<TcpStream, PlainError> {
        let host = authority.host();
        let port = authority.port_u16().unwrap_or(80);
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let found: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
            Ok(address) => vec![(address, port).into()],
            Err(_) => tokio::net::lookup_host((bare, port)).await.map_err(PlainError::Connect)?.collect(),
        };
        reach::judged(self.reach, &found).map_err(PlainError::Reach)?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(PlainError::Connect(last))
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Key, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Response {
    /// The next piece of the body; none at its end. Cancellation-safe: a piece is not lost.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, PlainError> {
        loop {
            let frame = timeout(self.silence_timeout, self.body.frame()).await;
            let frame = frame.map_err(|_| PlainError::Silent(self.silence_timeout))?;
            let Some(frame) = frame.transpose().map_err(PlainError::Broken)? else {
                self.give_back_at_end();
                return Ok(None);
            };
            self.give_back_at_end();
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// A connection whose answer is read to its end is there for the next request.
    fn give_back_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some((plain, key, sender)) = self.back.take()
        {
            plain.give_back(key, sender);
        }
    }
}

/// The request as a server of HTTP/1.1 reads it, and whom it is for.
fn in_origin_form(mut request: http::Request<Full<Bytes>>) -> (http::Request<Full<Bytes>>, Authority) {
    let parts = std::mem::take(request.uri_mut()).into_parts();
    let authority = parts.authority.expect("only an address with an authority is asked in this way");
    if let Some(path) = parts.path_and_query {
        *request.uri_mut() = path.into();
    }
    let host = HeaderValue::from_str(authority.as_str()).expect("an authority is visible ASCII");
    request.headers_mut().insert(HOST, host);
    (request, authority)
}
