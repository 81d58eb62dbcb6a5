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
mod interest;
mod links;
mod lists;
mod names;
mod offered;
mod pace;
mod params;
mod questions;
mod server;
mod state;
mod subscribing;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hayward_audit::secrets::{RuleSet, Secrets};
use hayward_mcp::envelope::Notification;
use hayward_mcp::era::Era;
use hayward_mcp::json::{Object, Raw};
use hayward_mcp::limits::URI_BYTES_MAX;
use hayward_mcp::request::List;
use hayward_mcp::upstream::{Event, Upstream, UpstreamError};
use hayward_store::Store;
use hayward_tool::{BoxFuture, Call, Caller, Change, Changes, Cx, Outcome};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::endpoint::Endpoint;
use crate::limits::{REFRESH_PAUSE, REFRESH_RETRY, REFRESH_TIMEOUT, TELL_TIMEOUT};
use call::{Calling, Shared};
pub use catalog::Declared;
pub(crate) use catalog::Entry;
use catalog::{Attached, Catalog};
pub(crate) use held::Expired;
use held::Held;
pub(crate) use interest::{Interest, TooMany};
pub use links::{Away, Link, Links, Owner};
pub use lists::KeptBack;
pub(crate) use lists::Lists;
pub(crate) use names::{Names, parted};
pub(crate) use offered::Offered;
pub(crate) use server::{Server, WhyNot};
pub(crate) use state::State;

/// Every server of others, and what connects to it.
pub struct Upstreams {
    catalog: ArcSwap<Catalog>,
    shared: Shared,
    /// What asks and listens for as long as there is somebody to be asked: nobody waits for it.
    watching: TaskTracker,
    /// Where what changed is told.
    changes: Changes,
    store: Store,
    /// What nobody sees by what servers say of themselves.
    secrets: Arc<Secrets>,
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

/// Why a server is asked for its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It said that they are others now, which some say without end.
    ServerSaid,
    /// We have a reason of our own.
    WeLook,
}

/// How a server says what it logs.
const LOGGED: &str = "notifications/message";

/// Without anything that runs servers: none is ever reached.
struct Nothing;

impl Links for Nothing {
    fn shared(&self, _server: &str) -> Option<Link> {
        None
    }

    fn at(&self, _server: &str, _instance: &str) -> Option<Link> {
        None
    }

    fn wanted<'a>(&'a self, _server: &'a str) -> BoxFuture<'a, Result<Link, Away>> {
        Box::pin(async { Err(Away { why: "nothing runs servers here".to_owned(), is_full: false }) })
    }

    fn failed(&self, _server: &str, _upstream: &Arc<Upstream>, _error: &UpstreamError) {}

    fn own<'a>(&'a self, server: &'a str, _owner: &'a Owner) -> BoxFuture<'a, Result<Link, Away>> {
        self.wanted(server)
    }

    fn wants_grant(&self, _server: &str) -> bool {
        false
    }
}

impl Upstreams {
    /// No server yet; connections come from here, and what is approved is kept there.
    pub fn new(links: Arc<dyn Links>, store: Store, secrets: Arc<Secrets>) -> Arc<Self> {
        let (held, expired) = Held::new();
        let shared = Shared {
            links,
            held,
            asks: asks::Asks::default(),
            tasks: TaskTracker::new(),
            interests: Arc::default(),
        };
        Arc::new(Self {
            catalog: ArcSwap::default(),
            shared,
            watching: TaskTracker::new(),
            changes: Changes::default(),
            store,
            secrets,
            heard: watch::Sender::new(0),
            expired: Mutex::new(Some(expired)),
        })
    }

    /// No server, and never one.
    pub fn none(store: Store, secrets: Arc<Secrets>) -> Arc<Self> {
        Self::new(Arc::new(Nothing), store, secrets)
    }

    /// What an endpoint shows; none if there is no such endpoint. That of this machine may have nothing of others.
    pub(crate) fn entry(&self, endpoint: &Endpoint) -> Option<Arc<Entry>> {
        self.catalog.load().entries.get(endpoint).cloned()
    }

    /// What an endpoint would show that is not served, and why it isn't.
    pub(crate) fn unserved(&self, endpoint: &Endpoint) -> Option<(Arc<Entry>, &'static str)> {
        self.catalog.load().unserved.get(endpoint).cloned()
    }

    /// The server that is meant by the name of a tool at an endpoint, by how the name begins, and its own name for it.
    pub(crate) fn meant<'n>(&self, endpoint: &Endpoint, name: &'n str) -> Option<(Arc<Server>, &'n str)> {
        let entry = self.entry(endpoint)?;
        let own = |attached: &Attached| match &attached.prefix {
            None => Some(name),
            Some(prefix) => name.strip_prefix(&**prefix)?.strip_prefix(['_', '/', '.']),
        };
        let meant = entry.attached.iter().filter_map(|attached| Some((attached, own(attached)?)));
        // One name of a server may begin like another.
        let meant = meant.filter(|(_, own)| !own.is_empty()).min_by_key(|(_, own)| own.len());
        meant.map(|(attached, own)| (Arc::clone(&attached.server), own))
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
            stale: lists.stale.as_ref().map(ToString::to_string),
        })
    }

    /// Which of these names no tool of this server has, as it calls them; none of a server that hasn't said what it has.
    pub fn unknown(&self, server: &str, tools: &[&str]) -> Vec<String> {
        let Some(known) = self.server(server).and_then(|server| server.own_tools()) else {
            return Vec::new();
        };
        let unknown = tools.iter().filter(|tool| !known.iter().any(|own| own == *tool));
        unknown.map(|tool| (*tool).to_owned()).collect()
    }

    /// From now on this is what was declared.
    pub fn declare(&self, declared: Declared) {
        let before = self.catalog.load_full();
        let after = Arc::new(Catalog::of(declared, &before, &self.secrets.current()));
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
        self.refresh_soon(server, Why::WeLook);
        // Whoever waits on a connection that this one replaces sees that it is gone.
        self.shared.interests.wake();
        let declared = upstream.declared();
        let (this, server, upstream) = (Arc::clone(self), server.to_owned(), Arc::downgrade(upstream));
        match declared.revision.era() {
            Era::Modern => {
                self.watching.spawn(async move { this.listen(&server, &upstream).await });
            }
            Era::Legacy if declared.can_subscribe() => {
                self.watching.spawn(async move { this.subscribe(&server, &upstream).await });
            }
            Era::Legacy => {}
        }
    }

    /// Lets a server tell of a resource for as long as this is kept.
    pub(crate) fn interest(&self, server: &Server, uri: &str) -> Result<Interest, TooMany> {
        self.shared.interests.add(&server.name, uri)
    }

    /// No instance of a server can be spoken to, for this reason: what it offered last stays, and says so.
    pub fn gone(&self, server: &str, why: &str) {
        // Whoever listens on a connection to it looks whether that is still there.
        self.shared.interests.wake();
        let Some(server) = self.server(server) else { return };
        let changes = server.mark_gone(&self.secrets.current().redact(why, RuleSet::NONE));
        self.tell(&server.name, changes);
        self.heard.send_modify(|count| *count += 1);
    }

    /// A server that was never reached begins as it is declared now: why it wasn't reached before says nothing of that.
    pub fn begins(&self, server: &str) {
        if let Some(server) = self.server(server) {
            server.mark_begun();
        }
    }

    /// A server says something beside its answers, on a connection that everybody shares or on one of somebody alone.
    pub fn heard(self: &Arc<Self>, server: &str, (upstream, on): (&Arc<Upstream>, On), event: Event) {
        match event {
            Event::Notification(notification) => self.notified(server, on, &notification),
            Event::Lost => {
                self.refresh_soon(server, Why::ServerSaid);
                self.shared.interests.wake();
            }
            Event::Request(asked) => {
                if let Err(asked) = self.shared.asks.hand_over(upstream, asked)
                    && let Some(server) = self.server(server)
                {
                    self.shared.refuse(&server, upstream, *asked);
                }
            }
        }
    }

    fn notified(self: &Arc<Self>, server: &str, on: On, notification: &Notification) {
        match notification.method.as_str() {
            // Whoever has a connection alone may see other things there: what all see is asked for where all are.
            "notifications/tools/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/prompts/list_changed" => self.refresh_soon(server, Why::ServerSaid),
            "notifications/resources/updated" if on == On::Shared => {
                let params = notification.params.as_ref().and_then(Object::of);
                let uri = params.and_then(|params| params.get_str("uri").map(Arc::<str>::from));
                let Some(uri) = uri.filter(|uri| uri.len() <= URI_BYTES_MAX) else { return };
                // What another server has is told of by that.
                if self.shared.interests.has(server, &uri)
                    && self.server(server).is_some_and(|server| server.may_update())
                {
                    self.changes.tell_of(&server.into(), Change::Resource(uri));
                }
            }
            _ => {}
        }
    }

    fn server(&self, name: &str) -> Option<Arc<Server>> {
        self.catalog.load().servers.get(name).cloned()
    }

    /// Asks a server what it offers, once for all that changes within a moment, over whichever connection there is then.
    fn refresh_soon(self: &Arc<Self>, server: &str, why: Why) {
        let Some(server) = self.server(server).filter(|server| server.claim_refresh()) else { return };
        let this = Arc::clone(self);
        self.watching.spawn(async move {
            // The first time nobody has to wait.
            if server.lists().declared.is_some() || server.lists().stale.is_some() {
                let pause = match why {
                    Why::ServerSaid => server.pause(),
                    Why::WeLook => REFRESH_PAUSE,
                };
                tokio::time::sleep(pause).await;
            }
            this.refresh(&server).await;
        });
    }

    async fn refresh(self: &Arc<Self>, server: &Arc<Server>) {
        // One after the other: what changes from here on is asked for once more.
        let turn = server.refreshing.lock().await;
        server.release_refresh();
        // Once it is there, it is asked; until then what is known of it is looked at again.
        let Some(link) = self.shared.links.shared(&server.name) else {
            self.look(server).await;
            return;
        };
        // What it was given, nobody sees by it.
        let redaction = self.secrets.current();
        // What was declared meanwhile is asked by itself, and by other rules.
        let is_current = || self.server(&server.name).is_some_and(|it| Arc::ptr_eq(&it, server));
        let asking = server.refresh(&link.upstream, &self.store, (&redaction, is_current));
        let asking = tokio::time::timeout(REFRESH_TIMEOUT, asking);
        let asked =
            asking.await.unwrap_or_else(|_elapsed| Err("it doesn't say in time what it offers".to_owned()));
        drop(turn);
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
                    self.watching.spawn(async move {
                        tokio::time::sleep(REFRESH_RETRY).await;
                        server.release_retry();
                        this.refresh_soon(&server.name, Why::WeLook);
                    });
                }
            }
        }
    }

    /// Looks again at what a server said, by whoever has [`Server::refreshing`]. Whether that could be done.
    async fn look(&self, server: &Arc<Server>) -> bool {
        // What was declared meanwhile is looked at by itself, and by other rules.
        if !self.server(&server.name).is_some_and(|it| Arc::ptr_eq(&it, server)) {
            return true;
        }
        match server.look_again(&self.store, &self.secrets.current()).await {
            Ok(changes) => self.tell(&server.name, changes),
            Err(why) => {
                tracing::warn!(server = &*server.name, why, "what a server said is not looked at again yet");
                return false;
            }
        }
        true
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

    /// Ends what is held, and waits until servers have heard of it, if that doesn't take long.
    pub async fn close(&self) {
        self.shared.held.end_all().await;
        self.shared.tasks.close();
        drop(tokio::time::timeout(TELL_TIMEOUT, self.shared.tasks.wait()).await);
    }

    /// Ends what waits for the next round of a call which has none: a call that is held, or a task of this server.
    pub(crate) fn release(&self, state: Option<&Raw>, server: Option<&Arc<Server>>, caller: &Caller) {
        let State::Task { id, instance, .. } = State::read(state) else {
            return self.release_held(state, &caller.principal.credential);
        };
        let Some(server) = server.cloned() else { return };
        let (links, owner) = (Arc::clone(&self.shared.links), call::owner_of(&server, caller));
        self.shared.tasks.spawn(async move {
            let link = match &owner {
                Some(owner) => links.own(&server.name, owner).await.ok(),
                None => links.at(&server.name, &instance),
            };
            if let Some(link) = link {
                call::task::cancel(&link.upstream, &id).await;
            }
        });
    }

    /// Ends the call that this state holds, if it is still held.
    pub(crate) fn release_held(&self, state: Option<&Raw>, credential: &str) {
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
