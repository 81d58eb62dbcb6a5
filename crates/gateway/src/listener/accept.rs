//! Connections: accepted, bounded in number and time, and ended in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, Request};
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::http::{App, enter, named, router};
use super::mcp;
use super::stall::Stalling;
use super::threads::Threads;
use crate::limits::CANCEL_GRACE;

/// Accepts connections until `shutdown` fires, then lets requests in flight end.
pub async fn serve(listener: TcpListener, app: Arc<App>, threads: Arc<Threads>, shutdown: CancellationToken) {
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let places =
        Arc::new(Semaphore::new(usize::try_from(app.limits.connections_max).unwrap_or(usize::MAX >> 4)));
    let routes = router(Arc::clone(&app));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
            let (stream, peer) = listener.accept().await?;
            // It leaves this thread.
            Ok((place, stream.into_std()?, peer))
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((place, stream, peer)) => {
                // Children, as every token has a lock that all who wait for it share.
                let (shutdown, cut) = (shutdown.child_token(), cut.child_token());
                let connection = connection(stream, peer, Arc::clone(&app), routes.clone(), shutdown);
                threads.spawn(&connections, async move {
                    cut.run_until_cancelled(connection).await;
                    drop(place);
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
    // The socket closes first, so that nobody connects to a server that is about to go.
    drop(listener);
    connections.close();
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

async fn connection(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    app: Arc<App>,
    routes: axum::Router,
    shutdown: CancellationToken,
) {
    // Without this, small answers wait for the peer's delayed acknowledgement.
    let stream = match stream.set_nodelay(true).and_then(|()| TcpStream::from_std(stream)) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection was gone at once");
            return;
        }
    };
    let stream = Stalling::new(stream, Duration::from_millis(app.limits.stall_timeout_ms));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(app.limits.head_timeout_ms))
        .max_buf_size(usize::try_from(app.limits.head_bytes_max).unwrap_or(64 * 1024));
    let service = service_fn(move |request| answer(request, peer, Arc::clone(&app), routes.clone()));
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

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    app: Arc<App>,
    routes: axum::Router,
) -> Result<Response, std::convert::Infallible> {
    let arrived = match enter(&app, peer, &request) {
        Ok(arrived) => arrived,
        Err(refused) => return Ok(refused),
    };
    let id = Arc::clone(&arrived.id);
    // The one route that is asked thousands of times a second needs no search for it.
    if is_call(&request) {
        return Ok(named(mcp::post(&app, arrived, request).await, &id));
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(arrived);
    routes.oneshot(request).await.map(|response| named(response, &id))
}

fn is_call(request: &Request<Incoming>) -> bool {
    request.method() == Method::POST && request.uri().path() == "/mcp"
}
