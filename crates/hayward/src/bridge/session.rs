//! The session of a legacy client, and how it is begun again when the server forgot it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hayward_mcp::envelope::Request;
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_mcp::limits::{SUBSCRIBED_BYTES_MAX, SUBSCRIBED_URIS_MAX};
use tokio::sync::watch;

/// The session, if there is one.
#[derive(Debug, Default)]
pub(super) struct Session {
    state: Mutex<State>,
    /// Held by whoever begins it again.
    pub(super) renewing: tokio::sync::Mutex<()>,
    /// How many requests that begin one are on their way.
    beginning: watch::Sender<usize>,
}

/// A request that begins a session, until this is dropped.
pub(super) struct Beginning(watch::Sender<usize>);

impl Drop for Beginning {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[derive(Debug, Default)]
struct State {
    /// What the client said when it began.
    initialize: Option<Bytes>,
    id: Option<Arc<str>>,
    revision: Option<Arc<str>>,
    /// The parameters with which it has set the level of log messages.
    log_level: Option<Raw>,
    /// The resources whose changes it wants to hear of.
    subscribed: BTreeSet<String>,
}

impl Session {
    /// The client begins with this.
    pub(super) fn begin(&self, initialize: &Bytes) -> Beginning {
        *self.state() = State { initialize: Some(initialize.clone()), ..State::default() };
        self.beginning.send_modify(|count| *count += 1);
        Beginning(self.beginning.clone())
    }

    /// Waits until no request is on its way that begins one.
    pub(super) async fn has_begun(&self) {
        // Its sender is ours.
        drop(self.beginning.subscribe().wait_for(|count| *count == 0).await);
    }

    /// Notes what the server has agreed to and would have to be told again.
    pub(super) fn note(&self, request: &Request) {
        let Some(params) = request.params.as_ref() else { return };
        let uri = || Object::of(params).and_then(|params| params.get_str("uri").map(String::from));
        let mut state = self.state();
        match request.method.as_str() {
            "logging/setLevel" => state.log_level = Some(params.detached()),
            "resources/subscribe" => {
                let bytes: usize = state.subscribed.iter().map(String::len).sum();
                if let Some(uri) = uri().filter(|uri| bytes + uri.len() <= SUBSCRIBED_BYTES_MAX)
                    && state.subscribed.len() < SUBSCRIBED_URIS_MAX
                {
                    state.subscribed.insert(uri);
                }
            }
            "resources/unsubscribe" => drop(uri().map(|uri| state.subscribed.remove(&uri))),
            _ => {}
        }
    }

    /// What would have to be told again: methods and parameters.
    pub(super) fn noted(&self) -> Vec<(&'static str, Raw)> {
        let state = self.state();
        let log_level = state.log_level.iter().map(|params| ("logging/setLevel", params.clone()));
        let subscribed = state.subscribed.iter();
        let subscribed =
            subscribed.map(|uri| ("resources/subscribe", ObjectWriter::new(64).str("uri", uri).end()));
        log_level.chain(subscribed).collect()
    }

    /// The resources whose changes the client wants to hear of.
    pub(super) fn subscribed(&self) -> Vec<String> {
        self.state().subscribed.iter().cloned().collect()
    }

    /// The server gave it this id.
    pub(super) fn opened(&self, id: Option<&str>) {
        self.state().id = id.map(Arc::from);
    }

    /// The server agreed to a revision: the result of `initialize`.
    pub(super) fn agreed(&self, result: &Raw) {
        let revision = Object::of(result).and_then(|it| it.get_str("protocolVersion").map(Arc::<str>::from));
        if revision.is_some() {
            self.state().revision = revision;
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().id.is_some()
    }

    pub(super) fn id(&self) -> Option<Arc<str>> {
        self.state().id.clone()
    }

    pub(super) fn revision(&self) -> Option<Arc<str>> {
        self.state().revision.clone()
    }

    /// What the client said when it began.
    pub(super) fn initialize(&self) -> Option<Bytes> {
        self.state().initialize.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
