//! The vocabulary of Hayward: names, principals, tiers, kinds, error codes, limits.
//!
//! Everything above speaks in these words, so this crate has no I/O, no async
//! and no clock: times are values that somebody else took.

pub mod bounds;
mod caller;
pub mod definition;
pub mod document;
mod ending;
pub mod error;
pub mod fence;
pub mod kinds;
pub mod limits;
mod member;
pub mod metadata;
pub mod names;
pub mod oauth;
pub mod package;
pub mod principal;
pub mod problem;
mod reach;
pub mod selector;
pub mod source;
pub mod tier;
pub mod time;

pub use bounds::Bounds;
pub use caller::Caller;
pub use document::Document;
pub use ending::Ending;
pub use error::{Code, Error};
pub use fence::Fence;
pub use kinds::Kind;
pub use member::decode;
pub use metadata::Metadata;
pub use principal::Principal;
pub use reach::Reach;
pub use source::Source;
pub use tier::Tier;
pub use time::Time;
