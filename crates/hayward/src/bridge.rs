//! Lines on one side, Streamable HTTP on the other: every message of a client becomes a request, and whatever comes back becomes
//! lines.
//!
//! What is said passes as it is; nothing here knows what it means, but for what the transport needs: which session it is, which
//! revision, which stream to come back to. A session that the server forgot is begun again with what the client said when it
//! began the first one, so that the client doesn't notice.

mod exchange;
mod headers;
mod session;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use hayward_mcp::envelope::{Frame, Message, Request, RequestId};
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
use crate::server::ServerArgs;
use crate::speaking::{At, credential, dial};
use session::Session;

/// Bytes of one message of the client.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Messages of the client that are on their way at once.
const IN_FLIGHT_MAX: usize = 64;
/// Lines that wait for the client to read them.
const LINES_QUEUE: usize = 64;
/// How long answers that are about to come are waited for at the end of the input.
const END_GRACE: Duration = Duration::from_secs(5);

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
    places: Arc<Semaphore>,
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
            places: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
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
        let read = self.read_all(LineReader::new(input, LINE_BYTES_MAX), &lines, &shutdown).await;
        self.0.tasks.close();
        drop(tokio::time::timeout(END_GRACE, self.0.tasks.wait()).await);
        gone.cancel();
        self.0.end_session().await;
        drop(lines);
        drop(tokio::time::timeout(END_GRACE, writer).await);
        Ok(read.context("failed to read standard input")?)
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

    /// Sends a message on its way. What begins a session is waited for: everything after it belongs to it.
    async fn take(&self, bytes: Bytes, lines: &mpsc::Sender<Frame>) {
        let shared = &self.0;
        let message = match Message::read(bytes.clone()) {
            Ok(message) => message,
            Err(rejected) => return drop(lines.send(Frame::from(&rejected)).await),
        };
        match message {
            Message::Request(request) if request.method == "initialize" => {
                shared.session.began(&bytes);
                shared.exchange(bytes, &request, lines).await;
            }
            Message::Request(request) => {
                let Ok(place) = Arc::clone(&shared.places).acquire_owned().await else { return };
                let (shared, lines) = (Arc::clone(shared), lines.clone());
                let withdrawn = CancellationToken::new();
                shared.running().insert(request.id.clone(), withdrawn.clone());
                self.0.tasks.spawn(async move {
                    tokio::select! {
                        () = shared.exchange(bytes, &request, &lines) => {}
                        () = withdrawn.cancelled() => {}
                        () = shared.gone.cancelled() => {}
                    }
                    shared.running().remove(&request.id);
                    drop(place);
                });
            }
            Message::Notification(notification) => {
                let cancelled = if notification.method == "notifications/cancelled" {
                    read_cancelled(&notification)
                } else {
                    None
                };
                let has_session = shared.session.is_open();
                shared.tell(bytes, Some(&notification.method)).await;
                if notification.method == "notifications/initialized" {
                    self.hear(lines);
                }
                // Without sessions, to hang up is how a request is withdrawn.
                if let Some(id) = cancelled.filter(|_| !has_session)
                    && let Some(withdrawn) = shared.running().get(&id)
                {
                    withdrawn.cancel();
                }
            }
            Message::Response(_) => shared.tell(bytes, None).await,
        }
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
