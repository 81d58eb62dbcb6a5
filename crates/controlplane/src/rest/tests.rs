//! A handler that breaks breaks nothing else.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::body::Body;
use hayward_api::kinds::token::{Role, TokenSpec};
use hayward_api::{Error, Principal, Source};
use hayward_auth::{CredentialRecord, Credentials, Policies, Purpose, Token, Verb};
use hayward_store::{Actor, Deletion, Desired, EndLogins, Key, NewLogin, Store, StoreConfig};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::guarded::Allowed;
use crate::ports::{BoxFuture, Gateway, Hidden, Machine, Managed, Record, Seen, Target};
use crate::{Plane, PlaneParts, Reached};

/// Does what is asked and records nothing.
struct NoRecord;

impl Record for NoRecord {
    fn around(
        &self,
        _: Caller,
        _: Managed,
        work: BoxFuture<'static, Result<(), Error>>,
    ) -> BoxFuture<'static, Result<(), Error>> {
        // To its end, as the trait says.
        let work = TaskTracker::new().spawn(work);
        Box::pin(async { work.await.unwrap() })
    }

    fn denied(&self, _: Caller, _: String, _: String) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }

    fn end(&self, _: &str) {}

    fn hide(&self, _values: Vec<Hidden>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn cleaned<'t>(&self, text: &'t str) -> std::borrow::Cow<'t, str> {
        text.into()
    }
}

struct NoGateway;

impl Gateway for NoGateway {
    fn seen(&self, _: &str) -> Option<Seen> {
        None
    }

    fn unknown(&self, _: &str, _: &[&str]) -> Vec<String> {
        Vec::new()
    }

    fn ask(&self, _: Caller, _: Target, _: bytes::Bytes) -> BoxFuture<'static, Result<Vec<u8>, Error>> {
        Box::pin(async { Err(Error::new(hayward_api::Code::NotFound, "there is no such endpoint")) })
    }
}

struct NoMachine;

impl Machine for NoMachine {
    fn token(&self, spec: TokenSpec, _: Option<&TokenSpec>) -> Result<TokenSpec, Error> {
        Ok(spec)
    }

    fn events(&self, _: usize) -> BoxFuture<'static, Result<Vec<Value>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

async fn plane(dir: &std::path::Path) -> Arc<Plane> {
    plane_of(store(dir).await).await
}

async fn store(dir: &std::path::Path) -> Store {
    Store::open(dir, StoreConfig::default()).await.unwrap()
}

async fn plane_of(store: Store) -> Arc<Plane> {
    plane_with(store, Arc::new(Credentials::new())).await
}

async fn plane_with(store: Store, credentials: Arc<Credentials>) -> Arc<Plane> {
    let parts = PlaneParts {
        store,
        credentials,
        policies: Arc::new(Policies::default()),
        record: Arc::new(NoRecord),
        machine: Arc::new(NoMachine),
        fleet: None,
        gateway: Arc::new(NoGateway),
        reached: Reached { url: None, scheme: "http" },
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
async fn what_has_begun_goes_on_after_its_time_and_the_answer_says_that_it_may() {
    static DONE: AtomicBool = AtomicBool::new(false);
    static GO_ON: Semaphore = Semaphore::const_new(0);
    let dir = tempfile::tempdir().unwrap();
    let plane = plane(dir.path()).await;
    let text = async |route| {
        let response = dispatch(Arc::clone(&plane), route, asked()).await;
        assert_eq!(response.status(), 504);
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    };
    let begun = route(|asked| {
        Box::pin(async move {
            let work = async {
                drop(GO_ON.acquire().await);
                DONE.store(true, Ordering::Relaxed);
                Ok(())
            };
            asked.change([], work).await?;
            Ok(crate::wire::asked::nothing())
        })
    });
    let told = text(begun).await;
    assert!(told.contains("may still be done") && !DONE.load(Ordering::Relaxed), "{told}");
    GO_ON.add_permits(1);
    let done = async {
        while !DONE.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), done).await.unwrap();
    let hangs = route(|_asked| Box::pin(std::future::pending()));
    assert!(text(hangs).await.contains("nothing was done"));
}

#[tokio::test]
async fn a_request_whose_sender_nobody_has_identified_is_not_answered() {
    let dir = tempfile::tempdir().unwrap();
    let works = route(|_asked| Box::pin(async { Ok(crate::wire::asked::nothing()) }));
    let request = Request::new(Body::empty());
    assert_eq!(dispatch(plane(dir.path()).await, works, request).await.status(), 500);
}

#[tokio::test]
async fn without_the_key_of_secrets_rules_are_followed_still_and_health_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (here, elsewhere) = (store(dir.path()).await, store(dir.path()).await);
    let plane = plane_of(here.clone()).await;
    let make = async |at: &Store, kind: &str, name: &str, spec: Value| {
        let kind = hayward_api::kinds::find(kind).unwrap();
        at.create(&Desired::new(kind, None, name, spec), &Actor::system()).await.unwrap()
    };
    let status = async |wanted: &str| {
        let overview =
            crate::routes::ROUTES.iter().find(|route| route.path.ends_with("/health/overview")).unwrap();
        let response = dispatch(Arc::clone(&plane), overview, asked()).await;
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["status"] == wanted
    };
    let until = async |wanted: &str| {
        for _ in 0..500 {
            if status(wanted).await {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        false
    };
    assert!(status("ok").await);
    let (key, away) = (dir.path().join("keys/secrets.json"), dir.path().join("away"));
    elsewhere.public_key().await.unwrap();
    std::fs::rename(&key, &away).unwrap();
    make(&elsewhere, "secret", "s", json!({"data": {"A": "hunter2222"}})).await;
    // A file has one writer: what another has written is seen with what comes next.
    make(&here, "group", "next", json!({"members": []})).await;
    assert!(until("degraded").await);
    let mut changed = plane.snapshots.changed();
    changed.mark_unchanged();
    make(&here, "group", "late", json!({"members": []})).await;
    tokio::time::timeout(std::time::Duration::from_secs(1), changed.changed()).await.unwrap().unwrap();
    std::fs::rename(&away, &key).unwrap();
    assert!(until("ok").await);
    elsewhere.close().await;
}

#[tokio::test]
async fn what_was_taken_away_on_another_node_is_gone_when_a_change_begins() {
    let dir = tempfile::tempdir().unwrap();
    // A file has one writer: nothing tells the plane of what another one writes.
    let (here, elsewhere) = (store(dir.path()).await, store(dir.path()).await);
    let kind = |name: &str| hayward_api::kinds::find(name).unwrap();
    let make = async |of: &str, name: &str, spec: Value| {
        let desired = Desired::new(kind(of), None, name, spec);
        here.create(&desired, &Actor::system()).await.unwrap().metadata.uid
    };
    let (servers, rules) = (kind("server"), kind("rbac"));
    let bob = make("user", "bob@x.org", json!({"role": "USER"})).await;
    let binding = json!({"subjects": [{"kind": "User", "name": "bob@x.org"}],
                         "roleBindings": [{"role": "edit", "resource": "servers"}]});
    let rule = Desired::new(rules, None, "bob", binding);
    here.create(&rule, &Actor::system()).await.unwrap();
    let login = |token: &Token| NewLogin {
        id: token.id(),
        digest: token.digest(),
        user: &bob,
        created_unix: 0,
        expires_unix: i64::MAX,
        password: None,
        impersonator: None,
    };
    let token = Token::mint(Purpose::Login);
    here.create_login(&login(&token), &Actor::system()).await.unwrap();
    let plane = plane_of(here.clone()).await;
    let caller = Caller {
        principal: plane.snapshots.principal(token.id()).unwrap(),
        source: Source::peer(None),
        request_id: "r-1".into(),
    };
    let prove = || plane.guarded.named(&caller, Verb::Edit, servers, ("s", None));
    let begin = async |proof: &Allowed| {
        let begun = plane.guarded.begin(&caller, &[proof]).await;
        begun.map(drop).map_err(|denied| denied.error.message)
    };
    let proof = prove().unwrap();
    assert_eq!(begin(&proof).await, Ok(()));
    let key = Key::global(rules, "bob");
    elsewhere.delete(&key, None, Deletion::Refuse, &Actor::system()).await.unwrap();
    assert!(prove().is_ok(), "nobody looked since");
    let refused = begin(&proof).await.unwrap_err();
    assert!(refused.contains("servers"), "{refused}");
    elsewhere.create(&rule, &Actor::system()).await.unwrap();
    assert_eq!(begin(&proof).await, Ok(()));
    elsewhere.delete_logins(EndLogins::One(token.id()), &Actor::system()).await.unwrap();
    let refused = begin(&proof).await.unwrap_err();
    assert!(refused.contains("revoked"), "{refused}");
    elsewhere.close().await;
}

#[tokio::test]
async fn what_no_store_has_is_let_in_no_longer_but_for_the_temporary_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let credentials = Arc::new(Credentials::new());
    let plane = plane_with(store.clone(), Arc::clone(&credentials)).await;
    let record = |token: &Token| CredentialRecord {
        id: token.id(),
        digest: token.digest(),
        principal: Arc::new(Principal::anonymous()),
        enabled: true,
        expires_at_unix: None,
        made_with: None,
    };
    // As of somebody who read the store before the token was revoked there.
    let (late, temporary) = (Token::mint(Purpose::Login), Token::mint(Purpose::Login));
    credentials.insert(record(&late));
    credentials.insert_temporary(record(&temporary));
    let (_, kept) = store.create_token("ci", Role::Ro, &Actor::system()).await.unwrap();
    drop(plane.snapshots.begin().await.unwrap());
    let is_in = |token: &Token| plane.snapshots.principal(token.id()).is_some();
    assert_eq!((is_in(&late), is_in(&temporary), is_in(&kept)), (false, true, true));
}
