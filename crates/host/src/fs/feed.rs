//! A queue between one thread that finds work and workers that do it, with nobody who sleeps for a
//! fixed time: a small search is over before such a pause would be.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Work that waits.
pub(super) struct Feed<T> {
    shared: Mutex<Shared<T>>,
    changed: Condvar,
    most: usize,
}

struct Shared<T> {
    waiting: VecDeque<T>,
    is_closed: bool,
}

impl<T> Feed<T> {
    /// An empty queue for at most so many.
    pub(super) fn new(most: usize) -> Self {
        let shared = Shared { waiting: VecDeque::with_capacity(most), is_closed: false };
        Self { shared: Mutex::new(shared), changed: Condvar::new(), most }
    }

    /// Queues work for a worker, or gives it back if the queue is full.
    pub(super) fn offer(&self, work: T) -> Option<T> {
        let mut shared = self.lock();
        if shared.waiting.len() >= self.most {
            return Some(work);
        }
        shared.waiting.push_back(work);
        drop(shared);
        self.changed.notify_one();
        None
    }

    /// Waits for work; none if all is done.
    pub(super) fn take(&self) -> Option<T> {
        let mut shared = self.lock();
        loop {
            if let Some(work) = shared.waiting.pop_front() {
                return Some(work);
            }
            if shared.is_closed {
                return None;
            }
            shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No more work comes; what waits is still done.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// No more work is done.
    pub(super) fn abandon(&self) {
        let mut shared = self.lock();
        shared.waiting.clear();
        shared.is_closed = true;
        drop(shared);
        self.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, Shared<T>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_work_back_and_a_closed_one_is_emptied_first() {
        let feed = Feed::new(2);
        assert_eq!((feed.offer(1), feed.offer(2), feed.offer(3)), (None, None, Some(3)));
        feed.close();
        assert_eq!((feed.take(), feed.take(), feed.take()), (Some(1), Some(2), None));
    }

    #[test]
    fn an_abandoned_queue_wakes_its_workers_and_keeps_nothing() {
        let feed = Feed::new(2);
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| feed.take());
            feed.abandon();
            assert_eq!(worker.join().unwrap(), None);
        });
        feed.offer(1);
        feed.abandon();
        assert_eq!(feed.take(), None);
        assert!(feed.is_closed());
    }
}
