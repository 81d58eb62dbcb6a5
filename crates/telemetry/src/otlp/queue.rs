//! What waits to be pushed: a bounded queue that drops what is new when it is full, and counts it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::Batch;

/// A bounded queue.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: Mutex<VecDeque<T>>,
    dropped: AtomicU64,
    batch: Batch,
    /// Wakes whoever takes when there is a whole batch.
    full: Notify,
}

impl<T> Queue<T> {
    pub(super) fn new(batch: Batch) -> Self {
        Self { waiting: Mutex::default(), dropped: AtomicU64::new(0), batch, full: Notify::new() }
    }

    /// Puts it in line, or drops it. The lock is only ever held to move a batch.
    pub(super) fn push(&self, item: T) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= self.batch.queue_max {
            drop(waiting);
            return self.lost(1);
        }
        waiting.push_back(item);
        if waiting.len() == self.batch.batch_max {
            self.full.notify_one();
        }
    }

    /// The oldest of what waits, at most a batch of it.
    pub(super) fn take(&self) -> Vec<T> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(self.batch.batch_max);
        waiting.drain(..count).collect()
    }

    /// Waits for a whole batch, or for as long as one waits for company.
    pub(super) async fn ripe(&self) {
        let is_ripe = || {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.len() >= self.batch.batch_max
        };
        if !is_ripe() {
            // Whether it is full or its time is over, it is taken.
            tokio::time::timeout(self.batch.delay, self.full.notified()).await.ok();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// So many are lost.
    pub(super) fn lost(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// How many were lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_queue_drops_what_is_new_and_counts_it() {
        let batch = Batch { queue_max: 3, batch_max: 2, delay: Duration::ZERO };
        let queue = Queue::new(batch);
        (0..5).for_each(|item| queue.push(item));
        assert_eq!((queue.take(), queue.dropped()), (vec![0, 1], 2));
        assert_eq!((queue.take(), queue.len()), (vec![2], 0));
    }
}
