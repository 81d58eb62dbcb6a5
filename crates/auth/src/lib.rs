//! Who is calling, and may they.
//!
//! [`Token`]s are made and read here, [`Credentials`] is the in-memory table that turns one into
//! a principal, and [`decide()`] is the only place that says yes. Nothing here does I/O (but asking
//! the kernel for random bytes), reads a clock, or knows where credentials are stored.

mod credentials;
mod decide;
mod token;

pub use credentials::{CredentialRecord, Credentials, IdentifyError};
pub use decide::{Action, Decision, Reason, decide};
pub use token::{Digest, PresentedToken, Token, TokenError, TokenId};
