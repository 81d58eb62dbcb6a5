//! Servers of others behind the real binary, reached by real clients over the real transports.

#![cfg(test)]

#[path = "gateway/rig.rs"]
mod rig;

#[path = "gateway/bridge.rs"]
mod bridge;
#[path = "gateway/eras.rs"]
mod eras;
#[path = "gateway/hearing.rs"]
mod hearing;
#[path = "gateway/projects.rs"]
mod projects;
#[path = "gateway/trust.rs"]
mod trust;
