//! The host toolset on real files and real processes, called as the gateway calls it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]
#![expect(clippy::print_stdout, reason = "what can't run here says why it is skipped")]

mod contract;
mod editing;
mod fenced;
mod globbing;
mod grepping;
mod protection;
mod reading;
mod rig;
mod running;
mod writing;
