//! Event streams that stay open outside of calls: what has changed is told there.

use std::ops::ControlFlow;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, StatusCode};
use axum::extract::{Extension, State};
use axum::response::Response;
use bytes::Bytes;
use hayward_api::Principal;
use hayward_mcp::envelope::{Frame, RequestId};
use hayward_mcp::error::RpcError;
use hayward_mcp::http::{Accepts, session_id};
use hayward_mcp::request::{Context, Filter};
use hayward_mcp::sse;
use tokio::sync::mpsc;

use super::super::answer::{self, Part};
use super::super::http::{App, Arrived, identify};
use super::streams::Pace;
use super::{find_session, legacy_only, method_not_allowed, pace, refusal};
use crate::endpoint::Endpoint;
use crate::limits::STREAM_QUEUE;
use crate::listening::{Heard, Listening, Subscription};
use crate::road::Permit;
use crate::session::{Kept, Session, StreamId, read_event_id};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// `GET /mcp`: a legacy client listens to what is said outside of calls, or comes back to the stream of a call.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Extension(arrived): Extension<Arrived>,
    headers: HeaderMap,
) -> Response {
    open(&app, &arrived, &headers).unwrap_or_else(|refused| refused)
}

fn open(app: &Arc<App>, arrived: &Arrived, headers: &HeaderMap) -> Result<Response, Response> {
    let principal = identify(app, arrived, headers)?;
    legacy_only(headers)?;
    if !Accepts::of(headers).events {
        return Err(refusal(StatusCode::NOT_ACCEPTABLE, None, "Not Acceptable: accept text/event-stream"));
    }
    if session_id(headers).is_none() {
        return Err(method_not_allowed(
            "Method Not Allowed: only a session has a stream; begin with initialize",
        ));
    }
    // A client whose session is gone can't be told anything, and has to learn that it is.
    let session = find_session(app, headers, (&principal, &arrived.endpoint))?.ok_or_else(|| {
        refusal(StatusCode::NOT_FOUND, None, "Not Found: no such session; begin with initialize")
    })?;
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).and_then(read_event_id);
    let Some((stream, number)) = last else {
        return stand(app, session, (&principal, &arrived.endpoint));
    };
    match (stream, session.kept_stream(stream)) {
        (_, Some(kept)) if !kept.has_lost_answer(number) => Ok(answer::event_stream(kept.read(Some(number)))),
        (StreamId::Standing(_), _) => stand(app, session, (&principal, &arrived.endpoint)),
        // The standing stream is of no use to who asks for the answer to a call.
        (StreamId::Call(_), _) => {
            let message =
                "Bad Request: what came after this Last-Event-ID is not kept; send the request again";
            Err(refusal(StatusCode::BAD_REQUEST, None, message))
        }
    }
}

/// The standing stream of a session, from what nobody has taken yet.
fn stand(
    app: &Arc<App>,
    session: Arc<Session>,
    (principal, endpoint): (&Arc<Principal>, &Endpoint),
) -> Result<Response, Response> {
    let (kept, is_new) = session.standing(app.protocol.road().budget().begin(principal));
    let reader = kept.read(None);
    if is_new {
        kept.prime_for(session.agreed().revision);
        let permit = app.protocol.road().open_stream(principal).map_err(|error| {
            session.drop_stream(&kept);
            answer::refused(&error)
        })?;
        let telling = Telling {
            app: Arc::clone(app),
            listening: Listening::of_session(
                &app.protocol,
                (principal, endpoint.clone()),
                &session.subscribed,
            ),
            permit,
        };
        app.protocol.spawn(tell(telling, session, kept, pace(&app.limits)));
    }
    Ok(answer::event_stream(reader))
}

/// What a stream tells, and until when.
struct Telling {
    app: Arc<App>,
    listening: Listening,
    permit: Permit,
}

impl Telling {
    fn is_current(&self) -> bool {
        self.app.protocol.road().is_current(self.permit.principal())
    }

    /// What is to be told next; none if the stream has to end. Cancellation-safe.
    async fn next(&mut self) -> Option<Vec<Frame>> {
        let heard = tokio::select! {
            biased;
            () = self.permit.pulled.cancelled() => return None,
            heard = self.listening.next() => heard,
        };
        match heard {
            Heard::Frames(frames) => Some(frames),
            Heard::End => None,
        }
    }
}

/// Tells a session what has changed, until its client has been away for too long.
async fn tell(mut telling: Telling, session: Arc<Session>, kept: Arc<Kept>, pace: Pace) {
    let mut silence = pace.signs_of_life();
    loop {
        let frames = tokio::select! {
            biased;
            () = kept.abandoned(pace.resume) => break,
            frames = telling.next() => frames,
            // A credential may also expire, which nobody tells.
            _ = silence.tick() => if telling.is_current() {
                kept.sign_of_life();
                continue;
            } else {
                break;
            }
        };
        let Some(frames) = frames else { break };
        for frame in frames {
            tokio::select! {
                () = kept.push_change(frame) => {}
                () = telling.permit.pulled.cancelled() => break,
            }
        }
    }
    session.drop_stream(&kept);
}

/// Modern: `subscriptions/listen`. Acknowledges first, tells what was asked for, and ends with a result.
pub(super) fn listen(
    app: &Arc<App>,
    (id, endpoint): (&RequestId, &Endpoint),
    filter: Filter,
    context: &Context,
    principal: &Arc<Principal>,
) -> Result<Response, RpcError> {
    let (road, principal) = (app.protocol.road(), Arc::clone(principal));
    let permit = road.open_stream(&principal).map_err(|error| answer::rpc_error(&error))?;
    let (abilities, endpoint) = (context.abilities, endpoint.clone());
    let subscription = Subscription { id: id.clone(), filter, abilities, principal, endpoint };
    let (listening, opening) = Listening::modern(&app.protocol, subscription)?;
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    let following = Following { app: Arc::clone(app), listening, sender, permit };
    app.protocol.spawn(following.follow(opening));
    Ok(answer::events(receiver))
}

/// A modern client that listens.
struct Following {
    app: Arc<App>,
    listening: Listening,
    sender: mpsc::Sender<Part>,
    permit: Permit,
}

impl Following {
    async fn follow(mut self, opening: Vec<Frame>) {
        if self.tell(opening).await.is_break() {
            return;
        }
        for bytes in self.listening.completed().into_iter().flat_map(sse::event) {
            self.sender.send(Part { bytes, hold: None }).await.ok();
        }
    }

    /// Tells what comes; breaks if the client is gone, or doesn't read when it has to end.
    async fn tell(&mut self, opening: Vec<Frame>) -> ControlFlow<()> {
        let road = self.app.protocol.road();
        let pulled = self.permit.pulled.clone();
        let mut silence = pace(&self.app.limits).signs_of_life();
        let mut pieces: Vec<Bytes> = opening.into_iter().flat_map(sse::event).collect();
        loop {
            if !answer::send(&self.sender, pieces, &pulled).await {
                return ControlFlow::Break(());
            }
            pieces = tokio::select! {
                biased;
                () = self.sender.closed() => return ControlFlow::Break(()),
                () = pulled.cancelled() => return ControlFlow::Continue(()),
                heard = self.listening.next() => match heard {
                    Heard::Frames(frames) => frames.into_iter().flat_map(sse::event).collect(),
                    Heard::End => return ControlFlow::Continue(()),
                },
                // A credential may also expire, which nobody tells.
                _ = silence.tick() => if road.is_current(self.permit.principal()) {
                    vec![Bytes::from_static(sse::KEEP_ALIVE)]
                } else {
                    return ControlFlow::Continue(());
                },
            };
        }
    }
}
