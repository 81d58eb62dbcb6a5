//! The port through which administrators reach whatever keeps tokens: by `/admin/tokens`, or as a process of this machine.

pub mod recorded;

use std::sync::Arc;

use hayward_api::fence::tools::ToolFences;
use hayward_api::kinds::token::{Role, TokenSpec};
use hayward_api::principal::ProtocolRevision;
use hayward_api::{Bounds, Error, Fence, Principal, Reach, Time};
use hayward_tool::BoxFuture;
use serde::{Deserialize, Serialize};

/// A token as lists show it. The token itself is shown once, when it is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenView {
    /// Its public id.
    pub id: String,
    /// The name that people gave it.
    pub name: String,
    /// When it was made (RFC 3339, UTC).
    pub created_at: String,
    /// When it was last used, as far as it is known.
    pub last_used: Option<String>,
    /// Whether it is accepted.
    pub enabled: bool,
    /// What it may do.
    pub role: Role,
    /// The oldest revision of the protocol that it may speak; any if there is none.
    pub min_protocol: Option<ProtocolRevision>,
    /// What its commands and file tools may reach.
    pub fence: Fence,
    /// What it is kept to beside when it calls certain tools.
    pub tool_fences: ToolFences,
    /// Where it is accepted from, what it may call, how often.
    pub bounds: Bounds,
    /// Which servers it reaches: this machine's own tools if nothing is said, and otherwise what is said, of which `host` is this machine.
    pub reach: Reach,
    /// From when on it is refused; never if there is none.
    pub expires_at: Option<Time>,
}

/// A token that is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Its public id.
    pub id: String,
    /// The name that people gave it.
    pub name: String,
}

/// What keeps tokens. A change is seen by `identify` before its future ends.
pub trait Tokens: Send + Sync {
    /// Every token, by name.
    fn list(&self) -> BoxFuture<'static, Result<Vec<TokenView>, Error>>;

    /// Makes a token; returns it with the secret that is shown once.
    fn create(
        &self,
        name: String,
        spec: TokenSpec,
        actor: Arc<Principal>,
    ) -> BoxFuture<'static, Result<String, Error>>;

    /// Revokes a token, named by itself, its id or a unique prefix of its id, and cancels what runs under it.
    fn revoke(&self, token: String, actor: Arc<Principal>) -> BoxFuture<'static, Result<Revoked, Error>>;

    /// Puts a new token of this role in the place of all there are, and cancels what runs under those; returns it with
    /// the secret that is shown once.
    fn rotate(&self, role: Role, actor: Arc<Principal>) -> BoxFuture<'static, Result<String, Error>>;

    /// Revokes every token of this role, and cancels what runs under them.
    fn revoke_role(
        &self,
        role: Role,
        actor: Arc<Principal>,
    ) -> BoxFuture<'static, Result<Vec<Revoked>, Error>>;
}
