//! What a running call has beside its values: a deadline, a cancellation, a way for progress.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hayward_mcp::json::Raw;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::limits::PROGRESS_QUEUE;

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
    /// Nothing will be told for a while: a client that can is sent away, and comes back.
    Rest {
        /// When to come back, in milliseconds.
        retry_ms: u64,
    },
}

/// Where progress is told, and heard by one listener.
///
/// A plain queue rather than a channel: nearly every call says nothing, and should pay nothing for it.
#[derive(Clone, Debug, Default)]
pub struct ProgressQueue(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    queue: Mutex<VecDeque<Progress>>,
    news: Notify,
}

impl ProgressQueue {
    /// What was told next. Waits for ever if nothing more comes. Cancellation-safe.
    pub async fn next(&self) -> Progress {
        loop {
            let news = self.0.news.notified();
            if let Some(progress) = self.lock().pop_front() {
                return progress;
            }
            news.await;
        }
    }

    /// What was told next, if anything was.
    pub fn try_next(&self) -> Option<Progress> {
        self.lock().pop_front()
    }

    fn tell(&self, progress: Progress) {
        let mut queue = self.lock();
        if queue.len() < PROGRESS_QUEUE {
            queue.push_back(progress);
            self.0.news.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Progress>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    progress: Option<ProgressQueue>,
    recorded: Option<Recorded>,
    reached: Option<Arc<Mutex<Option<Reached>>>>,
}

/// The instance of a server that a call has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its name.
    pub instance: Arc<str>,
    /// Whether this call has bound it to its session or its caller, by a connection of their own.
    pub is_bound: bool,
}

/// Where a call is found in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The number of its intent.
    pub intent: u64,
    /// The id of its request.
    pub request_id: Arc<str>,
}

impl Cx {
    /// A context that ends after `timeout` or when `cancel` fires.
    pub fn new(timeout: Duration, cancel: CancellationToken) -> Self {
        Self { deadline: Instant::now() + timeout, cancel, progress: None, recorded: None, reached: None }
    }

    /// The same context with somebody who listens to progress.
    #[must_use]
    pub fn with_progress(mut self, queue: ProgressQueue) -> Self {
        self.progress = Some(queue);
        self
    }

    /// The same context of a call that is recorded.
    #[must_use]
    pub fn with_record(mut self, recorded: Recorded) -> Self {
        self.recorded = Some(recorded);
        self
    }

    /// The same context of a call that goes to a server with instances, which says there which one it has reached.
    #[must_use]
    pub fn with_reach(mut self) -> Self {
        self.reached = Some(Arc::default());
        self
    }

    /// Says which instance the call has reached. The last one counts, and what was bound stays so.
    pub fn reach(&self, instance: &Arc<str>, is_bound: bool) {
        let Some(reached) = &self.reached else { return };
        let mut reached = reached.lock().unwrap_or_else(PoisonError::into_inner);
        let was_bound = reached.as_ref().is_some_and(|it| it.is_bound && it.instance == *instance);
        *reached = Some(Reached { instance: Arc::clone(instance), is_bound: is_bound || was_bound });
    }

    /// Which instance the call has reached, as far as it has come.
    pub fn reached(&self) -> Option<Reached> {
        self.reached.as_ref().and_then(|it| it.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Where the call is found in the record, if it is recorded.
    pub fn recorded(&self) -> Option<&Recorded> {
        self.recorded.as_ref()
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
        if let Some(queue) = &self.progress {
            queue.tell(progress);
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
        assert_eq!(Cx::new(Duration::ZERO, cancel.clone()).stop(), Some(Stop::Deadline));
        cancel.cancel();
        assert_eq!(cx.stop(), Some(Stop::Cancelled));
        assert_eq!(cx.stopped().await, Stop::Cancelled);
    }

    #[tokio::test]
    async fn a_listener_hears_everything_in_order() {
        let queue = ProgressQueue::default();
        let told = queue.clone();
        tokio::spawn(async move {
            for step in 0..3_u8 {
                told.tell(Progress::Step { progress: f64::from(step), total: None, message: None });
                tokio::task::yield_now().await;
            }
        });
        for step in 0..3_u8 {
            let Progress::Step { progress, .. } = queue.next().await else { panic!("a log line") };
            assert!((progress - f64::from(step)).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn what_a_call_has_reached_last_counts_and_what_it_bound_stays_bound() {
        let cx = Cx::new(Duration::from_secs(1), CancellationToken::new());
        let [one, other]: [Arc<str>; 2] = ["one".into(), "other".into()];
        cx.reach(&one, false);
        assert_eq!(cx.reached(), None, "nobody asks");
        let cx = cx.with_reach();
        let told = |cx: &Cx| cx.reached().map(|it| (it.instance.to_string(), it.is_bound));
        for (instance, is_bound, expect) in [(&one, true, true), (&one, false, true), (&other, false, false)]
        {
            cx.reach(instance, is_bound);
            assert_eq!(told(&cx), Some((instance.to_string(), expect)));
        }
    }

    #[test]
    fn a_slow_listener_never_holds_up_the_call() {
        let queue = ProgressQueue::default();
        let cx = Cx::new(Duration::from_secs(1), CancellationToken::new()).with_progress(queue.clone());
        for _ in 0..=PROGRESS_QUEUE {
            cx.report(Progress::Step { progress: 0.0, total: None, message: None });
        }
        assert_eq!(queue.lock().len(), PROGRESS_QUEUE);
    }
}
