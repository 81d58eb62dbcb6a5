//! One message over HTTP: sent, sent again where nothing was done with it, and followed until it is answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hayward_mcp::envelope::{Frame, Message, Request, RequestId};
use hayward_mcp::http::SESSION_ID;
use hayward_mcp::json::ObjectWriter;
use hayward_mcp::sse::{Parser, Received};
use hayward_mcp::upstream::{Body, Connect as _, ConnectError};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::{Shared, failed};
use crate::limits::{FIRST_PATIENCE, MESSAGE_BYTES_MAX, REACH_PATIENCE, REACH_PAUSE_MAX, REACH_PAUSE_MIN};
use crate::output::{plain, tell};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

type Answer = Response<Box<dyn Body>>;

/// What a stream of events came to.
enum Streamed {
    /// The answer was among them.
    Answered,
    /// It broke off or ended; behind this event it can be gone on with, after so many milliseconds.
    Open(Option<Arc<str>>, Option<u64>),
}

impl Shared {
    /// Sends a request, and passes on all that comes of it.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        body: Bytes,
        request: &Request,
        lines: &mpsc::Sender<Frame>,
    ) {
        let used = self.session.id();
        let mut answer = self.send(Method::POST, self.headers_of(request), body.clone()).await;
        let is_forgotten = |answer: &Result<Answer, ConnectError>| {
            answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::NOT_FOUND)
        };
        // A server that restarted serves without a session, or says that it knows none.
        if is_forgotten(&answer) && used.is_some() && self.renewed(used, lines).await {
            answer = self.send(Method::POST, self.headers_of(request), body).await;
        }
        match answer {
            Ok(answer) => self.pass_on(answer, request, lines).await,
            Err(error) => {
                let done = if error.may_have_arrived { "; it may have been done all the same" } else { "" };
                let message = format!("the server can't be reached: {}{done}", error.what);
                lines.send(failed(&request.id, &message)).await.ok();
            }
        }
    }

    /// Sends something that nothing comes back for.
    pub(super) async fn tell(&self, body: Bytes, method: Option<&str>) {
        let mut headers = self.headers();
        if let Some(method) = method.filter(|_| !self.session.is_open()) {
            headers.insert(hayward_mcp::http::METHOD, hayward_mcp::upstream::header_value(method));
        }
        if let Err(error) = self.send(Method::POST, headers, body).await {
            tracing::debug!(error = error.what, "a message was not delivered");
        }
    }

    async fn pass_on(&self, answer: Answer, request: &Request, lines: &mpsc::Sender<Frame>) {
        if request.method == "initialize" {
            self.session.opened(answer.headers().get(SESSION_ID).and_then(|id| id.to_str().ok()));
        }
        if is_events(answer.headers()) {
            return self.follow(answer, request, lines).await;
        }
        let status = answer.status();
        let body = whole(answer.into_body()).await;
        let message = body.as_ref().ok().and_then(|body| Message::read_of_server(body.clone()).ok());
        let line = match (message, body) {
            (Some(Message::Response(response)), _) => self.answered(&request.id, request, response.result),
            _ if status == StatusCode::UNAUTHORIZED => failed(
                &request.id,
                "the credential was refused: log in with `hayward login`, or set HAYWARD_TOKEN",
            ),
            (_, Ok(body)) => failed(
                &request.id,
                &told(&body).unwrap_or_else(|| format!("the server answered {status}: {}", shown(&body))),
            ),
            (_, Err(error)) => failed(&request.id, &format!("the answer broke off: {}", error.what)),
        };
        lines.send(line).await.ok();
    }

    fn answered(
        &self,
        id: &RequestId,
        request: &Request,
        result: Result<hayward_mcp::json::Raw, hayward_mcp::json::Raw>,
    ) -> Frame {
        if let Ok(result) = &result {
            match request.method.as_str() {
                "initialize" => self.session.agreed(result),
                "tools/list" => self.learn(result),
                _ => self.session.note(request),
            }
        }
        match result {
            Ok(result) => Frame::result(id, result),
            Err(error) => Frame::error(Some(id), &hayward_mcp::error::RpcError::of(&error)),
        }
    }

    /// Follows the stream of a request to its answer, over as many connections as that takes.
    async fn follow(&self, answer: Answer, request: &Request, lines: &mpsc::Sender<Frame>) {
        let mut streamed = self.stream(answer, Some(request), lines).await;
        let until = Instant::now() + REACH_PATIENCE;
        loop {
            let (last, retry_ms) = match streamed {
                Streamed::Answered => return,
                Streamed::Open(Some(last), retry_ms) if Instant::now() < until => (last, retry_ms),
                Streamed::Open(..) => {
                    let message = "the stream of the answer broke off; it may have been done all the same";
                    return drop(lines.send(failed(&request.id, message)).await);
                }
            };
            sleep(Duration::from_millis(retry_ms.unwrap_or(0)).clamp(REACH_PAUSE_MIN, REACH_PAUSE_MAX)).await;
            streamed = match self.resume(&last).await {
                Some(answer) => self.stream(answer, Some(request), lines).await,
                None => Streamed::Open(None, None),
            };
        }
    }

    /// Comes back to a stream, behind an event.
    async fn resume(&self, last: &str) -> Option<Answer> {
        let mut headers = self.headers();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(LAST_EVENT_ID, HeaderValue::from_str(last).ok()?);
        let answer = self.send(Method::GET, headers, Bytes::new()).await.ok()?;
        is_events(answer.headers()).then_some(answer)
    }

    /// Passes on the events of one connection.
    async fn stream(
        &self,
        answer: Answer,
        request: Option<&Request>,
        lines: &mpsc::Sender<Frame>,
    ) -> Streamed {
        let (mut body, mut parser) = (answer.into_body(), Parser::new(MESSAGE_BYTES_MAX));
        while let Ok(Some(chunk)) = body.chunk().await {
            for received in parser.push(&chunk) {
                let Received::Event(event) = received else { continue };
                if event.data.is_empty() {
                    continue;
                }
                let Ok(message) = Message::read_of_server(event.data) else { continue };
                let (line, is_answer) = self.line(message, request);
                if lines.send(line).await.is_err() || is_answer {
                    return Streamed::Answered;
                }
            }
        }
        Streamed::Open(parser.last_id().map(Arc::from), parser.retry_ms())
    }

    /// A message of the server as a line, and whether it is what a request waits for.
    fn line(&self, message: Message, request: Option<&Request>) -> (Frame, bool) {
        match (message, request) {
            (Message::Response(response), Some(request)) if response.id == request.id => {
                (self.answered(&request.id, request, response.result), true)
            }
            (Message::Response(response), _) => (
                match response.result {
                    Ok(result) => Frame::result(&response.id, result),
                    Err(error) => Frame::error(Some(&response.id), &hayward_mcp::error::RpcError::of(&error)),
                },
                false,
            ),
            (Message::Notification(it), _) => {
                let params = it.params.unwrap_or_else(hayward_mcp::json::Raw::empty_object);
                (Frame::notification(&it.method, &params), false)
            }
            (Message::Request(it), _) => {
                let params = it.params.unwrap_or_else(hayward_mcp::json::Raw::empty_object);
                (Frame::request(&it.id, &it.method, &params), false)
            }
        }
    }

    /// Hears what the server says outside of requests, over as many connections as that takes.
    pub(super) async fn listen(self: &Arc<Self>, lines: &mpsc::Sender<Frame>) {
        let (mut last, mut pause): (Option<Arc<str>>, _) = (None, REACH_PAUSE_MIN);
        while let Some(used) = self.session.id() {
            let mut headers = self.headers();
            headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
            if let Some(last) = last.as_deref().and_then(|last| HeaderValue::from_str(last).ok()) {
                headers.insert(LAST_EVENT_ID, last);
            }
            match self.send(Method::GET, headers, Bytes::new()).await {
                Ok(answer) if is_events(answer.headers()) => {
                    pause = REACH_PAUSE_MIN;
                    if let Streamed::Open(id, _) = self.stream(answer, None, lines).await {
                        last = id;
                    }
                }
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => {
                    last = None;
                    self.renewed(Some(used), lines).await;
                }
                // A server that has no such stream.
                Ok(answer) if answer.status() == StatusCode::METHOD_NOT_ALLOWED => return,
                Ok(_) | Err(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(REACH_PAUSE_MAX);
        }
    }

    /// Begins the session `used` again, unless somebody has, to its end even if whoever needs it is
    /// withdrawn; whether there is one now.
    async fn renewed(self: &Arc<Self>, used: Option<Arc<str>>, lines: &mpsc::Sender<Frame>) -> bool {
        let (this, lines) = (Arc::clone(self), lines.clone());
        let renewing = self.tasks.spawn(async move {
            let renewing = this.renew(used, &lines);
            this.gone.run_until_cancelled(renewing).await.unwrap_or_default()
        });
        renewing.await.unwrap_or_default()
    }

    /// Begins the session again as the client began it, and says again what was agreed on in it.
    async fn renew(&self, used: Option<Arc<str>>, lines: &mpsc::Sender<Frame>) -> bool {
        let _renewing = self.session.renewing.lock().await;
        // Somebody did meanwhile.
        if self.session.id() != used {
            return true;
        }
        let Some(initialize) = self.session.initialize() else { return false };
        let Ok(Message::Request(request)) = Message::read(initialize.clone()) else { return false };
        let Ok(answer) = self.send(Method::POST, self.headers_of(&request), initialize).await else {
            return false;
        };
        let id = answer.headers().get(SESSION_ID).and_then(|id| id.to_str().ok()).map(ToOwned::to_owned);
        if !answer.status().is_success() {
            return false;
        }
        self.session.opened(id.as_deref());
        let initialized =
            Frame::notification("notifications/initialized", &hayward_mcp::json::Raw::empty_object());
        self.tell(initialized.to_vec().into(), None).await;
        self.restore().await;
        self.doubt(lines).await;
        true
    }

    /// Says again what the client has said in the session that is gone.
    async fn restore(&self) {
        for (number, (method, params)) in self.session.noted().into_iter().enumerate() {
            let object = ObjectWriter::new(128).str("jsonrpc", "2.0").str("id", &format!("hayward-{number}"));
            let body =
                Bytes::copy_from_slice(object.str("method", method).raw("params", &params).end().as_bytes());
            let Ok(Message::Request(request)) = Message::read(body.clone()) else { continue };
            let restored = async {
                let answer = self.send(Method::POST, self.headers_of(&request), body).await?;
                let status = answer.status();
                whole(answer.into_body()).await.map(|_| status)
            };
            match restored.await {
                Ok(status) if status.is_success() => {}
                Ok(status) => tracing::warn!(method, %status, "what was agreed on is not any more"),
                Err(error) => {
                    tracing::warn!(method, error = error.what, "what was agreed on is not any more");
                }
            }
        }
    }

    /// Says that everything may be otherwise: what changed while there was no session, nobody told.
    async fn doubt(&self, lines: &mpsc::Sender<Frame>) {
        for list in ["tools", "resources", "prompts"] {
            let method = format!("notifications/{list}/list_changed");
            lines.send(Frame::notification(&method, &hayward_mcp::json::Raw::empty_object())).await.ok();
        }
        for uri in self.session.subscribed() {
            let params = ObjectWriter::new(64).str("uri", &uri).end();
            lines.send(Frame::notification("notifications/resources/updated", &params)).await.ok();
        }
    }

    /// Ends the session, so that the server need not keep it.
    pub(super) async fn end_session(&self) {
        if self.session.is_open() {
            let request = self.request(Method::DELETE, self.headers(), Bytes::new());
            drop(tokio::time::timeout(REACH_PAUSE_MAX, self.dial.send(request)).await);
        }
    }

    /// Sends a request, again and again while it can't have arrived.
    async fn send(&self, method: Method, headers: HeaderMap, body: Bytes) -> Result<Answer, ConnectError> {
        // Where nobody ever answered, there is probably nobody.
        let has_reached = self.has_reached.load(Ordering::Relaxed);
        let patience = if has_reached { REACH_PATIENCE } else { FIRST_PATIENCE };
        let (until, mut pause) = (Instant::now() + patience, REACH_PAUSE_MIN);
        loop {
            match self.dial.send(self.request(method.clone(), headers.clone(), body.clone())).await {
                Err(error) if !error.may_have_arrived && Instant::now() < until => {
                    // Whoever looks at a client that waits sees why; a short restart is nobody's business.
                    if pause >= REACH_PAUSE_MAX / 4 && !self.is_told.swap(true, Ordering::Relaxed) {
                        let text = format!("note: {}: {}: trying again", self.url, error.what);
                        tell(&(plain(&text) + "\n"));
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(REACH_PAUSE_MAX);
                }
                sent => {
                    self.is_told.fetch_and(sent.is_err(), Ordering::Relaxed);
                    self.has_reached.fetch_or(sent.is_ok(), Ordering::Relaxed);
                    return sent;
                }
            }
        }
    }

    fn request(&self, method: Method, headers: HeaderMap, body: Bytes) -> http::Request<Bytes> {
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        // What an URL is, an URI is, too.
        *request.uri_mut() = self.url.as_str().parse().unwrap_or_default();
        *request.headers_mut() = headers;
        request
    }
}

fn is_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim().to_ascii_lowercase().starts_with("text/event-stream"))
}

async fn whole(mut body: Box<dyn Body>) -> Result<Bytes, ConnectError> {
    let mut all = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        if all.len() + chunk.len() > MESSAGE_BYTES_MAX {
            return Err(ConnectError { what: "it is too long".to_owned(), may_have_arrived: true });
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.into())
}

/// What an error says that belongs to no request.
fn told(body: &[u8]) -> Option<String> {
    let error: serde_json::Value = serde_json::from_slice(body).ok()?;
    error["error"]["message"].as_str().map(ToOwned::to_owned)
}

/// The beginning of what a server says that is no message.
fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(300)]).chars().flat_map(char::escape_default).collect()
}
