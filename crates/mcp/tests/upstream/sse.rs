//! The oldest transport over HTTP.

use std::sync::Arc;

use bytes::Bytes;
use hayward_mcp::era::Revision;
use hayward_mcp::upstream::{
    Body, BoxFuture, Connect, ConnectError, EraChoice, Event, Outgoing, Sse, Upstream, UpstreamError, Wire,
};
use http::{HeaderMap, Request, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{MESSAGE_BYTES_MAX, initialized, options, value};

/// A server whose answers come on its one stream.
#[derive(Debug)]
struct Old {
    stream: mpsc::Sender<Option<String>>,
    heard: std::sync::Mutex<Option<mpsc::Receiver<Option<String>>>>,
    asked: std::sync::Mutex<Vec<(String, Value)>>,
}

impl Old {
    fn new() -> Arc<Self> {
        let (stream, heard) = mpsc::channel(64);
        Arc::new(Self {
            stream,
            heard: std::sync::Mutex::new(Some(heard)),
            asked: std::sync::Mutex::default(),
        })
    }

    fn say(&self, event: &str, data: &str) {
        self.stream.try_send(Some(format!("event: {event}\ndata: {data}\n\n"))).unwrap();
    }

    fn answer(&self, asked: &Value) {
        let result = match asked["method"].as_str() {
            Some("initialize") => initialized("2024-11-05"),
            Some("tools/list") => json!({"tools": []}),
            _ => return,
        };
        self.say("message", &json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}).to_string());
    }
}

struct Stream(mpsc::Receiver<Option<String>>);

impl Body for Stream {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, ConnectError>> {
        Box::pin(async { Ok(self.0.recv().await.flatten().map(Bytes::from)) })
    }
}

struct Nothing;

impl Body for Nothing {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, ConnectError>> {
        Box::pin(async { Ok(None) })
    }
}

impl Connect for Old {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Box<dyn Body>>, ConnectError>> {
        let is_stream = request.method() == "GET";
        let asked: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        self.asked.lock().unwrap().push((request.uri().to_string(), asked.clone()));
        Box::pin(async move {
            if is_stream {
                let body: Box<dyn Body> = Box::new(Stream(self.heard.lock().unwrap().take().unwrap()));
                return Ok(Response::builder()
                    .header("content-type", "text/event-stream")
                    .body(body)
                    .unwrap());
            }
            self.answer(&asked);
            let status = if asked["method"] == "refused" { 400 } else { 202 };
            let body: Box<dyn Body> = Box::new(Nothing);
            Ok(Response::builder().status(status).body(body).unwrap())
        })
    }
}

fn wire(old: &Arc<Old>) -> (Wire, hayward_mcp::upstream::Events) {
    let connect: Arc<dyn Connect> = Arc::<Old>::clone(old);
    let url = "http://up.example/sse".parse().unwrap();
    let (sse, events, driver) = Sse::over(connect, url, &HeaderMap::new(), MESSAGE_BYTES_MAX);
    tokio::spawn(driver);
    (Wire::Sse(sse), events)
}

#[tokio::test]
async fn messages_go_where_the_stream_says_and_answers_come_on_it() {
    let old = Old::new();
    old.say("endpoint", "/messages?s=1");
    let (wire, mut events) = wire(&old);
    let upstream = Upstream::connect(wire, options(EraChoice::Auto)).await.unwrap();
    assert_eq!(upstream.declared().revision, Revision::V2024_11_05);
    let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    assert_eq!(value(&exchange.response().await.unwrap().unwrap()), json!({"tools": []}));
    old.say("message", r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    assert!(matches!(events.next().await, Some(Event::Notification(_))));
    let asked = old.asked.lock().unwrap().clone();
    assert!(asked[1..].iter().all(|(uri, _)| uri == "http://up.example/messages?s=1"), "{asked:?}");
    // It is older than the modern era, which is not asked for.
    assert_eq!(asked[1].1["method"], "initialize");
}

#[tokio::test]
async fn a_message_that_is_not_taken_is_an_error_of_its_own() {
    let old = Old::new();
    old.say("endpoint", "/messages");
    let upstream = Upstream::connect(wire(&old).0, options(EraChoice::Auto)).await.unwrap();
    let told = upstream.request(&Outgoing::new("refused", None)).await;
    assert!(matches!(told, Err(UpstreamError::Status { status: 400, .. })), "{told:?}");
    assert!(upstream.request(&Outgoing::new("tools/list", None)).await.is_ok());
}

#[tokio::test]
async fn a_ping_before_there_is_anywhere_to_answer_it_stops_nobody() {
    let old = Old::new();
    old.say("message", r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#);
    old.say("endpoint", "/messages");
    let upstream = Upstream::connect(wire(&old).0, options(EraChoice::Auto)).await.unwrap();
    let exchange = upstream.request(&Outgoing::new("tools/list", None)).await.unwrap();
    assert!(exchange.response().await.unwrap().is_ok());
    let asked = old.asked.lock().unwrap().clone();
    assert!(asked.iter().any(|(_, asked)| *asked == json!({"jsonrpc": "2.0", "id": "p", "result": {}})));
}

#[tokio::test]
async fn a_driver_ends_when_nobody_holds_the_wire() {
    let old = Old::new();
    old.say("endpoint", "/messages");
    let connect: Arc<dyn Connect> = Arc::<Old>::clone(&old);
    let url = "http://up.example/sse".parse().unwrap();
    let (sse, _events, driver) = Sse::over(connect, url, &HeaderMap::new(), MESSAGE_BYTES_MAX);
    let driver = tokio::spawn(driver);
    drop(Upstream::connect(Wire::Sse(sse), options(EraChoice::Auto)).await.unwrap());
    tokio::time::timeout(std::time::Duration::from_secs(20), driver).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_endpoint_elsewhere_is_not_followed() {
    let old = Old::new();
    old.say("endpoint", "http://evil.example/messages");
    let told = Upstream::connect(wire(&old).0, options(EraChoice::Auto)).await;
    assert!(matches!(told, Err(UpstreamError::Protocol(_))), "{told:?}");
    assert_eq!(old.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_end_of_the_stream_ends_what_waits() {
    let old = Old::new();
    old.say("endpoint", "/messages");
    let upstream = Upstream::connect(wire(&old).0, options(EraChoice::Auto)).await.unwrap();
    let exchange = upstream.request(&Outgoing::new("never answered", None)).await.unwrap();
    old.stream.try_send(None).unwrap();
    assert!(matches!(exchange.response().await, Err(UpstreamError::Ended)));
    assert!(matches!(upstream.request(&Outgoing::new("x", None)).await, Err(UpstreamError::Ended)));
}
