//! Who is calling, and may they.
//!
//! [`Token`]s are made and read here, [`Credentials`] is the in-memory table that turns one into
//! a principal, and [`decide()`] is the only place that says yes, by the rules of a [`Policy`]. [`password`]s are hashed and
//! compared here, and [`guesses`] of them are slowed. Nothing here does I/O (but asking
//! the kernel for random bytes), reads a clock, or knows where credentials are stored.

mod credentials;
mod decide;
pub mod guesses;
pub mod password;
mod policy;
mod token;

pub use hayward_api::kinds::rbac::{Operation, Verb};

pub use credentials::{CredentialRecord, Credentials, IdentifyError};
pub use decide::{Action, Decision, Reason, decide};
pub use policy::{Policies, Policy, Shown, Visible};
pub use token::{Digest, PresentedToken, Purpose, Token, TokenError, TokenId};
