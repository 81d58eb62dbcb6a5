//! Instances of MCP servers: where they run, and how they are reached.
//!
//! ```text
//!  a server ──► placements/{process,docker,remote} ──► Running ──► Access ──► a wire of `hayward_mcp::upstream`
//!                  │                                          └──► Log      └── dial.rs, authorized.rs, grants.rs: over HTTP
//!                  └── packages.rs: what a process starts from
//! ```
//!
//! What is to run, and when it is started again, is decided elsewhere; here it is done.

mod authorized;
pub mod backoff;
mod dial;
pub mod fleet;
mod folder;
pub mod grants;
mod limits;
pub mod log;
mod mounts;
pub mod oauth;
mod packages;
pub mod placement;
pub mod placements;
pub mod probes;

pub use authorized::{Authorized, Keep, Standing};
pub use dial::Dial;
pub use fleet::Fleet;
pub use grants::Grants;
pub use limits::Limits;
pub use packages::Packages;
