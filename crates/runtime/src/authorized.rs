//! Requests that show what was granted, and renew it before and after it is over.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hayward_mcp::upstream::{Body, BoxFuture, Connect, ConnectError};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::limits::{OAUTH_PAUSE, OAUTH_RENEW_BEFORE};
use crate::oauth::{Authorizer, Challenge, Grant, OauthError};

/// Who keeps a grant that was renewed: the old one may be worth nothing any more. Nothing is done with the new one before this
/// is over.
pub type Keep = Arc<dyn Fn(Grant) -> BoxFuture<'static, ()> + Send + Sync>;

/// Sends the requests of one upstream with what was granted for it.
pub struct Authorized {
    connect: Arc<dyn Connect>,
    renewal: Arc<Renewal>,
}

/// A grant, and what becomes of it: one for all connections that show it.
pub(crate) struct Renewal {
    authorizer: Authorizer,
    keep: Keep,
    now: Mutex<Now>,
    /// Held by whoever renews it.
    renewing: Arc<tokio::sync::Mutex<()>>,
    /// Renewals go on when whoever wanted them is gone: what comes of one must not be lost.
    tasks: TaskTracker,
    told: watch::Sender<u64>,
}

#[derive(Clone)]
struct Now {
    grant: Arc<Grant>,
    /// Until when nobody tries to renew it, because somebody did in vain.
    rests_until: Option<Instant>,
    /// Why it is worth nothing.
    trouble: Option<Trouble>,
    /// What the upstream wants beyond it.
    wants: Option<Challenge>,
}

/// Why a grant is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    why: String,
    /// Whether nothing but a person helps.
    is_final: bool,
}

/// How a grant stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Why the upstream can't be reached with it.
    pub trouble: Option<String>,
    /// What the upstream wants to be allowed beyond it.
    pub wants: Option<Challenge>,
}

impl fmt::Debug for Authorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorized").field("connect", &self.connect).finish_non_exhaustive()
    }
}

impl Authorized {
    /// Sends requests over this, with this grant. Renewals run on these tasks.
    ///
    /// # Errors
    /// If the grant is for another upstream than the authorizer's.
    pub fn new(
        connect: Arc<dyn Connect>,
        authorizer: Authorizer,
        grant: Grant,
        keep: Keep,
        tasks: TaskTracker,
    ) -> Result<Self, OauthError> {
        let renewal = Renewal::new(authorizer, grant, keep, (tasks, watch::Sender::new(0)))?;
        Ok(Self::with(connect, renewal))
    }

    /// The same with a grant that others show as well.
    pub(crate) fn with(connect: Arc<dyn Connect>, renewal: Arc<Renewal>) -> Self {
        Self { connect, renewal }
    }

    /// How the grant stands.
    pub fn standing(&self) -> Standing {
        self.renewal.standing()
    }

    async fn send_with(
        &self,
        mut request: Request<Bytes>,
        grant: &Grant,
    ) -> Result<Response<Box<dyn Body>>, ConnectError> {
        request.headers_mut().insert(AUTHORIZATION, grant.authorization());
        self.connect.send(request).await
    }
}

impl Renewal {
    /// What becomes of this grant; who is told whenever it stands otherwise hears it here.
    pub(crate) fn new(
        authorizer: Authorizer,
        grant: Grant,
        keep: Keep,
        (tasks, told): (TaskTracker, watch::Sender<u64>),
    ) -> Result<Arc<Self>, OauthError> {
        authorizer.check(&grant)?;
        let now = Now { grant: Arc::new(grant), rests_until: None, trouble: None, wants: None };
        Ok(Arc::new(Self { authorizer, keep, now: Mutex::new(now), renewing: Arc::default(), tasks, told }))
    }

    /// What was granted, as it is now.
    pub(crate) fn grant(&self) -> Arc<Grant> {
        Arc::clone(&self.now().grant)
    }

    pub(crate) fn standing(&self) -> Standing {
        let now = self.now();
        Standing { trouble: now.trouble.as_ref().map(|it| it.why.clone()), wants: now.wants.clone() }
    }

    /// A grant that is another one than this: renewed by us, or by somebody meanwhile. None if it can't be renewed now.
    async fn renewed(self: &Arc<Self>, over: &Arc<Grant>) -> Option<Arc<Grant>> {
        let guard = Arc::clone(&self.renewing).lock_owned().await;
        let Now { grant, rests_until, trouble, .. } = self.now().clone();
        if !Arc::ptr_eq(&grant, over) {
            return Some(grant);
        }
        let is_over = trouble.is_some_and(|trouble| trouble.is_final);
        if is_over || rests_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let this = Arc::clone(self);
        let renewing = self.tasks.spawn(async move {
            let _guard = guard;
            this.renew(&grant).await
        });
        renewing.await.ok().flatten()
    }

    async fn renew(&self, grant: &Grant) -> Option<Arc<Grant>> {
        match self.authorizer.refresh(grant).await {
            Ok(renewed) => {
                (self.keep)(renewed.clone()).await;
                let renewed = Arc::new(renewed);
                let mut now = self.now();
                now.grant = Arc::clone(&renewed);
                now.rests_until = None;
                Some(renewed)
            }
            Err(error) => {
                tracing::warn!(%error, "access to an upstream was not renewed");
                self.now().rests_until = Some(Instant::now() + OAUTH_PAUSE);
                if error.is_final() {
                    self.fails(Trouble { why: error.to_string(), is_final: true });
                }
                None
            }
        }
    }

    /// The grant is worth nothing.
    fn fails(&self, trouble: Trouble) {
        let mut now = self.now();
        // What nothing but a person helps against is not forgotten over something smaller.
        let is_known = now.trouble.as_ref().is_some_and(|known| known.is_final || *known == trouble);
        if !is_known {
            now.trouble = Some(trouble);
            drop(now);
            self.tell();
        }
    }

    /// What the upstream answered to who showed the grant.
    fn answered<T>(&self, response: &Response<T>) {
        match response.status() {
            StatusCode::UNAUTHORIZED => {
                let why = "the server refuses what was granted for it".to_owned();
                let is_final = !self.now().grant.is_renewable();
                self.fails(Trouble { why, is_final });
            }
            StatusCode::FORBIDDEN => {
                let wants = challenge(response).filter(|challenge| !challenge.scopes.is_empty());
                let mut now = self.now();
                if wants.is_some() && now.wants != wants {
                    now.wants = wants;
                    drop(now);
                    self.tell();
                }
            }
            status if status.is_success() => {
                let mut now = self.now();
                // A token may be good for a while that nobody renews any more.
                if now.trouble.take_if(|trouble| !trouble.is_final).is_some() {
                    drop(now);
                    self.tell();
                }
            }
            _ => {}
        }
    }

    fn tell(&self) {
        self.told.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an answer says that the upstream wants; none if it says nothing of it.
pub(crate) fn challenge<T>(response: &Response<T>) -> Option<Challenge> {
    let header = response.headers().get(WWW_AUTHENTICATE)?;
    header.to_str().ok().map(Challenge::read)
}

impl Connect for Authorized {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Box<dyn Body>>, ConnectError>> {
        Box::pin(async move {
            let mut grant = self.renewal.grant();
            let is_short = grant.is_renewable() && grant.is_due(OAUTH_RENEW_BEFORE);
            if is_short && let Some(renewed) = self.renewal.renewed(&grant).await {
                grant = renewed;
            }
            let again = grant.is_renewable().then(|| request.clone());
            let mut response = self.send_with(request, &grant).await?;
            // Refused before anything was done.
            if let Some(again) = again.filter(|_| response.status() == StatusCode::UNAUTHORIZED)
                && let Some(renewed) = self.renewal.renewed(&grant).await
            {
                response = self.send_with(again, &renewed).await?;
            }
            self.renewal.answered(&response);
            Ok(response)
        })
    }
}
