//! The Model Context Protocol: envelope on raw JSON, both eras, both ends.
//!
//! This crate takes bytes and gives bytes. It never opens a socket, never starts a process and
//! never decides who may do what. What it knows:
//!
//! ```text
//! bytes ── json::scan ──► envelope::Message ── request::era_of ──► request::Ask
//!                                                                     │ (somebody answers)
//! bytes ◄──────────────── envelope::Frame ◄── result (what each era adds) ◄──┘
//! ```
//!
//! `upstream` is the other end: a client of any server.
//!
//! `http` and `stdio` hold the rules of the two transports, `param_headers` those of tools that want
//! arguments in headers. `state` seals what a client carries between two rounds of a call, and
//! `uri_template` finds the resource template that a URI belongs to.

pub mod abilities;
pub mod cut;
pub mod envelope;
pub mod era;
pub mod error;
pub mod http;
pub mod input;
pub mod json;
pub mod limits;
pub mod logging;
pub mod param_headers;
pub mod request;
pub mod result;
pub mod sse;
pub mod state;
pub mod stdio;
pub mod upstream;
pub mod uri_template;
