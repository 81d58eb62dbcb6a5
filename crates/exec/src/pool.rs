//! Supervisors between two jobs, and leaves that outlive theirs.
//!
//! A supervisor comes back only after a clean job. One task looks after the pool while there is
//! something in it, so an idle server has no timer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cgroup::Leaf;
use crate::supervisor::Supervisor;

/// See the module.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The longest idle first.
    idle: Vec<(Instant, Supervisor)>,
    left: Vec<Leaf>,
    has_keeper: bool,
    is_closed: bool,
}

impl Pool {
    /// The supervisor that was busy last: its memory is warm, and the others may expire.
    pub(crate) fn take(&self) -> Option<Supervisor> {
        self.state().idle.pop().map(|(_, supervisor)| supervisor)
    }

    /// Keeps a supervisor, or gives it back if there are enough.
    pub(crate) fn keep(&self, supervisor: Supervisor, idle_max: usize) -> Option<Supervisor> {
        let mut state = self.state();
        if state.is_closed || state.idle.len() >= idle_max {
            return Some(supervisor);
        }
        state.idle.push((Instant::now(), supervisor));
        None
    }

    /// Keeps a leaf until nobody is in it.
    pub(crate) fn keep_leaf(&self, leaf: Leaf) {
        self.state().left.push(leaf);
    }

    /// Whether the caller is to look after the pool from now on.
    pub(crate) fn wants_keeper(&self) -> bool {
        let mut state = self.state();
        let wants = !state.has_keeper && !state.is_empty();
        state.has_keeper |= wants;
        wants
    }

    /// Whether the keeper may go, because there is nothing to keep.
    pub(crate) fn dismisses_keeper(&self) -> bool {
        let mut state = self.state();
        state.has_keeper = !state.is_empty();
        !state.has_keeper
    }

    /// Takes out who has been idle for this long.
    pub(crate) fn expire(&self, idle: Duration) -> Vec<Supervisor> {
        let mut state = self.state();
        let fresh = state.idle.partition_point(|(since, _)| since.elapsed() >= idle);
        state.idle.drain(..fresh).map(|(_, supervisor)| supervisor).collect()
    }

    /// Removes leaves that nobody is in any more.
    pub(crate) fn remove_empty_leaves(&self) {
        // Not under the lock: each costs some system calls.
        let mut left = std::mem::take(&mut self.state().left);
        left.retain(|leaf| !leaf.remove());
        self.state().left.append(&mut left);
    }

    /// Takes everybody out and keeps nobody from now on.
    pub(crate) fn close(&self) -> Vec<Supervisor> {
        self.state().is_closed = true;
        self.expire(Duration::ZERO)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change above is one step, so a panic elsewhere leaves nothing half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::SupervisorCommand;

    #[tokio::test]
    async fn one_keeper_looks_after_a_pool_until_there_is_nothing_in_it() {
        let pool = Pool::default();
        assert!(!pool.wants_keeper());
        let command = SupervisorCommand { program: "/bin/cat".into(), args: Vec::new() };
        let spawn = || Supervisor::spawn(&command, None).unwrap();
        assert!(pool.keep(spawn(), 1).is_none());
        assert!(pool.keep(spawn(), 1).is_some());
        assert_eq!((pool.wants_keeper(), pool.wants_keeper()), (true, false));
        assert!(!pool.dismisses_keeper());
        assert!(pool.take().is_some());
        assert!(pool.dismisses_keeper());
        assert!(!pool.wants_keeper());
    }
}
