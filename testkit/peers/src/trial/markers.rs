//! Many clients with the same request ids, each with its own markers: whose answer is it?
//!
//! Clients are of both eras by turns, and from call to call they take JSON, events, or either, and now
//! and then hear progress on the way: all roads that an answer can take. Progress tokens are the
//! same for all, too.

mod exchange;

use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;

use super::share_of;
use crate::wire::{Connection, Era, Target};
use exchange::{Exchange, Verdict};

/// The clients.
pub struct Plan {
    /// Whom to ask.
    pub target: Target,
    /// How many clients.
    pub clients: usize,
    /// How many calls, all of them together.
    pub calls: usize,
}

/// Whose answers came.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// Answers that carried their own client's marker, and nothing else's.
    pub own: usize,
    /// Answers that carried something else: cross deliveries.
    pub foreign: usize,
    /// The first of those.
    pub first_foreign: Option<String>,
    /// Calls without an answer that could be judged.
    pub errors: usize,
    /// The first of those.
    pub first_error: Option<String>,
    /// Answers as JSON.
    pub as_json: usize,
    /// Answers as events.
    pub as_events: usize,
    /// Notices of progress on the way.
    pub notices: usize,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Tally {
    fn note(&mut self, verdict: Result<Verdict>) {
        match verdict {
            Ok(Verdict::Own { is_json, notices }) => {
                self.own += 1;
                self.as_json += usize::from(is_json);
                self.as_events += usize::from(!is_json);
                self.notices += notices;
            }
            Ok(Verdict::Foreign(what)) => {
                self.foreign += 1;
                self.first_foreign.get_or_insert(what);
            }
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert(format!("{error:#}"));
            }
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            own: self.own + other.own,
            foreign: self.foreign + other.foreign,
            first_foreign: self.first_foreign.or(other.first_foreign),
            errors: self.errors + other.errors,
            first_error: self.first_error.or(other.first_error),
            as_json: self.as_json + other.as_json,
            as_events: self.as_events + other.as_events,
            notices: self.notices + other.notices,
            seconds: self.seconds + other.seconds,
        }
    }
}

/// Runs the trial to its end.
pub async fn run(plan: Plan) -> Result<Tally> {
    let (start, mut clients) = (Instant::now(), JoinSet::new());
    for number in 0..plan.clients {
        let era = if number.is_multiple_of(2) { Era::Legacy } else { Era::Modern };
        let calls = share_of(plan.calls, number, plan.clients);
        clients.spawn(client(plan.target.in_era(era), number, calls));
    }
    let mut tally = Tally::default();
    while let Some(client) = clients.join_next().await {
        tally = tally.and(client.context("a client's task failed")?);
    }
    Ok(Tally { seconds: start.elapsed().as_secs_f64(), ..tally })
}

async fn client(target: Target, number: usize, calls: usize) -> Tally {
    let (mut tally, mut line) = (Tally::default(), None);
    for call in 0..calls {
        let verdict = next(&target, &mut line, Exchange::of(number, call)).await;
        if verdict.is_err() {
            line = None;
        }
        tally.note(verdict);
    }
    tally
}

/// A connection and the session on it.
type Line = (Connection, Option<String>);

async fn connect(target: &Target) -> Result<Line> {
    let mut connection = Connection::open(target).await?;
    let session = target.shake_hands(&mut connection).await?;
    Ok((connection, session))
}

/// The next call of a client, on its connection or on a new one.
async fn next(target: &Target, line: &mut Option<Line>, exchange: Exchange) -> Result<Verdict> {
    let (mut connection, session) = match line.take() {
        Some(line) => line,
        None => connect(target).await?,
    };
    let answer = connection.exchange(&exchange.request(target, session.as_deref())).await?;
    *line = Some((connection, session));
    exchange.judge(&answer)
}
