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

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hayward_mcp::envelope::Notification;
use hayward_mcp::era::Era;
use hayward_mcp::error::RpcError;
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_mcp::upstream::{Event, Outgoing, Step, Upstream, UpstreamError};
use hayward_store::{PendingTool, Store};
use hayward_tool::{BoxFuture, Call, Change, Changes, Cx, Outcome};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::endpoint::Endpoint;
use crate::limits::{REFRESH_PAUSE, REFRESH_RETRY};
use admission::Pins;
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
        let shared = Shared { links, held, asks: asks::Asks::default(), tasks: TaskTracker::new() };
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
        let count = |wanted: &[hayward_mcp::request::List]| {
            lists.offered.iter().filter(|offered| wanted.contains(&offered.list)).count()
        };
        use hayward_mcp::request::List::{Prompts, Resources, Templates, Tools};
        Some(Seen {
            revision: lists.declared.as_ref().map(|declared| declared.revision.as_str()),
            shown: (count(&[Tools]), count(&[Resources, Templates]), count(&[Prompts])),
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
    pub fn connected(self: &Arc<Self>, server: &str, upstream: Arc<Upstream>) {
        self.refresh_soon(server, Arc::clone(&upstream));
        if upstream.declared().revision.era() == Era::Modern {
            let (this, server) = (Arc::clone(self), server.to_owned());
            self.shared.tasks.spawn(async move { this.listen(&server, &upstream).await });
        }
    }

    /// No instance of a server can be spoken to, for this reason: what it offered last stays, and says so.
    pub fn gone(&self, server: &str, why: &str) {
        let Some(server) = self.catalog.load().servers.get(server).cloned() else { return };
        let changes = server.is_gone(why);
        self.tell(&server.name, changes);
        self.heard.send_modify(|count| *count += 1);
    }

    /// A server says something beside its answers.
    pub fn heard(self: &Arc<Self>, server: &str, upstream: &Arc<Upstream>, event: Event) {
        match event {
            Event::Notification(notification) => self.notified(server, upstream, &notification),
            Event::Lost => self.refresh_soon(server, Arc::clone(upstream)),
            Event::Request(asked) => {
                let Err(asked) = self.shared.asks.hand_over(upstream, asked) else { return };
                let upstream = Arc::clone(upstream);
                self.shared.tasks.spawn(async move {
                    let answer = if asked.request.method == "ping" {
                        Ok(Raw::empty_object())
                    } else {
                        Err(RpcError::method_not_found(&asked.request.method))
                    };
                    upstream.answer(&asked, answer).await.ok();
                });
            }
        }
    }

    fn notified(self: &Arc<Self>, server: &str, upstream: &Arc<Upstream>, notification: &Notification) {
        match notification.method.as_str() {
            "notifications/tools/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/prompts/list_changed" => self.refresh_soon(server, Arc::clone(upstream)),
            "notifications/resources/updated" => {
                let params = notification.params.as_ref().and_then(Object::of);
                if let Some(uri) = params.and_then(|params| params.get_str("uri").map(Arc::<str>::from)) {
                    self.changes.tell_of(&server.into(), Change::Resource(uri));
                }
            }
            _ => {}
        }
    }

    /// Listens to what a modern server says has changed, for as long as it says it.
    async fn listen(self: &Arc<Self>, server: &str, upstream: &Arc<Upstream>) {
        let declared = upstream.declared();
        let wanted = [
            ("tools", "toolsListChanged"),
            ("resources", "resourcesListChanged"),
            ("prompts", "promptsListChanged"),
        ];
        let wanted = wanted.into_iter().filter(|(capability, _)| declared.can(capability));
        let filter = wanted.fold(ObjectWriter::new(96), |object, (_, key)| object.bool(key, true)).end();
        let params = ObjectWriter::new(128).raw("notifications", &filter).end();
        let Ok(mut exchange) = upstream.request(&Outgoing::new("subscriptions/listen", Some(&params))).await
        else {
            return;
        };
        loop {
            match exchange.next().await {
                Ok(Step::Notification(notification)) => self.notified(server, upstream, &notification),
                Ok(Step::Progress(_) | Step::Request(_)) => {}
                Ok(Step::Response(_)) | Err(_) => return,
            }
        }
    }

    /// Asks a server what it offers, once for all that changes within a moment.
    fn refresh_soon(self: &Arc<Self>, server: &str, upstream: Arc<Upstream>) {
        let Some(server) = self.catalog.load().servers.get(server).cloned() else { return };
        if !server.claim_refresh() {
            return;
        }
        let this = Arc::clone(self);
        self.shared.tasks.spawn(async move {
            // The first time nobody has to wait.
            if server.lists().declared.is_some() {
                tokio::time::sleep(REFRESH_PAUSE).await;
            }
            this.refresh(&server, &upstream).await;
        });
    }

    async fn refresh(self: &Arc<Self>, server: &Arc<Server>, upstream: &Arc<Upstream>) {
        let pins = match self.store.tool_pins(&server.uid).await {
            Ok(pins) => pins,
            // Without what was approved nothing new is shown.
            Err(error) => {
                server.release_refresh();
                return self.gone(&server.name, &format!("what was approved can't be read: {error}"));
            }
        };
        let pins: Pins = pins.into_iter().filter_map(|pin| Some((pin.name, pin.digest?))).collect();
        match server.refresh(upstream, &pins).await {
            Ok(refreshed) => {
                self.keep(server, refreshed.new_pins).await;
                self.tell(&server.name, refreshed.changes);
                self.heard.send_modify(|count| *count += 1);
            }
            Err(why) => {
                tracing::warn!(server = &*server.name, why, "a server doesn't say what it offers");
                self.gone(&server.name, &why);
                let (this, name, upstream) =
                    (Arc::clone(self), Arc::clone(&server.name), Arc::downgrade(upstream));
                self.shared.tasks.spawn(async move {
                    tokio::time::sleep(REFRESH_RETRY).await;
                    if let Some(upstream) = upstream.upgrade() {
                        this.refresh_soon(&name, upstream);
                    }
                });
            }
        }
    }

    /// Keeps what is approved by being the first, and what waits.
    async fn keep(&self, server: &Server, new: Pins) {
        let lists = server.lists();
        let definition = |name: &str| {
            let is_it = |offered: &&Arc<Offered>| {
                offered.list == hayward_mcp::request::List::Tools && &*offered.own == name
            };
            lists.offered.iter().find(is_it).map(|offered| offered.definition.as_str().to_owned())
        };
        let approved: Vec<_> = new
            .into_iter()
            .map(|(name, pin)| {
                let definition = definition(&name).unwrap_or_default();
                (name, pin, definition)
            })
            .collect();
        let waiting = lists.kept_back.iter().filter_map(|kept| {
            let pending = PendingTool {
                digest: kept.pin.clone()?,
                definition: kept.definition.clone(),
                why: kept.why.clone(),
            };
            Some((kept.name.clone(), pending))
        });
        let waiting: Vec<_> = waiting.collect();
        if let Err(error) = self.store.keep_tool_pins(&server.uid, &approved, &waiting).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, server = &*server.name, "what is approved of a server can't be kept");
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

    /// Ends what is held, and waits for what runs beside calls.
    pub async fn close(&self) {
        self.shared.held.end_all().await;
        self.shared.tasks.close();
    }
}

/// A number between 0 and 1 that nobody can tell before.
pub(crate) fn jitter() -> f64 {
    let random = uuid::Uuid::new_v4().as_u128();
    let random = u32::try_from(random >> 96).unwrap_or_default();
    f64::from(random) / f64::from(u32::MAX)
}
