//! Connections: accepted, bounded in number and time, and ended in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, Request, StatusCode, Uri};
use arc_swap::ArcSwap;
use axum::BoxError;
use axum::body::Body;
use axum::response::Response;
use futures_util::future::join_all;
use hayward_api::{Principal, Source};
use hayward_telemetry::metrics::{Kind, Observed};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::addresses::{Addresses, Full, Held, holding};
use super::answer::OnRecord;
use super::door::{self, Door, Stream};
use super::http::{App, Arrived, X_REQUEST_ID, enter, held_up, named, router};
use super::management;
use super::mcp;
use super::places::{Connection, Place, Places};
use super::stall::Stalling;
use super::threads::Threads;
use super::tls::Tls;
use crate::endpoint::Endpoint;
use crate::limits::{CANCEL_GRACE, Limits, REFUSALS_WINDOW};
use crate::road::Refused;

/// What stands behind the doors: one [`App`] at a time, which another one can replace in one step.
///
/// Every request is served to its end by the one that was there when it came, and so is every connection, as far as its
/// handshake and the times and sizes of its heads go.
pub struct Front(ArcSwap<Serves>);

/// An app, and its routes.
struct Serves {
    app: Arc<App>,
    routes: axum::Router,
}

impl Front {
    /// This app stands there.
    pub fn new(app: Arc<App>) -> Self {
        Self(ArcSwap::from_pointee(Serves::new(app)))
    }

    /// From the next request on it is this one.
    pub fn replace(&self, app: Arc<App>) {
        self.0.store(Arc::new(Serves::new(app)));
    }

    /// The one that is there now.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.0.load().app)
    }
}

impl Serves {
    fn new(app: Arc<App>) -> Self {
        Self { routes: router(Arc::clone(&app)), app }
    }
}

/// Accepts connections at every door until `shutdown` fires, then lets requests in flight end.
pub async fn serve(doors: Vec<Door>, front: Arc<Front>, threads: Arc<Threads>, shutdown: CancellationToken) {
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let addresses = Arc::<Addresses>::default();
    front.app().protocol.road().meters().observe(refusals(&addresses));
    let hall = Hall {
        places: Places::new(usize::try_from(front.app().limits.connections_max).unwrap_or(usize::MAX)),
        addresses,
        front: Arc::clone(&front),
        threads,
        connections: connections.clone(),
        cut: cut.clone(),
        shutdown,
    };
    tokio::select! {
        // The sockets close first, so that nobody connects to a server that is about to go.
        _ = join_all(doors.into_iter().map(|door| hall.accept(door))) => {}
        () = hall.note_refusals() => {}
    }
    connections.close();
    let app = front.app();
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

/// What a connection takes: a place, and one of those that its address may have.
type Taken = (Place, Option<Held>);

/// Connections that were closed because their address had as many as it may.
fn refusals(addresses: &Arc<Addresses>) -> Observed {
    let addresses = Arc::clone(addresses);
    Observed {
        name: "connections_refused_total",
        help: "Connections that were closed because their address had as many as it may.",
        kind: Kind::Counter,
        label: None,
        read: Box::new(move || vec![("", addresses.refused())]),
    }
}

/// What stands behind every door.
struct Hall {
    front: Arc<Front>,
    places: Arc<Places>,
    addresses: Arc<Addresses>,
    threads: Arc<Threads>,
    connections: TaskTracker,
    cut: CancellationToken,
    shutdown: CancellationToken,
}

impl Hall {
    /// Lets connections in until the shutdown.
    async fn accept(&self, door: Door) {
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => break,
                accepted = self.accept_one(&door) => accepted,
            };
            match accepted {
                Ok(Some((stream, place))) => self.let_in(stream, place),
                // Its address has as many as it may: it is closed, and takes nobody's place.
                Ok(None) => {}
                Err(error) => pause_after(&error).await,
            }
        }
    }

    /// The next connection, once there is a place for it; none if its address has too many.
    async fn accept_one(&self, door: &Door) -> std::io::Result<Option<(Stream, Taken)>> {
        let stream = door.accept().await?;
        let max = self.front.app().limits.connections_per_address_max;
        let Ok(held) = self.addresses.hold(stream.peer().map(|peer| peer.ip()), max) else { return Ok(None) };
        // Children, as every token has a lock that all who wait for it share.
        let place = self.places.take(self.cut.child_token()).await;
        Ok(Some((stream, (place, held))))
    }

    fn let_in(&self, stream: Stream, (place, held): Taken) {
        let app = self.front.app();
        let serving = Serving {
            front: Arc::clone(&self.front),
            peer: stream.peer(),
            connection: Arc::clone(&place.connection),
        };
        // Boxed: each future that this is handed through would keep room for it twice.
        let served = Box::pin(serve_connection(stream, app, serving, self.shutdown.child_token()));
        self.threads.spawn(&self.connections, async move {
            if let Some(Err(error)) = place.connection.cut.run_until_cancelled(served).await {
                tracing::debug!(error = &*error as &dyn std::error::Error, "a connection ended early");
            }
            drop((place, held));
        });
    }

    /// Records what was refused, now and then.
    async fn note_refusals(&self) {
        let mut ticks = interval(REFUSALS_WINDOW);
        loop {
            ticks.tick().await;
            self.front.app().protocol.road().note_refusals(REFUSALS_WINDOW).await;
        }
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
    front: Arc<Front>,
    /// The address of the peer, as the kernel says; none for a process of this machine.
    peer: Option<SocketAddr>,
    connection: Arc<Connection>,
}

impl Serving {
    /// The stream, bounded in how long its peer may leave an answer unread.
    fn bound<S>(&self, stream: S, limits: &Limits) -> Stalling<S> {
        let patience = Duration::from_millis(limits.stall_timeout_ms);
        Stalling::new(stream, patience, Arc::clone(&self.connection))
    }
}

async fn serve_connection(
    stream: Stream,
    app: Arc<App>,
    serving: Serving,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let limits = &app.limits;
    // Boxed: otherwise every connection keeps room for the largest of them.
    match (stream, &app.tls) {
        (Stream::Tcp(stream, _), Some(tls)) => {
            let (stream, tls) = (door::tcp(stream, limits)?, Arc::clone(tls));
            Box::pin(serve_tls(stream, tls, app, serving, shutdown)).await
        }
        (Stream::Tcp(stream, _), None) => {
            let stream = serving.bound(door::tcp(stream, limits)?, limits);
            Box::pin(serve_http(stream, app, serving, shutdown)).await
        }
        (Stream::Unix(stream), _) => {
            let stream = serving.bound(door::unix(stream)?, limits);
            Box::pin(serve_http(stream, app, serving, shutdown)).await
        }
    }
}

async fn serve_tls(
    stream: TcpStream,
    tls: Arc<Tls>,
    app: Arc<App>,
    serving: Serving,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let limits = &app.limits;
    let patience = Duration::from_millis(limits.handshake_timeout_ms);
    let shaking = Box::pin(tls.shake(stream, patience, |stream| serving.bound(stream, limits)));
    match shutdown.run_until_cancelled(shaking).await {
        Some(stream) => Box::pin(serve_http(stream?, app, serving, shutdown)).await,
        None => Ok(()),
    }
}

async fn serve_http<S>(
    stream: S,
    app: Arc<App>,
    serving: Serving,
    shutdown: CancellationToken,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(app.limits.head_timeout_ms))
        .max_buf_size(usize::try_from(app.limits.head_bytes_max).unwrap_or(64 * 1024));
    // A connection may outlive it by far.
    drop(app);
    let serving = Arc::new(serving);
    // Boxed: what a request needs is large, and a connection that only listens shouldn't keep room for it.
    let service = service_fn(move |request| Box::pin(answer(request, Arc::clone(&serving))));
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = &mut serving => ended?,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await?;
        }
    }
    Ok(())
}

async fn answer(
    request: Request<Incoming>,
    serving: Arc<Serving>,
) -> Result<Response, std::convert::Infallible> {
    let Serving { front, peer, connection } = &*serving;
    connection.is_served();
    // Once, and for all of the request: so it sees nothing of what replaces it.
    let serves = front.0.load();
    let Serves { app, routes } = &**serves;
    let asked = (request.method().clone(), request.uri().clone());
    let forwarded = app.proxies.read(*peer, request.headers());
    let source = forwarded.source;
    let pending = app.protocol.road().meters().http().begin(request.uri().path(), request.method().as_str());
    let path = asked.1.path();
    let entered = enter(app, &forwarded, connection, &request).and_then(|arrived| begin(app, path, arrived));
    let (response, has_entered) = match entered {
        Ok((arrived, held)) => (hold(respond(request, app, routes, arrived).await, held), true),
        Err(refused) => (refused, false),
    };
    pending.answered(response.status().as_u16());
    let is_refusal = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if is_refusal && response.extensions().get::<OnRecord>().is_none() {
        Box::pin(app.protocol.road().refuse(refused(&response, source, asked))).await;
        // Whoever came so far, and isn't known, was refused for the credential.
        let is_nobody = has_entered && response.extensions().get::<Arc<Principal>>().is_none();
        let wait = source.ip().filter(|_| is_nobody).map(|ip| app.pace.failed(ip)).unwrap_or_default();
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

/// The address of a request has one more that is being answered.
fn begin(app: &App, path: &str, arrived: Arrived) -> Result<(Arrived, Option<Held>), Response> {
    match app.pace.begin(arrived.source.ip()) {
        Ok(held) => Ok((arrived, held)),
        Err(Full) => Err(held_up(path, "this address at once", Duration::from_secs(1), &arrived.id)),
    }
}

/// It has it until the answer is sent.
fn hold(response: Response, held: Option<Held>) -> Response {
    match held {
        Some(held) => response.map(|body| holding(body, held)),
        None => response,
    }
}

/// A request that was refused for who sent it, or from where.
fn refused(response: &Response, source: Source, (method, uri): (Method, Uri)) -> Refused {
    let id = response.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let known = response.extensions().get::<Arc<Principal>>();
    Refused {
        principal: known.map_or_else(|| Arc::new(Principal::anonymous()), Arc::clone),
        source,
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
    if let Some(routes) = app.management.as_ref().filter(|_| management::is_its(request.uri().path())) {
        return named(Box::pin(management::answer(app, routes, arrived, request)).await, &id);
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(arrived);
    let Ok(response) = Box::pin(routes.clone().oneshot(request)).await;
    named(response, &id)
}

fn is_call(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    let is_mcp = || path == "/mcp" || Endpoint::of_path(path).is_some_and(|(_, asked)| asked == "mcp");
    request.method() == Method::POST && is_mcp()
}
