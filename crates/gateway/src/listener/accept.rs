//! Connections: accepted, bounded in number and time, and ended in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, Request, StatusCode, Uri};
use axum::body::Body;
use axum::response::Response;
use hayward_api::Principal;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::answer::OnRecord;
use super::http::{App, Arrived, X_REQUEST_ID, enter, named, router};
use super::mcp;
use super::places::{Connection, Places};
use super::stall::Stalling;
use super::threads::Threads;
use crate::limits::{CANCEL_GRACE, Limits, PROBE_INTERVAL, REFUSALS_WINDOW};
use crate::road::Refused;

/// Accepts connections until `shutdown` fires, then lets requests in flight end.
pub async fn serve(listener: TcpListener, app: Arc<App>, threads: Arc<Threads>, shutdown: CancellationToken) {
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let places = Places::new(usize::try_from(app.limits.connections_max).unwrap_or(usize::MAX));
    let routes = router(Arc::clone(&app));
    let mut ticks = interval(REFUSALS_WINDOW);
    loop {
        let accepted = async {
            let (stream, peer) = listener.accept().await?;
            // Children, as every token has a lock that all who wait for it share.
            let place = places.take(cut.child_token()).await;
            // It leaves this thread.
            Ok((place, stream.into_std()?, peer))
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {
                app.protocol.road().note_refusals(REFUSALS_WINDOW).await;
                continue;
            }
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((place, stream, peer)) => {
                let serving = Serving {
                    app: Arc::clone(&app),
                    routes: routes.clone(),
                    peer,
                    connection: Arc::clone(&place.connection),
                };
                let served = serve_connection(stream, serving, shutdown.child_token());
                threads.spawn(&connections, async move {
                    place.connection.cut.run_until_cancelled(served).await;
                    drop(place);
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
    // The socket closes first, so that nobody connects to a server that is about to go.
    drop(listener);
    connections.close();
    // Who only listens, or waits for an answer, holds nobody up.
    app.protocol.road().hush();
    // What runs may end by itself, then it is cancelled, and who doesn't take an answer is cut off.
    let drain = Duration::from_millis(app.limits.drain_ms);
    if timeout(drain, connections.wait()).await.is_err() {
        app.protocol.road().cancel_all();
    }
    if timeout(CANCEL_GRACE, connections.wait()).await.is_err() {
        cut.cancel();
        connections.wait().await;
    }
}

/// Most errors of `accept` are the peer's and gone at once; without file descriptors, waiting helps.
async fn pause_after(error: &std::io::Error) {
    const PAUSE: Duration = Duration::from_millis(50);
    tracing::warn!(error = error as &dyn std::error::Error, "a connection can't be accepted");
    tokio::time::sleep(PAUSE).await;
}

/// What the requests of one connection are served with.
struct Serving {
    app: Arc<App>,
    routes: axum::Router,
    peer: SocketAddr,
    connection: Arc<Connection>,
}

async fn serve_connection(stream: std::net::TcpStream, serving: Serving, shutdown: CancellationToken) {
    let stream = match tune(&stream, &serving.app.limits).and_then(|()| TcpStream::from_std(stream)) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection was gone at once");
            return;
        }
    };
    let stream = Stalling::new(
        stream,
        Duration::from_millis(serving.app.limits.stall_timeout_ms),
        Arc::clone(&serving.connection),
    );
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(serving.app.limits.head_timeout_ms))
        .max_buf_size(usize::try_from(serving.app.limits.head_bytes_max).unwrap_or(64 * 1024));
    let serving = Arc::new(serving);
    let service = service_fn(move |request| answer(request, Arc::clone(&serving)));
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early");
    }
}

/// What the kernel has to know of a connection.
fn tune(stream: &std::net::TcpStream, limits: &Limits) -> std::io::Result<()> {
    // Without this, small answers wait for the peer's delayed acknowledgement.
    stream.set_nodelay(true)?;
    // A peer that vanished without a word is asked for a sign of life, also while nothing is sent to it, and given
    // up when it acknowledges nothing. The kernel by itself would try for a quarter of an hour.
    let idle = Duration::from_millis(limits.keep_alive_ms).max(PROBE_INTERVAL);
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, idle)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_INTERVAL)?;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(limits.stall_timeout_ms).unwrap_or(u32::MAX))?;
    Ok(())
}

async fn answer(
    request: Request<Incoming>,
    serving: Arc<Serving>,
) -> Result<Response, std::convert::Infallible> {
    let Serving { app, routes, peer, connection } = &*serving;
    connection.is_served();
    let asked = (request.method().clone(), request.uri().clone());
    let (response, has_entered) = match enter(app, *peer, connection, &request) {
        Ok(arrived) => (respond(request, app, routes, arrived).await, true),
        Err(refused) => (refused, false),
    };
    let is_refusal = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if is_refusal && response.extensions().get::<OnRecord>().is_none() {
        app.protocol.road().refuse(refused(&response, *peer, asked)).await;
        // Whoever came so far was refused for the credential.
        let wait = if has_entered { app.pace.failed(peer.ip()) } else { Duration::ZERO };
        if !wait.is_zero() {
            // Its place is anybody's meanwhile.
            connection.waits();
            tokio::time::sleep(wait).await;
        }
    }
    // A stream goes on; everything else is the client's to take, and to follow with its next request.
    if response.body().size_hint().exact().is_some() {
        connection.waits();
    }
    Ok(response)
}

/// A request that was refused for who sent it, or from where.
fn refused(response: &Response, peer: SocketAddr, (method, uri): (Method, Uri)) -> Refused {
    let id = response.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let known = response.extensions().get::<Arc<Principal>>();
    Refused {
        principal: known.map_or_else(|| Arc::new(Principal::anonymous()), Arc::clone),
        address: Some(peer),
        request_id: id.unwrap_or_default().into(),
        method: format!("http {method}"),
        name: uri.path().to_owned(),
        code: i64::from(response.status().as_u16()),
        reason: response.status().to_string(),
    }
}

async fn respond(
    request: Request<Incoming>,
    app: &Arc<App>,
    routes: &axum::Router,
    arrived: Arrived,
) -> Response {
    let id = Arc::clone(&arrived.id);
    // The one route that is asked thousands of times a second needs no search for it.
    if is_call(&request) {
        return named(mcp::post(app, arrived, request).await, &id);
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(arrived);
    let Ok(response) = routes.clone().oneshot(request).await;
    named(response, &id)
}

fn is_call(request: &Request<Incoming>) -> bool {
    request.method() == Method::POST && request.uri().path() == "/mcp"
}
