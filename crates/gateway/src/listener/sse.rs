//! The oldest HTTP transport (2024-11-05), for old clients: one stream of events out, posts in.
//!
//! `GET /sse` opens the stream and says where to post to; everything is answered on the stream.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::{HeaderMap, StatusCode, Uri};
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use bytes::Bytes;
use hayward_api::Principal;
use hayward_mcp::envelope::Frame;
use hayward_mcp::era::Era;
use hayward_mcp::http::Accepts;
use hayward_mcp::sse;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};

use super::answer::{self, Part};
use super::body::read as read_body;
use super::client::{Client, Parts};
use super::http::{App, Arrived, closed, closed_as, identify};
use crate::limits::STREAM_QUEUE;
use crate::road::Permit;

/// Every client of this transport, by the id that it posts under.
#[derive(Clone, Default)]
pub struct OldClients(Arc<Mutex<HashMap<String, Old>>>);

struct Old {
    client: Arc<Client>,
    /// The credential that opened it: an id alone is none.
    credential: String,
}

impl OldClients {
    fn find(&self, id: &str, principal: &Principal) -> Option<Arc<Client>> {
        let clients = self.lock();
        let old = clients.get(id).filter(|old| old.credential == principal.credential)?;
        Some(Arc::clone(&old.client))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Old>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `GET /sse`: opens the stream.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    Extension(arrived): Extension<Arrived>,
    headers: HeaderMap,
) -> Response {
    let principal = match identify(&app, &arrived, &headers) {
        Ok(principal) => principal,
        Err(refused) => return refused,
    };
    let endpoint = arrived.endpoint;
    if let Some(error) = closed(app.protocol.road(), &endpoint, &principal) {
        let (status, told) = closed_as(&error);
        return answer::detail(status, &told);
    }
    if !Accepts::of(&headers).events {
        return answer::detail(StatusCode::NOT_ACCEPTABLE, "Not Acceptable: accept text/event-stream");
    }
    let permit = match app.protocol.road().open_stream(&principal) {
        Ok(permit) => permit,
        Err(error) => return answer::refused(&error),
    };
    let (output, frames) = mpsc::channel(STREAM_QUEUE);
    let id = uuid::Uuid::new_v4().simple().to_string();
    let credential = principal.credential.clone();
    let client =
        Client::new(Parts { principal, source: arrived.source, endpoint, output, eras: &[Era::Legacy] });
    app.old_clients.lock().insert(id.clone(), Old { client: Arc::clone(&client), credential });
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    let serving = Serving { app: Arc::clone(&app), id, client, permit };
    app.protocol.spawn(serving.feed(frames, sender));
    answer::events(receiver)
}

/// One stream, for as long as somebody reads it.
struct Serving {
    app: Arc<App>,
    id: String,
    client: Arc<Client>,
    permit: Permit,
}

impl Serving {
    async fn feed(self, mut frames: mpsc::Receiver<Frame>, sender: mpsc::Sender<Part>) {
        let every = Duration::from_millis(self.app.limits.keep_alive_ms);
        let mut silence = interval_at(Instant::now() + every, every);
        let mut quiet = pin!(self.quiet());
        let mut pieces = vec![sse::endpoint(&format!("/messages?sessionId={}", self.id))];
        while answer::send(&sender, pieces, &self.permit.pulled).await {
            pieces = tokio::select! {
                biased;
                () = sender.closed() => break,
                () = self.permit.pulled.cancelled() => break,
                frame = frames.recv() => match frame {
                    Some(frame) => sse::event(frame),
                    None => break,
                },
                () = &mut quiet => break,
                // A credential may also expire, which nobody tells.
                _ = silence.tick() => if self.app.protocol.road().is_current(self.permit.principal()) {
                    vec![Bytes::from_static(sse::KEEP_ALIVE)]
                } else {
                    break;
                },
            };
        }
        self.app.old_clients.lock().remove(&self.id);
        // What runs for it is cancelled: nobody would hear the answer.
        self.client.gone.cancel();
    }

    /// Waits until the server is about to go and nothing runs for the client any more.
    async fn quiet(&self) {
        self.app.protocol.road().quiet().cancelled().await;
        self.client.quiet.cancel();
        self.client.calls.close();
        self.client.calls.wait().await;
    }
}

/// `POST /messages?sessionId=…`: a message of such a client. Its answer comes on the stream.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Extension(arrived): Extension<Arrived>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let principal = match identify(&app, &arrived, &head.headers) {
        Ok(principal) => principal,
        Err(refused) => return refused,
    };
    let client = session_of(&head.uri).and_then(|id| app.old_clients.find(id, &principal));
    let Some(client) = client else {
        return answer::detail(StatusCode::NOT_FOUND, "Not Found: no such stream; open one with GET /sse");
    };
    let limit = app.limits.body_bytes_max;
    match read_body(&head.headers, body, limit, &app, (&principal, &arrived.connection)).await {
        Ok(taken) => {
            client.take(&app.protocol, taken.bytes, taken.reserved).await;
            answer::empty(StatusCode::ACCEPTED)
        }
        Err(fault) => answer::detail(fault.status(), fault.message()),
    }
}

fn session_of(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("sessionId="))
}
