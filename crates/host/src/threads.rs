//! The bounded way from async tools to blocking work on files.
//!
//! A thread may hang in the kernel (a dead NFS server, a FUSE daemon that doesn't answer) and can't
//! be ended then. Its call is answered at the deadline all the same, and the thread keeps its place,
//! so that such threads can't pile up.

use std::sync::Arc;

use hayward_tool::{Cx, ToolError};
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio::time::timeout;

use crate::limits::STOP_GRACE;

/// Places for threads that work on files.
#[derive(Clone)]
pub(crate) struct Threads {
    places: Arc<Semaphore>,
}

impl Threads {
    pub(crate) fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)) }
    }

    /// Runs blocking work with a context that stops when `cx` does or when this future is dropped.
    ///
    /// Work that looks at its context in time may still answer after the stop (with a part, say).
    pub(crate) async fn run<T, F>(&self, cx: &Cx, work: F) -> Result<T, ToolError>
    where
        T: Send + 'static,
        F: FnOnce(&Cx) -> Result<T, ToolError> + Send + 'static,
    {
        let place = tokio::select! {
            biased;
            place = Arc::clone(&self.places).acquire_owned() => place.expect("never closed"),
            stop = cx.stopped() => return Err(stop.into()),
        };
        let cancel = cx.cancellation().child_token();
        let _cancels_when_dropped = cancel.clone().drop_guard();
        let inner = Cx::new(cx.remaining(), cancel);
        let mut task = tokio::task::spawn_blocking(move || {
            let result = work(&inner);
            drop(place);
            result
        });
        tokio::select! {
            biased;
            done = &mut task => joined(done),
            stop = cx.stopped() => match timeout(STOP_GRACE, task).await {
                Ok(done) => joined(done),
                Err(_) => Err(stop.into()),
            },
        }
    }
}

fn joined<T>(done: Result<Result<T, ToolError>, JoinError>) -> Result<T, ToolError> {
    done.unwrap_or_else(|error| {
        Err(if error.is_cancelled() {
            ToolError::cancelled() // the runtime ends
        } else {
            ToolError::internal(format!("file work ended badly: {error}"))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn cx(millis: u64) -> Cx {
        Cx::new(Duration::from_millis(millis), CancellationToken::new())
    }

    #[tokio::test]
    async fn a_call_returns_at_its_deadline_though_its_thread_hangs_and_keeps_its_place() {
        let threads = Threads::new(1);
        let (release, hangs) = sync_channel::<()>(0);
        let hang = move |_: &Cx| {
            hangs.recv().ok();
            Ok(())
        };
        let hung = threads.run(&cx(20), hang).await;
        assert_eq!(hung.unwrap_err().code, "TimeoutError");
        let waiting = threads.run(&cx(20), |_| Ok(())).await;
        assert_eq!(waiting.unwrap_err().code, "TimeoutError");
        release.send(()).unwrap();
        assert_eq!(threads.run(&cx(10_000), |_| Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn work_is_told_when_nobody_waits_for_it_any_more() {
        let threads = Threads::new(1);
        let (tell, told) = sync_channel(1);
        let patient = cx(60_000);
        let call = threads.run(&patient, move |cx| {
            while cx.stop().is_none() {
                std::thread::yield_now();
            }
            tell.send(cx.stop()).ok();
            Ok(())
        });
        assert!(timeout(Duration::from_millis(20), call).await.is_err());
        let stop = tokio::task::spawn_blocking(move || told.recv()).await.unwrap();
        assert_eq!(stop.unwrap(), Some(hayward_tool::Stop::Cancelled));
    }
}
