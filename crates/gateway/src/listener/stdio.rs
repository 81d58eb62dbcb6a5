//! One client on a pair of byte streams: standard input and output, or a socket of this machine.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hayward_api::Principal;
use hayward_mcp::envelope::{Frame, Message, Request};
use hayward_mcp::era::Era;
use hayward_mcp::error::{INTERNAL_ERROR, INVALID_REQUEST, RpcError};
use hayward_mcp::request::{Agreed, Ask, Context, Params, Question, read_cancelled};
use hayward_mcp::stdio::{Line, LineReader, write_line};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{CANCEL_GRACE, END_OF_INPUT_GRACE, STDIO_REQUESTS_MAX, STREAM_QUEUE};
use crate::protocol::{Beginning, News, Protocol, RunningCall, Sender};
use crate::session::Running;

/// What a client on byte streams is served with.
#[derive(Clone)]
pub struct Local {
    /// The protocol, with the road behind it.
    pub protocol: Arc<Protocol>,
    /// Who the client is.
    pub principal: Arc<Principal>,
    /// Bytes that one line may have.
    pub line_bytes_max: usize,
    /// Time that running calls get to end at a shutdown before they are cancelled.
    pub drain: Duration,
}

/// Serves one client until its input ends, `shutdown` fires, or its output breaks. What is running then
/// may end by itself for a while, and is cancelled.
///
/// # Errors
/// What reading the input fails with.
pub async fn serve_stdio<R, W>(
    input: R,
    output: W,
    local: Local,
    shutdown: CancellationToken,
) -> std::io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    let client = Arc::new(Client {
        protocol: local.protocol,
        principal: local.principal,
        output: sender,
        running: Running::default(),
        places: Arc::new(Semaphore::new(STDIO_REQUESTS_MAX)),
        calls: TaskTracker::new(),
        tasks: TaskTracker::new(),
        gone: CancellationToken::new(),
        agreed: Mutex::default(),
    });
    let writer = client.tasks.spawn(write_all(output, receiver, client.gone.clone()));
    let read = client.read_all(LineReader::new(input, local.line_bytes_max), &shutdown).await;
    client.calls.close();
    // A script that pipes its requests in still gets the answers that are about to come.
    let grace = if shutdown.is_cancelled() { local.drain } else { END_OF_INPUT_GRACE };
    if timeout(grace, client.calls.wait()).await.is_err() {
        client.running.cancel_all();
    }
    // What a cancelled call still says is passed on; a client that doesn't read is not waited for.
    if timeout(CANCEL_GRACE, client.calls.wait()).await.is_err() {
        client.gone.cancel();
        client.calls.wait().await;
    }
    let gone = client.gone.clone();
    drop(client);
    let abort = writer.abort_handle();
    if timeout(CANCEL_GRACE, writer).await.is_err() {
        gone.cancel();
        abort.abort();
    }
    read
}

/// The client, as far as its requests share it.
struct Client {
    protocol: Arc<Protocol>,
    principal: Arc<Principal>,
    output: mpsc::Sender<Frame>,
    running: Running,
    /// Bounds the calls in flight.
    places: Arc<Semaphore>,
    /// What follows the calls in flight.
    calls: TaskTracker,
    /// What writes.
    tasks: TaskTracker,
    /// Fires when the output broke, or nobody reads it.
    gone: CancellationToken,
    agreed: Mutex<Agreed>,
}

/// Writes frames until there are no more; a broken output ends the client.
async fn write_all<W: AsyncWrite + Unpin>(
    mut output: W,
    mut frames: mpsc::Receiver<Frame>,
    gone: CancellationToken,
) {
    while let Some(frame) = frames.recv().await {
        if write_line(&mut output, frame).await.is_err() {
            gone.cancel();
            return;
        }
    }
}

impl Client {
    async fn read_all<R: AsyncRead + Unpin>(
        self: &Arc<Self>,
        mut lines: LineReader<R>,
        shutdown: &CancellationToken,
    ) -> std::io::Result<()> {
        loop {
            let line = tokio::select! {
                () = self.gone.cancelled() => return Ok(()),
                () = shutdown.cancelled() => return Ok(()),
                line = lines.next() => line?,
            };
            match line {
                Some(Line::Message(bytes)) => match Message::read(bytes) {
                    Ok(message) => self.message(message).await,
                    Err(rejected) => self.send(Frame::error(rejected.id.as_ref(), &rejected.error)).await,
                },
                Some(Line::TooLong) => {
                    let error = RpcError::new(
                        INVALID_REQUEST,
                        "the line is too long; send large files by other means",
                    );
                    self.send(Frame::error(None, &error)).await;
                }
                None => return Ok(()),
            }
        }
    }

    async fn message(self: &Arc<Self>, message: Message) {
        match message {
            Message::Request(request) => {
                let id = request.id.clone();
                if let Err(error) = self.request(request).await {
                    self.send(Frame::error(Some(&id), &error)).await;
                }
            }
            Message::Notification(notification) if notification.method == "notifications/cancelled" => {
                if let Some(id) = read_cancelled(&notification) {
                    self.running.cancel(&id);
                }
            }
            // Other notifications tell nothing that matters here, and nothing was asked of the client.
            Message::Notification(_) | Message::Response(_) => {}
        }
    }

    async fn request(self: &Arc<Self>, request: Request) -> Result<(), RpcError> {
        let params = Params::of(&request);
        let era = params.era();
        let context = match era {
            Era::Modern => Context::modern(&params)?,
            Era::Legacy => Context::legacy(&params, self.agreed().clone()),
        };
        match Ask::read(&request.method, &params, era)? {
            Ask::Question(question) => {
                match &question {
                    Question::Initialize { revision, client } => {
                        *self.agreed() =
                            Agreed { revision: *revision, client: client.clone(), ..Agreed::default() };
                    }
                    Question::SetLogLevel(level) => self.agreed().log_level = *level,
                    Question::Discover | Question::Ping | Question::ListTools => {}
                }
                let result = self.protocol.answer(&question, era, &self.principal);
                self.send(Frame::result(&request.id, result)).await;
            }
            Ask::Call(call) => {
                // Never waited for: the next line may be what ends one of the running calls.
                let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                    return Err(RpcError::new(
                        INTERNAL_ERROR,
                        "too many calls are running: wait for one to end",
                    ));
                };
                let (sender, running) = (self.sender(), Some(self.running.clone()));
                let beginning = Beginning { id: request.id, call, context, sender, running };
                let running = self.protocol.begin(beginning)?;
                let client = Arc::clone(self);
                self.calls.spawn(async move {
                    client.follow(running).await;
                    drop(place);
                });
            }
        }
        Ok(())
    }

    /// Passes on what a call tells, and its answer.
    async fn follow(&self, mut call: RunningCall) {
        call.go_on();
        loop {
            let news = tokio::select! {
                news = call.next() => news,
                () = self.gone.cancelled() => return,
            };
            match news {
                News::Meanwhile(frame) => self.send(frame).await,
                News::Answer(answer) => return self.send(answer.frame).await,
            }
        }
    }

    fn sender(&self) -> Sender {
        Sender {
            principal: Arc::clone(&self.principal),
            address: None,
            request_id: self.protocol.request_id(),
        }
    }

    async fn send(&self, frame: Frame) {
        // If nobody writes any more, the client is gone and misses nothing.
        tokio::select! {
            sent = self.output.send(frame) => sent.ok(),
            () = self.gone.cancelled() => None,
        };
    }

    fn agreed(&self) -> std::sync::MutexGuard<'_, Agreed> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
