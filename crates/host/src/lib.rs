//! Toolsets of machines, and the only way to a path.
//!
//! [`toolset`] is the `host` toolset: commands, files and search on the machine that we run on. Its
//! tools reach a path through the `fs` room only, which knows what is protected, and start a command
//! through `hayward-exec` only. Whether a caller may call was decided
//! on the road before; how far its commands and file tools reach, its fence says ([`fence`]).

pub mod fence;
mod fs;
mod host;
pub mod limits;
mod threads;
mod tools;
mod transfers;

pub use host::{Host, HostConfig, HostSettings};
pub use limits::Limits;
pub use tools::{TOOL_NAMES, toolset};
pub use transfers::{HostTransfers, TransferConfig};
