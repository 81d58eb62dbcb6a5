//! Requests that show what was granted, and renew it before and after it is over.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hayward_mcp::upstream::{Body, BoxFuture, Connect, ConnectError};
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::limits::{OAUTH_PAUSE, OAUTH_RENEW_BEFORE};
use crate::oauth::{Authorizer, Grant, OauthError};

/// Whom to tell of a grant that was renewed, so that it is kept: the old one may be worth nothing any more. It is told before
/// anything is done with the new one, and must not block.
pub type Keep = Arc<dyn Fn(&Grant) + Send + Sync>;

/// Sends the requests of one upstream with what was granted for it.
pub struct Authorized {
    connect: Arc<dyn Connect>,
    renewal: Arc<Renewal>,
    /// Renewals go on when whoever wanted them is gone: what comes of one must not be lost.
    tasks: TaskTracker,
}

/// A grant, and what becomes of it.
struct Renewal {
    authorizer: Authorizer,
    keep: Keep,
    now: Mutex<Now>,
    /// Held by whoever renews it.
    renewing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct Now {
    grant: Arc<Grant>,
    /// Until when nobody tries to renew it, because somebody did in vain.
    rests_until: Option<Instant>,
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
        authorizer.check(&grant)?;
        let now = Mutex::new(Now { grant: Arc::new(grant), rests_until: None });
        let renewal = Arc::new(Renewal { authorizer, keep, now, renewing: Arc::default() });
        Ok(Self { connect, renewal, tasks })
    }

    /// A grant that is another one than this: renewed by us, or by somebody meanwhile. None if it can't be renewed now.
    async fn renewed(&self, over: &Arc<Grant>) -> Option<Arc<Grant>> {
        let guard = Arc::clone(&self.renewal.renewing).lock_owned().await;
        let Now { grant, rests_until } = self.renewal.now();
        if !Arc::ptr_eq(&grant, over) {
            return Some(grant);
        }
        if rests_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let renewal = Arc::clone(&self.renewal);
        let renewing = self.tasks.spawn(async move {
            let _guard = guard;
            renewal.renew(&grant).await
        });
        renewing.await.ok().flatten()
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
    fn now(&self) -> Now {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, now: Now) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    async fn renew(&self, grant: &Arc<Grant>) -> Option<Arc<Grant>> {
        match self.authorizer.refresh(grant).await {
            Ok(renewed) => {
                let renewed = Arc::new(renewed);
                (self.keep)(&renewed);
                self.set(Now { grant: Arc::clone(&renewed), rests_until: None });
                Some(renewed)
            }
            Err(error) => {
                tracing::warn!(%error, "access to an upstream was not renewed");
                self.set(Now { grant: Arc::clone(grant), rests_until: Some(Instant::now() + OAUTH_PAUSE) });
                None
            }
        }
    }
}

impl Connect for Authorized {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Box<dyn Body>>, ConnectError>> {
        Box::pin(async move {
            let mut grant = self.renewal.now().grant;
            let is_short = grant.is_renewable() && grant.ends_within(OAUTH_RENEW_BEFORE);
            if is_short && let Some(renewed) = self.renewed(&grant).await {
                grant = renewed;
            }
            let again = grant.is_renewable().then(|| request.clone());
            let response = self.send_with(request, &grant).await?;
            match again {
                // Refused before anything was done.
                Some(again) if response.status() == StatusCode::UNAUTHORIZED => {
                    match self.renewed(&grant).await {
                        Some(renewed) => self.send_with(again, &renewed).await,
                        None => Ok(response),
                    }
                }
                _ => Ok(response),
            }
        })
    }
}
