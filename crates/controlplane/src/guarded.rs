//! The store behind a door: whoever wants something of it shows that it may.
//!
//! The store is a private member here, and what handlers reach of it takes an [`Allowed`], which only a decision makes. So
//! one that forgets to ask doesn't compile:
//!
//! ```compile_fail
//! use hayward_controlplane::guarded::Guarded;
//! use hayward_store::ListScope;
//!
//! async fn unguarded(store: &Guarded) {
//!     store.list(ListScope::All).await.unwrap();
//! }
//! ```
//!
//! Nor does one that makes its own proof:
//!
//! ```compile_fail
//! use hayward_controlplane::guarded::Allowed;
//!
//! fn forged(caller: hayward_api::Caller) -> Allowed {
//!     Allowed { caller, verb: hayward_auth::Verb::View, noun: "servers", one: None }
//! }
//! ```
//!
//! With a decision it does:
//!
//! ```
//! use hayward_api::{Caller, kinds::Descriptor};
//! use hayward_auth::Verb;
//! use hayward_controlplane::guarded::Guarded;
//! use hayward_store::ListScope;
//!
//! async fn guarded(store: &Guarded, caller: &Caller, kind: &'static Descriptor) {
//!     if let Ok(allowed) = store.some(caller, Verb::View, kind) {
//!         store.list(&allowed, ListScope::All).await.ok();
//!     }
//! }
//! ```

mod allowed;
mod change;
mod read;
mod servers;

use std::sync::Arc;

use hayward_auth::Policies;
use hayward_store::Store;

pub(crate) use allowed::named;
pub use allowed::{Allowed, Denied};
pub use change::Change;
pub(crate) use read::Passwords;

use crate::snapshots::Snapshots;

/// The store, what rules grant, and what keeps both in step.
#[derive(Clone)]
pub struct Guarded {
    store: Store,
    policies: Arc<Policies>,
    snapshots: Arc<Snapshots>,
}

impl Guarded {
    /// This store, under these rules, which these snapshots keep in step with it.
    pub(crate) fn new(store: Store, policies: Arc<Policies>, snapshots: Arc<Snapshots>) -> Self {
        Self { store, policies, snapshots }
    }
}
