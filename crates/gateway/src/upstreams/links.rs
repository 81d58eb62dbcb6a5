//! Where connections to servers come from: what the road needs of whatever runs them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use hayward_mcp::upstream::{Upstream, UpstreamError};
use hayward_tool::{Abilities, BoxFuture};

/// A connection to an instance of a server, for as long as it is used.
pub struct Link {
    /// The connection.
    pub upstream: Arc<Upstream>,
    /// The name of the instance.
    pub instance: Arc<str>,
    /// Whether it was made for its owner, and only now.
    pub is_new: bool,
    /// What counts its use; given back when it is dropped.
    pub hold: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

/// Why there is no connection to a server now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Away {
    /// What is the case, in words for whoever called.
    pub why: String,
    /// Whether there are as many as there may be, so that one that ends makes room.
    pub is_full: bool,
}

/// Whose a connection is that isn't everybody's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The credential, or the session below it.
    pub key: Arc<str>,
    /// What whoever is asked there can do.
    pub abilities: Abilities,
}

/// What runs servers and connects to them.
pub trait Links: Send + Sync {
    /// The connection that everybody shares, to an instance that is well; none if there is none at this moment. Never waits.
    fn shared(&self, server: &str) -> Option<Link>;

    /// The same to this instance; none if it isn't there any more.
    fn at(&self, server: &str, instance: &str) -> Option<Link>;

    /// The same as the shared one, started or waited for, if that doesn't take too long.
    fn wanted<'a>(&'a self, server: &'a str) -> BoxFuture<'a, Result<Link, Away>>;

    /// A call failed on this connection: whoever runs the server looks whether it is there.
    fn failed(&self, server: &str, upstream: &Arc<Upstream>, error: &UpstreamError);

    /// A connection of this owner alone, kept for its next call.
    fn own<'a>(&'a self, server: &'a str, owner: &'a Owner) -> BoxFuture<'a, Result<Link, Away>>;

    /// Whether a person has to grant access to the server before it can be called.
    fn wants_grant(&self, server: &str) -> bool;
}
