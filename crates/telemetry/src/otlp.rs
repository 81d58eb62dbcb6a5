//! What is pushed to an OpenTelemetry collector: traces, metrics and logs, as protobuf over HTTP.
//!
//! ```text
//! a call ends  ──► Spans ─► queue ─┐
//! a line is logged ► Logs ─► queue ─┼─► a thread of its own ──► the collector
//! Meters, now and then ────────────┘
//! ```
//!
//! No call waits for a collector: a queue that is full drops what is new and counts it. How much was lost is
//! told by `otlp_dropped_total` at `/metrics`, and by the log, once a minute at most.

mod deliver;
mod logs;
mod queue;
mod settings;
mod span;
mod spans;
mod wire;

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

pub(crate) use logs::LogLayer;
pub use logs::Logs;
pub use settings::{Batch, Fault, Patience, Sampler, Settings, Target};
pub use span::{Attribute, Ended};
pub use spans::{Spans, Started};

use crate::limits::FLUSH_MAX;
use crate::metrics::{Kind, Meters, Observed};
use deliver::Delivery;

/// What waits to be pushed. It takes spans and logs before anything is sent.
pub struct Otlp {
    settings: Settings,
    spans: Option<Arc<Spans>>,
    logs: Option<Arc<Logs>>,
}

/// What pushes, until it is ended.
#[must_use = "what still waits is pushed when this is ended"]
pub struct Pushing {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// Pushing could not start: there is no thread, or no scheduler on it.
#[derive(Debug, thiserror::Error)]
#[error("failed to start the thread that pushes telemetry")]
pub struct StartError(#[source] std::io::Error);

impl Otlp {
    /// Queues for what these settings push.
    pub fn new(settings: Settings) -> Self {
        let spans = settings.traces.is_some().then(|| Spans::new(settings.sampler, settings.span_batch));
        let logs = settings.logs.is_some().then(|| Logs::new(settings.log_batch));
        Self { settings, spans: spans.map(Arc::new), logs: logs.map(Arc::new) }
    }

    /// Where calls are told, if they are pushed.
    pub fn spans(&self) -> Option<Arc<Spans>> {
        self.spans.clone()
    }

    /// Where lines of the log are told, if they are pushed.
    pub fn logs(&self) -> Option<Arc<Logs>> {
        self.logs.clone()
    }

    /// What collectors are shown as credentials: the values of headers.
    pub fn credentials(&self) -> impl Iterator<Item = &[u8]> {
        let targets = [&self.settings.traces, &self.settings.metrics, &self.settings.logs];
        targets
            .into_iter()
            .flatten()
            .flat_map(|target| target.headers.values().map(http::HeaderValue::as_bytes))
    }

    /// Starts to push, these numbers as well.
    pub fn start(&self, meters: Arc<Meters>) -> Result<Pushing, StartError> {
        let lost = Arc::new(deliver::Lost::default());
        let (told, spans, logs) = (Arc::clone(&lost), self.spans(), self.logs());
        meters.observe(Observed {
            name: "otlp_dropped_total",
            help: "Spans, log records and pushes of metrics that no collector has taken.",
            kind: Kind::Counter,
            label: Some("signal"),
            read: Box::new(move || {
                let spans = spans.as_ref().map_or(0, |spans| spans.queue.dropped());
                let logs = logs.as_ref().map_or(0, |logs| logs.queue.dropped());
                vec![("traces", spans), ("metrics", told.metrics()), ("logs", logs)]
            }),
        });
        let delivery = Delivery::new(&self.settings, self.spans(), self.logs(), meters, lost);
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError)?;
        let run = move || runtime.block_on(delivery.run(stopped));
        let thread = std::thread::Builder::new().name("otlp".to_owned()).spawn(run);
        Ok(Pushing { stop, thread: thread.map_err(StartError)? })
    }
}

impl Pushing {
    /// Pushes what still waits, for a bounded time, and ends. Blocks until then.
    pub fn end(self) {
        // If nobody hears it, the thread has ended already.
        self.stop.send(true).ok();
        if self.thread.join().is_err() {
            tracing::error!(within = ?FLUSH_MAX, "the thread that pushes telemetry has panicked");
        }
    }
}
