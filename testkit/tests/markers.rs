//! Many clients with the same request ids at once: every answer goes to the client that asked.
//!
//! `cargo xtask load` plays the same trial with a thousand clients and a million calls.

#![cfg(test)]

use hayward_gateway::limits::Limits;
use hayward_peers::trial::markers::{self, Plan};
use hayward_peers::wire::Target;
use hayward_testkit::fixture;
use hayward_testkit::server::{Durability, Server};

const CLIENTS: usize = 100;
const CALLS: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_goes_to_another_client() {
    // All clients share a credential, and each of them has a call running.
    let limits = Limits { calls_per_principal_max: 2 * CLIENTS as u64, ..Limits::default() };
    let server = Server::start_recording(fixture::load(), limits, Durability::WRITTEN).await;
    let server = server.expect("the fixtures listen");
    let target = Target::parse(&server.url(), Some(server.rw_token.clone())).expect("a URL");
    let tally = markers::run(Plan { target, clients: CLIENTS, calls: CALLS }).await.expect("a tally");
    assert_eq!((tally.own, tally.foreign, tally.errors), (CALLS, 0, 0), "{tally:?}");
    let is_mixed = tally.as_json > CALLS / 3 && tally.as_events > CALLS / 3 && tally.notices > CALLS / 20;
    assert!(is_mixed, "{tally:?}");
}
