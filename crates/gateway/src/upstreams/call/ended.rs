//! Why a call has no answer of its server: what its server is told of that, and what its caller.

use std::sync::Arc;

use hayward_api::Code;
use hayward_api::error::with_sources;
use hayward_mcp::upstream::{Upstream, UpstreamError};
use hayward_tool::{Stop, ToolError};
use tokio::time::timeout;

use super::Calling;
use crate::limits::TELL_TIMEOUT;
use crate::upstreams::answer;
use crate::upstreams::links::Away;

/// Why a call has no answer of its server.
pub(super) enum Ended {
    /// An error of ours.
    Failed(ToolError),
    /// The connection failed.
    Wire(UpstreamError),
    /// The same after the server had begun: whatever failed of it, something may have been done.
    Midway(UpstreamError),
    /// The server said nothing for too long.
    Silent,
    /// The call has to stop.
    Stopped(Stop),
}

impl Calling<'_> {
    /// Tells the server that nobody waits any more, beside the call, whose caller shouldn't wait for that either.
    pub(super) fn withdraw(&self, upstream: &Arc<Upstream>, number: i64, ended: &Ended) {
        match ended {
            Ended::Wire(error) | Ended::Midway(error) => {
                self.shared.links.failed(&self.server.name, upstream, error);
            }
            Ended::Silent => {
                let error =
                    UpstreamError::Timeout { method: self.call.verb.method(), timeout: self.offered.timeout };
                self.shared.links.failed(&self.server.name, upstream, &error);
            }
            Ended::Failed(_) | Ended::Stopped(_) => {}
        }
        let why = match ended {
            Ended::Silent => "no answer in time",
            Ended::Stopped(Stop::Cancelled) => "the client cancelled it",
            Ended::Stopped(Stop::Deadline) => "its time is over",
            Ended::Midway(_) => "the answer to its question is lost",
            Ended::Failed(_) | Ended::Wire(_) => return,
        };
        let upstream = Arc::clone(upstream);
        self.shared.tasks.spawn(async move {
            let telling = upstream.cancel(number, why);
            drop(timeout(TELL_TIMEOUT, telling).await);
        });
    }

    /// Why there is no connection.
    pub(super) fn away(&self, away: &Away) -> ToolError {
        let message =
            format!("server `{}` can't be reached: {}", self.server.name, answer::cleaned(&away.why));
        let (code, kind) = if away.is_full {
            ("RateLimited", Code::RateLimited)
        } else {
            ("UpstreamUnavailable", Code::Unavailable)
        };
        ToolError::new(code, kind, message)
            .suggest(
                self.way_out(&format!(
                    "retry later; `hayward describe server {}` says more",
                    self.server.name
                )),
            )
            .unmade()
    }

    /// What helps: this, unless nobody but a person can.
    fn way_out(&self, otherwise: &str) -> String {
        let name = &self.server.name;
        if !self.shared.links.wants_grant(name) {
            return otherwise.to_owned();
        }
        format!("retrying doesn't help: ask whoever administers this to run `hayward authorize {name}`")
    }

    /// What its caller is told.
    pub(super) fn error(&self, ended: Ended) -> ToolError {
        let name = &self.server.name;
        match ended {
            Ended::Failed(error) => error,
            Ended::Stopped(Stop::Cancelled) => ToolError::cancelled(),
            Ended::Stopped(Stop::Deadline) | Ended::Silent => {
                let message = format!("server `{name}` gave no answer in time");
                ToolError::timeout(message)
                    .suggest("it may have done it all the same: look before you call again")
            }
            Ended::Wire(error) if !error.may_have_arrived() => {
                self.failed(&error).suggest(self.way_out("nothing was done; retry later")).unmade()
            }
            Ended::Wire(error) | Ended::Midway(error) => {
                self.failed(&error).suggest("it may have done it all the same: look before you call again")
            }
        }
    }

    fn failed(&self, error: &UpstreamError) -> ToolError {
        let message = format!("server `{}`: {}", self.server.name, answer::cleaned(&with_sources(error)));
        ToolError::new("UpstreamFailed", Code::UpstreamFailed, message)
    }
}
