//! How much one address has at once: connections, or requests that are being answered. In memory, and no more than there is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};

use super::pace::sender;

/// What every address has.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    had: Mutex<HashMap<IpAddr, u64>>,
    refused: AtomicU64,
}

/// One of what an address has; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    addresses: Arc<Addresses>,
    sender: IpAddr,
}

/// The address has as much as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Addresses {
    /// One more for this address, which may have so many; 0 for no bound. None for whoever has no address, and
    /// where there is no bound.
    pub(crate) fn hold(self: &Arc<Self>, address: Option<IpAddr>, max: u64) -> Result<Option<Held>, Full> {
        let Some(sender) = address.map(sender).filter(|_| max > 0) else { return Ok(None) };
        let mut had = self.lock();
        let count = had.entry(sender).or_default();
        if *count >= max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Full);
        }
        *count += 1;
        drop(had);
        Ok(Some(Held { addresses: Arc::clone(self), sender }))
    }

    /// How often one was refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u64>> {
        // Every change is one step.
        self.had.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut had = self.addresses.lock();
        if let Some(count) = had.get_mut(&self.sender) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                had.remove(&self.sender);
            }
        }
    }
}

/// The body of an answer; its request is being answered until this ends, or is dropped.
struct Holding {
    body: Body,
    held: Option<Held>,
}

/// An answer that its address has until it is sent.
pub(crate) fn holding(body: Body, held: Held) -> Body {
    Body::new(Holding { body, held: Some(held) })
}

impl http_body::Body for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        // Before the client sees the end: it may send its next request then.
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.held = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(addresses: &Arc<Addresses>, address: &str, max: u64) -> Result<Option<Held>, Full> {
        addresses.hold(address.parse().ok(), max)
    }

    #[test]
    fn an_address_has_so_much_and_others_have_their_own() {
        let addresses = Arc::<Addresses>::default();
        let (first, second) =
            (of(&addresses, "10.0.0.1", 2).unwrap(), of(&addresses, "::ffff:10.0.0.1", 2).unwrap());
        assert!(first.is_some() && second.is_some());
        assert_eq!((of(&addresses, "10.0.0.1", 2).unwrap_err(), addresses.refused()), (Full, 1));
        assert!(of(&addresses, "10.0.0.2", 2).is_ok());
        drop(first);
        assert!(of(&addresses, "10.0.0.1", 2).is_ok());
        drop(second);
        assert!(addresses.lock().is_empty(), "nothing is kept of who has nothing");
    }

    #[test]
    fn whoever_has_a_network_of_addresses_is_one_of_them() {
        let addresses = Arc::<Addresses>::default();
        let _held = of(&addresses, "2001:db8:1:2::1", 1).unwrap();
        assert_eq!(of(&addresses, "2001:db8:1:2:ffff::9", 1).unwrap_err(), Full);
        assert!(of(&addresses, "2001:db8:1:3::1", 1).unwrap().is_some());
    }

    #[test]
    fn without_a_bound_and_without_an_address_nothing_is_counted() {
        let addresses = Arc::<Addresses>::default();
        let held: Vec<_> = (0..3).map(|_| (of(&addresses, "10.0.0.1", 0), addresses.hold(None, 1))).collect();
        assert!(held.iter().all(|pair| matches!(pair, (Ok(None), Ok(None)))), "{held:?}");
    }
}
