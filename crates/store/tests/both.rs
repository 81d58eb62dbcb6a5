//! What the store does, on both engines: each test runs on `SQLite` and on `PostgreSQL`.
//!
//! `HAYWARD_TEST_POSTGRES` names a server on which each test makes a database of its own; `cargo xtask test` starts one.
#![cfg(test)]

#[path = "both/home.rs"]
mod home;

#[path = "both/credentials.rs"]
mod credentials;
#[path = "both/history.rs"]
mod history;
#[path = "both/leases.rs"]
mod leases;
#[path = "both/nodes.rs"]
mod nodes;
#[path = "both/reports.rs"]
mod reports;
#[path = "both/resources.rs"]
mod resources;
#[path = "both/sealing.rs"]
mod sealing;
#[path = "both/speed.rs"]
mod speed;
#[path = "both/tool_pins.rs"]
mod tool_pins;
