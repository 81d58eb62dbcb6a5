//! Toolsets of machines, and the only way to a path.
//!
//! [`toolset`] is the `host` toolset: commands, files and search on the machine that we run on. Its
//! tools reach a path through the `fs` room only, which knows what is protected, and start a command
//! through `hayward-exec` only. Nothing here knows who calls or whether they may: that was decided
//! on the road before.

mod fs;
mod host;
pub mod limits;
mod threads;
mod tools;

pub use host::{Host, HostConfig};
pub use limits::Limits;
pub use tools::toolset;
