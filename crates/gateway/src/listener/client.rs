//! A client whose messages all go one way in and one way out: on byte streams, or on the oldest HTTP transport.
//!
//! How they are framed is the transport's; here is what they mean.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::join_all;
use hayward_api::{Code, Principal, Source};
use hayward_mcp::envelope::{Frame, Incoming, Message, Notification, Rejected, Request, RequestId};
use hayward_mcp::era::{Era, Revision};
use hayward_mcp::error::{INVALID_REQUEST, RpcError};
use hayward_mcp::request::{Agreed, Ask, Context, Filter, Params, Question, Walk, read_cancelled};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::asking::Asking;
use crate::budget::Reserved;
use crate::endpoint::Endpoint;
use crate::limits::CLIENT_REQUESTS_MAX;
use crate::listening::{Heard, Listening, Subscription, subscribe};
use crate::protocol::{Answer, Beginning, News, Protocol, RunningCall, Sender, check_revision};
use crate::session::{Running, Subscribed};

/// The client, as far as its requests share it.
pub(super) struct Client {
    principal: Arc<Principal>,
    /// Where its messages come from.
    source: Source,
    /// Where it came in.
    endpoint: Endpoint,
    /// What tells it from every other client.
    session: Arc<str>,
    output: mpsc::Sender<Frame>,
    pub(super) running: Running,
    asking: Asking,
    subscribed: Subscribed,
    /// Bounds the requests in flight.
    places: Arc<Semaphore>,
    /// What follows the requests in flight.
    pub(super) calls: TaskTracker,
    /// Fires when nobody can be told anything any more.
    pub(super) gone: CancellationToken,
    /// Fires when no change is told any more.
    pub(super) quiet: CancellationToken,
    /// Whether a legacy client is told of changes already: it may say `initialize` again.
    is_told: AtomicBool,
    agreed: Mutex<Agreed>,
    /// The eras that it may speak.
    eras: &'static [Era],
}

/// What a client is made with.
pub(super) struct Parts {
    pub(super) principal: Arc<Principal>,
    pub(super) source: Source,
    /// Where it came in.
    pub(super) endpoint: Endpoint,
    /// Where messages to it go.
    pub(super) output: mpsc::Sender<Frame>,
    pub(super) eras: &'static [Era],
}

impl Client {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let Parts { principal, source, endpoint, output, eras } = parts;
        let gone = CancellationToken::new();
        Arc::new(Self {
            principal,
            source,
            endpoint,
            session: uuid::Uuid::new_v4().simple().to_string().into(),
            output,
            running: Running::default(),
            asking: Asking::default(),
            subscribed: Subscribed::default(),
            places: Arc::new(Semaphore::new(CLIENT_REQUESTS_MAX)),
            calls: TaskTracker::new(),
            quiet: gone.child_token(),
            is_told: AtomicBool::new(false),
            gone,
            agreed: Mutex::default(),
            eras,
        })
    }

    /// Counts what it sends among what is held in memory.
    pub(super) fn reserve(&self, protocol: &Protocol) -> Reserved {
        protocol.road().budget().begin(&self.principal)
    }

    /// Serves what came. Requests that take time are followed by tasks of their own.
    ///
    /// `protocol` is the one in force as it came, and serves it to its end. `reserved` is what holds it in memory; it is
    /// given up when what it asks for has ended.
    pub(super) async fn take(self: &Arc<Self>, protocol: &Arc<Protocol>, bytes: Bytes, reserved: Reserved) {
        let has_batches = self.agreed().revision == Revision::V2025_03_26;
        match Incoming::read(bytes, has_batches) {
            Ok(Incoming::One(message)) => self.message(protocol, message, reserved).await,
            Ok(Incoming::Batch(messages)) => self.batch(protocol, messages, reserved).await,
            Err(rejected) => self.send(Frame::from(&rejected)).await,
        }
    }

    async fn message(self: &Arc<Self>, protocol: &Arc<Protocol>, message: Message, reserved: Reserved) {
        match message {
            Message::Request(request) => {
                if let Err(error) = self.request(protocol, &request, reserved).await {
                    protocol.refuse(self.sender(protocol), &request, &error).await;
                    self.send(Frame::error(Some(&request.id), &error)).await;
                }
            }
            Message::Notification(notification) => self.notification(&notification),
            Message::Response(response) => {
                self.asking.answer(response);
            }
        }
    }

    fn notification(&self, notification: &Notification) {
        if notification.method == "notifications/cancelled"
            && let Some(id) = read_cancelled(notification)
        {
            self.running.withdraw(&id);
        }
    }

    async fn request(
        self: &Arc<Self>,
        protocol: &Arc<Protocol>,
        request: &Request,
        mut reserved: Reserved,
    ) -> Result<(), RpcError> {
        let (ask, context) = self.read(request)?;
        match ask {
            Ask::Question(question) => {
                // Whatever else it says meanwhile is heard when this is answered, which takes no longer than it may.
                let settling = protocol.settle(&question, &self.endpoint);
                self.gone.run_until_cancelled(settling).await;
                protocol.bind(self.sender(protocol), &question).await?;
                let frame = self.question(protocol, &request.id, &question, context.era())?;
                reserved.grow(frame.byte_len())?;
                self.send(frame).await;
                if let Question::Initialize { .. } = question {
                    self.tell_changes(protocol);
                }
            }
            Ask::Task(ask) => {
                let answer = protocol.task(&request.id, &ask, &context, (&self.principal, &self.endpoint))?;
                self.send(answer).await;
            }
            Ask::Listen(filter) => self.listen(protocol, request.id.clone(), filter, &context)?,
            Ask::Walk(walk) => {
                let place = self.places(1)?;
                let running = self.begin(protocol, request.id.clone(), walk, (context, Some(reserved)))?;
                let client = Arc::clone(self);
                self.calls.spawn(async move {
                    if let Some(answer) = client.follow(running).await {
                        client.send(answer.frame).await;
                    }
                    drop(place);
                });
            }
        }
        Ok(())
    }

    fn read(&self, request: &Request) -> Result<(Ask, Context), RpcError> {
        let params = Params::of(request);
        let era = params.era();
        if !self.eras.contains(&era) {
            let message = "this transport is of the legacy era: use the newer endpoint /mcp";
            return Err(RpcError::new(INVALID_REQUEST, message));
        }
        let context = match era {
            Era::Modern => Context::modern(&params)?,
            Era::Legacy => Context::legacy(&params, self.agreed().clone()),
        };
        let ask = Ask::read(&request.method, &params, era)?;
        check_revision(&self.principal, &ask, &context)?;
        Ok((ask, context))
    }

    fn question(
        &self,
        protocol: &Arc<Protocol>,
        id: &RequestId,
        question: &Question,
        era: Era,
    ) -> Result<Frame, RpcError> {
        match question {
            Question::Initialize { .. } => *self.agreed() = Agreed::by(question).unwrap_or_default(),
            Question::SetLogLevel(level) => self.agreed().log_level = *level,
            Question::Subscribe(uri) => {
                subscribe(protocol, &self.subscribed, uri, (&self.principal, &self.endpoint))?;
            }
            Question::Unsubscribe(uri) => self.subscribed.remove(uri),
            Question::Discover | Question::Ping | Question::List(_) => {}
        }
        Ok(Frame::result(id, protocol.answer(question, era, (&self.principal, &self.endpoint))))
    }

    /// Never waited for: the next message may be what ends one of the running calls.
    fn places(&self, count: usize) -> Result<OwnedSemaphorePermit, RpcError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Arc::clone(&self.places).try_acquire_many_owned(count).map_err(|_| {
            let code = i64::from(Code::RateLimited.http_status());
            RpcError::new(code, "too many calls are running: wait for one to end")
        })
    }

    fn begin(
        &self,
        protocol: &Arc<Protocol>,
        id: RequestId,
        walk: Walk,
        (context, reserved): (Context, Option<Reserved>),
    ) -> Result<RunningCall, RpcError> {
        let asking = (context.era() == Era::Legacy).then(|| self.asking.clone());
        let (sender, running) = (self.sender(protocol), Some(self.running.clone()));
        let beginning =
            Beginning { id, walk, context, sender, running, asking, can_come_back: false, reserved };
        protocol.begin(beginning)
    }

    /// Passes on what a call tells and asks; returns its answer. None if nobody wants it any more: what a client has
    /// cancelled is not answered (2025-11-25, basic/utilities/cancellation).
    async fn follow(&self, mut call: RunningCall) -> Option<Answer> {
        call.detach();
        loop {
            let news = tokio::select! {
                news = call.next() => news,
                () = self.gone.cancelled() => return None,
            };
            match news {
                News::Answer(answer) => return Some(answer).filter(|_| !call.is_withdrawn()),
                News::Meanwhile(frame) => self.send(frame).await,
                News::Rest { .. } => {}
            }
        }
    }

    /// Every message is served for itself, and all answers leave together. Each takes as much room as if it had come
    /// alone.
    async fn batch(
        self: &Arc<Self>,
        protocol: &Arc<Protocol>,
        messages: Vec<Result<Message, Rejected>>,
        reserved: Reserved,
    ) {
        let requests = messages.iter().filter(|message| matches!(message, Ok(Message::Request(_)))).count();
        let place = match self.places(requests) {
            Ok(place) => place,
            Err(error) => return self.send(Frame::error(None, &error)).await,
        };
        let reserved = Mutex::new(reserved);
        let (client, protocol) = (Arc::clone(self), Arc::clone(protocol));
        self.calls.spawn(async move {
            let one = |message| client.one_of_batch(&protocol, message, &reserved);
            let served = join_all(messages.into_iter().map(one)).await;
            let frames: Vec<Frame> = served.into_iter().flatten().collect();
            if !frames.is_empty() {
                client.send(Frame::batch(frames)).await;
            }
            drop((place, reserved));
        });
    }

    async fn one_of_batch(
        &self,
        protocol: &Arc<Protocol>,
        message: Result<Message, Rejected>,
        reserved: &Mutex<Reserved>,
    ) -> Option<Frame> {
        match message {
            Err(rejected) => Some(Frame::from(&rejected)),
            Ok(Message::Notification(notification)) => {
                self.notification(&notification);
                None
            }
            Ok(Message::Response(response)) => {
                self.asking.answer(response);
                None
            }
            Ok(Message::Request(request)) => {
                match self.request_of_batch(protocol, &request, reserved).await {
                    Ok(served) => served,
                    Err(error) => {
                        protocol.refuse(self.sender(protocol), &request, &error).await;
                        Some(Frame::error(Some(&request.id), &error))
                    }
                }
            }
        }
    }

    async fn request_of_batch(
        &self,
        protocol: &Arc<Protocol>,
        request: &Request,
        reserved: &Mutex<Reserved>,
    ) -> Result<Option<Frame>, RpcError> {
        let (ask, context) = self.read(request)?;
        match (ask, context.era()) {
            (Ask::Question(question), Era::Legacy) if !matches!(question, Question::Initialize { .. }) => {
                let frame = self.question(protocol, &request.id, &question, Era::Legacy)?;
                reserved.lock().unwrap_or_else(PoisonError::into_inner).grow(frame.byte_len())?;
                Ok(Some(frame))
            }
            (Ask::Walk(walk), Era::Legacy) => {
                let call = self.begin(protocol, request.id.clone(), walk, (context, None))?;
                Ok(self.follow(call).await.map(|answer| answer.frame))
            }
            _ => Err(RpcError::not_in_batch()),
        }
    }

    /// Tells a legacy client what has changed, for as long as it is there, and once however often it begins.
    fn tell_changes(self: &Arc<Self>, protocol: &Protocol) {
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        let listening =
            Listening::of_session(protocol, (&self.principal, self.endpoint.clone()), &self.subscribed);
        let client = Arc::clone(self);
        // Ends with `quiet`, so that an end doesn't wait for it.
        self.calls.spawn(async move { client.tell(listening, &client.quiet).await });
    }

    /// Modern: tells what a request names, until the client cancels it.
    fn listen(
        self: &Arc<Self>,
        protocol: &Arc<Protocol>,
        id: RequestId,
        filter: Filter,
        context: &Context,
    ) -> Result<(), RpcError> {
        let place = self.places(1)?;
        let principal = Arc::clone(&self.principal);
        let (abilities, endpoint) = (context.abilities, self.endpoint.clone());
        let subscription = Subscription { id: id.clone(), filter, abilities, principal, endpoint };
        let (listening, opening) = Listening::modern(protocol, subscription)?;
        let (ended, withdrawn) = (self.quiet.child_token(), CancellationToken::new());
        if !self.running.begin(&id, &ended, &withdrawn) {
            return Err(RpcError::new(INVALID_REQUEST, "a request of this `id` is running: use a new id"));
        }
        let client = Arc::clone(self);
        self.calls.spawn(async move {
            for frame in opening {
                client.send(frame).await;
            }
            let completed = listening.completed();
            client.tell(listening, &ended).await;
            client.running.end(&id);
            if let Some(completed) = completed.filter(|_| !withdrawn.is_cancelled()) {
                client.send(completed).await;
            }
            drop(place);
        });
        Ok(())
    }

    async fn tell(&self, mut listening: Listening, ended: &CancellationToken) {
        loop {
            let heard = tokio::select! {
                biased;
                () = ended.cancelled() => return,
                heard = listening.next() => heard,
            };
            let Heard::Frames(frames) = heard else {
                return;
            };
            for frame in frames {
                self.send(frame).await;
            }
        }
    }

    fn sender(&self, protocol: &Protocol) -> Sender {
        Sender {
            principal: Arc::clone(&self.principal),
            source: self.source,
            request_id: protocol.request_id(),
            endpoint: self.endpoint.clone(),
            session: Some(Arc::clone(&self.session)),
        }
    }

    pub(super) async fn send(&self, frame: Frame) {
        // If nobody writes any more, the client is gone and misses nothing.
        tokio::select! {
            sent = self.output.send(frame) => sent.ok(),
            () = self.gone.cancelled() => None,
        };
    }

    fn agreed(&self) -> MutexGuard<'_, Agreed> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
