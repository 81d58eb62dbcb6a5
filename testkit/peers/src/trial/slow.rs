//! A crowd of slow peers, and ordinary callers beside them.
//!
//! A slow peer that is hung up on comes back at once: what it costs the others is what a server can do
//! something about, not that it exists.

mod peer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tokio::task::JoinSet;

use super::callers::{Callers, Heard};
use super::memory_mib;
use crate::process::descriptors;
use crate::wire::Target;
use peer::{Counts, Peer};

pub use peer::Kind;

/// Time between two slow peers at the beginning.
const STAGGER: Duration = Duration::from_millis(1);
/// How often the server is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Connections of the callers who keep theirs.
const CALLERS: u32 = 4;

/// The crowd.
pub struct Plan {
    /// Whom the slow peers ask, with their own token.
    pub slow: Target,
    /// Whom the ordinary callers ask.
    pub target: Target,
    /// How they are slow.
    pub kind: Kind,
    /// How many slow peers.
    pub connections: usize,
    /// Calls per second: of the callers who keep their connection, and of those who connect anew.
    pub per_second: u32,
    /// How long all of it goes on once the crowd is there.
    pub duration: Duration,
    /// The server.
    pub process: u32,
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Stood {
    /// What callers got who were connected before the crowd came.
    pub kept: Heard,
    /// What callers got who connected for every call, once the crowd was there.
    pub anew: Heard,
    /// How often a slow peer was hung up on.
    pub hung_up: usize,
    /// How often one could not connect.
    pub unconnected: usize,
    /// The most descriptors that the server had open.
    pub descriptors_most: usize,
    /// The most memory that it ever had, in MiB.
    pub rss_most_mib: f64,
}

/// Runs the trial to its end.
pub async fn run(plan: Plan) -> Result<Stood> {
    let start = Instant::now();
    let until = start + arrival(plan.connections) + plan.duration;
    let callers = Callers { target: plan.target.clone(), count: CALLERS, per_second: plan.per_second, until };
    let kept = tokio::spawn(callers.clone().keep_calling());
    let watch = tokio::spawn(watch(plan.process, until));
    let (counts, mut crowd) = (Arc::new(Counts::default()), JoinSet::new());
    for number in 0..plan.connections {
        tokio::time::sleep_until((start + arrival(number)).into()).await;
        let peer = Peer { target: plan.slow.clone(), kind: plan.kind, counts: Arc::clone(&counts) };
        crowd.spawn(peer.come_again_and_again());
    }
    let anew = callers.keep_connecting().await?;
    let (_, rss_most_mib) = memory_mib(plan.process)?;
    Ok(Stood {
        kept: kept.await??,
        anew,
        hung_up: counts.hung_up(),
        unconnected: counts.unconnected(),
        descriptors_most: watch.await??,
        rss_most_mib,
    })
}

/// When the slow peer of this number comes.
fn arrival(number: usize) -> Duration {
    STAGGER * u32::try_from(number).unwrap_or(u32::MAX)
}

/// The most descriptors that the server has until then.
async fn watch(process: u32, until: Instant) -> Result<usize> {
    let mut most = 0;
    while Instant::now() < until {
        most = most.max(descriptors(process)?);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(most)
}
