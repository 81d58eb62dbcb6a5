//! Lines on one side, Streamable HTTP on the other: every message of a client becomes a request, and whatever comes back becomes
//! lines.
//!
//! What is said passes as it is; nothing here knows what it means, but for what the transport needs: which session it is, which
//! revision, which stream to come back to. A session that the server forgot is begun again with what the client said when it
//! began the first one, and with what it has subscribed to and its log level, so that the client doesn't notice.
//!
//! Whoever reads the client's messages waits for no server: the next one may be what ends the one before.

mod exchange;
mod headers;
mod session;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use hayward_api::Code;
use hayward_mcp::envelope::{Frame, Message, Notification, Request, RequestId};
use hayward_mcp::era::Era;
use hayward_mcp::error::{INTERNAL_ERROR, INVALID_REQUEST, RpcError};
use hayward_mcp::request::{Params, read_cancelled};
use hayward_mcp::stdio::{Line, LineReader, write_line};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::failure::Failure;
use crate::limits::{END_GRACE, IN_FLIGHT_MAX, LINES_QUEUE, MESSAGE_BYTES_MAX, TELL_PATIENCE, TOLD_MAX};
use crate::server::ServerArgs;
use crate::speaking::{At, credential, dial};
use session::Session;

/// A client on one side, an endpoint on the other.
pub(crate) struct Bridge(Arc<Shared>);

/// What all messages share.
struct Shared {
    dial: Arc<hayward_runtime::Dial>,
    url: Url,
    credential: HeaderMap,
    session: Session,
    /// Requests on their way that the client can withdraw.
    running: Mutex<HashMap<RequestId, CancellationToken>>,
    /// Which arguments of tools are repeated in headers, by name; learnt from lists that pass.
    mirrored: Mutex<HashMap<String, hayward_mcp::param_headers::ParamHeaders>>,
    /// Whether it was told that the server can't be reached, since it last could.
    is_told: AtomicBool,
    /// Whether it ever could.
    has_reached: AtomicBool,
    /// Whether the client ever asked for anything.
    is_asked: AtomicBool,
    places: Arc<Semaphore>,
    /// Bounds what is told without being asked for an answer.
    told: Arc<Semaphore>,
    tasks: TaskTracker,
    gone: CancellationToken,
}

impl Bridge {
    /// A bridge to an endpoint, with the credential that there is.
    pub(crate) fn new(server: &ServerArgs, at: &At) -> Result<Self, Failure> {
        Ok(Self(Arc::new(Shared {
            dial: dial(server)?,
            url: at.url(server),
            credential: credential(server)?,
            session: Session::default(),
            running: Mutex::default(),
            mirrored: Mutex::default(),
            is_told: AtomicBool::new(false),
            has_reached: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
            places: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            told: Arc::new(Semaphore::new(TOLD_MAX)),
            tasks: TaskTracker::new(),
            gone: CancellationToken::new(),
        })))
    }

    /// Serves the client until its input ends or the shutdown fires.
    pub(crate) async fn run<R, W>(
        self,
        input: R,
        output: W,
        shutdown: CancellationToken,
    ) -> Result<(), Failure>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (lines, queue) = mpsc::channel(LINES_QUEUE);
        let gone = self.0.gone.clone();
        let writer = TaskTracker::new().spawn(write_all(output, queue, gone.clone()));
        let read = self.read_all(LineReader::new(input, MESSAGE_BYTES_MAX), &lines, &shutdown).await;
        let asked = self.0.is_asked.load(Ordering::Relaxed);
        self.0.tasks.close();
        drop(tokio::time::timeout(END_GRACE, self.0.tasks.wait()).await);
        gone.cancel();
        self.0.end_session().await;
        drop(lines);
        drop(tokio::time::timeout(END_GRACE, writer).await);
        read.context("failed to read standard input")?;
        if asked && !self.0.has_reached.load(Ordering::Relaxed) {
            let what = anyhow!("nothing ever answered at {}", self.0.url);
            let hint = "is `hayward serve` running there? `--url` or HAYWARD_URL says where";
            return Err(Failure::unavailable(what).hint(hint));
        }
        Ok(())
    }

    async fn read_all<R: AsyncRead + Unpin>(
        &self,
        mut input: LineReader<R>,
        lines: &mpsc::Sender<Frame>,
        shutdown: &CancellationToken,
    ) -> std::io::Result<()> {
        loop {
            let line = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.0.gone.cancelled() => return Ok(()),
                line = input.next() => line?,
            };
            match line {
                None => return Ok(()),
                Some(Line::TooLong(_)) => {
                    let error = RpcError::new(INVALID_REQUEST, "the line is too long");
                    lines.send(Frame::error(None, &error)).await.ok();
                }
                Some(Line::Message(bytes)) => self.take(bytes, lines).await,
            }
        }
    }

    /// Sends a message on its way.
    async fn take(&self, bytes: Bytes, lines: &mpsc::Sender<Frame>) {
        match Message::read(bytes.clone()) {
            Ok(Message::Request(request)) => self.ask(bytes, request, lines).await,
            Ok(Message::Notification(notification)) => self.tell(bytes, notification, lines),
            Ok(Message::Response(_)) => {
                let shared = Arc::clone(&self.0);
                self.0.tell_soon(async move { shared.tell(bytes, None).await });
            }
            Err(rejected) => drop(lines.send(Frame::from(&rejected)).await),
        }
    }

    async fn ask(&self, bytes: Bytes, request: Request, lines: &mpsc::Sender<Frame>) {
        let (shared, lines) = (Arc::clone(&self.0), lines.clone());
        shared.is_asked.store(true, Ordering::Relaxed);
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            let message = "too many requests are on their way: wait for one to end";
            let error = RpcError::new(i64::from(Code::RateLimited.http_status()), message);
            return drop(lines.send(Frame::error(Some(&request.id), &error)).await);
        };
        let beginning = (request.method == "initialize").then(|| shared.session.begin(&bytes));
        let withdrawn = CancellationToken::new();
        shared.running().insert(request.id.clone(), withdrawn.clone());
        self.0.tasks.spawn(async move {
            let answered = async {
                // What begins a session is waited for: everything after it belongs to it.
                if beginning.is_none() && Shared::era(&request) == Era::Legacy {
                    shared.session.has_begun().await;
                }
                shared.exchange(bytes, &request, &lines).await;
            };
            tokio::select! {
                () = answered => {}
                () = withdrawn.cancelled() => {}
                () = shared.gone.cancelled() => {}
            }
            shared.running().remove(&request.id);
            drop((beginning, place));
        });
    }

    fn tell(&self, bytes: Bytes, notification: Notification, lines: &mpsc::Sender<Frame>) {
        let shared = &self.0;
        let is_cancelled = notification.method == "notifications/cancelled";
        let cancelled = is_cancelled.then(|| read_cancelled(&notification)).flatten();
        let withdrawn = cancelled.and_then(|id| shared.running().get(&id).cloned());
        // Without sessions, to hang up is how a request is withdrawn; what waits for a session has not gone out yet.
        if let Some(withdrawn) = withdrawn.as_ref().filter(|_| !shared.session.is_open()) {
            withdrawn.cancel();
        }
        let (this, lines) = (Self(Arc::clone(shared)), lines.clone());
        self.0.tell_soon(async move {
            let shared = &this.0;
            shared.session.has_begun().await;
            shared.tell(bytes, Some(&notification.method)).await;
            // Its server knows, and answers no more.
            if let Some(withdrawn) = withdrawn {
                withdrawn.cancel();
            }
            if notification.method == "notifications/initialized" {
                this.hear(&lines);
            }
        });
    }

    /// Hears what the server says outside of requests, in a session.
    fn hear(&self, lines: &mpsc::Sender<Frame>) {
        let (shared, lines) = (Arc::clone(&self.0), lines.clone());
        // It ends with the client: nobody waits for it.
        TaskTracker::new().spawn(async move {
            tokio::select! {
                () = shared.listen(&lines) => {}
                () = shared.gone.cancelled() => {}
            }
        });
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, HashMap<RequestId, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells something beside everything else, for a bounded time.
    fn tell_soon(&self, telling: impl Future<Output = ()> + Send + 'static) {
        let Ok(place) = Arc::clone(&self.told).try_acquire_owned() else {
            return tracing::warn!("a message was not delivered: too many are on their way");
        };
        let gone = self.gone.clone();
        self.tasks.spawn(async move {
            gone.run_until_cancelled(tokio::time::timeout(TELL_PATIENCE, telling)).await;
            drop(place);
        });
    }

    /// The era of a request, as it says itself.
    fn era(request: &Request) -> Era {
        Params::of(request).era()
    }
}

/// An error of the bridge's own, as the answer to a request.
fn failed(id: &RequestId, message: &str) -> Frame {
    Frame::error(Some(id), &RpcError::new(INTERNAL_ERROR, message))
}

/// Writes lines until there are no more; a broken output ends the bridge.
async fn write_all<W: AsyncWrite + Unpin>(
    mut output: W,
    mut lines: mpsc::Receiver<Frame>,
    gone: CancellationToken,
) {
    while let Some(line) = lines.recv().await {
        if write_line(&mut output, line).await.is_err() {
            gone.cancel();
            return;
        }
    }
}
