//! `/mcp`: Streamable HTTP, both eras on one endpoint.

mod standing;
mod streams;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderValue, Request as HttpRequest, StatusCode, header};
use axum::BoxError;
use axum::extract::{Extension, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::join_all;
use hayward_api::{Code, Principal};
use hayward_mcp::envelope::{Frame, Incoming, Message, Notification, Rejected, Request, RequestId};
use hayward_mcp::era::{Era, Revision};
use hayward_mcp::error::{INVALID_REQUEST, RpcError};
use hayward_mcp::http::{Accepts, SESSION_ID, era_of, named_revision, session_id, status_of_code};
use hayward_mcp::request::{Agreed, Ask, Context, Params, Question, Verb, Walk, read_cancelled};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::answer;
use super::body::{Taken, read as read_body};
use super::http::{App, Arrived, closed, closed_as, identify, too_fast};
use crate::budget::Reserved;
use crate::endpoint::Endpoint;
use crate::limits::{Limits, STREAM_QUEUE};
use crate::listening::subscribe;
use crate::protocol::{Answer, Beginning, News, RunningCall, Sender, check_revision};
use crate::session::{Found, Full, Session};
pub(crate) use standing::get;
use streams::{First, Keeping, Pace};

/// `POST /mcp`: one message, or a batch where the revision has them.
pub(crate) async fn post<B>(app: &Arc<App>, arrived: Arrived, request: HttpRequest<B>) -> Response
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    let (head, body) = request.into_parts();
    let served = async {
        let principal = identify(app, &arrived, &head.headers)?;
        let accepts = Accepts::of(&head.headers);
        if !accepts.json && !accepts.events {
            let message = "Not Acceptable: accept application/json or text/event-stream";
            return Err(refusal(StatusCode::NOT_ACCEPTABLE, None, message));
        }
        if let Some(error) = closed(app.protocol.road(), &arrived.endpoint, &principal) {
            let (status, told) = closed_as(&error);
            return Err(refusal(status, None, &told));
        }
        let session = find_session(app, &head.headers, (&principal, &arrived.endpoint))?;
        let visit = Visit { app, arrived, head: &head, principal, accepts, session };
        let Taken { bytes, reserved } = read_body(
            &head.headers,
            body,
            app.limits.body_bytes_max,
            app,
            (&visit.principal, &visit.arrived.connection),
        )
        .await
        .map_err(|fault| refusal(fault.status(), None, fault.message()))?;
        let incoming = Incoming::read(bytes, visit.has_batches())
            .map_err(|rejected| answer::json(StatusCode::BAD_REQUEST, Frame::from(&rejected)))?;
        Ok(match incoming {
            Incoming::One(message) => visit.serve(message, reserved).await,
            Incoming::Batch(messages) => {
                // Each of them is a request; the first one is paid for.
                for _ in 1..messages.len() {
                    app.pace.of_principal(&visit.principal).map_err(|wait| too_fast("this token", wait))?;
                }
                Box::pin(visit.batch(messages, reserved)).await
            }
        })
    };
    served.await.unwrap_or_else(|refused: Response| refused)
}

/// `DELETE /mcp`: ends a legacy session.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(arrived): Extension<Arrived>,
    headers: HeaderMap,
) -> Response {
    let principal = match identify(&app, &arrived, &headers) {
        Ok(principal) => principal,
        Err(refused) => return refused,
    };
    if let Err(refused) = legacy_only(&headers) {
        return refused;
    }
    match session_id(&headers) {
        Some(id) if app.sessions.end(id, &principal.credential, &arrived.endpoint) => {
            answer::empty(StatusCode::NO_CONTENT)
        }
        Some(_) => refusal(StatusCode::NOT_FOUND, None, "Not Found: no such session"),
        None => method_not_allowed("Method Not Allowed: name the session to end in Mcp-Session-Id"),
    }
}

/// The modern era knows only `POST`.
fn legacy_only(headers: &HeaderMap) -> Result<(), Response> {
    match named_revision(headers) {
        Some(revision) if revision.era() == Era::Modern => {
            let message =
                "Method Not Allowed: this revision has no sessions; listen with subscriptions/listen";
            let mut refused = method_not_allowed(message);
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            Err(refused)
        }
        _ => Ok(()),
    }
}

fn method_not_allowed(message: &str) -> Response {
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, None, message);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
    response
}

fn refusal(status: StatusCode, id: Option<&RequestId>, message: &str) -> Response {
    let error = RpcError::new(INVALID_REQUEST, message);
    answer::json(status, Frame::error(id, &error))
}

/// The session that a request names. Only an ended one is refused: a client whose session was lost in
/// a restart goes on without one. The modern era has no sessions, whatever a request names.
fn find_session(
    app: &App,
    headers: &HeaderMap,
    (principal, endpoint): (&Principal, &Endpoint),
) -> Result<Option<Arc<Session>>, Response> {
    let is_modern = named_revision(headers).is_some_and(|revision| revision.era() == Era::Modern);
    let Some(id) = session_id(headers).filter(|_| !is_modern) else {
        return Ok(None);
    };
    match app.sessions.find(id, &principal.credential, endpoint) {
        Found::Open(session) => Ok(Some(session)),
        Found::Unknown => Ok(None),
        Found::Ended => Err(refusal(
            StatusCode::NOT_FOUND,
            None,
            "Not Found: this session was ended; begin with initialize",
        )),
    }
}

/// The answer to a call as JSON.
fn whole(era: Era, answer: Answer) -> Response {
    let status = answer.error_code.map_or(StatusCode::OK, |code| status_of_code(era, code));
    answer::held(status, answer.frame, answer.hold)
}

fn pace(limits: &Limits) -> Pace {
    Pace {
        keep_alive: Duration::from_millis(limits.keep_alive_ms),
        resume: Duration::from_millis(limits.resume_ms),
    }
}

/// One message with everything that is known of it.
struct Visit<'a> {
    app: &'a Arc<App>,
    arrived: Arrived,
    head: &'a Parts,
    principal: Arc<Principal>,
    accepts: Accepts,
    session: Option<Arc<Session>>,
}

impl Visit<'_> {
    /// Who asks, and where.
    fn who(&self) -> (&Principal, &Endpoint) {
        (&self.principal, &self.arrived.endpoint)
    }

    /// Only one revision has batches; it is also the one that a client without a word on it speaks.
    fn has_batches(&self) -> bool {
        let agreed =
            || self.session.as_ref().map_or(Revision::ASSUMED_LEGACY, |session| session.agreed().revision);
        named_revision(&self.head.headers).unwrap_or_else(agreed) == Revision::V2025_03_26
    }

    async fn serve(self, message: Message, reserved: Reserved) -> Response {
        match message {
            Message::Request(request) => {
                let params = Params::of(&request);
                let era = era_of(&self.head.headers, &request.method, &params);
                let (answered_as, served) = match era {
                    Ok(era) => (era, self.request(&request, &params, era, reserved).await),
                    Err(error) => (Era::Modern, Err(error)),
                };
                match served {
                    Ok(response) => response,
                    Err(error) => {
                        Box::pin(self.app.protocol.refuse(self.sender(), &request, &error)).await;
                        let status = status_of_code(answered_as, error.code);
                        answer::json(status, Frame::error(Some(&request.id), &error))
                    }
                }
            }
            Message::Notification(notification) => {
                self.notification(&notification);
                answer::empty(StatusCode::ACCEPTED)
            }
            Message::Response(response) => {
                self.response(response);
                answer::empty(StatusCode::ACCEPTED)
            }
        }
    }

    /// Every message is served for itself, and all answers leave together.
    async fn batch(self, messages: Vec<Result<Message, Rejected>>, reserved: Reserved) -> Response {
        let reserved = Mutex::new(reserved);
        let one = |message| self.one_of_batch(message, &reserved);
        let served = join_all(messages.into_iter().map(one)).await;
        let (frames, holds): (Vec<_>, Vec<_>) =
            served.into_iter().flatten().map(|answer| (answer.frame, answer.hold)).unzip();
        if frames.is_empty() {
            return answer::empty(StatusCode::ACCEPTED);
        }
        self.respond(Frame::batch(frames), (holds, reserved))
    }

    async fn one_of_batch(
        &self,
        message: Result<Message, Rejected>,
        reserved: &Mutex<Reserved>,
    ) -> Option<Answer> {
        let frame = match message {
            Err(rejected) => Frame::from(&rejected),
            Ok(Message::Notification(notification)) => {
                self.notification(&notification);
                return None;
            }
            Ok(Message::Response(response)) => {
                self.response(response);
                return None;
            }
            Ok(Message::Request(request)) => match self.request_of_batch(&request, reserved).await {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    self.app.protocol.refuse(self.sender(), &request, &error).await;
                    Frame::error(Some(&request.id), &error)
                }
            },
        };
        Some(Answer { frame, error_code: None, hold: None })
    }

    async fn request_of_batch(
        &self,
        request: &Request,
        reserved: &Mutex<Reserved>,
    ) -> Result<Answer, RpcError> {
        let params = Params::of(request);
        if params.era() == Era::Modern || request.method == "initialize" {
            return Err(RpcError::not_in_batch());
        }
        let context = self.context(&params, Era::Legacy)?;
        let ask = Ask::read(&request.method, &params, Era::Legacy)?;
        check_revision(&self.principal, &ask, &context)?;
        match ask {
            Ask::Question(question) => {
                self.app.protocol.settle(&question, &self.arrived.endpoint).await;
                let result = self.app.protocol.answer(&question, Era::Legacy, self.who());
                let frame = Frame::result(&request.id, result);
                reserved.lock().unwrap_or_else(PoisonError::into_inner).grow(frame.byte_len())?;
                // Only what is told as done is done.
                self.note(&question)?;
                Ok(Answer { frame, error_code: None, hold: None })
            }
            Ask::Walk(walk) => {
                // Each has an id of its own in the record.
                let request_id = self.app.protocol.request_id();
                let beginning = Beginning {
                    sender: Sender { request_id, ..self.sender() },
                    ..self.beginning(request.id.clone(), walk, context)
                };
                Ok(self.app.protocol.begin(beginning)?.answer().await)
            }
            Ask::Listen(_) | Ask::Task(_) => Err(RpcError::not_in_batch()),
        }
    }

    fn notification(&self, notification: &Notification) {
        if notification.method == "notifications/cancelled"
            && let (Some(session), Some(id)) = (&self.session, read_cancelled(notification))
        {
            session.running.withdraw(&id);
        }
    }

    /// What a legacy client answers to what it was asked.
    fn response(&self, response: hayward_mcp::envelope::Response) {
        if let Some(session) = &self.session {
            session.asking.answer(response);
        }
    }

    async fn request(
        &self,
        request: &Request,
        params: &Params,
        era: Era,
        mut reserved: Reserved,
    ) -> Result<Response, RpcError> {
        let context = self.context(params, era)?;
        let ask = Ask::read(&request.method, params, era)?;
        check_revision(&self.principal, &ask, &context)?;
        match ask {
            Ask::Walk(walk) => {
                if era == Era::Modern && walk.verb == Verb::CallTool {
                    self.check_param_headers(&walk)?;
                }
                self.call(request.id.clone(), walk, context, reserved).await
            }
            Ask::Question(question) => {
                // Boxed: calls, which are more, need no room for it.
                Box::pin(self.question(&request.id, &question, era, reserved)).await
            }
            Ask::Task(ask) => {
                let told = self.app.protocol.task(&request.id, &ask, &context, self.who())?;
                reserved.grow(told.byte_len())?;
                Ok(self.respond(told, reserved))
            }
            Ask::Listen(filter) if self.accepts.events => standing::listen(
                self.app,
                (&request.id, &self.arrived.endpoint),
                filter,
                &context,
                &self.principal,
            ),
            Ask::Listen(_) => Err(RpcError::new(
                INVALID_REQUEST,
                "a subscription is an event stream: accept text/event-stream",
            )),
        }
    }

    /// Headers that repeat arguments must say what the body says.
    fn check_param_headers(&self, walk: &Walk) -> Result<(), RpcError> {
        let road = self.app.protocol.road();
        match road.param_headers(&self.arrived.endpoint, &walk.name, &self.principal) {
            Some(headers) if !headers.is_empty() => headers.check(&self.head.headers, &walk.arguments),
            _ => Ok(()),
        }
    }

    fn context(&self, params: &Params, era: Era) -> Result<Context, RpcError> {
        match era {
            Era::Modern => Context::modern(params),
            Era::Legacy => {
                let mut agreed = self.session.as_ref().map(|session| session.agreed()).unwrap_or_default();
                agreed.revision = named_revision(&self.head.headers).unwrap_or(agreed.revision);
                Ok(Context::legacy(params, agreed))
            }
        }
    }

    async fn question(
        &self,
        id: &RequestId,
        question: &Question,
        era: Era,
        mut reserved: Reserved,
    ) -> Result<Response, RpcError> {
        self.app.protocol.settle(question, &self.arrived.endpoint).await;
        let frame = Frame::result(id, self.app.protocol.answer(question, era, self.who()));
        // A list may be long, and its reader slow.
        reserved.grow(frame.byte_len())?;
        // Only what is told as done is done.
        self.note(question)?;
        let mut response = self.respond(frame, reserved);
        if let Some(agreed) = Agreed::by(question) {
            let session =
                self.app.sessions.open(&self.principal.credential, &self.arrived.endpoint, agreed).map_err(
                    |Full| {
                        let message =
                            "there are as many sessions as there may be, and all are in use: retry later";
                        RpcError::new(i64::from(Code::Unavailable.http_status()), message)
                    },
                )?;
            let sender = Sender { session: Some(session.id.as_str().into()), ..self.sender() };
            if let Err(error) = self.app.protocol.bind(sender, question).await {
                self.app.sessions.end(&session.id, &self.principal.credential, &self.arrived.endpoint);
                return Err(error);
            }
            if let Ok(value) = HeaderValue::from_str(&session.id) {
                response.headers_mut().insert(SESSION_ID, value);
            }
        }
        Ok(response)
    }

    /// What the session has to remember of a question.
    fn note(&self, question: &Question) -> Result<(), RpcError> {
        match (question, &self.session) {
            (Question::SetLogLevel(level), Some(session)) => session.set_log_level(*level),
            (Question::Subscribe(uri), Some(session)) => {
                subscribe(&self.app.protocol, &session.subscribed, uri, self.who())?;
            }
            (Question::Subscribe(_), None) => {
                let message = "only a session can subscribe: begin with initialize";
                return Err(RpcError::new(INVALID_REQUEST, message));
            }
            (Question::Unsubscribe(uri), Some(session)) => session.subscribed.remove(uri),
            _ => {}
        }
        Ok(())
    }

    fn respond<H: Send + Unpin + 'static>(&self, frame: Frame, hold: H) -> Response {
        if self.accepts.json {
            answer::held(StatusCode::OK, frame, hold)
        } else {
            answer::single_event(StatusCode::OK, frame, hold)
        }
    }

    fn beginning(&self, id: RequestId, walk: Walk, context: Context) -> Beginning {
        let running = self.session.as_ref().map(|session| session.running.clone());
        Beginning {
            id,
            walk,
            context,
            sender: self.sender(),
            running,
            asking: None,
            can_come_back: false,
            reserved: None,
        }
    }

    /// Waits for the answer. A client that takes events gets a stream as soon as there is something
    /// to say meanwhile, or when it would otherwise begin to doubt that anybody is there.
    async fn call(
        &self,
        id: RequestId,
        walk: Walk,
        context: Context,
        reserved: Reserved,
    ) -> Result<Response, RpcError> {
        let (era, revision) = (context.era(), context.revision);
        let session = self.session.as_ref().filter(|_| era == Era::Legacy && self.accepts.events);
        let beginning = Beginning {
            asking: session.map(|session| session.asking.clone()),
            // Older clients take the end of a stream for the end of the call.
            can_come_back: session.is_some() && revision >= Revision::V2025_11_25,
            reserved: Some(reserved),
            ..self.beginning(id, walk, context)
        };
        let mut call = self.app.protocol.begin(beginning)?;
        if !self.accepts.events {
            return Ok(whole(era, call.answer().await));
        }
        let first = tokio::select! {
            biased;
            news = call.next() => match news {
                News::Answer(answer) if self.accepts.json => return Ok(whole(era, answer)),
                News::Answer(Answer { frame, hold, .. }) => {
                    return Ok(answer::single_event(StatusCode::OK, frame, hold));
                }
                news => First::News(news),
            },
            () = sleep(Duration::from_millis(self.app.limits.first_byte_ms)) => First::SignOfLife,
        };
        call.detach();
        Ok(self.stream(call, first, session, revision))
    }

    fn stream(
        &self,
        call: RunningCall,
        first: First,
        session: Option<&Arc<Session>>,
        revision: Revision,
    ) -> Response {
        if let Some(keeping) = session.and_then(|session| self.keep(session)) {
            keeping.kept.prime_for(revision);
            let reader = keeping.kept.read(None);
            self.app.protocol.spawn(keeping.feed(call, first));
            return answer::event_stream(reader);
        }
        let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
        self.app.protocol.spawn(streams::feed(call, first, sender, pace(&self.app.limits)));
        answer::events(receiver)
    }

    /// A stream that can be come back to; none if there are too many.
    fn keep(&self, session: &Arc<Session>) -> Option<Keeping> {
        let protocol = &self.app.protocol;
        let place = protocol.road().keep_stream(&self.principal).ok()?;
        let kept = session.keep_stream(protocol.road().budget().begin(&self.principal))?;
        let (session, closing) = (Arc::clone(session), protocol.road().quiet());
        Some(Keeping { session, kept, place, closing, pace: pace(&self.app.limits) })
    }

    fn sender(&self) -> Sender {
        Sender {
            principal: Arc::clone(&self.principal),
            source: self.arrived.source,
            request_id: Arc::clone(&self.arrived.id),
            endpoint: self.arrived.endpoint.clone(),
            session: self.session.as_ref().map(|session| session.id.as_str().into()),
        }
    }
}
