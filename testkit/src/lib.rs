//! Fixtures for tests and benchmarks: real servers, a raw HTTP client, toolsets of fixtures.
//!
//! Never a dependency of anything that is shipped.

pub mod certificates;
pub mod chaos;
pub mod client;
pub mod collector;
pub mod conformance;
pub mod curl;
pub mod daemon;
pub mod events;
pub mod fixture;
pub mod installed;
pub mod lines;
pub mod modern;
pub mod peer;
pub mod seam;
pub mod server;
