//! Hearing of a server what has changed there: the lists of a modern one, and the resources that somebody wants to hear of.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Instant;

use hayward_api::error::with_sources;
use hayward_mcp::json::{ArrayWriter, ObjectWriter, Raw};
use hayward_mcp::upstream::{Exchange, Outgoing, Step, Upstream, UpstreamError};
use tokio::time::{interval, timeout};

use super::{On, Upstreams, Why};
use crate::limits::{LISTEN_LOOK, LISTEN_PAUSE_MAX, LISTEN_PAUSE_MIN, TELL_TIMEOUT};

/// URIs of resources.
type Uris = BTreeSet<Arc<str>>;

/// How listening to a server ended.
enum Heard {
    /// The server let us listen, and its stream broke off.
    Broken,
    /// Nothing came of it, which may be otherwise the next time.
    Nothing,
    /// The server doesn't let us listen.
    Refused,
    /// The connection is one that nobody has any more.
    Gone,
}

impl Upstreams {
    /// Listens to what a modern server says has changed, for as long as the connection is one that somebody has.
    pub(super) async fn listen(self: &Arc<Self>, server: &str, upstream: &Weak<Upstream>) {
        let (mut pause, mut was_heard) = (LISTEN_PAUSE_MIN, false);
        loop {
            let began = Instant::now();
            match self.listen_once(server, upstream, was_heard).await {
                Heard::Broken => was_heard = true,
                Heard::Nothing => {}
                Heard::Refused | Heard::Gone => return,
            }
            pause = if began.elapsed() > LISTEN_PAUSE_MAX {
                LISTEN_PAUSE_MIN
            } else {
                (pause * 2).min(LISTEN_PAUSE_MAX)
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Listens until the stream breaks off. When somebody wants to hear of something else, another stream begins before this one
    /// ends. The connection is held only while something is sent on it, so that listening keeps nobody's alive.
    async fn listen_once(
        self: &Arc<Self>,
        server: &str,
        upstream: &Weak<Upstream>,
        was_heard: bool,
    ) -> Heard {
        let (interests, mut has_begun) = (&self.shared.interests, false);
        let mut changed = interests.changed();
        let mut wanted = interests.of(server);
        let mut exchange = match begin(upstream, &wanted).await {
            Ok(exchange) => exchange,
            Err(heard) => return heard,
        };
        let mut look = interval(LISTEN_LOOK);
        let ended = |has_begun: bool| if has_begun { Heard::Broken } else { Heard::Nothing };
        loop {
            let step = tokio::select! {
                step = exchange.next() => step,
                _ = changed.changed() => {
                    let now = interests.of(server);
                    if now != wanted {
                        let other = match begin(upstream, &now).await {
                            Ok(other) => other,
                            Err(Heard::Gone) => return Heard::Gone,
                            Err(_) => return ended(has_begun),
                        };
                        let before = std::mem::replace(&mut exchange, other).id();
                        wanted = now;
                        // One over lines hears of its end by that alone.
                        let Some(upstream) = upstream.upgrade() else { return Heard::Gone };
                        drop(timeout(TELL_TIMEOUT, upstream.cancel(before, "another one has begun")).await);
                    }
                    if upstream.strong_count() == 0 {
                        return Heard::Gone;
                    }
                    continue;
                }
                _ = look.tick() => {
                    if upstream.strong_count() == 0 {
                        return Heard::Gone;
                    }
                    continue;
                }
            };
            match step {
                Ok(Step::Notification(notification)) => {
                    if !has_begun && was_heard {
                        // What changed since the last stream, nobody told.
                        self.refresh_soon(server, Why::WeLook);
                    }
                    has_begun = true;
                    self.notified(server, On::Shared, &notification);
                }
                Ok(Step::Progress(_) | Step::Request(_)) => {}
                Ok(Step::Response(Err(_))) if !has_begun => return Heard::Refused,
                Ok(Step::Response(_)) | Err(_) => return ended(has_begun),
            }
        }
    }

    /// Subscribes at a legacy server to what somebody wants to hear of, and to nothing else, for as long as the connection is
    /// one that somebody has.
    pub(super) async fn subscribe(self: &Arc<Self>, server: &str, upstream: &Weak<Upstream>) {
        let interests = Arc::clone(&self.shared.interests);
        let (mut changed, mut asked) = (interests.changed(), Asked::default());
        loop {
            changed.mark_unchanged();
            match upstream.upgrade() {
                Some(upstream) => asked.ask(server, &upstream, interests.of(server)).await,
                None => return,
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// What a session of a legacy server was asked to tell of.
#[derive(Default)]
struct Asked {
    /// The number of the session; a session that was begun anew knows of nothing.
    session: Option<u64>,
    subscribed: Uris,
    /// What it doesn't tell of, and is not asked for again.
    refused: Uris,
}

impl Asked {
    /// Asks it to tell of this, and of nothing else.
    async fn ask(&mut self, server: &str, upstream: &Upstream, wanted: Uris) {
        let session = upstream.session();
        if self.session.replace(session) != Some(session) {
            (self.subscribed, self.refused) = (Uris::new(), Uris::new());
        }
        for uri in self.subscribed.difference(&wanted) {
            // It may tell of it all the same: nobody listens.
            drop(tell(upstream, "resources/unsubscribe", uri).await);
        }
        self.subscribed.retain(|uri| wanted.contains(uri));
        self.refused.retain(|uri| wanted.contains(uri));
        for uri in wanted {
            if self.subscribed.contains(&uri) || self.refused.contains(&uri) {
                continue;
            }
            match tell(upstream, "resources/subscribe", &uri).await {
                Ok(()) => self.subscribed.insert(uri),
                Err(why) => {
                    let why = super::answer::cleaned(&why);
                    tracing::info!(server, why, "a server doesn't tell of a resource");
                    self.refused.insert(uri)
                }
            };
        }
    }
}

/// Begins to listen to the lists that a server has, and to these resources.
async fn begin(upstream: &Weak<Upstream>, uris: &Uris) -> Result<Exchange, Heard> {
    let upstream = upstream.upgrade().ok_or(Heard::Gone)?;
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
    let outgoing = Outgoing::new("subscriptions/listen", Some(&params));
    match timeout(TELL_TIMEOUT, upstream.request(&outgoing)).await {
        Ok(Ok(exchange)) => Ok(exchange),
        Ok(Err(UpstreamError::Status { status: 400 | 404 | 405 | 406 | 501, .. })) => Err(Heard::Refused),
        Ok(Err(_)) | Err(_) => Err(Heard::Nothing),
    }
}

async fn tell(upstream: &Upstream, method: &str, uri: &str) -> Result<(), String> {
    let params = ObjectWriter::new(uri.len() + 16).str("uri", uri).end();
    let outgoing = Outgoing::new(method, Some(&params)).on(uri);
    let asking = async { upstream.request(&outgoing).await?.response().await };
    match timeout(TELL_TIMEOUT, asking).await {
        Ok(Ok(Ok(_))) => Ok(()),
        Ok(Ok(Err(error))) => Err(Raw::as_str(&error).to_owned()),
        Ok(Err(error)) => Err(with_sources(&error)),
        Err(_elapsed) => Err("it gives no answer in time".to_owned()),
    }
}
