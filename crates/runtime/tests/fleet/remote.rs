//! Instances that run elsewhere, behind a wire that can be cut.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hayward_api::definition::Placement as Where;
use hayward_mcp::abilities::{Abilities, Ability};
use hayward_mcp::upstream::{Body, BoxFuture, Connect, ConnectError};
use hayward_runtime::Limits;
use hayward_runtime::fleet::{ConnectFailure, Fleet, State, Wanted};
use hayward_runtime::placement::{End, Placement};
use hayward_runtime::placements::remote::Remote;
use hayward_runtime::probes::Verdict;
use http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::rig::{PATIENCE, call, ended, fleet, runs, wanted};

/// A server of the legacy era, of which everything is answered at once.
#[derive(Debug, Default)]
struct Elsewhere {
    is_cut: AtomicBool,
    is_unwell: AtomicBool,
    handshakes: AtomicUsize,
    pings: watch::Sender<usize>,
    abilities: Mutex<Vec<Value>>,
    keys: Mutex<Vec<Option<HeaderValue>>>,
}

struct Whole(Option<Bytes>);

impl Body for Whole {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, ConnectError>> {
        Box::pin(async { Ok(self.0.take()) })
    }
}

impl Elsewhere {
    fn answer(&self, request: &Request<Bytes>) -> Response<Box<dyn Body>> {
        self.keys.lock().unwrap().push(request.headers().get("x-key").cloned());
        let of = |status: u16, body: Option<Value>| {
            let body = body.map(|body| Bytes::from(body.to_string()));
            let answer: Box<dyn Body> = Box::new(Whole(body));
            let response = Response::builder().status(status).header("content-type", "application/json");
            response.body(answer).unwrap()
        };
        if request.method() != http::Method::POST {
            let is_page = request.uri().path() == "/healthy";
            return of(if is_page { 200 } else { 405 }, None);
        }
        let message: Value = serde_json::from_slice(request.body()).unwrap();
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                self.handshakes.fetch_add(1, Ordering::Relaxed);
                self.abilities.lock().unwrap().push(message["params"]["capabilities"].clone());
                json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}})
            }
            "tools/call" => json!({"content": [], "isError": self.is_unwell.load(Ordering::Relaxed)}),
            "ping" => {
                self.pings.send_modify(|count| *count += 1);
                json!({})
            }
            "server/discover" => {
                let error = json!({"code": -32601, "message": "no"});
                return of(200, Some(json!({"jsonrpc": "2.0", "id": message["id"], "error": error})));
            }
            _ => return of(202, None),
        };
        of(200, Some(json!({"jsonrpc": "2.0", "id": message["id"], "result": result})))
    }
}

impl Connect for Elsewhere {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Box<dyn Body>>, ConnectError>> {
        Box::pin(async move {
            if self.is_cut.load(Ordering::Relaxed) {
                return Err(ConnectError { what: "it is cut".to_owned(), may_have_arrived: false });
            }
            Ok(self.answer(&request))
        })
    }
}

fn remote() -> (Arc<Elsewhere>, Arc<Fleet>) {
    let elsewhere = Arc::<Elsewhere>::default();
    let connect: Arc<dyn Connect> = Arc::<Elsewhere>::clone(&elsewhere);
    let placement: Arc<dyn Placement> = Arc::new(Remote::new(connect));
    (elsewhere, fleet(HashMap::from([(Where::Remote, placement)]), Limits::default()))
}

fn at(more: &Value) -> Wanted {
    let mut spec = json!({"externalUrl": "http://elsewhere/mcp"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let headers = HeaderMap::from_iter([("x-key".parse().unwrap(), "k".parse().unwrap())]);
    Wanted { headers, ..wanted("a-0", "a", &spec) }
}

#[tokio::test]
async fn one_that_is_cut_off_is_connected_to_again_when_somebody_tells() {
    let (elsewhere, fleet) = remote();
    fleet.start(at(&json!({})));
    let instance = fleet.instance("a-0").unwrap();
    let upstream = runs(&instance).await;
    assert!(elsewhere.keys.lock().unwrap().iter().all(|key| key.as_ref().is_some_and(|it| it == "k")));
    // A doubt without a reason changes nothing.
    elsewhere.is_cut.store(true, Ordering::Relaxed);
    let error = {
        let outgoing = hayward_mcp::upstream::Outgoing::new("ping", None);
        upstream.request(&outgoing).await.unwrap_err()
    };
    elsewhere.is_cut.store(false, Ordering::Relaxed);
    let mut pings = elsewhere.pings.subscribe();
    instance.failed(&upstream, &error);
    timeout(PATIENCE, pings.changed()).await.unwrap().unwrap();
    call(&upstream).await.unwrap();
    assert!(instance.is_running() && elsewhere.handshakes.load(Ordering::Relaxed) == 1);
    // One with a reason does.
    elsewhere.is_cut.store(true, Ordering::Relaxed);
    let mut states = instance.states();
    states.mark_unchanged();
    instance.failed(&upstream, &error);
    timeout(PATIENCE, states.wait_for(|state| *state == State::Starting)).await.unwrap().unwrap();
    assert!(fleet.pick("a").is_none() && instance.trouble().is_some());
    elsewhere.is_cut.store(false, Ordering::Relaxed);
    let again = runs(&instance).await;
    assert!(!Arc::ptr_eq(&upstream, &again) && instance.trouble().is_none());
    call(&again).await.unwrap();
    fleet.close().await;
    assert!(instance.is_ended());
}

#[tokio::test]
async fn one_that_is_never_reached_ends_with_the_reason() {
    let (elsewhere, fleet) = remote();
    elsewhere.is_cut.store(true, Ordering::Relaxed);
    fleet.start(at(&json!({})));
    let end = ended(&fleet.instance("a-0").unwrap()).await;
    assert!(matches!(&end, End::Failed { why } if why.contains("it is cut")), "{end:?}");
    fleet.close().await;
}

#[tokio::test]
async fn a_caller_has_a_connection_of_its_own_where_that_can_be() {
    let (elsewhere, fleet) = remote();
    fleet.start(at(&json!({})));
    let instance = fleet.instance("a-0").unwrap();
    assert!(matches!(instance.connect(Abilities::default()).await, Err(ConnectFailure::NotRunning { .. })));
    let shared = runs(&instance).await;
    let (own, _events) = instance.connect(Abilities::from(Ability::ListRoots)).await.unwrap();
    assert!(!Arc::ptr_eq(&shared, &own));
    call(&own).await.unwrap();
    let declared = elsewhere.abilities.lock().unwrap().clone();
    assert_eq!((declared[0].get("roots"), declared[1].get("roots").is_some()), (None, true));
    fleet.close().await;
}

#[tokio::test]
async fn health_is_seen_and_an_unwell_one_is_connected_to_anew() {
    let (elsewhere, fleet) = remote();
    let check = json!({"tool": "t", "intervalSeconds": 1, "failureThreshold": 1});
    fleet.start(at(&json!({"healthCheck": check})));
    let instance = fleet.instance("a-0").unwrap();
    runs(&instance).await;
    let mut changed = fleet.changed();
    let mut until = async |verdict: Verdict| {
        while instance.health().verdict != verdict {
            timeout(PATIENCE, changed.changed()).await.unwrap().unwrap();
        }
    };
    until(Verdict::Healthy).await;
    assert!(instance.health().latency.is_some());
    elsewhere.is_unwell.store(true, Ordering::Relaxed);
    until(Verdict::Unhealthy).await;
    // There is no better one.
    assert!(fleet.pick("a").is_some() && instance.health().why.is_some());
    elsewhere.is_unwell.store(false, Ordering::Relaxed);
    until(Verdict::Healthy).await;
    elsewhere.is_unwell.store(true, Ordering::Relaxed);
    until(Verdict::Unhealthy).await;
    let mut states = instance.states();
    timeout(PATIENCE, states.wait_for(|state| *state == State::Starting)).await.unwrap().unwrap();
    runs(&instance).await;
    assert!(elsewhere.handshakes.load(Ordering::Relaxed) > 1);
    fleet.close().await;
}

#[tokio::test]
async fn a_page_is_a_sign_of_life() {
    for (path, expect) in [("/healthy", Verdict::Healthy), ("/other", Verdict::Unhealthy)] {
        let (_elsewhere, fleet) = remote();
        fleet.start(at(
            &json!({"healthCheck": {"httpPath": path, "intervalSeconds": 1, "failureThreshold": 1}}),
        ));
        let instance = fleet.instance("a-0").unwrap();
        let mut changed = fleet.changed();
        while instance.health().verdict != expect {
            timeout(PATIENCE, changed.changed()).await.unwrap().unwrap();
        }
        fleet.close().await;
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_no_sign_of_anything() {
    let (elsewhere, fleet) = remote();
    fleet.start(at(&json!({"healthCheck": {"exec": ["true"], "intervalSeconds": 1, "failureThreshold": 1}})));
    let instance = fleet.instance("a-0").unwrap();
    runs(&instance).await;
    while instance.health().why.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let health = instance.health();
    assert_eq!((health.verdict, health.failures), (Verdict::Unknown, 0));
    assert!(health.why.is_some_and(|why| why.contains("nothing can be run beside")));
    assert_eq!(elsewhere.handshakes.load(Ordering::Relaxed), 1);
    fleet.close().await;
}

#[tokio::test]
async fn what_is_wanted_is_noted_for_as_long_as_there_is_such_a_server() {
    let (_elsewhere, fleet) = remote();
    let changed = fleet.changed();
    fleet.wanted("a");
    fleet.wanted("b");
    assert!(changed.has_changed().unwrap());
    assert_eq!(fleet.demand(&["a"]).len(), 1);
    assert!(!fleet.demand(&["a", "b"]).contains_key("b"));
    fleet.close().await;
}
