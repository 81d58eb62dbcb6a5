//! Event streams that stay open outside of calls: what has changed is told there.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, StatusCode};
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use hayward_api::Principal;
use hayward_mcp::envelope::{Frame, RequestId};
use hayward_mcp::error::RpcError;
use hayward_mcp::http::{Accepts, session_id};
use hayward_mcp::request::Filter;
use hayward_mcp::sse;
use tokio::sync::mpsc;

use super::super::answer::{self, Part};
use super::super::http::{App, identify};
use super::streams::Pace;
use super::{find_session, method_not_allowed, pace, refusal};
use crate::limits::STREAM_QUEUE;
use crate::listening::{Heard, Listening};
use crate::road::Permit;
use crate::session::{Kept, Session, read_event_id};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// `GET /mcp`: a legacy client listens to what is said outside of calls, or comes back to the stream of a call.
pub(crate) async fn get(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    open(&app, &headers).unwrap_or_else(|refused| refused)
}

fn open(app: &Arc<App>, headers: &HeaderMap) -> Result<Response, Response> {
    let principal = identify(app, headers)?;
    if !Accepts::of(headers).events {
        return Err(refusal(StatusCode::NOT_ACCEPTABLE, None, "Not Acceptable: accept text/event-stream"));
    }
    if session_id(headers).is_none() {
        return Err(method_not_allowed(
            "Method Not Allowed: only a session has a stream; begin with initialize",
        ));
    }
    // A client whose session is gone can't be told anything, and has to learn that it is.
    let session = find_session(app, headers, &principal)?.ok_or_else(|| {
        refusal(StatusCode::NOT_FOUND, None, "Not Found: no such session; begin with initialize")
    })?;
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).and_then(read_event_id);
    if let Some((stream, number)) = last
        && let Some(kept) = session.kept_stream(stream)
    {
        return Ok(answer::event_stream(kept.read(Some(number))));
    }
    let (kept, is_new) = session.standing();
    if is_new {
        let permit = app.protocol.road().open_stream(&principal).map_err(|error| {
            session.drop_standing();
            answer::detail(StatusCode::TOO_MANY_REQUESTS, &error.message)
        })?;
        let listening = Listening::of_session(app.protocol.road(), &session.subscribed);
        app.protocol.spawn(tell(session, Arc::clone(&kept), listening, permit, pace(&app.limits)));
    }
    Ok(answer::event_stream(kept.read(None)))
}

/// Tells a session what has changed, until its client has been away for too long.
async fn tell(session: Arc<Session>, kept: Arc<Kept>, mut listening: Listening, permit: Permit, pace: Pace) {
    let mut silence = pace.signs_of_life();
    loop {
        let heard = tokio::select! {
            biased;
            () = permit.pulled.cancelled() => break,
            () = kept.abandoned(pace.resume) => break,
            heard = listening.next() => heard,
            _ = silence.tick() => {
                kept.sign_of_life();
                continue;
            }
        };
        match heard {
            Heard::End => break,
            Heard::Frames(frames) => {
                for frame in frames {
                    tokio::select! {
                        () = kept.push(frame, None) => {}
                        () = permit.pulled.cancelled() => break,
                    }
                }
            }
        }
    }
    session.drop_standing();
}

/// Modern: `subscriptions/listen`. Acknowledges first, tells what was asked for, and ends with a result.
pub(super) fn listen(
    app: &Arc<App>,
    id: &RequestId,
    filter: Filter,
    principal: &Arc<Principal>,
) -> Result<Response, RpcError> {
    let permit =
        app.protocol.road().open_stream(principal).map_err(|error| {
            RpcError::new(i64::from(StatusCode::TOO_MANY_REQUESTS.as_u16()), error.message)
        })?;
    let (listening, acknowledged) = Listening::modern(&app.protocol, id.clone(), filter, principal);
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    app.protocol.spawn(follow(listening, acknowledged, sender, permit, pace(&app.limits)));
    Ok(answer::events(receiver))
}

async fn follow(
    mut listening: Listening,
    acknowledged: Frame,
    sender: mpsc::Sender<Part>,
    permit: Permit,
    pace: Pace,
) {
    let mut silence = pace.signs_of_life();
    let mut pieces = sse::event(acknowledged);
    loop {
        for bytes in pieces {
            if sender.send(Part { bytes, hold: None }).await.is_err() {
                return;
            }
        }
        pieces = tokio::select! {
            biased;
            () = sender.closed() => return,
            () = permit.pulled.cancelled() => break,
            heard = listening.next() => match heard {
                Heard::Frames(frames) => frames.into_iter().flat_map(sse::event).collect(),
                Heard::End => break,
            },
            _ = silence.tick() => vec![Bytes::from_static(sse::KEEP_ALIVE)],
        };
    }
    for bytes in listening.completed().into_iter().flat_map(sse::event) {
        sender.send(Part { bytes, hold: None }).await.ok();
    }
}
