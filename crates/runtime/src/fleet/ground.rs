//! What all instances of a fleet stand on: who we are, sizes and times, what was found out, and who is told.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hayward_mcp::abilities::Abilities;
use hayward_mcp::json::Raw;
use hayward_mcp::upstream::{Driver, EraChoice, Events, Http, Options, Sse, Upstream, UpstreamError, Wire};
use http::HeaderMap;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::eras::Eras;
use super::{Hears, Hides, RecordsProbes, Wanted};
use crate::grants::Grants;
use crate::limits::Limits;
use crate::placement::{Access, Address};

pub(super) struct Ground {
    pub(super) client: Raw,
    pub(super) limits: Limits,
    /// Access to those that run elsewhere.
    pub(super) grants: Option<Arc<Grants>>,
    pub(super) tasks: TaskTracker,
    /// Fires when all are to end.
    pub(super) closing: CancellationToken,
    pub(super) eras: Eras,
    pub(super) hears: OnceLock<Arc<dyn Hears>>,
    pub(super) probes: OnceLock<Arc<dyn RecordsProbes>>,
    pub(super) changed: watch::Sender<u64>,
    pub(super) hides: Option<Arc<dyn Hides>>,
}

/// A connection that was agreed on.
pub(super) struct Greeted {
    pub(super) upstream: Arc<Upstream>,
    pub(super) events: Events,
    /// Ends when the connection does.
    pub(super) driver: JoinHandle<()>,
}

impl Ground {
    /// A text without what nobody is to see.
    pub(super) fn hidden(&self, text: String) -> String {
        match self.hides.as_ref().map(|hides| hides.hide(&text)) {
            Some(Cow::Owned(hidden)) => hidden,
            Some(Cow::Borrowed(_)) | None => text,
        }
    }

    /// Something is different.
    pub(super) fn tick(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Agrees with an instance on how to speak, as one that can do this when it is asked. The connection ends at the latest
    /// when this fires.
    pub(super) async fn greet(
        &self,
        wanted: &Wanted,
        access: &Access,
        (era, abilities): (EraChoice, Abilities),
        until: &CancellationToken,
    ) -> Result<Greeted, UpstreamError> {
        let bytes_max = usize::try_from(self.limits.message_bytes_max).unwrap_or(usize::MAX);
        // Lines are there once.
        let (wire, events, driver) = wire(access, &wanted.headers, bytes_max).ok_or(UpstreamError::Ended)?;
        let until = until.clone();
        let driver = self.tasks.spawn(async move {
            until.run_until_cancelled(driver).await;
        });
        let options = Options {
            abilities,
            era,
            handshake_timeout: Duration::from_millis(self.limits.handshake_timeout_ms),
            probe_timeout: Duration::from_millis(self.limits.probe_timeout_ms),
            ..Options::new(self.client.clone())
        };
        let upstream = Arc::new(Upstream::connect(wire, options).await?);
        Ok(Greeted { upstream, events, driver })
    }
}

/// A wire to an instance, over which everything carries these headers.
fn wire(access: &Access, headers: &HeaderMap, bytes_max: usize) -> Option<(Wire, Events, Driver)> {
    let of = |Address { connect, url }: &Address| (Arc::clone(connect), url.clone());
    match access {
        Access::Lines(_) => access.wire(bytes_max),
        Access::Http(address) => {
            let (connect, url) = of(address);
            let (http, events, driver) = Http::over(connect, &url, headers, bytes_max);
            Some((Wire::Http(http), events, driver))
        }
        Access::Sse(address) => {
            let (connect, url) = of(address);
            let (sse, events, driver) = Sse::over(connect, url, headers, bytes_max);
            Some((Wire::Sse(sse), events, driver))
        }
    }
}
