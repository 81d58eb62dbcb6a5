//! A round of syncing: all who wait for the same one, and what it came to.

use std::future::poll_fn;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Poll, Waker};

/// What one sync is waited for with.
#[derive(Debug, Default)]
pub(crate) struct Round {
    told: OnceLock<Result<(), &'static str>>,
    waiting: Mutex<Vec<Waker>>,
}

impl Round {
    /// Tells all who wait how it went, or the step that failed. Only the first word counts.
    pub(crate) fn tell(&self, how: Result<(), &'static str>) {
        // Under the lock, so that nobody begins to wait between the two.
        let waiting = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            self.told.get_or_init(|| how);
            std::mem::take(&mut *waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until it is told.
    pub(super) async fn told(&self) -> Result<(), &'static str> {
        poll_fn(|cx| {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(told) = self.told.get() {
                return Poll::Ready(*told);
            }
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn all_who_wait_are_told_once_and_who_comes_late_at_once() {
        let (round, count) = (Round::default(), Arc::new(Count(AtomicUsize::new(0))));
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut waits = pin!(round.told());
        for _ in 0..2 {
            assert!(waits.as_mut().poll(&mut cx).is_pending());
        }
        round.tell(Err("sync"));
        round.tell(Ok(()));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(waits.as_mut().poll(&mut cx), Poll::Ready(Err("sync")));
        assert_eq!(pin!(round.told()).poll(&mut cx), Poll::Ready(Err("sync")));
    }
}
