//! The host toolset on real files and real processes, called as the gateway calls it.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod contract;
mod editing;
mod globbing;
mod grepping;
mod protection;
mod reading;
mod rig;
mod running;
mod writing;
