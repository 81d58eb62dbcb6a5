//! Requests of legacy servers that come on a stream which all their calls share: handed to a call that runs there, because
//! on a connection of one owner every call has the same client.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hayward_mcp::upstream::{Asked, Upstream};
use tokio::sync::Notify;

use crate::limits::ASKED_AT_ONCE_MAX;

/// Who takes what servers ask, by connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asks(Arc<Mutex<Takers>>);

#[derive(Debug, Default)]
struct Takers {
    by_connection: HashMap<usize, Vec<(u64, Arc<Desk>)>>,
    count: u64,
}

/// Where a call finds what it is handed. Nearly every call is handed nothing, so there is room for nothing yet.
#[derive(Debug, Default)]
struct Desk {
    waiting: Mutex<VecDeque<Asked>>,
    came: Notify,
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Asked>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts this there; gives it back if there is too much.
    fn put(&self, asked: Asked) -> Result<(), Asked> {
        let mut waiting = self.waiting();
        if waiting.len() >= ASKED_AT_ONCE_MAX {
            return Err(asked);
        }
        waiting.push_back(asked);
        drop(waiting);
        self.came.notify_one();
        Ok(())
    }
}

/// A call that takes what its server asks, until this is dropped.
#[derive(Debug)]
pub(crate) struct Taking {
    asks: Asks,
    connection: usize,
    number: u64,
    desk: Arc<Desk>,
}

impl Asks {
    /// A call on this connection takes what its server asks from now on.
    pub(crate) fn take(&self, upstream: &Arc<Upstream>) -> Taking {
        let (desk, connection) = (Arc::<Desk>::default(), address(upstream));
        let mut takers = self.lock();
        takers.count += 1;
        let number = takers.count;
        takers.by_connection.entry(connection).or_default().push((number, Arc::clone(&desk)));
        drop(takers);
        Taking { asks: self.clone(), connection, number, desk }
    }

    /// Hands over what a server asks; gives it back if nobody takes it.
    pub(crate) fn hand_over(&self, upstream: &Arc<Upstream>, asked: Asked) -> Result<(), Box<Asked>> {
        let takers = self.lock();
        let Some(calls) = takers.by_connection.get(&address(upstream)) else { return Err(Box::new(asked)) };
        // The newest is the likeliest to be meant.
        let mut asked = asked;
        for (_, desk) in calls.iter().rev() {
            match desk.put(asked) {
                Ok(()) => return Ok(()),
                Err(back) => asked = back,
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
    /// Takes nothing more, and gives what was handed over and nobody took.
    pub(crate) fn close(self) -> Vec<Asked> {
        self.leave();
        self.desk.waiting().drain(..).collect()
    }

    /// From now on nothing is handed over.
    fn leave(&self) {
        let mut takers = self.asks.lock();
        if let Some(calls) = takers.by_connection.get_mut(&self.connection) {
            calls.retain(|(number, _)| *number != self.number);
            if calls.is_empty() {
                takers.by_connection.remove(&self.connection);
            }
        }
    }

    /// What the server asks next. Waits for ever if it asks nothing. Cancellation-safe.
    pub(crate) async fn next(&mut self) -> Asked {
        loop {
            if let Some(asked) = self.desk.waiting().pop_front() {
                return asked;
            }
            self.desk.came.notified().await;
        }
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.leave();
    }
}
