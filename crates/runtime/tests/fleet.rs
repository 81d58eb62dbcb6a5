//! A fleet of real processes, and of upstreams that are reached and not reached.

#![cfg(test)]

#[path = "fleet/rig.rs"]
mod rig;

#[path = "fleet/escapes.rs"]
mod escapes;
#[path = "fleet/private.rs"]
mod private;
#[path = "fleet/processes.rs"]
mod processes;
#[path = "fleet/remote.rs"]
mod remote;
