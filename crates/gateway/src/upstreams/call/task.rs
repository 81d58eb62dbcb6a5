//! A server that goes on with a call by itself: it is asked how far it is until there is an answer.

use std::sync::Arc;
use std::time::Duration;

use hayward_mcp::json::{ObjectWriter, Raw};
use hayward_mcp::upstream::{Outgoing, Upstream, UpstreamError};
use hayward_tool::{Ability, Outcome};
use tokio::time::{sleep, timeout};

use super::Calling;
use super::ended::Ended;
use crate::limits::{TASK_MISSES_MAX, TELL_TIMEOUT};
use crate::upstreams::answer::{self, Answered};
use crate::upstreams::links::Link;

impl Calling<'_> {
    /// Asks a task of the server how far it is, until it is over or asks something itself.
    pub(super) async fn follow_task(&self, link: Link, id: String, poll: Duration) -> Result<Outcome, Ended> {
        let outcome = self.follow_to_end((&link, &id), poll).await;
        if outcome.is_err() {
            let upstream = Arc::clone(&link.upstream);
            self.shared.tasks.spawn(async move { cancel(&upstream, &id).await });
        }
        outcome
    }

    async fn follow_to_end(&self, (link, id): (&Link, &str), mut poll: Duration) -> Result<Outcome, Ended> {
        if let Some(answers) = &self.call.round.answers {
            let params = ObjectWriter::new(256).str("taskId", id).raw("inputResponses", answers).end();
            if let Err(error) = self.ask_task((link, id), ("tasks/update", &params), poll).await? {
                return Ok(answer::failed(&error));
            }
        }
        let params = ObjectWriter::new(64).str("taskId", id).end();
        loop {
            let response = self.ask_task((link, id), ("tasks/get", &params), poll).await?;
            match answer::task(response, (id, &link.instance), &mut poll) {
                Some(Answered::Outcome(outcome)) => return Ok(outcome),
                Some(Answered::Broken(what)) => return Err(Ended::Midway(UpstreamError::Protocol(what))),
                Some(Answered::Task { .. }) | None => {}
            }
            self.pause(poll).await?;
        }
    }

    /// Asks once; again and again, but not for ever, while the server isn't there to be asked: it may go on all the same.
    async fn ask_task(
        &self,
        (link, id): (&Link, &str),
        (method, params): (&str, &Raw),
        poll: Duration,
    ) -> Result<Result<Raw, Raw>, Ended> {
        let outgoing = self.outgoing(method, params, id);
        let outgoing = Outgoing { mirrored: None, has_progress: false, log_level: None, ..outgoing };
        // To ask how far it is once more changes nothing, even if it was heard.
        let is_lost = |error: &UpstreamError| {
            !error.may_have_arrived()
                || method == "tasks/get" && matches!(error, UpstreamError::Connection(_))
        };
        let mut misses = 0;
        loop {
            let asking = async { link.upstream.request(&outgoing).await?.response().await };
            let answered = tokio::select! {
                biased;
                response = asking => response,
                () = sleep(self.offered.timeout) => return Err(Ended::Silent),
                stop = self.cx.stopped() => return Err(Ended::Stopped(stop)),
            };
            match answered {
                Err(error) if is_lost(&error) && misses < TASK_MISSES_MAX => misses += 1,
                answered => return answered.map_err(Ended::Midway),
            }
            self.pause(poll).await?;
        }
    }

    async fn pause(&self, poll: Duration) -> Result<(), Ended> {
        tokio::select! {
            () = sleep(poll) => Ok(()),
            stop = self.cx.stopped() => Err(Ended::Stopped(stop)),
        }
    }
}

/// Tells a server that nobody waits for this task any more.
pub(in crate::upstreams) async fn cancel(upstream: &Upstream, id: &str) {
    let params = ObjectWriter::new(64).str("taskId", id).end();
    let outgoing = Outgoing {
        abilities: [Ability::Tasks].into_iter().collect(),
        ..Outgoing::new("tasks/cancel", Some(&params)).on(id)
    };
    let asking = async { upstream.request(&outgoing).await?.response().await };
    drop(timeout(TELL_TIMEOUT, asking).await);
}
