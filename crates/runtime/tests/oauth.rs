//! Access by OAuth, against an upstream and an authorization server that a test speaks for: what is asked of whom, what is
//! refused, and how a grant is renewed.

#![cfg(test)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hayward_mcp::upstream::{Body, BoxFuture, Connect, ConnectError};
use hayward_runtime::oauth::{Authorizer, Challenge, Client, Grant, Identity, OauthError, Pending};
use hayward_runtime::{Authorized, Keep};
use http::{Request, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio_util::task::TaskTracker;
use url::form_urlencoded;

const SERVER: &str = "https://up.example/x/mcp";
const ISSUER: &str = "https://as.example/tenant";

/// How often others come to run before anything is answered.
const SLOW: usize = 20;

/// What was asked: the address, the authorization, the form or the document.
#[derive(Clone, Debug)]
struct Asked {
    url: String,
    authorization: Option<String>,
    body: String,
}

impl Asked {
    fn form(&self) -> HashMap<String, String> {
        form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }
}

type Answering = Box<dyn Fn(&Asked) -> (u16, Value) + Send + Sync>;

/// The internet as far as it matters.
struct World {
    answer: Answering,
    asked: Mutex<Vec<Asked>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    fn new(answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { answer: Box::new(answer), asked: Mutex::default() })
    }

    fn asked(&self, url: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.url == url).cloned().collect()
    }
}

struct Text(Option<String>);

impl Body for Text {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, ConnectError>> {
        let text = self.0.take().map(Bytes::from);
        Box::pin(async { Ok(text) })
    }
}

impl Connect for World {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Box<dyn Body>>, ConnectError>> {
        let header = request.headers().get("authorization");
        let asked = Asked {
            url: request.uri().to_string(),
            authorization: header.map(|value| value.to_str().unwrap().to_owned()),
            body: String::from_utf8(request.body().to_vec()).unwrap(),
        };
        let (status, value) = (self.answer)(&asked);
        self.asked.lock().unwrap().push(asked);
        Box::pin(async move {
            // Whoever else asks at the same time is on the way as well.
            for _ in 0..SLOW {
                tokio::task::yield_now().await;
            }
            let body: Box<dyn Body> = Box::new(Text(Some(value.to_string())));
            Ok(Response::builder().status(status).body(body).unwrap())
        })
    }
}

fn issuer_document() -> Value {
    json!({
        "issuer": ISSUER, "authorization_endpoint": "https://as.example/authorize?tenant=1",
        "token_endpoint": "https://as.example/token", "registration_endpoint": "https://as.example/register",
        "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": true,
        "scopes_supported": ["read", "write", "offline_access"],
    })
}

/// A world in which all is well, and tokens are granted like this.
fn well(granted: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Arc<World> {
    World::new(move |asked| match asked.url.as_str() {
        "https://up.example/.well-known/oauth-protected-resource/x/mcp" => (
            200,
            json!({"resource": SERVER, "authorization_servers": [ISSUER], "scopes_supported": ["read"]}),
        ),
        "https://as.example/.well-known/oauth-authorization-server/tenant" => (200, issuer_document()),
        "https://as.example/register" => (201, json!({"client_id": "c", "client_secret": "cs"})),
        "https://as.example/token" => granted(asked),
        _ => (404, json!({})),
    })
}

fn granted(token: &str) -> (u16, Value) {
    (200, json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600, "refresh_token": "r1"}))
}

fn identity() -> Identity {
    Identity {
        name: "Hayward".to_owned(),
        redirect_uri: "https://gate.example/callback".parse().unwrap(),
        document: None,
        known: None,
        issuer: None,
        scopes: Vec::new(),
    }
}

fn authorizer(world: &Arc<World>) -> Authorizer {
    let connect: Arc<dyn Connect> = Arc::<World>::clone(world);
    Authorizer::new(connect, SERVER.parse().unwrap(), identity())
}

/// What the address of a question says.
fn said(pending: &Pending) -> HashMap<String, String> {
    pending.url.query_pairs().into_owned().collect()
}

/// What a browser comes back with whose person agreed.
fn agreed(pending: &Pending) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("code", "c0de")
        .append_pair("state", pending.state())
        .append_pair("iss", ISSUER)
        .finish()
}

async fn grant(world: &Arc<World>) -> Grant {
    let authorizer = authorizer(world);
    let pending = authorizer.begin(&Challenge::default(), None).await.unwrap();
    let query = agreed(&pending);
    authorizer.finish(pending, &query).await.unwrap()
}

#[tokio::test]
async fn a_person_is_asked_for_what_is_wanted_and_the_code_is_given_to_nobody_else() {
    let world = well(|_| granted("t1"));
    let authorizer = authorizer(&world);
    let pending = authorizer.begin(&Challenge::read("Bearer scope=\"write\""), None).await.unwrap();
    let asked = said(&pending);
    for (name, expect) in [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", "c"),
        ("redirect_uri", "https://gate.example/callback"),
        ("code_challenge_method", "S256"),
        ("resource", SERVER),
        ("scope", "write offline_access"),
    ] {
        assert_eq!(asked.get(name).map(String::as_str), Some(expect), "{name}");
    }
    let query = agreed(&pending);
    let grant = authorizer.finish(pending, &query).await.unwrap();
    assert_eq!(grant.authorization(), "Bearer t1");
    let token = &world.asked("https://as.example/token")[0];
    assert_eq!(token.authorization.as_deref(), Some("Basic Yzpjcw=="));
    let form = token.form();
    assert_eq!((form["grant_type"].as_str(), form["code"].as_str()), ("authorization_code", "c0de"));
    assert_eq!(form["resource"], SERVER);
    assert_eq!(form["redirect_uri"], "https://gate.example/callback");
    // Whoever sees the address can't have been given the code: only we know what its challenge was made of.
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
    assert_eq!((&challenge, form["code_verifier"].len()), (&asked["code_challenge"], 43));
    assert!(!form.contains_key("client_secret") && !form.contains_key("client_id"), "proved twice");
    let other = said(&authorizer.begin(&Challenge::default(), Some(&grant)).await.unwrap());
    assert!(other["state"] != asked["state"] && other["code_challenge"] != asked["code_challenge"]);
    let registered: Value =
        serde_json::from_str(&world.asked("https://as.example/register")[0].body).unwrap();
    assert_eq!(
        (&registered["application_type"], &registered["scope"]),
        (&json!("web"), &json!("write offline_access"))
    );
}

#[tokio::test]
async fn a_client_is_registered_anew_for_what_it_may_not_ask_yet_and_used_again_for_less() {
    let registered = |world: &World| {
        let said = |asked: &Asked| serde_json::from_str::<Value>(&asked.body).unwrap()["scope"].clone();
        world.asked("https://as.example/register").iter().map(said).collect::<Vec<_>>()
    };
    let world = well(|_| granted("t1"));
    let before = grant(&world).await;
    assert_eq!(registered(&world), ["read offline_access"]);
    let authorizer = authorizer(&world);
    authorizer.begin(&Challenge::read("Bearer scope=\"read\""), Some(&before)).await.unwrap();
    assert_eq!(registered(&world).len(), 1);
    authorizer.begin(&Challenge::read("Bearer scope=\"write\""), Some(&before)).await.unwrap();
    assert_eq!(registered(&world), ["read offline_access", "read offline_access write"]);
    // Nobody says what there is, so nothing is asked for, and nothing named, until somebody does.
    let silent = World::new(|asked| match asked.url.as_str() {
        "https://up.example/.well-known/oauth-protected-resource/x/mcp" => {
            (200, json!({"resource": SERVER, "authorization_servers": [ISSUER]}))
        }
        "https://as.example/.well-known/oauth-authorization-server/tenant" => (200, issuer_document()),
        "https://as.example/token" => granted("t1"),
        _ => (201, json!({"client_id": "c"})),
    });
    let before = grant(&silent).await;
    let authorizer = self::authorizer(&silent);
    authorizer.begin(&Challenge::read("Bearer scope=\"write\""), Some(&before)).await.unwrap();
    assert_eq!(registered(&silent), [Value::Null, json!("write offline_access")]);
    // Where no client may name any, it names none, and is used again.
    let strict = well(|_| granted("t1"));
    let strict = World::new(move |asked| {
        let is_named = asked.url.ends_with("/register") && asked.body.contains("scope");
        if is_named { (403, json!({"error": "insufficient_scope"})) } else { (strict.answer)(asked) }
    });
    let before = grant(&strict).await;
    let authorizer = self::authorizer(&strict);
    let pending = authorizer.begin(&Challenge::read("Bearer scope=\"write\""), Some(&before)).await.unwrap();
    assert_eq!(said(&pending)["scope"], "read offline_access write");
    assert_eq!(registered(&strict), [json!("read offline_access"), Value::Null]);
}

#[tokio::test]
async fn a_client_proves_itself_in_the_form_where_it_may_and_nowhere_else() {
    let well = well(|_| granted("t1"));
    let world = World::new(move |asked| {
        let (status, mut answer) = (well.answer)(asked);
        if asked.url.ends_with("oauth-authorization-server/tenant") {
            let methods = json!(["client_secret_basic", "client_secret_post"]);
            answer["token_endpoint_auth_methods_supported"] = methods;
        }
        (status, answer)
    });
    grant(&world).await;
    let token = &world.asked("https://as.example/token")[0];
    let form = token.form();
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("c", "cs"));
    assert_eq!(token.authorization, None);
}

#[tokio::test]
async fn what_is_not_the_answer_to_the_question_is_not_used() {
    let world = well(|_| granted("t1"));
    let authorizer = authorizer(&world);
    let issuer = form_urlencoded::byte_serialize(ISSUER.as_bytes()).collect::<String>();
    for (query, what) in [
        (format!("code=c&iss={issuer}"), "no `state`"),
        (format!("code=c&state=guessed&iss={issuer}"), "not the one that was sent"),
        (format!("code=c&state=STATE&state=STATE&iss={issuer}"), "stands twice"),
        ("code=c&state=STATE".to_owned(), "does not say"),
        (format!("code=c&state=STATE&iss={issuer}%2F"), "another authorization server"),
        ("code=c&state=STATE&iss=https%3A%2F%2Fevil.example".to_owned(), "another authorization server"),
        (format!("state=STATE&iss={issuer}"), "no `code`"),
        (format!("error=access_denied&error_description=no&state=STATE&iss={issuer}"), "access_denied (no)"),
    ] {
        let pending = authorizer.begin(&Challenge::default(), None).await.unwrap();
        let query = query.replace("STATE", pending.state());
        let told = authorizer.finish(pending, &query).await.unwrap_err().to_string();
        assert!(told.contains(what), "{query}: {told}");
    }
    assert!(world.asked("https://as.example/token").is_empty());
}

#[tokio::test]
async fn an_upstream_that_names_dangerous_addresses_gets_nobody_there() {
    for (key, value) in [
        ("authorization_endpoint", "javascript:alert(1)"),
        ("authorization_endpoint", "http://as.example/authorize"),
        ("authorization_endpoint", "file:///etc/passwd"),
        ("authorization_endpoint", "--flag"),
        ("authorization_endpoint", "$(id)"),
        ("registration_endpoint", "http://as.example/register"),
    ] {
        let world = World::new(move |asked| {
            let mut document = issuer_document();
            document[key] = json!(value);
            match asked.url.as_str() {
                "https://as.example/.well-known/oauth-authorization-server/tenant" => (200, document),
                url if url.starts_with("https://up.example/") => {
                    (200, json!({"resource": SERVER, "authorization_servers": [ISSUER]}))
                }
                _ => (201, json!({"client_id": "c"})),
            }
        });
        let told = authorizer(&world).begin(&Challenge::default(), None).await;
        assert!(matches!(told, Err(OauthError::Insecure { .. })), "{key} {value}: {told:?}");
    }
    // Its word sends us nowhere else, either.
    let world = well(|_| granted("t"));
    let elsewhere = Challenge::read("Bearer resource_metadata=\"https://10.0.0.1/latest/meta-data\"");
    assert!(matches!(
        authorizer(&world).begin(&elsewhere, None).await,
        Err(OauthError::OtherResource { .. })
    ));
    assert!(world.asked("https://10.0.0.1/latest/meta-data").is_empty());
}

#[tokio::test]
async fn who_is_known_is_not_registered_and_not_known_to_others() {
    let world = well(|_| granted("t"));
    let connect: Arc<dyn Connect> = Arc::<World>::clone(&world);
    for (at, expect) in [(ISSUER, "mine"), ("https://other.example", "c")] {
        let known = Some((at.to_owned(), Client::new("mine", Some("s".to_owned()))));
        let identity = Identity { known, ..identity() };
        let authorizer = Authorizer::new(Arc::clone(&connect), SERVER.parse().unwrap(), identity);
        let pending = authorizer.begin(&Challenge::default(), None).await.unwrap();
        assert_eq!(said(&pending)["client_id"], expect, "{at}");
    }
}

#[tokio::test]
async fn what_was_granted_before_is_asked_for_again_with_what_is_wanted_on_top() {
    let world = well(|_| granted("t"));
    let first = grant(&world).await;
    assert_eq!(first.scopes(), ["read", "offline_access"]);
    let more = Challenge::read("Bearer error=\"insufficient_scope\", scope=\"write\"");
    let pending = authorizer(&world).begin(&more, Some(&first)).await.unwrap();
    assert_eq!(said(&pending)["scope"], "read offline_access write");
}

#[tokio::test]
async fn a_grant_is_sealed_whole_and_shown_without_its_secrets() {
    let world = well(|_| granted("t0k3n"));
    let grant = grant(&world).await;
    let sealed = grant.to_secret();
    let again = Grant::from_secret(|name| sealed.get(name).map(String::as_str)).unwrap();
    // Each secret by itself, so that it is known where it is taken out of texts.
    assert_eq!(
        (&*sealed["ACCESS_TOKEN"], &*sealed["REFRESH_TOKEN"], &*sealed["CLIENT_SECRET"]),
        ("t0k3n", "r1", "cs")
    );
    assert!(["t0k3n", "\"r1\"", "\"cs\""].iter().all(|secret| !sealed["GRANT"].contains(secret)));
    assert!(!again.id().is_empty() && again.id() == grant.id());
    assert_eq!(again.authorization(), grant.authorization());
    assert!(again.is_renewable() && !again.is_due(Duration::from_mins(10)));
    assert_eq!(again.expires_at_unix(), grant.expires_at_unix());
    let shown = format!("{grant:?} {:?}", grant.authorization());
    assert!(["t0k3n", "r1", "cs\""].iter().all(|secret| !shown.contains(secret)), "{shown}");
    assert!(Grant::from_secret(|_| None).is_err() && Grant::from_secret(|_| Some("{}")).is_err());
}

/// Requests with a grant, in a world that takes tokens like this and grants those.
fn authorized(world: &Arc<World>, grant: Grant) -> (Arc<Authorized>, Arc<AtomicU32>) {
    let connect: Arc<dyn Connect> = Arc::<World>::clone(world);
    let kept = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&kept);
    let keep: Keep = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {})
    });
    let tasks = TaskTracker::new();
    (Arc::new(Authorized::new(connect, authorizer(world), grant, keep, tasks).unwrap()), kept)
}

async fn ask(authorized: &Authorized) -> u16 {
    let request = Request::post(SERVER).body(Bytes::from_static(b"{}")).unwrap();
    authorized.send(request).await.unwrap().status().as_u16()
}

/// A world that takes one token, and grants that one to whoever renews.
fn takes(token: &'static str) -> Arc<World> {
    World::new(move |asked| match asked.url.as_str() {
        SERVER if asked.authorization.as_deref() == Some(&format!("Bearer {token}")) => (200, json!({})),
        SERVER => (401, json!({})),
        "https://as.example/token" if asked.form()["refresh_token"] == "r1" => {
            (200, json!({"access_token": token, "token_type": "bearer", "expires_in": 3600}))
        }
        _ => (400, json!({"error": "invalid_grant"})),
    })
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once_and_the_request_sent_again() {
    let world = takes("t2");
    let (authorized, kept) = authorized(&world, grant(&well(|_| granted("t1"))).await);
    let asking = (0..8).map(|_| {
        let authorized = Arc::clone(&authorized);
        tokio::spawn(async move { ask(&authorized).await })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 200);
    }
    let renewed = world.asked("https://as.example/token");
    assert_eq!((renewed.len(), kept.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(renewed[0].form()["grant_type"], "refresh_token");
    assert_eq!(renewed[0].form()["resource"], SERVER);
}

#[tokio::test]
async fn a_renewal_is_not_lost_with_whoever_wanted_it() {
    let world = takes("t2");
    let (authorized, kept) = authorized(&world, grant(&well(|_| granted("t1"))).await);
    let asking = tokio::spawn({
        let authorized = Arc::clone(&authorized);
        async move { ask(&authorized).await }
    });
    while world.asked("https://as.example/token").is_empty() {
        tokio::task::yield_now().await;
    }
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    assert_eq!(ask(&authorized).await, 200);
    assert_eq!((world.asked("https://as.example/token").len(), kept.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn a_grant_is_shown_to_the_upstream_that_it_is_for_and_to_no_other() {
    let world = well(|_| granted("t1"));
    let grant = grant(&world).await;
    let connect: Arc<dyn Connect> = Arc::<World>::clone(&world);
    for (upstream, is_its) in
        [(SERVER, true), ("https://up.example/y", false), ("https://other.example/x/mcp", false)]
    {
        let authorizer = Authorizer::new(Arc::clone(&connect), upstream.parse().unwrap(), identity());
        let keep: Keep = Arc::new(|_| Box::pin(async {}));
        let made = Authorized::new(Arc::clone(&connect), authorizer, grant.clone(), keep, TaskTracker::new());
        assert_eq!(made.is_ok(), is_its, "{upstream}");
    }
}

#[tokio::test]
async fn a_token_that_has_ended_is_renewed_before_it_is_used() {
    let short = well(|_| {
        (200, json!({"access_token": "t1", "token_type": "Bearer", "expires_in": 0, "refresh_token": "r1"}))
    });
    let world = takes("t2");
    let (authorized, kept) = authorized(&world, grant(&short).await);
    assert_eq!((ask(&authorized).await, ask(&authorized).await), (200, 200));
    assert_eq!(kept.load(Ordering::Relaxed), 1);
    assert!(world.asked(SERVER).iter().all(|asked| asked.authorization.as_deref() == Some("Bearer t2")));
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_refused_as_the_upstream_refuses_it() {
    let world = World::new(|asked| match asked.url.as_str() {
        SERVER => (401, json!({})),
        _ => (400, json!({"error": "invalid_grant"})),
    });
    let (first, kept) = authorized(&world, grant(&well(|_| granted("t1"))).await);
    for _ in 0..5 {
        assert_eq!((ask(&first).await, kept.load(Ordering::Relaxed)), (401, 0));
    }
    // What was tried in vain is not tried with every request.
    assert_eq!((world.asked(SERVER).len(), world.asked("https://as.example/token").len()), (5, 1));
    // Without anything to renew it with, nobody is asked to.
    let bare = well(|_| (200, json!({"access_token": "t1", "token_type": "Bearer"})));
    let world = takes("t2");
    let (second, _) = authorized(&world, grant(&bare).await);
    assert_eq!(ask(&second).await, 401);
    assert!(world.asked("https://as.example/token").is_empty());
}

#[tokio::test]
async fn what_is_granted_has_to_be_a_bearer_token_that_can_be_shown() {
    for answer in [
        json!({"access_token": "t", "token_type": "mac"}),
        json!({"access_token": "", "token_type": "Bearer"}),
        json!({"access_token": "a\nb", "token_type": "Bearer"}),
        json!({"token_type": "Bearer"}),
        json!([]),
    ] {
        let shown = answer.to_string();
        let world = well(move |_| (200, answer.clone()));
        let authorizer = authorizer(&world);
        let pending = authorizer.begin(&Challenge::default(), None).await.unwrap();
        let query = agreed(&pending);
        let told = authorizer.finish(pending, &query).await;
        assert!(matches!(told, Err(OauthError::Unusable { .. })), "{shown}: {told:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_says_nothing_grants_access_itself() {
    let world = World::new(|asked| match asked.url.as_str() {
        "https://up.example/.well-known/oauth-authorization-server" => {
            let mut document = issuer_document();
            document["issuer"] = json!("https://up.example");
            (200, document)
        }
        "https://as.example/register" => (201, json!({"client_id": "c"})),
        _ => (404, json!({})),
    });
    let pending = authorizer(&world).begin(&Challenge::default(), None).await.unwrap();
    assert_eq!(said(&pending)["resource"], SERVER);
    assert!(!said(&pending).contains_key("scope"));
}
