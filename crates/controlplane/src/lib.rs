//! Management of everything: REST in front, the store behind.
//!
//! ```text
//! gateway: listener ─► identify ─► bound ─┐
//!                                         ▼
//!   rest/route ─► authorize ─► intent ─► guarded store ─► outcome ─► answer
//!                    │ no: recorded as a decision, told as 403, or as 404 of what may not be seen
//! ```
//!
//! Handlers reach the store only with a proof that somebody may ([`guarded::Allowed`]), which only a decision makes. What
//! is decided with are snapshots in memory ([`snapshots`]), which follow the store, whoever changes it.

mod attach;
mod differences;
pub mod guarded;
pub mod limits;
mod managers;
mod manifests;
pub mod openapi;
mod plane;
mod ports;
pub mod reconcilers;
mod refusal;
pub mod rest;
mod routes;
mod sign_in;
pub mod snapshots;
mod wire;

pub use manifests::{Manifests, Outcome};
pub use plane::{Plane, PlaneParts, Reached};
pub use ports::{
    BoxFuture, Effect, Gateway, Hidden, KeptBack, Machine, Managed, Record, Seen, Shown, Target,
};
