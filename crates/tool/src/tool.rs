//! A tool, and a set of tools.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::call::Call;
use crate::cx::Cx;
use crate::descriptor::Descriptor;
use crate::outcome::Outcome;

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that can be called. Most tools are written as a [`TypedTool`](crate::TypedTool).
pub trait Tool: Send + Sync {
    /// What it says of itself. Always the same.
    fn descriptor(&self) -> &Descriptor;

    /// Runs one call. Must end soon after `cx` stops. Dropping the future must leave nothing
    /// half done or running.
    fn call<'a>(&'a self, cx: &'a Cx, call: Call) -> BoxFuture<'a, Outcome>;
}

/// A built-in server made of tools.
#[derive(Clone)]
pub struct Toolset {
    /// The name that it is attached and granted by.
    pub name: &'static str,
    /// What a model should know before it uses any of the tools.
    pub instructions: &'static str,
    /// The tools, in the order in which they are listed.
    pub tools: Vec<Arc<dyn Tool>>,
}
