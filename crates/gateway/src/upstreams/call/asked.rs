//! What a legacy server asks while a call of it runs: on the stream of its request, or on one that all share.

use std::sync::Arc;

use hayward_mcp::upstream::{Asked, Upstream};
use hayward_tool::Abilities;
use tokio::time::timeout;

use super::Calling;
use crate::limits::TELL_TIMEOUT;
use crate::upstreams::asks::Taking;
use crate::upstreams::links::Link;
use crate::upstreams::questions;

impl Calling<'_> {
    /// Whether the client can be asked anything. Where nobody can be, nobody listens.
    fn listens(&self) -> bool {
        !self.is_shared() && self.call.caller.abilities != Abilities::default()
    }

    /// Answers what a legacy server asks of us; gives back what only the client can answer.
    pub(super) async fn ask(&self, link: &Link, asked: Asked) -> Option<Asked> {
        let refusal = match questions::judge(&asked.request, self.call.caller.abilities, self.is_shared()) {
            questions::Judged::ForClient => return Some(asked),
            questions::Judged::Answer(answer) => answer,
        };
        drop(timeout(TELL_TIMEOUT, link.upstream.answer(&asked, refusal)).await);
        None
    }

    /// Refuses what nobody here answers.
    pub(super) fn refuse(&self, upstream: &Arc<Upstream>, asked: Asked) {
        self.shared.refuse(self.server, upstream, asked);
    }

    /// Takes what the server asks beside the streams of requests, where the client can be asked anything.
    pub(super) fn take(&self, link: &Link) -> Option<Taking> {
        self.listens().then(|| self.shared.asks.take(&link.upstream))
    }

    /// Takes nothing more: what was taken and nobody answers is refused.
    pub(super) fn leave(&self, link: &Link, taking: Option<Taking>) {
        for asked in taking.into_iter().flat_map(Taking::close) {
            self.refuse(&link.upstream, asked);
        }
    }
}

/// What a server asks on a stream that is not that of one call; nothing ever where nobody listens.
pub(super) async fn asked(taking: Option<&mut Taking>) -> Asked {
    match taking {
        Some(taking) => taking.next().await,
        None => std::future::pending().await,
    }
}
