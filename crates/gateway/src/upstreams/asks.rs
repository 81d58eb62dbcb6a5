//! Requests of legacy servers that come on a stream which all their calls share: handed to a call that runs there, because
//! on a connection of one owner every call has the same client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hayward_mcp::upstream::{Asked, Upstream};
use tokio::sync::mpsc;

use crate::limits::ASKED_AT_ONCE_MAX;

/// Who takes what servers ask, by connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asks(Arc<Mutex<Takers>>);

#[derive(Debug, Default)]
struct Takers {
    by_connection: HashMap<usize, Vec<(u64, mpsc::Sender<Asked>)>>,
    count: u64,
}

/// A call that takes what its server asks, until this is dropped.
#[derive(Debug)]
pub(crate) struct Taking {
    asks: Asks,
    connection: usize,
    number: u64,
    queue: mpsc::Receiver<Asked>,
}

impl Asks {
    /// A call on this connection takes what its server asks from now on.
    pub(crate) fn take(&self, upstream: &Arc<Upstream>) -> Taking {
        let (sender, queue) = mpsc::channel(ASKED_AT_ONCE_MAX);
        let connection = address(upstream);
        let mut takers = self.lock();
        takers.count += 1;
        let number = takers.count;
        takers.by_connection.entry(connection).or_default().push((number, sender));
        drop(takers);
        Taking { asks: self.clone(), connection, number, queue }
    }

    /// Hands over what a server asks; gives it back if nobody takes it.
    pub(crate) fn hand_over(&self, upstream: &Arc<Upstream>, asked: Asked) -> Result<(), Box<Asked>> {
        let takers = self.lock();
        let Some(calls) = takers.by_connection.get(&address(upstream)) else { return Err(Box::new(asked)) };
        // The newest is the likeliest to be meant.
        let mut asked = asked;
        for (_, call) in calls.iter().rev() {
            match call.try_send(asked) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => {
                    asked = back;
                }
            }
        }
        Err(Box::new(asked))
    }

    fn lock(&self) -> MutexGuard<'_, Takers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells a connection from every other for as long as somebody has it.
fn address(upstream: &Arc<Upstream>) -> usize {
    Arc::as_ptr(upstream) as usize
}

impl Taking {
    /// What was handed over and nobody took.
    pub(crate) fn rest(&mut self) -> Vec<Asked> {
        std::iter::from_fn(|| self.queue.try_recv().ok()).collect()
    }

    /// What the server asks next. Waits for ever if it asks nothing. Cancellation-safe.
    pub(crate) async fn next(&mut self) -> Asked {
        match self.queue.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let mut takers = self.asks.lock();
        if let Some(calls) = takers.by_connection.get_mut(&self.connection) {
            calls.retain(|(number, _)| *number != self.number);
            if calls.is_empty() {
                takers.by_connection.remove(&self.connection);
            }
        }
    }
}
