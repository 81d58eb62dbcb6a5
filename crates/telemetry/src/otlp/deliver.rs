//! What pushes: one loop for each signal, so that none waits for another, all on one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hayward_egress::{Answer, Client, SendError};
use http::HeaderValue;
use http::header::{CONTENT_TYPE, USER_AGENT};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::queue::Queue;
use super::wire::{Source, rejected_lines, rejected_points, rejected_spans};
use super::{Logs, Patience, Settings, Spans, Target};
use crate::limits::{FLUSH_MAX, RETRY_WAIT_MAX, TELL_EVERY};
use crate::metrics::Meters;

/// Pushes of metrics that came to nothing.
#[derive(Debug, Default)]
pub(super) struct Lost {
    metrics: AtomicU64,
}

impl Lost {
    pub(super) fn metrics(&self) -> u64 {
        self.metrics.load(Ordering::Relaxed)
    }
}

/// Why a collector did not take something.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("the collector can't be reached")]
    Send(#[source] SendError),
    #[error("the collector answered with {0}")]
    Refused(u16),
    #[error("the collector took only a part")]
    Partly,
}

/// One signal on its way.
struct Way {
    signal: &'static str,
    client: Client,
    target: Target,
    patience: Patience,
}

/// Everything that is pushed.
pub(super) struct Delivery {
    source: Source,
    spans: Option<(Way, Arc<Spans>)>,
    logs: Option<(Way, Arc<Logs>)>,
    metrics: Option<(Way, Duration)>,
    meters: Arc<Meters>,
    lost: Arc<Lost>,
}

/// Whether it is over.
type Stopped = watch::Receiver<bool>;

impl Delivery {
    pub(super) fn new(
        settings: &Settings,
        spans: Option<Arc<Spans>>,
        logs: Option<Arc<Logs>>,
        meters: Arc<Meters>,
        lost: Arc<Lost>,
    ) -> Self {
        let way = |signal, target: &Option<Target>| {
            let target = target.clone()?;
            Some(Way { signal, client: Client::new(target.timeout), target, patience: settings.patience })
        };
        Self {
            source: Source::new(meters.version(), &settings.resource),
            spans: way("traces", &settings.traces).zip(spans),
            logs: way("logs", &settings.logs).zip(logs),
            metrics: way("metrics", &settings.metrics).zip(Some(settings.metric_interval)),
            meters,
            lost,
        }
    }

    /// Pushes until it is over, and then what is left, for a bounded time.
    pub(super) async fn run(self, stopped: Stopped) {
        let mut end = stopped.clone();
        let spans = async {
            if let Some((way, spans)) = &self.spans {
                let encode = |batch: Vec<_>| self.source.spans(&batch);
                way.drain(&spans.queue, encode, rejected_spans, stopped.clone()).await;
            }
        };
        let logs = async {
            if let Some((way, logs)) = &self.logs {
                let encode = |batch| self.source.lines(batch);
                way.drain(&logs.queue, encode, rejected_lines, stopped.clone()).await;
            }
        };
        let pushing = async { tokio::join!(spans, logs, self.push_metrics(stopped.clone())) };
        let overdue = async {
            // Whoever stops it may be gone: that stops it too.
            end.wait_for(|is_over| *is_over).await.ok();
            sleep(FLUSH_MAX).await;
        };
        tokio::select! {
            _ = pushing => {}
            () = overdue => {}
        }
        let left = self.spans.as_ref().map_or(0, |(_, spans)| spans.queue.len())
            + self.logs.as_ref().map_or(0, |(_, logs)| logs.queue.len());
        if left > 0 {
            tracing::warn!(left, "no collector has taken the last spans and log records");
        }
    }

    async fn push_metrics(&self, mut stopped: Stopped) {
        let Some((way, interval)) = &self.metrics else {
            return;
        };
        let mut teller = Teller::default();
        loop {
            let is_last = timeout(*interval, stopped.wait_for(|is_over| *is_over)).await.is_ok();
            // Not tried again: the next one says all of it.
            let once = Patience { attempts: 1, ..way.patience };
            let body = self.source.metrics(&self.meters);
            let pushed = way.push(body.into(), once, &mut stopped).await;
            let pushed = pushed.and_then(|body| match rejected_points(&body) {
                0 => Ok(()),
                _ => Err(PushError::Partly),
            });
            if let Err(error) = pushed {
                self.lost.metrics.fetch_add(1, Ordering::Relaxed);
                teller.tell(way.signal, self.lost.metrics(), &error);
            }
            if is_last {
                return;
            }
        }
    }
}

impl Way {
    async fn drain<T>(
        &self,
        queue: &Queue<T>,
        encode: impl Fn(Vec<T>) -> Vec<u8>,
        rejected: fn(&[u8]) -> u64,
        mut stopped: Stopped,
    ) {
        let mut teller = Teller::default();
        loop {
            let is_over = async { stopped.wait_for(|is_over| *is_over).await.is_ok() };
            tokio::select! {
                () = queue.ripe() => {}
                _ = is_over => {}
            }
            let batch = queue.take();
            if batch.is_empty() {
                if *stopped.borrow() || stopped.has_changed().is_err() {
                    return;
                }
                continue;
            }
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            let pushed = self.push(encode(batch).into(), self.patience, &mut stopped).await;
            let (lost, error) = match pushed {
                Ok(body) => (rejected(&body), PushError::Partly),
                Err(error) => (count, error),
            };
            if lost > 0 {
                queue.lost(lost);
                teller.tell(self.signal, queue.dropped(), &error);
            }
        }
    }

    /// Sends it until it is taken, or there is no sense in trying again.
    async fn push(
        &self,
        body: Bytes,
        patience: Patience,
        stopped: &mut Stopped,
    ) -> Result<Vec<u8>, PushError> {
        let mut wait = patience.first_wait;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (error, asked_to_wait) = match self.send(body.clone()).await {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer.body),
                Ok(answer) if is_passing(answer.status) => {
                    (PushError::Refused(answer.status), answer.retry_after_s.map(Duration::from_secs))
                }
                Ok(answer) => return Err(PushError::Refused(answer.status)),
                Err(error) => (PushError::Send(error), None),
            };
            if attempt >= patience.attempts || *stopped.borrow() {
                return Err(error);
            }
            let pause = asked_to_wait.unwrap_or(wait).min(RETRY_WAIT_MAX);
            // At the end there is one last attempt, at once.
            timeout(pause, stopped.wait_for(|is_over| *is_over)).await.ok();
            wait *= 2;
        }
    }

    async fn send(&self, body: Bytes) -> Result<Answer, SendError> {
        let mut headers = self.target.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("hayward"));
        self.client.post(&self.target.url, headers, body).await
    }
}

/// What a collector may take later.
fn is_passing(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// Tells the log of what is lost, now and then.
#[derive(Default)]
struct Teller {
    told: Option<Instant>,
}

impl Teller {
    fn tell(&mut self, signal: &'static str, dropped: u64, error: &PushError) {
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        let error: &dyn std::error::Error = error;
        tracing::warn!(signal, dropped, error, "a collector does not take what it is sent");
    }
}
