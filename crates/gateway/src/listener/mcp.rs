//! `/mcp`: Streamable HTTP, both eras on one endpoint.

use std::sync::Arc;
use std::time::Duration;

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderValue, Request as HttpRequest, StatusCode, header};
use axum::BoxError;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use hayward_api::Principal;
use hayward_mcp::envelope::{Frame, Message, Notification, Request, RequestId};
use hayward_mcp::era::Era;
use hayward_mcp::error::RpcError;
use hayward_mcp::http::{Accepts, SESSION_ID, era_of, named_revision, session_id, status_of};
use hayward_mcp::request::{Agreed, Ask, CallTool, Context, Params, Question, read_cancelled};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep};

use super::answer::{self, Part};
use super::body::read as read_body;
use super::http::{App, Arrived, identify};
use crate::limits::{Limits, STREAM_QUEUE};
use crate::protocol::{Answer, Beginning, News, RunningCall, Sender};
use crate::session::{Found, Session};

/// `POST /mcp`: one message.
pub(crate) async fn post<B>(app: &App, arrived: Arrived, request: HttpRequest<B>) -> Response
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    let (head, body) = request.into_parts();
    let served = async {
        let principal = identify(app, &head.headers)?;
        let accepts = Accepts::of(&head.headers);
        if !accepts.json && !accepts.events {
            let message = "Not Acceptable: accept application/json or text/event-stream";
            return Err(refusal(StatusCode::NOT_ACCEPTABLE, None, message));
        }
        let session = find_session(app, &head.headers, &principal)?;
        let message = read_message(&app.limits, &head.headers, body).await?;
        Ok(Visit { app, arrived, head: &head, principal, accepts, session }.serve(message).await)
    };
    served.await.unwrap_or_else(|refused: Response| refused)
}

/// `GET /mcp`: this server has nothing to say unasked, so it offers no stream (2025-11-25, transports).
pub(crate) async fn not_offered(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    match identify(&app, &headers) {
        Ok(_) => {
            method_not_allowed("Method Not Allowed: this server offers no stream of its own; POST instead")
        }
        Err(refused) => refused,
    }
}

/// `DELETE /mcp`: ends a legacy session.
pub(crate) async fn delete(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let principal = match identify(&app, &headers) {
        Ok(principal) => principal,
        Err(refused) => return refused,
    };
    match session_id(&headers) {
        Some(id) if app.sessions.end(id, &principal.credential) => answer::empty(StatusCode::NO_CONTENT),
        Some(_) => refusal(StatusCode::NOT_FOUND, None, "Not Found: no such session"),
        None => method_not_allowed("Method Not Allowed: name the session to end in Mcp-Session-Id"),
    }
}

fn method_not_allowed(message: &str) -> Response {
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, None, message);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, DELETE"));
    response
}

fn refusal(status: StatusCode, id: Option<&RequestId>, message: &str) -> Response {
    let error = RpcError::new(hayward_mcp::error::INVALID_REQUEST, message);
    answer::json(status, Frame::error(id, &error))
}

/// The session that a request names. Only an ended one is refused: a client whose session was lost in
/// a restart goes on without one.
fn find_session(
    app: &App,
    headers: &HeaderMap,
    principal: &Principal,
) -> Result<Option<Arc<Session>>, Response> {
    let Some(id) = session_id(headers) else {
        return Ok(None);
    };
    match app.sessions.find(id, &principal.credential) {
        Found::Open(session) => Ok(Some(session)),
        Found::Unknown => Ok(None),
        Found::Ended => Err(refusal(
            StatusCode::NOT_FOUND,
            None,
            "Not Found: this session was ended; begin with initialize",
        )),
    }
}

/// The whole body as one message.
async fn read_message<B>(limits: &Limits, headers: &HeaderMap, body: B) -> Result<Message, Response>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    let bytes = read_body(headers, body, limits.body_bytes_max, limits)
        .await
        .map_err(|fault| refusal(fault.status(), None, fault.message()))?;
    Message::read(bytes).map_err(|rejected| {
        answer::json(StatusCode::BAD_REQUEST, Frame::error(rejected.id.as_ref(), &rejected.error))
    })
}

/// One message with everything that is known of it.
struct Visit<'a> {
    app: &'a App,
    arrived: Arrived,
    head: &'a Parts,
    principal: Arc<Principal>,
    accepts: Accepts,
    session: Option<Arc<Session>>,
}

impl Visit<'_> {
    async fn serve(self, message: Message) -> Response {
        match message {
            Message::Request(request) => {
                let params = Params::of(&request);
                let era = era_of(&self.head.headers, &request.method, &params);
                let (answered_as, served) = match era {
                    Ok(era) => (era, self.request(&request, &params, era).await),
                    Err(error) => (Era::Modern, Err(error)),
                };
                served.unwrap_or_else(|error| {
                    answer::json(status_of(answered_as, &error), Frame::error(Some(&request.id), &error))
                })
            }
            Message::Notification(notification) => self.notification(&notification),
            // Nothing was asked of the client, so nothing waits for this answer.
            Message::Response(_) => answer::empty(StatusCode::ACCEPTED),
        }
    }

    fn notification(&self, notification: &Notification) -> Response {
        if notification.method == "notifications/cancelled"
            && let (Some(session), Some(id)) = (&self.session, read_cancelled(notification))
        {
            session.running.cancel(&id);
        }
        answer::empty(StatusCode::ACCEPTED)
    }

    async fn request(self, request: &Request, params: &Params, era: Era) -> Result<Response, RpcError> {
        let context = self.context(params, era)?;
        match Ask::read(&request.method, params, era)? {
            Ask::Question(question) => Ok(self.question(&request.id, &question, era)),
            Ask::Call(call) => self.call(request.id.clone(), call, context).await,
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

    fn question(&self, id: &RequestId, question: &Question, era: Era) -> Response {
        let frame = Frame::result(id, self.app.protocol.answer(question, era, &self.principal));
        let mut response = self.respond(frame);
        match (question, &self.session) {
            (Question::Initialize { revision, client }, _) => {
                let agreed = Agreed { revision: *revision, client: client.clone(), ..Agreed::default() };
                let session = self.app.sessions.open(&self.principal.credential, agreed);
                if let Ok(value) = HeaderValue::from_str(&session.id) {
                    response.headers_mut().insert(SESSION_ID, value);
                }
            }
            (Question::SetLogLevel(level), Some(session)) => session.set_log_level(*level),
            _ => {}
        }
        response
    }

    fn respond(&self, frame: Frame) -> Response {
        if self.accepts.json {
            answer::json(StatusCode::OK, frame)
        } else {
            answer::single_event(StatusCode::OK, frame, None)
        }
    }

    /// Waits for the answer. A client that takes events gets a stream as soon as there is something
    /// to say meanwhile, or when it would otherwise begin to doubt that anybody is there.
    async fn call(self, id: RequestId, call: CallTool, context: Context) -> Result<Response, RpcError> {
        let running = self.session.as_ref().map(|session| session.running.clone());
        let sender = self.sender();
        let mut call = self.app.protocol.begin(Beginning { id, call, context, sender, running })?;
        if !self.accepts.events {
            let Answer { frame, hold } = call.answer().await;
            return Ok(answer::held(StatusCode::OK, frame, hold));
        }
        let first = tokio::select! {
            biased;
            news = call.next() => match news {
                News::Answer(Answer { frame, hold }) if self.accepts.json => {
                    return Ok(answer::held(StatusCode::OK, frame, hold));
                }
                News::Answer(Answer { frame, hold }) => {
                    return Ok(answer::single_event(StatusCode::OK, frame, hold));
                }
                News::Meanwhile(frame) => hayward_mcp::sse::event(frame),
            },
            () = sleep(Duration::from_millis(self.app.limits.first_byte_ms)) => keep_alive(),
        };
        call.go_on();
        let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
        let every = Duration::from_millis(self.app.limits.keep_alive_ms);
        self.app.protocol.spawn(stream(call, first, sender, every));
        Ok(answer::events(receiver))
    }

    fn sender(&self) -> Sender {
        Sender {
            principal: Arc::clone(&self.principal),
            address: Some(self.arrived.peer),
            request_id: Arc::clone(&self.arrived.id),
        }
    }
}

/// Feeds an event stream until the answer is out or the client is gone; then the call is dropped,
/// which cancels it if it still runs.
async fn stream(mut call: RunningCall, first: Vec<Bytes>, sender: mpsc::Sender<Part>, every: Duration) {
    let mut silence = interval_at(Instant::now() + every, every);
    let mut pieces = first;
    loop {
        for bytes in pieces {
            if sender.send(Part { bytes, hold: None }).await.is_err() {
                return;
            }
        }
        pieces = tokio::select! {
            biased;
            () = sender.closed() => return,
            news = call.next() => match news {
                News::Meanwhile(frame) => hayward_mcp::sse::event(frame),
                News::Answer(answer) => return finish(answer, &sender).await,
            },
            _ = silence.tick() => keep_alive(),
        };
    }
}

/// Sends the answer; the last part of it takes the call's place on the road along.
async fn finish(Answer { frame, mut hold }: Answer, sender: &mpsc::Sender<Part>) {
    let pieces = hayward_mcp::sse::event(frame);
    let last = pieces.len().saturating_sub(1);
    for (at, bytes) in pieces.into_iter().enumerate() {
        let hold = if at == last { hold.take() } else { None };
        if sender.send(Part { bytes, hold }).await.is_err() {
            return;
        }
    }
}

fn keep_alive() -> Vec<Bytes> {
    vec![Bytes::from_static(hayward_mcp::sse::KEEP_ALIVE)]
}
