//! Access to the servers of this node that run elsewhere and want OAuth: who wants it, whom a person is asked about, and what
//! was granted.
//!
//! ```text
//!  the reconciler ── declare, retain ──► Grants ◄── begin, finish ── the control plane, for a person
//!                 ◄── standing, changed ──  │
//!                                           └──► what every request to such a server goes through
//! ```
//!
//! One grant serves all connections to a server, so it is renewed once however many find that it is over. What was granted is
//! kept elsewhere, sealed; here it is while it is used.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hayward_mcp::upstream::{Body, BoxFuture, Connect, ConnectError};
use http::{Request, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use url::{Origin, Url};

use crate::authorized::{Authorized, Keep, Renewal, Standing, challenge};
use crate::limits::{OAUTH_DECLARED_PATIENCE, OAUTH_PENDING_MAX, OAUTH_PENDING_TIME};
use crate::oauth::{Authorizer, Challenge, Client, Grant, Identity, OauthError, Pending};
use crate::placement::{Access, Address};

/// Who we say that we are.
const NAME: &str = "Hayward";

/// What is known of a server that may want OAuth.
pub struct Declared {
    /// Its address.
    pub upstream: Url,
    /// Who we are already, and to which issuer.
    pub known: Option<(String, Client)>,
    /// The only issuer that is asked, whomever the server names.
    pub issuer: Option<String>,
    /// What to ask to be allowed, whatever the server says that it wants.
    pub scopes: Vec<String>,
    /// Where a document says who we are.
    pub document: Option<Url>,
    /// What was granted.
    pub grant: Option<Grant>,
    /// Who keeps what is renewed.
    pub keep: Keep,
}

/// What a person is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What the person opens.
    pub url: Url,
    /// By which the answer is known.
    pub state: String,
    /// Who asks the person.
    pub issuer: String,
    /// What is to be allowed.
    pub scopes: Vec<String>,
}

/// Why a person can't be asked, or the answer isn't used.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// Nothing of the sort is declared here.
    #[error("server `{server}` is none that is asked for access here")]
    Undeclared {
        /// The server.
        server: String,
    },
    /// OAuth went wrong.
    #[error(transparent)]
    Oauth(#[from] OauthError),
}

/// Access to servers that want it.
pub struct Grants {
    /// Reaches whomever it is told to.
    anywhere: Arc<dyn Connect>,
    /// Reaches the public alone.
    public: Arc<dyn Connect>,
    servers: Mutex<HashMap<Arc<str>, Server>>,
    /// People who are asked, by what their answers are known by.
    asked: Mutex<HashMap<String, Asked>>,
    tasks: TaskTracker,
    told: watch::Sender<u64>,
}

struct Server {
    upstream: Url,
    identity: Identity,
    renewal: Option<Arc<Renewal>>,
    /// What it wanted when it refused us.
    refused: Option<Challenge>,
}

struct Asked {
    server: Arc<str>,
    authorizer: Authorizer,
    pending: Pending,
    at: Instant,
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").finish_non_exhaustive()
    }
}

impl Grants {
    /// Servers themselves are reached over the first one, and whomever they name over the second.
    pub fn new(anywhere: Arc<dyn Connect>, public: Arc<dyn Connect>) -> Arc<Self> {
        Arc::new(Self {
            anywhere,
            public,
            servers: Mutex::default(),
            asked: Mutex::default(),
            tasks: TaskTracker::new(),
            told: watch::Sender::new(0),
        })
    }

    /// Says when a server stands otherwise.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// What is to be known of a server from now on. A grant that is used already goes on as it is here, which is newer, but if it
    /// is worth nothing any more and another node has renewed it.
    ///
    /// # Errors
    /// If what was granted is for another server: it is shown to nobody.
    pub fn declare(&self, server: &str, declared: Declared) -> Result<(), OauthError> {
        let Declared { upstream, known, issuer, scopes, document, grant, keep } = declared;
        let redirect_uri = upstream.clone();
        let identity = Identity { name: NAME.to_owned(), redirect_uri, document, known, issuer, scopes };
        let authorizer = self.authorizer(&upstream, identity.clone());
        let mut servers = self.servers();
        let before = servers.remove(server);
        let used = before.as_ref().and_then(|it| it.renewal.clone()).filter(|_| {
            before.as_ref().is_some_and(|it| it.upstream == upstream && is_same(&it.identity, &identity))
        });
        let is_new = before.is_none();
        let refused = before.and_then(|it| it.refused);
        let told = (self.tasks.clone(), self.told.clone());
        let renewal = match (grant, used) {
            (Some(grant), Some(used)) if is_current(&used, &grant) => Ok(Some(used)),
            (Some(grant), _) => Renewal::new(authorizer, grant, keep, told).map(Some),
            (None, _) => Ok(None),
        };
        let (renewal, error) = match renewal {
            Ok(renewal) => (renewal, None),
            Err(error) => (None, Some(error)),
        };
        servers.insert(server.into(), Server { upstream, identity, renewal, refused });
        drop(servers);
        if is_new {
            self.tell();
        }
        error.map_or(Ok(()), Err)
    }

    /// Forgets all servers but these.
    pub fn retain(&self, is_kept: impl Fn(&str) -> bool) {
        self.servers().retain(|server, _| is_kept(server));
    }

    /// How a server stands; none if it wants nothing and nothing was granted.
    pub fn standing(&self, server: &str) -> Option<Standing> {
        let servers = self.servers();
        let server = servers.get(server)?;
        if let Some(renewal) = &server.renewal {
            return Some(renewal.standing());
        }
        let wants = server.refused.clone()?;
        Some(Standing { trouble: Some("it wants access to be granted".to_owned()), wants: Some(wants) })
    }

    /// Asks a person for access to a server: the browser comes back to this address.
    pub async fn begin(&self, server: &str, redirect_uri: Url) -> Result<Question, GrantError> {
        let (upstream, identity, renewal, refused) = self.declared(server).await?;
        let authorizer = self.authorizer(&upstream, Identity { redirect_uri, ..identity });
        let before = renewal.as_ref().map(|it| it.grant());
        let wanted = renewal.and_then(|it| it.standing().wants).or(refused);
        let challenge = match wanted {
            Some(challenge) => challenge,
            None => authorizer.challenge().await?,
        };
        let pending = authorizer.begin(&challenge, before.as_deref()).await?;
        let question = Question {
            url: pending.url.clone(),
            state: pending.state().to_owned(),
            issuer: pending.issuer().to_owned(),
            scopes: pending.scopes().to_vec(),
        };
        let asked = Asked { server: server.into(), authorizer, pending, at: Instant::now() };
        let mut all = self.asked();
        all.retain(|_, asked| asked.at.elapsed() < OAUTH_PENDING_TIME);
        if all.len() >= OAUTH_PENDING_MAX {
            return Err(OauthError::TooMany { count: all.len() }.into());
        }
        all.insert(question.state.clone(), asked);
        Ok(question)
    }

    /// Takes what a person's browser came back with, once: the query of the address that it was sent to.
    pub async fn finish(&self, server: &str, query: &str) -> Result<Grant, GrantError> {
        let state = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state");
        let state = state.map(|(_, value)| value.into_owned()).unwrap_or_default();
        let asked = {
            let mut all = self.asked();
            all.retain(|_, asked| asked.at.elapsed() < OAUTH_PENDING_TIME);
            let is_its = all.get(&state).is_some_and(|asked| *asked.server == *server);
            is_its.then(|| all.remove(&state)).flatten()
        };
        let nobody = "its `state` is not one that is waited for: it was answered already, is too late, or was never asked";
        let Asked { authorizer, pending, .. } = asked.ok_or(OauthError::NotOurs(nobody))?;
        Ok(authorizer.finish(pending, query).await?)
    }

    /// Waits until nothing is renewed any more.
    pub async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The way to an instance of a server, with what was granted.
    pub(crate) fn authorize(self: &Arc<Self>, server: &Arc<str>, access: Access) -> Access {
        let through = |Address { connect, url }: Address| {
            let renewal = self.servers().get(server).and_then(|it| it.renewal.clone());
            let connect: Arc<dyn Connect> = match renewal {
                Some(renewal) => Arc::new(Authorized::with(connect, renewal)),
                None => Arc::new(Heard { connect, server: Arc::clone(server), grants: Arc::clone(self) }),
            };
            Address { connect, url }
        };
        match access {
            Access::Http(address) => Access::Http(through(address)),
            Access::Sse(address) => Access::Sse(through(address)),
            Access::Lines(lines) => Access::Lines(lines),
        }
    }

    /// What is known of a server, which may have been declared only now.
    async fn declared(
        &self,
        server: &str,
    ) -> Result<(Url, Identity, Option<Arc<Renewal>>, Option<Challenge>), GrantError> {
        let find = || {
            let servers = self.servers();
            let it = servers.get(server)?;
            Some((it.upstream.clone(), it.identity.clone(), it.renewal.clone(), it.refused.clone()))
        };
        let mut changed = self.changed();
        let waiting = async {
            loop {
                if let Some(found) = find() {
                    return Some(found);
                }
                changed.changed().await.ok()?;
            }
        };
        let found = timeout(OAUTH_DECLARED_PATIENCE, waiting).await.ok().flatten();
        found.ok_or_else(|| GrantError::Undeclared { server: server.to_owned() })
    }

    fn authorizer(&self, upstream: &Url, identity: Identity) -> Authorizer {
        // Whoever says which issuer it is answers for whom that names.
        let others = if identity.issuer.is_some() { &self.anywhere } else { &self.public };
        let connect = Reaching {
            own: upstream.origin(),
            is_here: crate::oauth::is_loopback(upstream),
            anywhere: Arc::clone(&self.anywhere),
            others: Arc::clone(others),
        };
        Authorizer::new(Arc::new(connect), upstream.clone(), identity)
    }

    /// An answer to who shows nothing.
    fn heard(&self, server: &str, response: &Response<Box<dyn Body>>) {
        let refused = match response.status() {
            StatusCode::UNAUTHORIZED => Some(challenge(response).unwrap_or_default()),
            status if status.is_success() => None,
            _ => return,
        };
        let mut servers = self.servers();
        let Some(server) = servers.get_mut(server).filter(|it| it.refused != refused) else { return };
        server.refused = refused;
        drop(servers);
        self.tell();
    }

    fn tell(&self) {
        self.told.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<Arc<str>, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what is used is still what is kept: of the same asking, and worth something or the very same.
fn is_current(used: &Renewal, kept: &Grant) -> bool {
    let grant = used.grant();
    grant.id() == kept.id()
        && (used.standing().trouble.is_none() || grant.authorization() == kept.authorization())
}

/// Whether we are the same to the same.
fn is_same(one: &Identity, other: &Identity) -> bool {
    one.issuer == other.issuer
}

/// Reaches an upstream wherever it is, and whomever it names where that may be.
#[derive(Debug)]
struct Reaching {
    own: Origin,
    /// Whether the upstream is on this machine: then those may be whom it names.
    is_here: bool,
    anywhere: Arc<dyn Connect>,
    others: Arc<dyn Connect>,
}

impl Connect for Reaching {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Box<dyn Body>>, ConnectError>> {
        let asked = Url::parse(&request.uri().to_string()).ok();
        let is_reached =
            |url: Url| url.origin() == self.own || (self.is_here && crate::oauth::is_loopback(&url));
        let is_anywhere = asked.is_some_and(is_reached);
        if is_anywhere { self.anywhere.send(request) } else { self.others.send(request) }
    }
}

/// Requests of nobody in particular, of which it is heard that they are refused.
#[derive(Debug)]
struct Heard {
    connect: Arc<dyn Connect>,
    server: Arc<str>,
    grants: Arc<Grants>,
}

impl Connect for Heard {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Box<dyn Body>>, ConnectError>> {
        Box::pin(async move {
            let response = self.connect.send(request).await?;
            self.grants.heard(&self.server, &response);
            Ok(response)
        })
    }
}
