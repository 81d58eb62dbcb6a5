//! The database, and the folder that it lives in: the only SQL of the system.
//!
//! All desired state is one table of resources, generic over the kinds of `api`; secrets' digests
//! sit beside it and never leave through history or watches. Every change is one transaction that
//! holds the resource, its credential and its history, synced before it is acknowledged. What is
//! asked thousands of times a second is not asked here: callers keep snapshots and can follow a
//! [`Watch`].
//!
//! Nothing calls [`Watch`], [`Store::revision`] and [`Status`] yet: they are for the reconcilers, which write
//! the status of resources and follow what others change.

mod data_dir;
mod dialect;
mod error;
mod examine;
pub mod limits;
mod receipts;
mod resource;
mod status;
mod store;
mod tokens;
mod transaction;
mod watch;

pub use data_dir::{DataDir, LockError};
pub use error::StoreError;
pub use examine::{Examined, examine};
pub use receipts::{Claimed, Moment, ReceiptKey};
pub use resource::{Actor, Key, Resource};
pub use status::Status;
pub use store::{Store, StoreConfig};
pub use tokens::{TokenEntry, read_tokens};
pub use transaction::{NewCredential, Transaction};
pub use watch::{Change, ChangeKind, Watch};
