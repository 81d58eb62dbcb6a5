//! A handler that breaks breaks nothing else.

use std::sync::Arc;

use axum::body::Body;
use hayward_api::kinds::token::TokenSpec;
use hayward_api::{Error, Principal, Source};
use hayward_auth::{Credentials, Policies};
use hayward_store::{Store, StoreConfig};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ports::{BoxFuture, Hidden, Machine, Managed, Record};
use crate::{Plane, PlaneParts};

/// Does what is asked and records nothing.
struct NoRecord;

impl Record for NoRecord {
    fn around(
        &self,
        _: Caller,
        _: Managed,
        work: BoxFuture<'static, Result<(), Error>>,
    ) -> BoxFuture<'static, Result<(), Error>> {
        work
    }

    fn denied(&self, _: Caller, _: String, _: String) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }

    fn end(&self, _: &str) {}

    fn hide(&self, _values: Vec<Hidden>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

struct NoMachine;

impl Machine for NoMachine {
    fn token(&self, spec: TokenSpec) -> Result<TokenSpec, Error> {
        Ok(spec)
    }

    fn events(&self, _: usize) -> BoxFuture<'static, Result<Vec<Value>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

async fn plane(dir: &std::path::Path) -> Arc<Plane> {
    let parts = PlaneParts {
        store: Store::open(dir, StoreConfig::default()).await.unwrap(),
        credentials: Arc::new(Credentials::new()),
        policies: Arc::new(Policies::default()),
        record: Arc::new(NoRecord),
        machine: Arc::new(NoMachine),
        limits: crate::limits::Limits { answer_timeout_ms: 1_000, ..Default::default() },
        version: "0",
        is_bootstrap_open: false,
        shutdown: CancellationToken::new(),
    };
    Plane::start(parts).await.unwrap()
}

fn asked() -> Request {
    let caller = Caller {
        principal: Arc::new(Principal::anonymous()),
        source: Source::peer(None),
        request_id: "r-1".into(),
    };
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(caller);
    request
}

fn route(handler: crate::wire::route::Handler) -> &'static Route {
    Box::leak(Box::new(Route {
        method: Method::GET,
        path: "/x".to_owned(),
        operation: "x".to_owned(),
        summary: String::new(),
        kind: None,
        access: Access::Public,
        query: &[],
        takes: Takes::Nothing,
        gives: Gives::Nothing,
        statuses: &[],
        handler,
    }))
}

#[tokio::test]
async fn what_breaks_is_one_500_that_is_counted_and_the_next_request_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let plane = plane(dir.path()).await;
    let breaks = route(|_asked| Box::pin(async { unreachable!("as a bug would") }));
    let response = dispatch(Arc::clone(&plane), breaks, asked()).await;
    assert_eq!(response.status(), 500);
    assert_eq!((plane.panics(), plane.counters.errors.load(Ordering::Relaxed)), (1, 1));
    let works = route(|_asked| Box::pin(async { Ok(crate::wire::asked::nothing()) }));
    assert_eq!(dispatch(Arc::clone(&plane), works, asked()).await.status(), 204);
    assert_eq!(plane.panics(), 1);
}

#[tokio::test]
async fn what_takes_too_long_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let hangs = route(|_asked| Box::pin(std::future::pending()));
    assert_eq!(dispatch(plane(dir.path()).await, hangs, asked()).await.status(), 504);
}

#[tokio::test]
async fn a_request_whose_sender_nobody_has_identified_is_not_answered() {
    let dir = tempfile::tempdir().unwrap();
    let works = route(|_asked| Box::pin(async { Ok(crate::wire::asked::nothing()) }));
    let request = Request::new(Body::empty());
    assert_eq!(dispatch(plane(dir.path()).await, works, request).await.status(), 500);
}
