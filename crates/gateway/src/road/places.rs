//! The places that calls, streams and tasks take: so many for all, so many for one credential. Whoever has one can be
//! pulled from it, when the credential is revoked or the server stops.

use std::sync::Arc;

use hayward_api::Principal;
use hayward_tool::ToolError;
use tokio_util::sync::CancellationToken;

use super::Road;
use super::admit::{Admit, Permit};
use crate::limits::Limits;

pub(super) struct Places {
    /// Running calls.
    pub(super) calls: Admit,
    /// The streams that are open outside of calls.
    streams: Admit,
    /// The streams of calls that can be come back to.
    kept: Admit,
    /// The tasks that are kept.
    tasks: Admit,
    /// Fires when nobody is told of changes, or can answer, any more.
    quiet: CancellationToken,
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            calls: Admit::new("calls running", limits.calls_max, limits.calls_per_principal_max),
            streams: Admit::new("streams open", limits.streams_max, limits.streams_per_principal_max),
            kept: Admit::new("streams kept", limits.kept_streams_max, limits.kept_streams_per_principal_max),
            tasks: Admit::new("tasks kept", limits.tasks_max, limits.tasks_per_principal_max),
            quiet: CancellationToken::new(),
        }
    }

    /// The same with these bounds: who has a place keeps it.
    pub(super) fn under(&self, limits: &Limits) -> Self {
        let Self { calls, streams, kept, tasks, quiet } = self;
        Self {
            calls: calls.with_max(limits.calls_max, limits.calls_per_principal_max),
            streams: streams.with_max(limits.streams_max, limits.streams_per_principal_max),
            kept: kept.with_max(limits.kept_streams_max, limits.kept_streams_per_principal_max),
            tasks: tasks.with_max(limits.tasks_max, limits.tasks_per_principal_max),
            quiet: quiet.clone(),
        }
    }

    fn all(&self) -> [&Admit; 4] {
        [&self.calls, &self.streams, &self.kept, &self.tasks]
    }
}

impl Road {
    /// Opens a stream that is fed outside of calls. What it holds fires when its credential is revoked.
    pub(crate) fn open_stream(&self, principal: &Arc<Principal>) -> Result<Permit, ToolError> {
        self.places.streams.enter(principal, || self.is_current(principal))
    }

    /// A place for a task, for as long as it is kept. What it holds fires when its credential is revoked.
    pub(crate) fn open_task(&self, principal: &Arc<Principal>) -> Result<Permit, ToolError> {
        self.places.tasks.enter(principal, || self.is_current(principal))
    }

    /// Lets the stream of a call be kept for a client that comes back.
    pub(crate) fn keep_stream(&self, principal: &Arc<Principal>) -> Result<Permit, ToolError> {
        self.places.kept.enter(principal, || self.is_current(principal))
    }

    /// Cancels what runs under a credential that was revoked.
    pub fn revoke(&self, credential: &str) {
        for admit in self.places.all() {
            admit.revoke(credential);
        }
    }

    /// Cancels every running call and task, and ends every stream.
    pub fn cancel_all(&self) {
        self.hush();
        for admit in self.places.all() {
            admit.cancel_all();
        }
    }

    /// From now on nobody is told of changes, and nothing is asked: who listens is sent away, and what
    /// waits for an answer is cancelled. Whoever shuts down begins with this, for no answer could come.
    pub(crate) fn hush(&self) {
        self.places.quiet.cancel();
    }

    /// Fires when nobody is told of changes, or can answer, any more.
    pub(crate) fn quiet(&self) -> CancellationToken {
        self.places.quiet.child_token()
    }
}
