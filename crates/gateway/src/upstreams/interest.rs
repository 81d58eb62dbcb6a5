//! Which resources of servers somebody wants to hear of: each server is asked to tell of them, once, for as long as anybody
//! does.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::limits::SUBSCRIBED_OF_SERVER_MAX;

/// For each server its resources, and how many want to hear of each.
type Wanted = HashMap<Arc<str>, HashMap<Arc<str>, usize>>;

/// What is wanted of all servers.
#[derive(Debug, Default)]
pub(crate) struct Interests {
    wanted: Mutex<Wanted>,
    /// Ticks whenever something else is wanted, or a connection may be gone.
    changed: watch::Sender<()>,
}

/// Somebody wants to hear of a resource, until this is dropped.
#[derive(Debug)]
pub(crate) struct Interest {
    interests: Arc<Interests>,
    server: Arc<str>,
    uri: Arc<str>,
}

/// A server is asked to tell of as many resources as any is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooMany;

impl Interests {
    /// Somebody wants to hear of this resource of a server from now on.
    pub(crate) fn add(self: &Arc<Self>, server: &Arc<str>, uri: &str) -> Result<Interest, TooMany> {
        let mut wanted = self.lock();
        let of_server = wanted.entry(Arc::clone(server)).or_default();
        let uri = match of_server.get_key_value(uri) {
            Some((known, _)) => Arc::clone(known),
            None if of_server.len() >= SUBSCRIBED_OF_SERVER_MAX => return Err(TooMany),
            None => uri.into(),
        };
        let count = of_server.entry(Arc::clone(&uri)).or_default();
        *count += 1;
        let is_first = *count == 1;
        drop(wanted);
        if is_first {
            self.wake();
        }
        Ok(Interest { interests: Arc::clone(self), server: Arc::clone(server), uri })
    }

    /// Whether this resource of a server is wanted.
    pub(crate) fn has(&self, server: &str, uri: &str) -> bool {
        self.lock().get(server).is_some_and(|uris| uris.contains_key(uri))
    }

    /// What is wanted of a server.
    pub(crate) fn of(&self, server: &str) -> BTreeSet<Arc<str>> {
        self.lock().get(server).map(|uris| uris.keys().cloned().collect()).unwrap_or_default()
    }

    /// Tells of every change from now on.
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Lets everybody look who waits for a change.
    pub(crate) fn wake(&self) {
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut wanted = self.interests.lock();
        let Some(of_server) = wanted.get_mut(&self.server) else { return };
        let Some(count) = of_server.get_mut(&self.uri) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        of_server.remove(&self.uri);
        if of_server.is_empty() {
            wanted.remove(&self.server);
        }
        drop(wanted);
        self.interests.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_wanted_until_the_last_one_lets_go_of_it() {
        let (interests, server) = (Arc::<Interests>::default(), Arc::from("s"));
        let mut changed = interests.changed();
        let one = interests.add(&server, "x:1").unwrap();
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        let two = interests.add(&server, "x:1").unwrap();
        drop(one);
        assert!(!changed.has_changed().unwrap(), "the server has nothing to do");
        assert_eq!(interests.of("s"), BTreeSet::from(["x:1".into()]));
        assert!(interests.of("other").is_empty());
        assert!(interests.has("s", "x:1") && !interests.has("other", "x:1") && !interests.has("s", "x:2"));
        drop(two);
        assert!(changed.has_changed().unwrap());
        assert!(interests.of("s").is_empty() && interests.lock().is_empty());
    }

    #[test]
    fn one_server_is_not_asked_for_more_than_a_bounded_number() {
        let (interests, server) = (Arc::<Interests>::default(), Arc::from("s"));
        let many: Vec<_> = (0..SUBSCRIBED_OF_SERVER_MAX)
            .map(|n| interests.add(&server, &format!("x:{n}")).unwrap())
            .collect();
        assert!(interests.add(&server, "y").is_err());
        assert!(interests.add(&server, "x:0").is_ok(), "that is asked for already");
        drop(many);
        assert!(interests.add(&server, "y").is_ok());
    }
}
