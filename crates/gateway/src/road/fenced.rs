//! Between steps 6 and 7: the fence that holds for a call, which is what is left of its caller's when the tool has taken
//! away what it does.
//!
//! From here on the caller is who is kept to that: the record, the key and the tool see no other fence.

use std::sync::Arc;

use hayward_api::fence::narrow::{Apart, Ground};
use hayward_api::fence::tools::{ToolFences, narrowed};
use hayward_api::{Code, Principal};
use hayward_tool::{ToolError, Verb};

use super::Arrival;
use super::route::Route;

/// What tools take away from whoever calls them.
#[derive(Clone, Debug, Default)]
pub struct Fencing {
    /// From everybody, beside what a caller brings with it.
    pub of_all: ToolFences,
    /// What holds where a fence says nothing.
    pub ground: Ground,
}

impl Fencing {
    /// The caller of this call, with the fence that holds for it; refused if nothing is left of it.
    pub(super) fn caller(&self, arrival: &Arrival, route: &Route) -> Result<Arc<Principal>, ToolError> {
        let principal = &arrival.principal;
        let tool = route.name();
        let mut fences = principal.tool_fences.of(tool).chain(self.of_all.of(tool)).peekable();
        if arrival.form() != Verb::CallTool || fences.peek().is_none() {
            return Ok(Arc::clone(principal));
        }
        let fence =
            narrowed(&principal.fence, fences, &self.ground).map_err(|apart| refused(tool, &apart))?;
        Ok(Arc::new(Principal { fence, tool_fences: ToolFences::default(), ..(**principal).clone() }))
    }
}

fn refused(tool: &str, apart: &Apart) -> ToolError {
    let message = format!("the fences of the token and of tool `{tool}` leave nothing: {apart}");
    ToolError::new("FencesApart", Code::Forbidden, message).suggest(match apart {
        Apart::Roots { .. } => "ask the administrator for a token with a root within those of the tool",
        Apart::Users { .. } => "ask the administrator for a token with the user of the tool",
        Apart::TooManyRoots => "ask the administrator to name directories above these roots",
    })
}
