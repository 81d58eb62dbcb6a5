//! What a running call has beside its values: a deadline, a cancellation, a way for progress.

use std::time::{Duration, Instant};

use hayward_mcp::json::Raw;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// News of a running call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Progress {
    /// How far it is.
    Step {
        /// Grows with every message.
        progress: f64,
        /// What `progress` is at the end, if that is known.
        total: Option<f64>,
        /// What is being done.
        message: Option<String>,
    },
    /// A line for the log of the client.
    Log {
        /// The word for how serious it is: `debug` … `emergency`.
        level: String,
        /// Who says it.
        logger: Option<String>,
        /// What is said: any JSON.
        data: Raw,
    },
}

/// Why a call has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its client cancelled it or is gone, or we shut down.
    Cancelled,
    /// Its time is over.
    Deadline,
}

/// The context of a running call.
#[derive(Clone, Debug)]
pub struct Cx {
    deadline: Instant,
    cancel: CancellationToken,
    progress: Option<mpsc::Sender<Progress>>,
}

impl Cx {
    /// A context that ends after `timeout` or when `cancel` fires.
    pub fn new(timeout: Duration, cancel: CancellationToken) -> Self {
        Self { deadline: Instant::now() + timeout, cancel, progress: None }
    }

    /// The same context with somebody who listens to progress.
    #[must_use]
    pub fn with_progress(mut self, progress: mpsc::Sender<Progress>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// The same context with an earlier deadline; a later one changes nothing.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.deadline = self.deadline.min(Instant::now() + timeout);
        self
    }

    /// When it has to end.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long it may still run.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The cancellation, for what waits on it.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Whether to stop, for loops that can't wait: cheap, asked once a chunk.
    pub fn stop(&self) -> Option<Stop> {
        if self.cancel.is_cancelled() {
            Some(Stop::Cancelled)
        } else if Instant::now() >= self.deadline {
            Some(Stop::Deadline)
        } else {
            None
        }
    }

    /// Waits until the call has to stop. Cancellation-safe.
    pub async fn stopped(&self) -> Stop {
        tokio::select! {
            () = self.cancel.cancelled() => Stop::Cancelled,
            () = tokio::time::sleep_until(self.deadline.into()) => Stop::Deadline,
        }
    }

    /// Whether anybody listens to progress.
    pub fn has_listener(&self) -> bool {
        self.progress.is_some()
    }

    /// Tells progress to whoever listens. A slow listener misses news rather than holding up the call.
    pub fn report(&self, progress: Progress) {
        if let Some(sender) = &self.progress {
            sender.try_send(progress).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_context_stops_at_its_deadline_or_when_cancelled() {
        let cancel = CancellationToken::new();
        let cx = Cx::new(Duration::from_mins(1), cancel.clone());
        assert_eq!(cx.stop(), None);
        assert_eq!(cx.clone().within(Duration::ZERO).stop(), Some(Stop::Deadline));
        cancel.cancel();
        assert_eq!(cx.stop(), Some(Stop::Cancelled));
        assert_eq!(cx.stopped().await, Stop::Cancelled);
    }

    #[test]
    fn a_slow_listener_never_holds_up_the_call() {
        let (sender, mut receiver) = mpsc::channel(1);
        let cx = Cx::new(Duration::from_secs(1), CancellationToken::new()).with_progress(sender);
        for step in 0..3_u8 {
            cx.report(Progress::Step { progress: f64::from(step), total: None, message: None });
        }
        assert!(receiver.try_recv().is_ok());
        assert!(receiver.try_recv().is_err());
    }
}
