//! The places of connections: so many at once, and when they are all taken, whoever has kept us waiting for
//! longest makes room.
//!
//! A connection keeps us waiting while it sends no request, sends one slowly, or has had its answer: nobody
//! who is served loses a place to somebody who isn't.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::limits::{PLACE_LOOK_INTERVAL, PLACE_PATIENCE};

/// Every place.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    began: Instant,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Arc<Connection>>,
    count: u64,
}

/// A connection, as far as its place goes.
#[derive(Debug)]
pub(crate) struct Connection {
    began: Instant,
    /// Since when it keeps us waiting, in milliseconds from the beginning, and one more; 0: it doesn't.
    waits_since: AtomicU64,
    /// Ends it.
    pub(crate) cut: CancellationToken,
}

/// A place that is taken; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    pub(crate) connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// This many places.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { free, began: Instant::now(), open: Mutex::default() })
    }

    /// Takes a place, which may be somebody's who keeps us waiting. Cancellation-safe.
    pub(crate) async fn take(self: &Arc<Self>, cut: CancellationToken) -> Place {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                break permit;
            }
            self.make_room();
            tokio::select! {
                permit = Arc::clone(&self.free).acquire_owned() => break permit.expect("never closed"),
                () = tokio::time::sleep(PLACE_LOOK_INTERVAL) => {}
            }
        };
        let connection = Arc::new(Connection { began: self.began, waits_since: AtomicU64::new(0), cut });
        connection.waits();
        let mut open = self.lock();
        let number = open.count;
        open.count += 1;
        open.connections.insert(number, Arc::clone(&connection));
        drop(open);
        Place { places: Arc::clone(self), number, connection, _permit: permit }
    }

    /// Ends the connection that has kept us waiting for longest.
    fn make_room(&self) {
        let now = millis(self.began.elapsed());
        let open = self.lock();
        let waiting = open.connections.values().filter_map(|connection| {
            let since = connection.waits_since.load(Ordering::Relaxed);
            (since > 0 && !connection.cut.is_cancelled()).then_some((since, connection))
        });
        if let Some((since, connection)) = waiting.min_by_key(|(since, _)| *since)
            && now.saturating_sub(since) >= millis(PLACE_PATIENCE)
        {
            connection.cut.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// From now on it keeps us waiting.
    pub(crate) fn waits(&self) {
        self.waits_since.store(millis(self.began.elapsed()) + 1, Ordering::Relaxed);
    }

    /// It has taken something: if it keeps us waiting, then from now on.
    pub(crate) fn has_moved(&self) {
        if self.waits_since.load(Ordering::Relaxed) > 0 {
            self.waits();
        }
    }

    /// It is served.
    pub(crate) fn is_served(&self) {
        self.waits_since.store(0, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().connections.remove(&self.number);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    async fn take(places: &Arc<Places>) -> (Place, CancellationToken) {
        let cut = CancellationToken::new();
        (places.take(cut.clone()).await, cut)
    }

    /// As if it had waited for this long.
    fn age(place: &Place, age: Duration) {
        let now = millis(place.places.began.elapsed());
        place.connection.waits_since.store(1 + now.saturating_sub(millis(age)), Ordering::Relaxed);
    }

    /// Places that are in use for long already.
    fn places(count: usize) -> Arc<Places> {
        let mut places = Places::new(count);
        let began = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        Arc::get_mut(&mut places).unwrap().began = began;
        places
    }

    #[tokio::test]
    async fn whoever_keeps_us_waiting_for_longest_makes_room() {
        let places = places(2);
        let ((first, first_cut), (second, second_cut)) = (take(&places).await, take(&places).await);
        age(&first, 3 * PLACE_PATIENCE);
        age(&second, 2 * PLACE_PATIENCE);
        assert!(places.take(CancellationToken::new()).now_or_never().is_none());
        assert!(first_cut.is_cancelled() && !second_cut.is_cancelled());
        drop(first);
        let (third, _) = take(&places).await;
        drop((second, third));
        assert!(places.lock().connections.is_empty());
    }

    #[tokio::test]
    async fn nobody_who_is_served_or_has_just_come_makes_room() {
        let places = places(2);
        let ((served, served_cut), (new, new_cut)) = (take(&places).await, take(&places).await);
        served.connection.is_served();
        age(&new, PLACE_PATIENCE / 2);
        assert!(places.take(CancellationToken::new()).now_or_never().is_none());
        served.connection.waits();
        assert!(places.take(CancellationToken::new()).now_or_never().is_none());
        assert!(!served_cut.is_cancelled() && !new_cut.is_cancelled());
    }
}
