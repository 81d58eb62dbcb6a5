//! Hearing of a server what has changed there: the lists of a modern one, and the resources that somebody wants to hear of.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Instant;

use hayward_mcp::json::{ArrayWriter, ObjectWriter, Raw};
use hayward_mcp::upstream::{Exchange, Outgoing, Step, Upstream, UpstreamError};
use tokio::time::timeout;

use super::{On, Upstreams};
use crate::limits::{LISTEN_PAUSE_MAX, LISTEN_PAUSE_MIN, TELL_TIMEOUT};

/// URIs of resources.
type Uris = BTreeSet<Arc<str>>;

impl Upstreams {
    /// Listens to what a modern server says has changed, for as long as the connection is one that somebody has.
    pub(super) async fn listen(self: &Arc<Self>, server: &str, upstream: &Weak<Upstream>) {
        let mut pause = LISTEN_PAUSE_MIN;
        while let Some(upstream) = upstream.upgrade() {
            let began = Instant::now();
            let has_begun = self.listen_once(server, &upstream).await;
            drop(upstream);
            if !has_begun {
                return;
            }
            pause = if began.elapsed() > LISTEN_PAUSE_MAX {
                LISTEN_PAUSE_MIN
            } else {
                (pause * 2).min(LISTEN_PAUSE_MAX)
            };
            tokio::time::sleep(pause).await;
            // What changed meanwhile, nobody told.
            self.refresh_soon(server);
        }
    }

    /// Listens until the stream breaks off; whether the server let us listen at all. When somebody wants to hear of something
    /// else, another stream begins before this one ends.
    async fn listen_once(self: &Arc<Self>, server: &str, upstream: &Arc<Upstream>) -> bool {
        let (interests, mut has_begun) = (&self.shared.interests, false);
        let mut changed = interests.changed();
        let mut wanted = interests.of(server);
        let Ok(mut exchange) = begin(upstream, &wanted).await else { return false };
        loop {
            let step = tokio::select! {
                step = exchange.next() => step,
                _ = changed.changed() => {
                    let now = interests.of(server);
                    if now == wanted {
                        continue;
                    }
                    let Ok(other) = begin(upstream, &now).await else { return has_begun };
                    let before = std::mem::replace(&mut exchange, other).id();
                    wanted = now;
                    // One over lines hears of its end by that alone.
                    drop(timeout(TELL_TIMEOUT, upstream.cancel(before, "another one has begun")).await);
                    continue;
                }
            };
            match step {
                Ok(Step::Notification(notification)) => {
                    has_begun = true;
                    self.notified(server, On::Shared, &notification);
                }
                Ok(Step::Progress(_) | Step::Request(_)) => {}
                Ok(Step::Response(_)) | Err(_) => return has_begun,
            }
        }
    }

    /// Subscribes at a legacy server to what somebody wants to hear of, and to nothing else, for as long as the connection is
    /// one that somebody has.
    pub(super) async fn subscribe(self: &Arc<Self>, server: &str, upstream: &Weak<Upstream>) {
        let interests = Arc::clone(&self.shared.interests);
        let (mut changed, mut subscribed) = (interests.changed(), Uris::new());
        let mut session = None;
        loop {
            changed.mark_unchanged();
            {
                let Some(upstream) = upstream.upgrade() else { return };
                let declared = upstream.declared();
                // A session that was begun anew knows of nothing.
                if session
                    .replace(Arc::downgrade(&declared))
                    .is_some_and(|it| it.as_ptr() != Arc::as_ptr(&declared))
                {
                    subscribed.clear();
                }
                let wanted = interests.of(server);
                for uri in subscribed.difference(&wanted) {
                    // It may tell of it all the same: nobody listens.
                    drop(tell(&upstream, "resources/unsubscribe", uri).await);
                }
                let mut now: Uris = subscribed.intersection(&wanted).cloned().collect();
                for uri in wanted.difference(&subscribed) {
                    match tell(&upstream, "resources/subscribe", uri).await {
                        Ok(()) => drop(now.insert(Arc::clone(uri))),
                        Err(why) => {
                            let why = super::answer::cleaned(&why);
                            tracing::info!(server, why, "a server doesn't tell of a resource");
                        }
                    }
                }
                subscribed = now;
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Begins to listen to the lists that a server has, and to these resources.
async fn begin(upstream: &Upstream, uris: &Uris) -> Result<Exchange, UpstreamError> {
    let declared = upstream.declared();
    let lists = [
        ("tools", "toolsListChanged"),
        ("resources", "resourcesListChanged"),
        ("prompts", "promptsListChanged"),
    ];
    let lists = lists.into_iter().filter(|(capability, _)| declared.can(capability));
    let mut filter = lists.fold(ObjectWriter::new(96), |object, (_, key)| object.bool(key, true));
    if !uris.is_empty() {
        let mut array = ArrayWriter::new(uris.iter().map(|uri| uri.len() + 4).sum());
        for uri in uris {
            array.push_str(uri);
        }
        filter = filter.raw("resourceSubscriptions", &array.end());
    }
    let params = ObjectWriter::new(128).raw("notifications", &filter.end()).end();
    upstream.request(&Outgoing::new("subscriptions/listen", Some(&params))).await
}

async fn tell(upstream: &Upstream, method: &str, uri: &str) -> Result<(), String> {
    let params = ObjectWriter::new(uri.len() + 16).str("uri", uri).end();
    let outgoing = Outgoing::new(method, Some(&params)).on(uri);
    let asking = async { upstream.request(&outgoing).await?.response().await };
    match timeout(TELL_TIMEOUT, asking).await {
        Ok(Ok(Ok(_))) => Ok(()),
        Ok(Ok(Err(error))) => Err(Raw::as_str(&error).to_owned()),
        Ok(Err(error)) => Err(super::told(&error)),
        Err(_elapsed) => Err("it gives no answer in time".to_owned()),
    }
}
