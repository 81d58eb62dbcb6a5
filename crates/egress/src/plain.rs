//! Requests over plain HTTP/1.1, which is what neighbours are asked with.
//!
//! ```text
//!  send ──► a connection: wire.rs ──► head.rs ──► its status, its headers ──► body.rs ──► pieces, as they come
//!              ▲                                                                 │
//!              └──────────────── once the body is read to its end ───────────────┘
//! ```
//!
//! A connection is used again by the thread that opened it alone, and whoever asks reads the answer himself: so a request and
//! its answer wake no other thread, and no other task. (A client of hyper is a task of its own for each connection:
//! docs/performance.md.) Those that are idle are looked after by one task for all, as long as there are any: what
//! its server has closed, or nobody has used for long, is closed here, too.

mod body;
mod head;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::runtime;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::reach::{self, NotPublic, Reach};
use body::{Framing, Piece};
use head::Head;
use wire::{Failed, Wire};

/// Room for a piece of a body, if nobody wants a larger one.
const PIECE_BYTES: usize = 256 * 1024;
/// How long an idle connection is kept, give or take a look.
const IDLE_MAX: Duration = Duration::from_secs(90);
/// How often idle connections are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a connection is idle before the kernel is asked whether its server has closed it: until then, this thread has
/// hardly had the time to look away.
const SURE_FOR: Duration = Duration::from_millis(100);

/// What connections are made and kept with.
#[derive(Debug)]
pub(crate) struct Plain {
    connect_timeout: Duration,
    silence_timeout: Duration,
    /// How many idle connections to one server are kept by one thread.
    idle_max: usize,
    reach: Reach,
    idle: Mutex<Resting>,
    tasks: TaskTracker,
}

/// The connections that wait for a request.
#[derive(Debug, Default)]
struct Resting {
    wires: HashMap<Key, Vec<Idle>>,
    /// Held by whoever looks after them, if somebody does.
    keeper: Weak<()>,
}

/// Whose a connection is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    thread: ThreadId,
    /// What wakes whoever waits for it, as long as it runs: a thread may have one after the other.
    runtime: runtime::Id,
    authority: Authority,
}

#[derive(Debug)]
struct Idle {
    wire: Wire,
    since: Instant,
}

impl Idle {
    /// Whether a request may go over it.
    fn is_fit(&self) -> bool {
        let idle = self.since.elapsed();
        idle < IDLE_MAX && if idle < SURE_FOR { self.wire.seems_quiet() } else { self.wire.is_quiet() }
    }
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
    /// The connection broke before any of it was sent.
    #[error("the connection broke before anything was sent")]
    Unsent(#[source] io::Error),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// What came is no answer that HTTP/1.1 knows, as is said.
    #[error("what came is no answer: {0}")]
    NoHttp(&'static str),
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Silent(Duration),
}

impl PlainError {
    /// Whether the request may have arrived.
    pub(crate) fn may_have_arrived(&self) -> bool {
        match self {
            Self::Broken(_) | Self::NoHttp(_) | Self::Silent(_) => true,
            Self::Reach(_) | Self::Connect(_) | Self::ConnectTimeout(_) | Self::Unsent(_) => false,
        }
    }

    /// The connection was closed in the middle.
    fn cut_off() -> Self {
        Self::Broken(io::ErrorKind::UnexpectedEof.into())
    }
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Framing,
    /// How many bytes the next piece is to have, if so many are to come.
    wanted: usize,
    /// None once the body is read.
    wire: Option<Wire>,
    /// Where its connection goes then, if it is there for another request.
    back: Option<(Arc<Plain>, Key)>,
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
        let authority = request.uri().authority().cloned();
        let authority = authority.expect("only an address with an authority is asked in this way");
        let (thread, runtime) = (thread::current().id(), runtime::Handle::current().id());
        let key = Key { thread, runtime, authority };
        let said = head::written(&request, &key.authority);
        let has_body = *request.method() != Method::HEAD;
        while let Some(mut wire) = self.take(&key) {
            match self.ask(&mut wire, &said, request.body()).await {
                Ok(head) => return Ok(self.response((head, has_body), key, wire)),
                // Its server has closed the connection meanwhile.
                Err(Failed::Unheard(_)) => {}
                Err(Failed::Heard(error)) => return Err(error),
            }
        }
        // Boxed, as most requests find a connection: they need no room for it.
        let mut wire = Box::pin(self.connect(&key.authority)).await?;
        match self.ask(&mut wire, &said, request.body()).await {
            Ok(head) => Ok(self.response((head, has_body), key, wire)),
            Err(Failed::Unheard(error)) => Err(PlainError::Unsent(error)),
            Err(Failed::Heard(error)) => Err(error),
        }
    }

    async fn ask(&self, wire: &mut Wire, head: &[u8], body: &Bytes) -> Result<Head, Failed> {
        let silent = |_elapsed| Err(Failed::Heard(PlainError::Silent(self.silence_timeout)));
        timeout(self.silence_timeout, wire.ask(head, body)).await.unwrap_or_else(silent)
    }

    fn response(self: &Arc<Self>, (head, has_body): (Head, bool), key: Key, wire: Wire) -> Response {
        let mut response = Response {
            status: head.status,
            headers: head.headers,
            body: if has_body { head.framing } else { Framing::Length(0) },
            wanted: 0,
            wire: Some(wire),
            back: head.is_kept.then(|| (Arc::clone(self), key)),
            silence_timeout: self.silence_timeout,
        };
        response.give_back_at_end();
        response
    }

    fn take(&self, key: &Key) -> Option<Wire> {
        let mut idle = self.idle();
        let own = idle.wires.get_mut(key)?;
        loop {
            let idle = own.pop()?;
            if idle.is_fit() {
                return Some(idle.wire);
            }
        }
    }

    fn give_back(self: &Arc<Self>, key: Key, mut wire: Wire) {
        // What comes without being asked for is no answer to the next request.
        if !wire.came.is_empty() {
            return;
        }
        wire.rest();
        let mut idle = self.idle();
        let own = idle.wires.entry(key).or_default();
        if own.len() < self.idle_max {
            own.push(Idle { wire, since: Instant::now() });
        }
        if idle.keeper.strong_count() == 0 {
            let keeper = Arc::new(());
            idle.keeper = Arc::downgrade(&keeper);
            self.tasks.spawn(keep(Arc::downgrade(self), keeper));
        }
    }

    /// Closes those that are of no use any more. Whether there are others.
    fn look(&self) -> bool {
        let mut idle = self.idle();
        idle.wires.retain(|_, own| {
            own.retain(Idle::is_fit);
            !own.is_empty()
        });
        if idle.wires.is_empty() {
            // Before anybody can put one there, who is to find that nobody looks after it.
            idle.keeper = Weak::new();
        }
        !idle.wires.is_empty()
    }

    async fn connect(&self, authority: &Authority) -> Result<Wire, PlainError> {
        let connecting = timeout(self.connect_timeout, self.dial(authority));
        connecting.await.map_err(|_| PlainError::ConnectTimeout(self.connect_timeout))?
    }

    async fn dial(&self, authority: &Authority) -> Result<Wire, PlainError> {
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
            match Wire::dial(address).await {
                Ok(wire) => return Ok(wire),
                Err(error) => last = error,
            }
        }
        Err(PlainError::Connect(last))
    }

    fn idle(&self) -> MutexGuard<'_, Resting> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after idle connections, until there are none or nobody has the client any more. It ends with its runtime, too: then the
/// next connection that is given back finds another one.
async fn keep(plain: Weak<Plain>, _keeper: Arc<()>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if !plain.upgrade().is_some_and(|plain| plain.look()) {
            return;
        }
    }
}

impl Response {
    /// The next piece of the body; none at its end. Cancellation-safe: a piece is not lost.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, PlainError> {
        while let Some(wire) = &mut self.wire {
            let expected = usize::try_from(self.body.expects()).unwrap_or(usize::MAX);
            let missing = self.wanted.min(expected).saturating_sub(wire.came.len());
            let piece = if missing == 0 { self.body.take(&mut wire.came)? } else { Piece::More };
            match piece {
                Piece::Data(data) => {
                    self.give_back_at_end();
                    return Ok(Some(data));
                }
                Piece::End => self.give_back_at_end(),
                Piece::More => {
                    let room = if missing == 0 { expected.min(PIECE_BYTES) } else { missing };
                    let reading = timeout(self.silence_timeout, wire.read(room));
                    let length = reading.await.map_err(|_| PlainError::Silent(self.silence_timeout))??;
                    if length == 0 {
                        self.body.closed()?;
                        self.wire = None;
                    }
                }
            }
        }
        Ok(None)
    }

    /// From now on, pieces have so many bytes, if so many are to come: for whoever can't use fewer.
    pub(crate) fn want(&mut self, bytes: usize) {
        self.wanted = bytes;
    }

    /// A connection whose answer is read to its end is there for the next request.
    fn give_back_at_end(&mut self) {
        if !self.body.is_over() {
            return;
        }
        if let (Some(wire), Some((plain, key))) = (self.wire.take(), self.back.take()) {
            plain.give_back(key, wire);
        }
    }
}

#[cfg(test)]
mod tests;
