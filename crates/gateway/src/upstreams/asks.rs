//! What legacy servers ask and log on a stream which all their calls share: handed to a call that runs there, because on a
//! connection of one owner every call has the same client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hayward_mcp::json::Raw;
use hayward_mcp::upstream::{Asked, Upstream};
use tokio::sync::mpsc;

use crate::limits::ASKED_AT_ONCE_MAX;

/// What a server says that is meant for a client.
#[derive(Debug)]
pub(crate) enum Said {
    /// It asks something.
    Asked(Asked),
    /// It logs this: the parameters of `notifications/message`.
    Logged(Raw),
}

/// Who takes what servers say, by connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asks(Arc<Mutex<Takers>>);

#[derive(Debug, Default)]
struct Takers {
    by_connection: HashMap<usize, Vec<(u64, mpsc::Sender<Said>)>>,
    count: u64,
}

/// A call that takes what its server says, until this is dropped.
#[derive(Debug)]
pub(crate) struct Taking {
    asks: Asks,
    connection: usize,
    number: u64,
    queue: mpsc::Receiver<Said>,
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

    /// Hands over what a server says; gives it back if nobody takes it.
    pub(crate) fn hand_over(&self, upstream: &Arc<Upstream>, mut said: Said) -> Result<(), Box<Said>> {
        let takers = self.lock();
        let calls = takers.by_connection.get(&address(upstream)).map(Vec::as_slice).unwrap_or_default();
        // The newest is the likeliest to be meant.
        for (_, call) in calls.iter().rev() {
            match call.try_send(said) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => {
                    said = back;
                }
            }
        }
        Err(Box::new(said))
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
    /// What was asked and nobody took.
    pub(crate) fn rest(&mut self) -> Vec<Asked> {
        let rest = std::iter::from_fn(|| self.queue.try_recv().ok());
        rest.filter_map(|said| match said {
            Said::Asked(asked) => Some(asked),
            Said::Logged(_) => None,
        })
        .collect()
    }

    /// What the server says next. Waits for ever if it says nothing. Cancellation-safe.
    pub(crate) async fn next(&mut self) -> Said {
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
