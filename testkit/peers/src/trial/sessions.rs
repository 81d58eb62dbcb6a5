//! A crowd of idle legacy sessions, and ordinary callers beside them.
//!
//! Each session is opened and then left alone, with no connection or with a standing stream. At the end
//! each one is ended by its id: a server that forgot some on the way saved memory by not keeping its word.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use super::callers::{Callers, Heard};
use super::{memory_mib, share_of};
use crate::wire::{Connection, Era, Media, Target, Wire};

/// Connections over which sessions are opened and ended.
const OPENERS: usize = 32;
/// Room for what comes on a standing stream.
const STREAM_BYTES: usize = 512;

/// The crowd.
pub struct Plan {
    /// Whom to ask.
    pub target: Target,
    /// How many sessions.
    pub sessions: usize,
    /// Whether each has a standing stream.
    pub has_streams: bool,
    /// How many ordinary callers there are beside them.
    pub callers: u32,
    /// Their calls per second, all together.
    pub per_second: u32,
    /// For how long they call.
    pub duration: Duration,
    /// The server.
    pub process: u32,
}

/// What came out.
#[derive(Debug, Default, Serialize)]
pub struct Stood {
    /// What the first wish for a standing stream was answered with, if there was one; but for 200, the
    /// trial ended there.
    pub stream_status: Option<u16>,
    /// Standing streams that were still open at the end.
    pub streams_open: usize,
    /// Sessions that were still there at the end.
    pub sessions_kept: usize,
    /// What the callers got.
    pub calls: Heard,
    /// Memory of the server with the crowd and no callers, in MiB.
    pub rss_idle_mib: f64,
    /// The most memory that it ever had, in MiB.
    pub rss_most_mib: f64,
}

/// Runs the trial to its end.
pub async fn run(plan: Plan) -> Result<Stood> {
    let target = plan.target.in_era(Era::Legacy);
    let ids = open(&target, plan.sessions).await?;
    let mut stood = Stood::default();
    if plan.has_streams {
        let status = offered(&target, &ids).await?;
        stood.stream_status = Some(status);
        if status != 200 {
            return Ok(stood);
        }
    }
    let standing = Standing::open(&target, if plan.has_streams { &ids } else { &[] }).await?;
    (stood.rss_idle_mib, _) = memory_mib(plan.process)?;
    let until = Instant::now() + plan.duration;
    let callers = Callers { target: plan.target, count: plan.callers, per_second: plan.per_second, until };
    stood.calls = callers.keep_calling().await?;
    stood.streams_open = standing.count();
    drop(standing);
    (_, stood.rss_most_mib) = memory_mib(plan.process)?;
    stood.sessions_kept = end(&target, ids).await?;
    Ok(stood)
}

/// Opens this many sessions and hangs up.
async fn open(target: &Target, count: usize) -> Result<Vec<String>> {
    let mut openers = JoinSet::new();
    for opener in 0..OPENERS {
        let (target, share) = (target.clone(), share_of(count, opener, OPENERS));
        openers.spawn(async move {
            let (mut connection, mut ids) = (Connection::open(&target).await?, Vec::new());
            for _ in 0..share {
                let id = target.shake_hands(&mut connection).await?;
                ids.push(id.context("the server has no sessions")?);
            }
            anyhow::Ok(ids)
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(opened) = openers.join_next().await {
        all.extend(opened.context("an opener's task failed")??);
    }
    Ok(all)
}

/// Ends these sessions; returns how many of them were there.
async fn end(target: &Target, ids: Vec<String>) -> Result<usize> {
    let mut connection = Connection::open(target).await?;
    let mut there = 0;
    for id in ids {
        there += usize::from(target.end_session(&mut connection, &id).await.is_ok());
    }
    Ok(there)
}

/// The status with which a wish for a standing stream is answered.
async fn offered(target: &Target, ids: &[String]) -> Result<u16> {
    let id = ids.first().context("there is no session")?;
    let mut connection = Connection::open(target).await?;
    Ok(connection.begin(&target.listen(id)).await?.status)
}

/// Standing streams, read until they end.
struct Standing {
    open: Arc<AtomicUsize>,
    _readers: JoinSet<()>,
}

impl Standing {
    async fn open(target: &Target, ids: &[String]) -> Result<Self> {
        let (open, mut readers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        for id in ids {
            let mut connection = Connection::open(target).await?;
            let head = connection.begin(&target.listen(id)).await?;
            let is_stream = head.status == 200 && head.media == Some(Media::Events);
            ensure!(is_stream, "a standing stream was answered with {head:?}");
            open.fetch_add(1, Ordering::Relaxed);
            readers.spawn(read_to_end(connection.into_stream(), Arc::clone(&open)));
        }
        Ok(Self { open, _readers: readers })
    }

    fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

async fn read_to_end(mut stream: Box<dyn Wire>, open: Arc<AtomicUsize>) {
    let mut room = [0; STREAM_BYTES];
    while stream.read(&mut room).await.is_ok_and(|read| read > 0) {}
    open.fetch_sub(1, Ordering::Relaxed);
}
