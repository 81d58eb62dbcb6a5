//! A server that goes on with a call by itself: it is asked how far it is until there is an answer.

use std::sync::Arc;
use std::time::Duration;

use hayward_mcp::json::{ObjectWriter, Raw};
use hayward_mcp::upstream::{Outgoing, UpstreamError};
use hayward_tool::{Ability, Outcome};
use tokio::time::sleep;

use super::{Calling, Ended};
use crate::limits::TELL_TIMEOUT;
use crate::upstreams::answer::{self, Answered};
use crate::upstreams::links::Link;

impl Calling<'_> {
    /// Asks a task of the server how far it is, until it is over or asks something itself.
    pub(super) async fn follow_task(
        &self,
        link: Link,
        id: String,
        mut poll: Duration,
    ) -> Result<Outcome, Ended> {
        if let Some(answers) = &self.call.round.answers {
            let params = ObjectWriter::new(256).str("taskId", &id).raw("inputResponses", answers).end();
            if let Err(error) = self.ask_task(&link, "tasks/update", &params, &id).await? {
                return Ok(answer::failed(&error));
            }
        }
        let params = ObjectWriter::new(64).str("taskId", &id).end();
        loop {
            let response = match self.ask_task(&link, "tasks/get", &params, &id).await {
                Ok(response) => response,
                Err(ended) => {
                    self.end_task(&link, &params, &ended);
                    return Err(ended);
                }
            };
            match answer::task(response, &id, &mut poll) {
                Some(Answered::Outcome(outcome)) => return Ok(outcome),
                Some(Answered::Broken(what)) => return Err(Ended::Wire(UpstreamError::Protocol(what))),
                Some(Answered::Task { .. }) | None => {}
            }
            tokio::select! {
                () = sleep(poll) => {}
                stop = self.cx.stopped() => {
                    let ended = Ended::Stopped(stop);
                    self.end_task(&link, &params, &ended);
                    return Err(ended);
                }
            }
        }
    }

    async fn ask_task(
        &self,
        link: &Link,
        method: &str,
        params: &Raw,
        id: &str,
    ) -> Result<Result<Raw, Raw>, Ended> {
        let outgoing = self.outgoing(method, params, id);
        let outgoing = Outgoing { mirrored: None, has_progress: false, log_level: None, ..outgoing };
        let asking = async { link.upstream.request(&outgoing).await?.response().await };
        tokio::select! {
            biased;
            response = asking => response.map_err(Ended::Wire),
            () = sleep(self.offered.timeout) => Err(Ended::Silent),
            stop = self.cx.stopped() => Err(Ended::Stopped(stop)),
        }
    }

    fn end_task(&self, link: &Link, params: &Raw, ended: &Ended) {
        if !matches!(ended, Ended::Stopped(_)) {
            return;
        }
        let (upstream, params) = (Arc::clone(&link.upstream), params.clone());
        self.shared.tasks.spawn(async move {
            let outgoing = Outgoing {
                abilities: [Ability::Tasks].into_iter().collect(),
                ..Outgoing::new("tasks/cancel", Some(&params))
            };
            let asking = async { upstream.request(&outgoing).await?.response().await };
            drop(tokio::time::timeout(TELL_TIMEOUT, asking).await);
        });
    }
}
