//! The typed client of the control plane's REST API: what a command asks, as values.
//!
//! It speaks in kinds and documents ([`hayward_api::kinds`]); it neither prints nor decides. One [`Client`] stands for
//! one server and one credential. What goes wrong is one [`Error`], with the code, the hint and the faulty members
//! that the server told.

mod address;
mod auth;
mod client;
mod error;
pub mod limits;
mod lines;
mod link;
mod overview;
mod resources;
mod running;
mod watch;

pub use address::{Address, InvalidAddress};
pub use auth::{Bootstrap, Invited, Join, LoggedIn, NewInvite, Person};
pub use client::{Client, Config};
pub use error::{Error, FieldFault, Problem};
pub use hayward_egress::Trust;
pub use resources::{Action, Applied, AppliedOne, Applying, Change, Listed, Selection, Target, Write};
pub use running::{
    AccessGranted, AccessQuestion, Defined, Difference, LogLine, LogLines, LogPart, ServerTool, ToolState,
};
pub use watch::{Event, EventKind, Statuses, Watch};
