//! Calls of legacy servers that wait in the middle, because their server has asked something and whoever can answer it isn't
//! on the line: held until the answer comes, for a bounded time, and never more of them than there are places.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use hayward_api::Principal;
use hayward_mcp::upstream::{Asked, Exchange};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::links::Link;
use crate::limits::{HELD_CALLS_MAX, HELD_CALLS_PER_CREDENTIAL_MAX, HELD_FOR, TELL_TIMEOUT};

/// The calls that are held.
#[derive(Clone, Debug)]
pub(crate) struct Held(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    calls: Mutex<HashMap<String, HeldCall>>,
    /// Tells of those that nobody came back for.
    over: mpsc::Sender<Expired>,
}

/// A call in the middle.
#[derive(Debug)]
pub(crate) struct HeldCall {
    /// Whose it is.
    pub(crate) principal: Arc<Principal>,
    /// Its server.
    pub(crate) server: Arc<str>,
    /// Its request at the server.
    pub(crate) exchange: Exchange,
    /// What the server asks.
    pub(crate) asked: Asked,
    /// The connection on which it asks.
    pub(crate) link: Link,
    /// The id of the request that it began with, for the record.
    pub(crate) correlation_id: Arc<str>,
    /// Fires when it is held no longer.
    pub(crate) _is_over: DropGuard,
}

/// A call that was held for as long as any is.
#[derive(Clone, Debug)]
pub(crate) struct Expired {
    pub(crate) principal: Arc<Principal>,
    pub(crate) server: Arc<str>,
    pub(crate) correlation_id: Arc<str>,
}

impl Held {
    /// None is held; the other end hears of those that expire.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Expired>) {
        let (over, expired) = mpsc::channel(HELD_CALLS_MAX);
        (Self(Arc::new(Inner { calls: Mutex::default(), over })), expired)
    }

    /// Holds a call, and says under which id; gives it back if there is no room. Somebody has to run [`Held::expire`] then.
    pub(crate) fn put(&self, call: HeldCall) -> Result<String, Box<HeldCall>> {
        let mut calls = self.lock();
        let own =
            calls.values().filter(|other| other.principal.credential == call.principal.credential).count();
        if calls.len() >= HELD_CALLS_MAX || own >= HELD_CALLS_PER_CREDENTIAL_MAX {
            return Err(Box::new(call));
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        calls.insert(id.clone(), call);
        Ok(id)
    }

    /// Takes a call of this credential to go on with it; none if it is over, or somebody else's.
    pub(crate) fn take(&self, id: &str, credential: &str) -> Option<HeldCall> {
        let mut calls = self.lock();
        calls.get(id).filter(|call| call.principal.credential == credential)?;
        calls.remove(id)
    }

    /// Ends a call that nobody comes back for in time, unless it is over before.
    pub(crate) async fn expire(self, id: String, is_over: CancellationToken) {
        if is_over.run_until_cancelled(tokio::time::sleep(HELD_FOR)).await.is_none() {
            return;
        }
        let Some(call) = self.lock().remove(&id) else { return };
        let expired = Expired {
            principal: Arc::clone(&call.principal),
            server: Arc::clone(&call.server),
            correlation_id: Arc::clone(&call.correlation_id),
        };
        call.end("nobody answered in time").await;
        // If nobody records any more, we are about to stop.
        self.0.over.try_send(expired).ok();
    }

    /// Ends all of them.
    pub(crate) async fn end_all(&self) {
        let calls: Vec<HeldCall> = self.lock().drain().map(|(_, call)| call).collect();
        join_all(calls.into_iter().map(|call| call.end("the gateway stops"))).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HeldCall>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldCall {
    /// Tells its server that nobody waits any more.
    pub(crate) async fn end(self, why: &'static str) {
        let Self { exchange, link, .. } = self;
        let id = exchange.id();
        drop(exchange);
        drop(timeout(TELL_TIMEOUT, link.upstream.cancel(id, why)).await);
    }
}
