//! The road that every call takes, and the listeners at its start.
//!
//! ```text
//! listener/{http,stdio} ─► protocol ─► road: admit ─► route ─► decide ─► approve ─► intent ─► run ─► shape ─► outcome
//! ```
//!
//! A listener knows sockets and eras; `protocol` knows what a request asks for; the road knows neither.

pub mod asked;
mod asking;
mod budget;
mod endpoint;
pub mod limits;
pub mod listener;
mod listening;
pub mod management;
mod protocol;
mod request_id;
pub mod road;
mod session;
pub mod tokens;
pub mod upstreams;

pub use endpoint::Endpoint;
pub use protocol::Protocol;
pub use road::{Fencing, Road, RoadParts, RoadSettings};
pub use session::Sessions;
