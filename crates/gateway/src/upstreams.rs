//! Servers of others at the end of the road: what they offer, where, and what comes of calling it.
//!
//! ```text
//!  store ──► catalog.rs ──► which server at which endpoint, under which prefix
//!  runtime ──► heard ──► server.rs: its lists ──► admission.rs: what may be shown of them
//!  a call ──► call.rs ──► links.rs: a connection ──► the server
//! ```

mod admission;
mod answer;
mod asks;
mod breaker;
mod call;
mod catalog;
mod follow;
mod held;
mod links;
mod names;
mod offered;
mod params;
mod questions;
mod server;
mod state;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use hayward_mcp::envelope::Notification;
use hayward_mcp::era::Era;
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_mcp::limits::URI_BYTES_MAX;
use hayward_mcp::request::List;
use hayward_mcp::upstream::{Event, Outgoing, Step, Upstream, UpstreamError};
use hayward_store::Store;
use hayward_tool::{BoxFuture, Call, Change, Changes, Cx, Outcome};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::endpoint::Endpoint;
use crate::limits::{
    LISTEN_PAUSE_MAX, LISTEN_PAUSE_MIN, REFRESH_PAUSE, REFRESH_RETRY, REFRESH_TIMEOUT, REFUSALS_AT_ONCE_MAX,
};
use call::{Calling, Shared};
use catalog::Catalog;
pub use catalog::Declared;
pub(crate) use catalog::Entry;
pub(crate) use held::Expired;
use held::Held;
pub use links::{Away, Link, Links, Owner};
pub(crate) use names::{Names, parted};
pub(crate) use offered::Offered;
pub use server::KeptBack;
pub use server::told;
pub(crate) use server::{Lists, Server};
use state::State;

/// Every server of others, and what connects to it.
pub struct Upstreams {
    catalog: ArcSwap<Catalog>,
    shared: Shared,
    /// Where what changed is told.
    changes: Changes,
    store: Store,
    /// Ticks whenever a server said what it offers, or can't.
    heard: watch::Sender<u64>,
    /// Tells of held calls that nobody came back for; whoever records them takes it.
    expired: Mutex<Option<mpsc::Receiver<Expired>>>,
}

/// Whose a connection is on which a server says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Everybody's.
    Shared,
    /// One caller's, or one session's.
    Own,
}

/// How a server fares, as its gateway sees it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The revision of the protocol that it speaks.
    pub revision: Option<&'static str>,
    /// How many tools, resources (with templates) and prompts are shown.
    pub shown: (usize, usize, usize),
    /// What is not shown, and why.
    pub kept_back: Vec<KeptBack>,
    /// Why what is shown may be otherwise by now.
    pub stale: Option<String>,
}

/// Without anything that runs servers: none is ever reached.
struct Nothing;

impl Links for Nothing {
    fn shared(&self, _server: &str) -> Option<Link> {
        None
    }

    fn wanted<'a>(&'a self, _server: &'a str) -> BoxFuture<'a, Result<Link, Away>> {
        Box::pin(async { Err(Away { why: "nothing runs servers here".to_owned(), is_full: false }) })
    }

    fn failed(&self, _server: &str, _upstream: &Arc<Upstream>, _error: &UpstreamError) {}

    fn own<'a>(&'a self, server: &'a str, _owner: &'a Owner) -> BoxFuture<'a, Result<Link, Away>> {
        self.wanted(server)
    }
}

impl Upstreams {
    /// No server yet; connections come from here, and what is approved is kept there.
    pub fn new(links: Arc<dyn Links>, store: Store) -> Arc<Self> {
        let (held, expired) = Held::new();
        let shared = Shared {
            links,
            held,
            asks: asks::Asks::default(),
            tasks: TaskTracker::new(),
            refusals: Arc::new(Semaphore::new(REFUSALS_AT_ONCE_MAX)),
        };
        Arc::new(Self {
            catalog: ArcSwap::default(),
            shared,
            changes: Changes::default(),
            store,
            heard: watch::Sender::new(0),
            expired: Mutex::new(Some(expired)),
        })
    }

    /// No server, and never one.
    pub fn none(store: Store) -> Arc<Self> {
        Self::new(Arc::new(Nothing), store)
    }

    /// What an endpoint shows; none if there is no such endpoint. That of this machine may have nothing of others.
    pub(crate) fn entry(&self, endpoint: &Endpoint) -> Option<Arc<Entry>> {
        self.catalog.load().entries.get(endpoint).cloned()
    }

    /// Waits for servers of an endpoint that were only just declared, or started with us, to say what they offer: whoever asks
    /// too early would be told of too little. Not for long, and at most once for each.
    pub(crate) async fn settled(&self, endpoint: &Endpoint) {
        let Some(entry) = self.entry(endpoint) else { return };
        let mut heard = self.heard.subscribe();
        loop {
            heard.mark_unchanged();
            let left = entry.attached.iter().filter_map(|attached| attached.server.unsettled()).max();
            let Some(left) = left else { return };
            drop(tokio::time::timeout(left, heard.changed()).await);
        }
    }

    /// Where what changed is told.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Takes what tells of held calls that nobody came back for.
    pub(crate) fn take_expired(&self) -> Option<mpsc::Receiver<Expired>> {
        self.expired.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How this server fares; none if there is no such server.
    pub fn seen(&self, server: &str) -> Option<Seen> {
        let server = self.catalog.load().servers.get(server).cloned()?;
        let lists = server.lists();
        let count =
            |wanted: &[List]| lists.offered.iter().filter(|offered| wanted.contains(&offered.list)).count();
        Some(Seen {
            revision: lists.declared.as_ref().map(|declared| declared.revision.as_str()),
            shown: (
                count(&[List::Tools]),
                count(&[List::Resources, List::Templates]),
                count(&[List::Prompts]),
            ),
            kept_back: lists.kept_back.clone(),
            stale: lists.stale.as_deref().map(ToOwned::to_owned),
        })
    }

    /// From now on this is what was declared.
    pub fn declare(&self, declared: Declared) {
        let before = self.catalog.load_full();
        let after = Arc::new(Catalog::of(declared, &before));
        self.catalog.store(Arc::clone(&after));
        for endpoint in after.changed_since(&before) {
            let of: Arc<str> = endpoint.to_string().into();
            for change in [Change::Tools, Change::Resources, Change::Prompts] {
                self.changes.tell_of(&of, change);
            }
        }
    }

    /// A server can be spoken to: it is asked what it offers.
    pub fn connected(self: &Arc<Self>, server: &str, upstream: &Arc<Upstream>) {
        self.refresh_soon(server);
        if upstream.declared().revision.era() == Era::Modern {
            let (this, server, upstream) = (Arc::clone(self), server.to_owned(), Arc::downgrade(upstream));
            self.shared.tasks.spawn(async move { this.listen(&server, &upstream).await });
        }
    }

    /// No instance of a server can be spoken to, for this reason: what it offered last stays, and says so.
    pub fn gone(&self, server: &str, why: &str) {
        let Some(server) = self.server(server) else { return };
        let changes = server.is_gone(why);
        self.tell(&server.name, changes);
        self.heard.send_modify(|count| *count += 1);
    }

    /// A server says something beside its answers, on a connection that everybody shares or on one of somebody alone.
    pub fn heard(self: &Arc<Self>, server: &str, (upstream, on): (&Arc<Upstream>, On), event: Event) {
        match event {
            Event::Notification(notification) => self.notified(server, on, &notification),
            Event::Lost => self.refresh_soon(server),
            Event::Request(asked) => {
                if let Err(asked) = self.shared.asks.hand_over(upstream, asked) {
                    self.shared.refuse(upstream, *asked);
                }
            }
        }
    }

    fn notified(self: &Arc<Self>, server: &str, on: On, notification: &Notification) {
        match notification.method.as_str() {
            // Whoever has a connection alone may see other things there: what all see is asked for where all are.
            "notifications/tools/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/prompts/list_changed" => self.refresh_soon(server),
            "notifications/resources/updated" if on == On::Shared => {
                let params = notification.params.as_ref().and_then(Object::of);
                let uri = params.and_then(|params| params.get_str("uri").map(Arc::<str>::from));
                let Some(uri) = uri.filter(|uri| uri.len() <= URI_BYTES_MAX) else { return };
                if self.server(server).is_some_and(|server| server.may_update()) {
                    self.changes.tell_of(&server.into(), Change::Resource(uri));
                }
            }
            _ => {}
        }
    }

    /// Listens to what a modern server says has changed, for as long as the connection is one that somebody has.
    async fn listen(self: &Arc<Self>, server: &str, upstream: &Weak<Upstream>) {
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

    /// Listens until the stream breaks off; whether the server let us listen at all.
    async fn listen_once(self: &Arc<Self>, server: &str, upstream: &Arc<Upstream>) -> bool {
        let declared = upstream.declared();
        let wanted = [
            ("tools", "toolsListChanged"),
            ("resources", "resourcesListChanged"),
            ("prompts", "promptsListChanged"),
        ];
        let wanted = wanted.into_iter().filter(|(capability, _)| declared.can(capability));
        let filter = wanted.fold(ObjectWriter::new(96), |object, (_, key)| object.bool(key, true)).end();
        let params = ObjectWriter::new(128).raw("notifications", &filter).end();
        let outgoing = Outgoing::new("subscriptions/listen", Some(&params));
        let Ok(mut exchange) = upstream.request(&outgoing).await else { return false };
        let mut has_begun = false;
        loop {
            match exchange.next().await {
                Ok(Step::Notification(notification)) => {
                    has_begun = true;
                    self.notified(server, On::Shared, &notification);
                }
                Ok(Step::Progress(_) | Step::Request(_)) => {}
                Ok(Step::Response(_)) | Err(_) => return has_begun,
            }
        }
    }

    fn server(&self, name: &str) -> Option<Arc<Server>> {
        self.catalog.load().servers.get(name).cloned()
    }

    /// Asks a server what it offers, once for all that changes within a moment, over whichever connection there is then.
    fn refresh_soon(self: &Arc<Self>, server: &str) {
        let Some(server) = self.server(server).filter(|server| server.claim_refresh()) else { return };
        let this = Arc::clone(self);
        self.shared.tasks.spawn(async move {
            // The first time nobody has to wait.
            if server.lists().declared.is_some() || server.lists().stale.is_some() {
                tokio::time::sleep(REFRESH_PAUSE).await;
            }
            this.refresh(&server).await;
        });
    }

    async fn refresh(self: &Arc<Self>, server: &Arc<Server>) {
        let Some(link) = self.shared.links.shared(&server.name) else {
            // Once it is there, it is asked.
            return server.release_refresh();
        };
        let asking = tokio::time::timeout(REFRESH_TIMEOUT, server.refresh(&link.upstream, &self.store));
        let asked =
            asking.await.unwrap_or_else(|_elapsed| Err("it doesn't say in time what it offers".to_owned()));
        server.release_refresh();
        match asked {
            Ok(changes) => {
                self.tell(&server.name, changes);
                self.heard.send_modify(|count| *count += 1);
            }
            Err(why) => {
                let why = answer::cleaned(&why);
                tracing::warn!(server = &*server.name, why, "a server doesn't say what it offers");
                self.gone(&server.name, &why);
                if server.claim_retry() {
                    let (this, server) = (Arc::clone(self), Arc::clone(server));
                    self.shared.tasks.spawn(async move {
                        tokio::time::sleep(REFRESH_RETRY).await;
                        server.release_retry();
                        this.refresh_soon(&server.name);
                    });
                }
            }
        }
    }

    fn tell(&self, server: &Arc<str>, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        for entry in self.catalog.load().entries.values().filter(|entry| entry.has(server)) {
            entry.touch();
        }
        for change in changes {
            self.changes.tell_of(server, change);
        }
    }

    /// Calls something of a server.
    pub(crate) async fn call(
        &self,
        server: &Arc<Server>,
        offered: &Offered,
        cx: &Cx,
        call: &Call,
    ) -> Outcome {
        Calling { shared: &self.shared, server, offered, cx, call }.run().await
    }

    /// Ends what is held.
    pub async fn close(&self) {
        self.shared.held.end_all().await;
        self.shared.tasks.close();
    }

    /// Ends what this state of a round holds, which nobody comes back for.
    pub(crate) fn release(&self, state: Option<&Raw>, credential: &str) {
        if let State::Held(id) = State::read(state)
            && let Some(call) = self.shared.held.take(&id, credential)
        {
            self.shared.tasks.spawn(call.end("nobody answers"));
        }
    }
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        for nibble in [byte >> 4, byte & 15] {
            out.extend(char::from_digit(nibble.into(), 16));
        }
        out
    })
}

/// A number between 0 and 1 that nobody can tell before.
pub(crate) fn jitter() -> f64 {
    let random = uuid::Uuid::new_v4().as_u128();
    let random = u32::try_from(random >> 96).unwrap_or_default();
    f64::from(random) / f64::from(u32::MAX)
}
