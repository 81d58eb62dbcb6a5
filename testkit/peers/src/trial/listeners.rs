//! A crowd of subscriptions: how long it takes until news has reached all of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::latency::Latencies;
use crate::wire::{Ask, Connection, Era, Target, Wire};

/// Nobody waits for longer than this.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pause between two changes, so that one is over when the next begins.
const PAUSE: Duration = Duration::from_millis(100);

/// The crowd.
pub struct Plan {
    /// Whom to ask; its tool `change` lets something change.
    pub target: Target,
    /// Subscriptions.
    pub listeners: usize,
    /// How often something changes.
    pub changes: usize,
}

/// What was heard.
#[derive(Debug, Serialize)]
pub struct Heard {
    /// From asking for a change to when the last listener has heard of it, in milliseconds: the median.
    pub all_p50: f64,
    /// The longest.
    pub all_longest: f64,
    /// The call that changes something, by itself, in milliseconds: the median.
    pub call_p50: f64,
}

/// Plays it.
pub async fn run(plan: Plan) -> Result<Heard> {
    let target = plan.target.in_era(Era::Modern);
    let (sender, mut heard) = mpsc::channel(plan.listeners.max(1));
    let mut listeners = JoinSet::new();
    for number in 0..plan.listeners {
        let (stream, begun) = subscribe(&target, number as u64).await.context("failed to subscribe")?;
        listeners.spawn(listen(stream, begun, sender.clone()));
    }
    drop(sender);
    // Every acknowledgement is one message.
    gather(&mut heard, plan.listeners).await.context("not every subscription was acknowledged")?;
    let mut caller = Connection::open(&target).await?;
    let request = target.request(None, &Ask::call("change", "{}".to_owned()), 1);
    let (mut all, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..plan.changes {
        let asked = Instant::now();
        caller.exchange(&request).await?.judge()?;
        calls.push(asked.elapsed());
        let last = gather(&mut heard, plan.listeners).await.context("not everybody has heard")?;
        all.push(last.duration_since(asked));
        tokio::time::sleep(PAUSE).await;
    }
    let (all, calls) = (Latencies::of(all), Latencies::of(calls));
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    Ok(Heard {
        all_p50: millis(all.percentile(50)),
        all_longest: millis(all.percentile(100)),
        call_p50: millis(calls.percentile(50)),
    })
}

async fn subscribe(target: &Target, id: u64) -> Result<(Box<dyn Wire>, Vec<u8>)> {
    let mut connection = Connection::open(target).await?;
    let head = connection.begin(&target.subscribe(id)).await?;
    ensure!(head.status == 200, "a subscription was answered with {}", head.status);
    Ok(connection.into_parts())
}

/// Tells when a message has come. Signs of life are none.
async fn listen(mut stream: Box<dyn Wire>, mut rest: Vec<u8>, heard: mpsc::Sender<Instant>) -> Result<()> {
    loop {
        let now = Instant::now();
        while let Some(end) = memchr::memmem::find(&rest, b"\n\n") {
            let is_message = memchr::memmem::find(&rest[..end], b"data: ").is_some();
            rest.drain(..end + 2);
            if is_message && heard.send(now).await.is_err() {
                return Ok(());
            }
        }
        if stream.read_buf(&mut rest).await? == 0 {
            bail!("a subscription has ended");
        }
    }
}

/// Waits for this many messages; when the last of them came.
async fn gather(heard: &mut mpsc::Receiver<Instant>, count: usize) -> Result<Instant> {
    let mut last = Instant::now();
    for _ in 0..count {
        let message = timeout(PATIENCE, heard.recv()).await.context("too late")?;
        last = last.max(message.context("nobody listens any more")?);
    }
    Ok(last)
}
