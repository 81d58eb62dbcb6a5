//! News of what a server offers: lists that changed, resources that changed, tasks that went on.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::broadcast;

use crate::limits::CHANGES_QUEUE;

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The list of tools.
    Tools,
    /// The lists of resources and of templates.
    Resources,
    /// The list of prompts.
    Prompts,
    /// What the resource of this URI holds.
    Resource(Arc<str>),
    /// How far the task of this id is.
    Task(Arc<str>),
}

/// Where changes are told, and heard by everyone who listens. Telling costs next to nothing while nobody does.
#[derive(Clone, Debug)]
pub struct Changes {
    hub: Arc<RwLock<Hub>>,
    /// Of which server they are; empty for what is of none.
    of: Arc<str>,
}

type Hub = broadcast::Sender<(Arc<str>, Change)>;

/// Hears changes from the moment on at which it was made.
#[derive(Debug)]
pub struct Hearing(broadcast::Receiver<(Arc<str>, Change)>);

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A change.
    Change {
        /// The server that it is of; empty if it is of none.
        of: Arc<str>,
        /// What changed.
        change: Change,
    },
    /// Some were missed, because too many came at once: anything may have changed.
    Missed,
    /// Nothing more will come.
    End,
}

impl Default for Changes {
    fn default() -> Self {
        Self::of("")
    }
}

impl Changes {
    /// Where the changes of the server of this name are told.
    pub fn of(server: &str) -> Self {
        Self { hub: Arc::new(RwLock::new(broadcast::Sender::new(CHANGES_QUEUE))), of: server.into() }
    }

    /// Tells everybody who listens.
    pub fn tell(&self, change: Change) {
        self.tell_of(&self.of, change);
    }

    /// The same of another server.
    pub fn tell_of(&self, server: &Arc<str>, change: Change) {
        // That nobody listens is no failure.
        self.sender().send((Arc::clone(server), change)).ok();
    }

    /// Listens from now on.
    pub fn listen(&self) -> Hearing {
        Hearing(self.sender().subscribe())
    }

    /// From now on, what is told here is heard by those who listen there, and by them only.
    pub fn join(&self, other: &Self) {
        let sender = other.sender();
        *self.hub.write().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    fn sender(&self) -> Hub {
        self.hub.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Hearing {
    /// What comes next. Cancellation-safe.
    pub async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok((of, change)) => Heard::Change { of, change },
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Missed,
            Err(broadcast::error::RecvError::Closed) => Heard::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(of: &str, change: Change) -> Heard {
        Heard::Change { of: of.into(), change }
    }

    #[tokio::test]
    async fn everyone_who_listens_hears_every_change_from_then_on() {
        let changes = Changes::default();
        changes.tell(Change::Tools);
        let (mut first, mut second) = (changes.listen(), changes.listen());
        changes.tell(Change::Prompts);
        assert_eq!(first.next().await, heard("", Change::Prompts));
        assert_eq!(second.next().await, heard("", Change::Prompts));
        drop(changes);
        assert_eq!(first.next().await, Heard::End);
    }

    #[tokio::test]
    async fn changes_that_were_joined_are_heard_at_one_place() {
        let (hub, toolset) = (Changes::default(), Changes::of("ops"));
        toolset.clone().join(&hub);
        let mut hearing = hub.listen();
        toolset.tell(Change::Resources);
        assert_eq!(hearing.next().await, heard("ops", Change::Resources));
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_that_something_was_missed() {
        let changes = Changes::default();
        let mut slow = changes.listen();
        for _ in 0..=CHANGES_QUEUE {
            changes.tell(Change::Tools);
        }
        assert_eq!(slow.next().await, Heard::Missed);
        assert_eq!(slow.next().await, heard("", Change::Tools));
    }
}
