//! `/files/raw/{ticket}`: bytes of files, past the calls. The ticket is the credential; it says whose transfer it is.
//!
//! ```text
//!  PUT: body ─► chunks ─► file            GET: file ─► chunks ─► body, its last one when the record has the outcome
//! ```

mod body;
pub mod ranges;

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use bytes::Bytes;
use hayward_api::{Code, Tier};
use hayward_audit::{Hex, Moved};
use hayward_mcp::json::Raw;
use hayward_tool::{Claim, Cx, Direction, Incoming, Received, Source, ToolError, TransferError};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer;
use super::http::{App, Arrived};
use crate::limits::{RECEIVED_CHUNKS, SENT_CHUNKS};
use crate::road::{Arrival, Beside};
use body::{FileBody, pump};
use ranges::{Wanted, content_range, part_of};

/// Characters of a ticket that the record shows.
const SHOWN_CHARS: usize = 8;

/// How far an upload has come.
const UPLOAD_OFFSET: &str = "upload-offset";

type Ticket = Result<Path<String>, PathRejection>;

/// `PUT`: takes the bytes of an upload, or a part of them.
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    Extension(arrived): Extension<Arrived>,
    ticket: Ticket,
    request: Request<Body>,
) -> Response {
    let (head, body) = request.into_parts();
    let received = async {
        let ticket = text(ticket)?;
        let part = part_of(&head.headers)?;
        let is_part = head.headers.contains_key(header::CONTENT_RANGE);
        let mut claim = claim(&app, &arrived, &ticket, (Direction::Upload, is_part))?;
        let path = claim.path().to_owned();
        let range = is_part.then(|| json!([part.offset, part.total]));
        let arrival = arrival(&arrived, &*claim, &ticket, (Direction::Upload, part.bytes, range));
        let stall = Duration::from_millis(app.limits.stall_timeout_ms);
        let moved = app.protocol.transfer(arrival, move |cancel| async move {
            let cx = Cx::new(claim.timeout(), cancel.clone());
            let (sender, receiver) = mpsc::channel::<Incoming>(RECEIVED_CHUNKS);
            let pumped = pump(body, sender, stall, &arrived.connection);
            let pumped = cancel.run_until_cancelled(pumped);
            let received = tokio::join!(claim.receive(&cx, part, receiver), pumped).0?;
            let sha256 = claim.sha256().filter(|_| received.is_whole).map(Hex);
            Ok((received, Moved { bytes: received.bytes.saturating_sub(part.offset), sha256 }))
        });
        moved.await.map(|received| (path, received))
    };
    match received.await {
        Ok((path, Received { bytes, is_whole: true })) => {
            answer::object(StatusCode::OK, &json!({ "ok": true, "path": path, "bytes_written": bytes }))
        }
        Ok((path, Received { bytes, is_whole: false })) => {
            let told = json!({ "ok": true, "path": path, "bytes_received": bytes, "complete": false });
            with_offset(answer::object(StatusCode::ACCEPTED, &told), bytes)
        }
        Err(error) => failed(&error),
    }
}

/// `GET`: sends the bytes of a download, or a part of them.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Extension(arrived): Extension<Arrived>,
    ticket: Ticket,
    headers: HeaderMap,
) -> Response {
    let sending = async {
        let ticket = text(ticket)?;
        let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
        let claim = claim(&app, &arrived, &ticket, (Direction::Download, range.is_some()))?;
        let range = range.map(|range| json!(range));
        let arrival = arrival(&arrived, &*claim, &ticket, (Direction::Download, None, range));
        let (opened, is_open) = oneshot::channel();
        let (sender, receiver) = mpsc::channel(SENT_CHUNKS);
        let protocol = Arc::clone(&app.protocol);
        let out = sender.clone();
        let going = TaskTracker::new().spawn(async move {
            let moved =
                protocol.transfer(arrival, move |cancel| send(claim, cancel, headers, opened, out)).await;
            match moved {
                // Whoever was sent everything can rely on the record having it.
                Ok(last) => {
                    if let Some(chunk) = last {
                        sender.send(chunk).await.ok();
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            }
        });
        match is_open.await {
            Ok(sent) => Ok(download(&sent, FileBody::new(receiver, sent.wanted.bytes()))),
            // It failed before.
            Err(_) => Err(match going.await {
                Ok(Err(error)) => error,
                _ => TransferError::StreamAborted { bytes: 0 },
            }),
        }
    };
    sending.await.unwrap_or_else(|error: TransferError| failed(&error))
}

/// `HEAD`: says how far an upload has come, and uses nothing up.
pub(crate) async fn head(State(app): State<Arc<App>>, ticket: Ticket) -> Response {
    let looked = text(ticket).and_then(|ticket| app.transfers.look(&ticket));
    match looked {
        Ok(view) if view.direction == Direction::Upload => {
            with_offset(answer::empty(StatusCode::NO_CONTENT), view.received)
        }
        Ok(_) => {
            let mut response = answer::empty(StatusCode::OK);
            response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            response
        }
        Err(error) => failed(&error),
    }
}

/// What a download answers with.
struct Sent {
    source: Source,
    wanted: Wanted,
}

/// Sends a file as far as it is wanted, all but the last chunk, which it returns with what was sent.
async fn send(
    mut claim: Box<dyn Claim>,
    cancel: CancellationToken,
    headers: HeaderMap,
    opened: oneshot::Sender<Sent>,
    out: mpsc::Sender<Bytes>,
) -> Result<(Option<Bytes>, Moved), TransferError> {
    let cx = Cx::new(claim.timeout(), cancel.clone());
    let source = claim.open(&cx).await?;
    let wanted = Wanted::of(&headers, &source)?;
    claim.spend(wanted.bytes())?;
    let (range, moved) = (wanted.range.clone(), Moved { bytes: wanted.bytes(), sha256: None });
    opened.send(Sent { source, wanted }).map_err(|_| TransferError::StreamAborted { bytes: 0 })?;
    let (chunks, mut coming) = mpsc::channel::<Bytes>(SENT_CHUNKS);
    let forward = async move {
        let mut held = None;
        while let Some(chunk) = coming.recv().await {
            if let Some(before) = held.replace(chunk)
                && out.send(before).await.is_err()
            {
                break;
            }
        }
        held
    };
    let forward = async {
        // Its time holds against a slow reader, too.
        tokio::select! {
            held = forward => held,
            _ = cx.stopped() => None,
        }
    };
    let (sent, held) = tokio::join!(claim.send(&cx, range, chunks), forward);
    sent.map(|_| (held, moved))
}

fn download(sent: &Sent, body: FileBody) -> Response {
    let Sent { source, wanted } = sent;
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = if wanted.is_part { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let headers = response.headers_mut();
    let mut say = |name: header::HeaderName, value: &str| {
        // What can't stand in a header is left out.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    say(header::CONTENT_TYPE, "application/octet-stream");
    say(header::CONTENT_DISPOSITION, &disposition(&source.name));
    say(header::ACCEPT_RANGES, "bytes");
    say(header::ETAG, &ranges::etag(source));
    say(header::CACHE_CONTROL, "no-store");
    say(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if wanted.is_part {
        say(header::CONTENT_RANGE, &content_range(&wanted.range, source.bytes));
    }
    response
}

/// The name of the file, for those who know one form or the other (RFC 6266, RFC 8187).
fn disposition(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ';
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let encoded = name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text += &format!("%{byte:02X}");
        }
        text
    });
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

fn text(ticket: Ticket) -> Result<String, TransferError> {
    ticket.map(|Path(ticket)| ticket).map_err(|_| TransferError::TicketNotFound)
}

/// Takes a ticket for whoever came with it: from where its maker may come from, and at its maker's pace.
fn claim(
    app: &App,
    arrived: &Arrived,
    ticket: &str,
    (direction, is_part): (Direction, bool),
) -> Result<Box<dyn Claim>, TransferError> {
    let claim = app.transfers.claim(ticket, direction).map_err(|error| match error {
        // Whoever doesn't go on with anything is told what mymcp says.
        TransferError::TicketInUse if !is_part => TransferError::TicketUsed,
        error => error,
    })?;
    let maker = claim.principal();
    if !maker.bounds.accepts(arrived.source.ip()) {
        return Err(TransferError::TicketNotFound);
    }
    app.pace.of_principal(maker).map_err(|wait| {
        let message = "too many requests of this token";
        let error = ToolError::new("RateLimited", Code::RateLimited, message);
        error.suggest(format!("go on in {} s", wait.as_secs_f64().ceil().max(1.0)))
    })?;
    Ok(claim)
}

/// What the record is told of a transfer.
fn arrival(
    arrived: &Arrived,
    claim: &dyn Claim,
    ticket: &str,
    (direction, bytes, range): (Direction, Option<u64>, Option<Value>),
) -> Arrival {
    let shown: String = ticket.chars().take(SHOWN_CHARS).collect();
    let mut told = json!({ "op": direction.as_str(), "path": claim.path(), "ticket": shown, "bytes": bytes });
    if let Some(range) = range {
        told["range"] = range;
    }
    let tier = match direction {
        Direction::Upload => Tier::Operate,
        Direction::Download => Tier::Read,
    };
    let who = (Arc::clone(claim.principal()), arrived.source, Arc::clone(&arrived.id));
    let arguments = Raw::of(&told).unwrap_or_else(|_| Raw::empty_object());
    Arrival::beside(Beside { method: "files", tier: Some(tier) }, who, "transfer_redeem", arguments)
}

fn failed(error: &TransferError) -> Response {
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let told = json!({ "ok": false, "error": error.code(), "hint": error.hint() });
    let mut response = answer::object(status, &told);
    response.extensions_mut().insert(answer::OnRecord);
    match error {
        TransferError::WrongMethod(direction) => {
            let allowed = HeaderValue::from_static(direction.method());
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        TransferError::RangeNotSatisfiable { bytes } => {
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{bytes}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
        }
        TransferError::OffsetMismatch { received } => response = with_offset(response, *received),
        TransferError::TicketInUse => {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

fn with_offset(mut response: Response, bytes: u64) -> Response {
    response.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from(bytes));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_to_old_and_new_clients_and_breaks_out_of_neither() {
        assert_eq!(disposition("x.txt"), "attachment; filename=\"x.txt\"; filename*=UTF-8''x.txt");
        for (name, told) in [
            ("a b\"c", "attachment; filename=\"a b_c\"; filename*=UTF-8''a%20b%22c"),
            ("ü\r\nX: y", "attachment; filename=\"___X: y\"; filename*=UTF-8''%C3%BC%0D%0AX%3A%20y"),
            ("100%", "attachment; filename=\"100_\"; filename*=UTF-8''100%25"),
        ] {
            assert_eq!(disposition(name), told);
            HeaderValue::from_str(told).unwrap();
        }
    }
}
