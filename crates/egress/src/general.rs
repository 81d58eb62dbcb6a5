//! The client of whatever is asked over TLS, made by the first who asks.
//!
//! To make it, the certificates that this machine trusts are read, hundreds of files of them: who speaks no TLS never waits
//! for that.

use std::fmt;
use std::sync::OnceLock;

use reqwest::ClientBuilder;

use crate::SendError;

/// A client, as soon as somebody needs it.
pub(crate) struct General {
    set_up: Box<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>,
    made: OnceLock<reqwest::Client>,
}

impl General {
    /// One that is set up like this.
    pub(crate) fn new(set_up: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static) -> Self {
        Self { set_up: Box::new(set_up), made: OnceLock::new() }
    }

    /// The client. What failed is tried again by who asks next.
    pub(crate) fn client(&self) -> Result<&reqwest::Client, SendError> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        // Without this, errors would show the credentials that may stand in an address.
        let client =
            (self.set_up)(builder()).build().map_err(|error| SendError::SetUp(error.without_url()))?;
        // Of two that were made at once, one is kept.
        Ok(self.made.get_or_init(|| client))
    }
}

impl fmt::Debug for General {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("General").field("made", &self.made.get().is_some()).finish_non_exhaustive()
    }
}

/// What holds for every client.
fn builder() -> ClientBuilder {
    // Whoever was first has chosen the same.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn it_is_set_up_when_it_is_asked_for_and_once() {
        let set_up = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&set_up);
        let general = General::new(move |builder| {
            counted.fetch_add(1, Ordering::SeqCst);
            builder.tls_certs_only([])
        });
        assert_eq!(set_up.load(Ordering::SeqCst), 0);
        general.client().unwrap();
        general.client().unwrap();
        assert_eq!(set_up.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_cannot_be_set_up_says_so_whenever_it_is_asked_for() {
        let general = General::new(|builder| builder.user_agent("no\nheader"));
        for _ in 0..2 {
            assert!(matches!(general.client(), Err(SendError::SetUp(_))));
        }
    }
}
