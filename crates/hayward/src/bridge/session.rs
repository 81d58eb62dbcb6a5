//! The session of a legacy client, and how it is begun again when the server forgot it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hayward_mcp::json::{Object, Raw};

/// The session, if there is one.
#[derive(Debug, Default)]
pub(super) struct Session {
    state: Mutex<State>,
    /// Held by whoever begins it again.
    pub(super) renewing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// What the client said when it began.
    initialize: Option<Bytes>,
    id: Option<Arc<str>>,
    revision: Option<Arc<str>>,
}

impl Session {
    /// The client begins with this.
    pub(super) fn began(&self, initialize: &Bytes) {
        *self.state() = State { initialize: Some(initialize.clone()), ..State::default() };
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
