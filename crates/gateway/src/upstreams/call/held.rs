//! A call that waits in the middle for what only its client can answer.

use std::pin::pin;
use std::sync::Arc;

use hayward_api::Code;
use hayward_mcp::upstream::{Asked, Exchange};
use hayward_tool::{Outcome, ToolError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::ended::Ended;
use super::{Calling, Going};
use crate::limits::TELL_TIMEOUT;
use crate::upstreams::held::HeldCall;
use crate::upstreams::links::Link;
use crate::upstreams::questions;
use crate::upstreams::state::State;

impl Calling<'_> {
    /// Holds the call until the client has answered.
    pub(super) async fn hold(&self, link: Link, exchange: Exchange, asked: Asked) -> Result<Outcome, Ended> {
        let (question, is_over) = (questions::question(&asked.request), CancellationToken::new());
        let call = HeldCall {
            principal: Arc::clone(&self.call.caller.principal),
            server: Arc::clone(&self.server.name),
            exchange,
            asked,
            link,
            correlation_id: Arc::clone(&self.call.correlation_id),
            _is_over: is_over.clone().drop_guard(),
        };
        match self.shared.held.put(call) {
            Ok(id) => {
                self.shared.tasks.spawn(self.shared.held.clone().expire(id.clone(), is_over));
                Ok(Outcome::ask(vec![question], Some(State::Held(id).write())))
            }
            Err(call) => {
                call.end("too many calls are held").await;
                let message = "too many calls wait for answers of their clients already";
                Err(Ended::Failed(
                    ToolError::new("RateLimited", Code::RateLimited, message).suggest("answer those first"),
                ))
            }
        }
    }

    /// Goes on with a held call, to its end or to its next question.
    pub(super) async fn follow_held(&self, id: &str) -> Result<Outcome, Ended> {
        let going = self.go_on(id).await?;
        self.follow(going, pin!(self.silence())).await
    }

    /// Goes on with a held call: its server gets the answer.
    async fn go_on(&self, id: &str) -> Result<Going, Ended> {
        let credential = &self.call.caller.principal.credential;
        let held = self.shared.held.take(id, credential).ok_or_else(|| {
            let message = format!(
                "server `{}` waited for the answer no longer, or its connection is gone",
                self.server.name
            );
            Ended::Failed(
                ToolError::new("CallGone", Code::Unavailable, message)
                    .suggest("call again from the beginning"),
            )
        })?;
        let HeldCall { exchange, asked, link, .. } = held;
        self.cx.reach(&link.instance, false);
        let taking = self.take(&link);
        let answer = questions::answer(&self.call.round);
        let ended = match timeout(TELL_TIMEOUT, link.upstream.answer(&asked, answer)).await {
            Ok(Ok(())) => return Ok(Going { link, exchange, taking }),
            Ok(Err(error)) => Ended::Midway(error),
            Err(_elapsed) => Ended::Silent,
        };
        let number = exchange.id();
        drop(exchange);
        self.leave(&link, taking);
        self.withdraw(&link.upstream, number, &ended);
        Err(ended)
    }
}
