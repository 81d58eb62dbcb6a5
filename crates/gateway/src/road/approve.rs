//! Step 6, approve: what needs more than a permission.
//!
//! No tool of the danger tier and no policy that asks for a human exists yet, so there is one rule:
//! what is more than `operate` is refused, whoever asks.

use hayward_api::{Code, Tier};
use hayward_tool::ToolError;

/// Lets a decided call through, or refuses it.
pub(crate) fn approve(tier: Tier) -> Result<(), ToolError> {
    match tier {
        Tier::Read | Tier::Operate => Ok(()),
        Tier::Danger => Err(ToolError::new(
            "ApprovalUnavailable",
            Code::Forbidden,
            "tools of the danger tier need an approval, and nobody can give one here",
        )
        .suggest("use a tool of a lower tier, or ask the operator to do it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn danger_is_refused_while_nobody_can_approve_it() {
        assert!(approve(Tier::Read).is_ok());
        assert!(approve(Tier::Operate).is_ok());
        assert_eq!(approve(Tier::Danger).unwrap_err().kind, Code::Forbidden);
    }
}
