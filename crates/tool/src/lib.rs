//! The contract that the gateway and every toolset share.
//!
//! A [`Call`] goes in, [`Progress`] may come meanwhile, an [`Outcome`] comes out. All three are owned,
//! bounded and serialisable, without handles, so that what runs tools can be another process with
//! other rights than the one that reads the network. What isn't a value (deadline, cancellation,
//! the way for progress) is in [`Cx`].

mod arguments;
mod call;
mod changes;
mod cx;
mod descriptor;
pub mod limits;
mod outcome;
mod text;
mod tool;
mod transfer;
mod typed;

pub use arguments::{ArgumentError, check as check_arguments};
pub use call::{Call, Caller, Round};
pub use changes::{Change, Changes, Heard, Hearing};
pub use cx::{Cx, Progress, ProgressQueue, Reached, Recorded, Stop};
pub use descriptor::{
    Annotations, Descriptor, PromptArgument, PromptDescriptor, ResourceDescriptor, ResourceUri,
};
pub use hayward_api::Ending;
pub use hayward_mcp::abilities::{Abilities, Ability};
pub use hayward_mcp::input::{InputMethod, InputRequest};
pub use hayward_mcp::request::Verb;
pub use outcome::{Outcome, Reply, ToolError, Verdict};
pub use tool::{BoxFuture, Prompt, Resource, Tool, Toolset};
pub use transfer::{
    Claim, Direction, Incoming, Part, Received, Source, TicketView, TransferError, Transfers,
};
pub use typed::{Typed, TypedTool};
