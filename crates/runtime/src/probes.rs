//! Whether an instance is well: what is asked of it again and again, and what follows from the answers.
//!
//! ```text
//!  unknown ──success──► healthy ──threshold failures──► unhealthy ──as many again──► it is ended, and another one started
//!                          ▲                                │
//!                          └────────────success─────────────┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hayward_api::definition::HealthCheck;
use hayward_mcp::era::Era;
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_mcp::upstream::{Outgoing, Upstream};
use http::Request;
use tokio::time::{Instant, timeout};

use crate::fleet::trouble_of;
use crate::placement::{Access, Address, Placement, PlacementError};

/// What is known of how an instance is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How it is.
    pub verdict: Verdict,
    /// Failures in a row.
    pub failures: u32,
    /// How long the last answer took.
    pub latency: Option<Duration>,
    /// What the last failure was, if no success came after it.
    pub why: Option<String>,
}

/// How an instance is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody asked, or not often enough to know.
    #[default]
    Unknown,
    /// It answers.
    Healthy,
    /// It doesn't, again and again.
    Unhealthy,
}

impl Verdict {
    /// The word of a status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What came of asking once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, after so long.
    Well(Duration),
    /// It didn't, or not as it should.
    Unwell(String),
    /// It can't be asked so.
    Unasked(String),
}

impl Health {
    /// What is known after asking once more, if so many failures in a row make it unwell.
    #[must_use]
    pub fn after(&self, outcome: Outcome, threshold: u32) -> Self {
        match outcome {
            Outcome::Well(latency) => {
                Self { verdict: Verdict::Healthy, failures: 0, latency: Some(latency), why: None }
            }
            Outcome::Unwell(why) => {
                let failures = self.failures.saturating_add(1);
                let verdict = if failures >= threshold { Verdict::Unhealthy } else { self.verdict };
                Self { verdict, failures, latency: self.latency, why: Some(why) }
            }
            Outcome::Unasked(why) => Self { why: Some(why), ..Self::default() },
        }
    }

    /// Whether it failed so often that there is no use in waiting: twice as often as makes it unwell.
    pub fn is_hopeless(&self, threshold: u32) -> bool {
        self.verdict == Verdict::Unhealthy && self.failures >= threshold.saturating_mul(2)
    }
}

/// What an instance is asked by.
pub(crate) struct Probe<'a> {
    pub(crate) check: &'a HealthCheck,
    /// The name of the instance.
    pub(crate) name: &'a str,
    pub(crate) placement: &'a Arc<dyn Placement>,
    pub(crate) access: &'a Access,
    pub(crate) upstream: &'a Upstream,
}

impl Probe<'_> {
    /// Asks once.
    pub(crate) async fn ask(&self) -> Outcome {
        let patience = Duration::from_secs(self.check.timeout_seconds().into());
        let asked_at = Instant::now();
        match timeout(patience, self.answer()).await {
            Ok(Ok(())) => Outcome::Well(asked_at.elapsed()),
            Ok(Err(outcome)) => outcome,
            Err(_) => Outcome::Unwell(format!("there was no answer within {} s", patience.as_secs())),
        }
    }

    async fn answer(&self) -> Result<(), Outcome> {
        if let Some(tool) = &self.check.tool {
            return self.call(tool).await.map_err(Outcome::Unwell);
        }
        if let Some(path) = &self.check.http_path {
            return self.look_at(path).await;
        }
        if !self.check.exec.is_empty() {
            return self.exec().await;
        }
        ping(self.upstream).await.map_err(Outcome::Unwell)
    }

    async fn call(&self, tool: &str) -> Result<(), String> {
        let arguments = self.check.arguments.as_ref().map_or_else(|| Ok(Raw::empty_object()), Raw::of);
        let arguments = arguments.map_err(|error| error.to_string())?;
        let params = ObjectWriter::new(128).str("name", tool).raw("arguments", &arguments).end();
        let outgoing = Outgoing::new("tools/call", Some(&params)).on(tool);
        let result = answered(self.upstream, &outgoing).await?;
        let is_error = Object::of(&result).and_then(|it| it.get("isError"));
        if is_error.is_some_and(|raw| raw.as_str() == "true") {
            return Err(format!("tool `{tool}` says that it failed"));
        }
        Ok(())
    }

    async fn look_at(&self, path: &str) -> Result<(), Outcome> {
        let (Access::Http(Address { connect, url }) | Access::Sse(Address { connect, url })) = self.access
        else {
            return Err(Outcome::Unasked("it has no address, and so no page".to_owned()));
        };
        let unasked = |error: &dyn std::error::Error| Outcome::Unasked(error.to_string());
        let own = url;
        let url = own.join(path).map_err(|error| unasked(&error))?;
        // What goes there may carry what was granted for the server.
        if url.origin() != own.origin() {
            return Err(Outcome::Unasked(format!("`{}` is no path on the server", path.escape_debug())));
        }
        let request = Request::get(url.as_str()).body(Bytes::new()).map_err(|error| unasked(&error))?;
        let answer = connect.send(request).await.map_err(|error| Outcome::Unwell(trouble_of(&error)))?;
        match answer.status().as_u16() {
            200..=399 => Ok(()),
            status => Err(Outcome::Unwell(format!("`{path}` answered with status {status}"))),
        }
    }

    async fn exec(&self) -> Result<(), Outcome> {
        match self.placement.exec(self.name, &self.check.exec).await {
            Ok(0) => Ok(()),
            Ok(code) => Err(Outcome::Unwell(format!("`{}` exited with {code}", self.check.exec[0]))),
            Err(error @ PlacementError::Unfit { .. }) => Err(Outcome::Unasked(error.to_string())),
            Err(error) => Err(Outcome::Unwell(trouble_of(&error))),
        }
    }
}

/// Asks an upstream for a sign of life: a modern one, who it is. Any answer is one: some don't know `ping`.
pub(crate) async fn ping(upstream: &Upstream) -> Result<(), String> {
    let method = match upstream.declared().revision.era() {
        Era::Legacy => "ping",
        Era::Modern => "server/discover",
    };
    let exchange =
        upstream.request(&Outgoing::new(method, None)).await.map_err(|error| trouble_of(&error))?;
    exchange.response().await.map(drop).map_err(|error| trouble_of(&error))
}

async fn answered(upstream: &Upstream, outgoing: &Outgoing<'_>) -> Result<Raw, String> {
    let exchange = upstream.request(outgoing).await.map_err(|error| trouble_of(&error))?;
    let answer = exchange.response().await.map_err(|error| trouble_of(&error))?;
    answer.map_err(|error| hayward_mcp::error::RpcError::of(&error).message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: u32 = 3;

    fn well(ms: u64) -> Outcome {
        Outcome::Well(Duration::from_millis(ms))
    }

    fn unwell() -> Outcome {
        Outcome::Unwell("no answer".to_owned())
    }

    fn all(outcomes: impl IntoIterator<Item = Outcome>) -> Health {
        outcomes.into_iter().fold(Health::default(), |health, outcome| health.after(outcome, THRESHOLD))
    }

    #[test]
    fn it_is_unwell_after_as_many_failures_in_a_row_and_well_after_one_success() {
        assert_eq!(all([]).verdict, Verdict::Unknown);
        assert_eq!(all([unwell(), unwell()]).verdict, Verdict::Unknown);
        assert_eq!(all([well(1), unwell(), unwell()]).verdict, Verdict::Healthy);
        let unhealthy = all([well(7), unwell(), unwell(), unwell()]);
        let expect = Health {
            verdict: Verdict::Unhealthy,
            failures: 3,
            latency: Some(Duration::from_millis(7)),
            why: Some("no answer".to_owned()),
        };
        assert_eq!(unhealthy, expect);
        let healthy = unhealthy.after(well(2), THRESHOLD);
        assert_eq!((healthy.verdict, healthy.failures, healthy.why), (Verdict::Healthy, 0, None));
        assert_eq!(all([unwell(), unwell(), well(1), unwell(), unwell()]).verdict, Verdict::Healthy);
    }

    #[test]
    fn there_is_no_hope_after_twice_as_many_and_not_before() {
        assert!(!all((0..5).map(|_| unwell())).is_hopeless(THRESHOLD));
        assert!(all((0..6).map(|_| unwell())).is_hopeless(THRESHOLD));
        assert!(!all((0..6).map(|_| unwell()).chain([well(1)])).is_hopeless(THRESHOLD));
        assert!(!Health::default().is_hopeless(0));
    }

    #[test]
    fn what_cannot_be_asked_says_nothing_of_how_it_is() {
        let health = all([unwell(), unwell(), Outcome::Unasked("no page".to_owned())]);
        assert_eq!((health.verdict, health.failures), (Verdict::Unknown, 0));
        assert_eq!(health.why.as_deref(), Some("no page"));
    }
}
