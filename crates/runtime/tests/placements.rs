//! Placements: each with real parts, and what all of them promise.

#![cfg(test)]

#[path = "placements/contract.rs"]
mod contract;
#[path = "placements/docker.rs"]
mod docker;
#[path = "placements/engine.rs"]
mod engine;
#[path = "placements/packages.rs"]
mod packages;
#[path = "placements/place.rs"]
mod place;
#[path = "placements/process.rs"]
mod process;
#[path = "placements/registry.rs"]
mod registry;
