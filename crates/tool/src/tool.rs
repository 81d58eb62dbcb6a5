//! What a server offers: tools, resources, prompts.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::call::Call;
use crate::changes::Changes;
use crate::cx::Cx;
use crate::descriptor::{Descriptor, PromptDescriptor, ResourceDescriptor};
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

/// Something that can be read: one resource, or all that a template stands for.
pub trait Resource: Send + Sync {
    /// What it says of itself. Always the same.
    fn descriptor(&self) -> &ResourceDescriptor;

    /// Reads the resource of the URI that `call.name` is, which the descriptor matches: the outcome is a
    /// `ReadResourceResult`. Changes nothing.
    fn read<'a>(&'a self, cx: &'a Cx, call: Call) -> BoxFuture<'a, Outcome>;

    /// Completes a variable of the template: the outcome is a `CompleteResult`.
    fn complete<'a>(&'a self, _cx: &'a Cx, _call: Call) -> BoxFuture<'a, Outcome> {
        Box::pin(async { Outcome::completion(&[]) })
    }
}

/// Something that can be put before a model.
pub trait Prompt: Send + Sync {
    /// What it says of itself. Always the same.
    fn descriptor(&self) -> &PromptDescriptor;

    /// Fills in the prompt: the outcome is a `GetPromptResult`. Changes nothing.
    fn get<'a>(&'a self, cx: &'a Cx, call: Call) -> BoxFuture<'a, Outcome>;

    /// Completes an argument of the prompt: the outcome is a `CompleteResult`.
    fn complete<'a>(&'a self, _cx: &'a Cx, _call: Call) -> BoxFuture<'a, Outcome> {
        Box::pin(async { Outcome::completion(&[]) })
    }
}

/// A built-in server.
#[derive(Clone)]
pub struct Toolset {
    /// The name that it is attached and granted by.
    pub name: Arc<str>,
    /// What a model should know before it uses any of the tools.
    pub instructions: Arc<str>,
    /// The tools, in the order in which they are listed.
    pub tools: Vec<Arc<dyn Tool>>,
    /// The resources and templates, in the order in which they are listed and tried.
    pub resources: Vec<Arc<dyn Resource>>,
    /// The prompts, in the order in which they are listed.
    pub prompts: Vec<Arc<dyn Prompt>>,
    /// Whether any of the tools can go on as a task.
    pub has_tasks: bool,
    /// Where it tells of what has changed.
    pub changes: Changes,
}

impl Toolset {
    /// A server of tools alone.
    pub fn of_tools(name: &str, instructions: &str, tools: Vec<Arc<dyn Tool>>) -> Self {
        let (resources, prompts, changes) = (Vec::new(), Vec::new(), Changes::of(name));
        let (name, instructions) = (name.into(), instructions.into());
        Self { name, instructions, tools, resources, prompts, has_tasks: false, changes }
    }
}
