//! MCP over HTTP/1.1 by hand: bytes out, bytes in, no SDK.
//!
//! What a client says stands in `protocol.rs` and nowhere else; `connection.rs` and `answer.rs` know
//! HTTP only.

mod answer;
mod connection;
mod protocol;
mod trust;

pub use answer::{Answer, Head, Media, holds_result};
pub use connection::{Connection, Wire};
pub use protocol::{Accept, Ask, Era, LEGACY_VERSION, Target};
pub use trust::Trust;
