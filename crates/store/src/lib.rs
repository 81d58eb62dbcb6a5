//! The database, and the folder that it lives in: the only SQL of the system.
//!
//! All desired state is one table of resources, generic over the kinds of `api`; digests and sealed values
//! sit beside it and never leave through history or watches. Every change is one transaction that
//! holds the resource, its credential and its history, synced before it is acknowledged. What is
//! asked thousands of times a second is not asked here: callers keep snapshots and can follow a
//! [`Watch`].

mod bootstrap;
mod builtins;
mod claims;
mod credentials;
mod data_dir;
mod dialect;
mod error;
mod examine;
mod history;
mod invites;
mod leases;
pub mod limits;
mod list;
mod logins;
mod raw;
mod receipts;
mod resource;
mod sealed;
mod sql;
mod status;
mod store;
mod tokens;
mod tool_pins;
mod transaction;
mod watch;

pub use claims::{Claim, ClaimFilter, ClaimedSession};
pub use data_dir::{DataDir, LockError};
pub use dialect::DatabaseUrl;
pub use error::StoreError;
pub use examine::{Examined, examine};
pub use history::{Change, ChangeKind, LOGIN, Snapshot};
pub use invites::{Invite, NewInvite};
pub use list::{ListScope, Listed, Part};
pub use logins::{EndLogins, Impersonator, LoginEntry, NewLogin};
pub use raw::RawResource;
pub use receipts::{Claimed, Moment, ReceiptKey};
pub use resource::{Actor, Desired, Key, Resource};
pub use sealed::{HIDDEN, LiveValues, PublicKey, RotationStep, Values, Verified};
pub use status::Status;
pub use store::{Store, StoreConfig};
pub use tokens::{TokenEntry, read_tokens};
pub use tool_pins::{PendingTool, TOOL_PIN, ToolPin};
pub use transaction::{Deletion, NewCredential, Transaction, keys_in};
pub use watch::Watch;
