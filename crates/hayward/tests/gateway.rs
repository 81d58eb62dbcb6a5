//! Servers of others behind the real binary, reached by real clients over the real transports.

#![cfg(test)]

#[path = "gateway/engine.rs"]
mod engine;
#[path = "gateway/issuer.rs"]
mod issuer;
#[path = "gateway/rig.rs"]
mod rig;

#[path = "gateway/access.rs"]
mod access;
#[path = "gateway/advisories.rs"]
mod advisories;
#[path = "gateway/bridge.rs"]
mod bridge;
#[path = "gateway/containers.rs"]
mod containers;
#[path = "gateway/eras.rs"]
mod eras;
#[path = "gateway/forgetful.rs"]
mod forgetful;
#[path = "gateway/hearing.rs"]
mod hearing;
#[path = "gateway/hidden.rs"]
mod hidden;
#[path = "gateway/legacy.rs"]
mod legacy;
#[path = "gateway/listened.rs"]
mod listened;
#[path = "gateway/midway.rs"]
mod midway;
#[path = "gateway/projects.rs"]
mod projects;
#[path = "gateway/record.rs"]
mod record;
#[path = "gateway/remembered.rs"]
mod remembered;
#[path = "gateway/tasks.rs"]
mod tasks;
#[path = "gateway/trust.rs"]
mod trust;
