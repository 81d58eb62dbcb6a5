//! The Model Context Protocol: envelope on raw JSON, both eras, the server end.
//!
//! This crate takes bytes and gives bytes. It never opens a socket, never starts a process and
//! never decides who may do what. What it knows:
//!
//! ```text
//! bytes ── json::scan ──► envelope::Message ── era::of ──► request::read ──► what is asked for
//!                                                                │
//! bytes ◄── reply::Reply ◄── result.rs (what each era adds to a result) ◄── what came of it
//! ```
//!
//! `http` and `stdio` hold the rules of the two transports.

pub mod envelope;
pub mod era;
pub mod error;
pub mod http;
pub mod json;
pub mod limits;
pub mod logging;
pub mod request;
pub mod result;
pub mod sse;
pub mod stdio;
