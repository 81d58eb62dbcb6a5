//! What requests ask and what answers say: what all handlers share.

pub(crate) mod asked;
pub(crate) mod finish;
pub(crate) mod lines;
mod may;
mod once;
pub(crate) mod page;
pub(crate) mod prepare;
pub(crate) mod query;
pub(crate) mod route;
pub(crate) mod seen;
pub(crate) mod shapes;
pub(crate) mod show;
pub(crate) mod signed_in;

use hayward_api::Code;
use hayward_api::kinds::{self, Descriptor};

use crate::refusal::Refusal;

/// Where all of it begins.
pub const PREFIX: &str = "/api/v1";

/// A kind that is in the table.
pub(crate) fn kind(name: &str) -> Result<&'static Descriptor, Refusal> {
    kinds::find(name).ok_or_else(|| Refusal::new(Code::Internal, format!("there is no kind `{name}`")))
}
