//! Who is calling.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Tier;
use crate::bounds::Bounds;
use crate::error::{Code, Error};
use crate::fence::Fence;
use crate::fence::tools::ToolFences;
use crate::kinds::token::Role;
use crate::reach::Reach;

/// The caller of one call, as `identify` found it.
///
/// A value without handles: it crosses the seam to the executor and goes into the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// What kind of caller it is.
    pub kind: PrincipalKind,
    /// The name that people gave it; empty for nobody.
    pub name: String,
    /// The id of the credential that it showed, never the credential itself.
    pub credential: String,
    /// The highest tier that its credential may use; none means no tool at all.
    pub ceiling: Option<Tier>,
    /// The oldest revision of the protocol that it may speak; any if there is none.
    #[serde(default)]
    pub min_protocol: Option<ProtocolRevision>,
    /// What its commands and file tools may reach.
    #[serde(default)]
    pub fence: Fence,
    /// What it is kept to beside when it calls certain tools.
    #[serde(default, skip_serializing_if = "ToolFences::is_empty")]
    pub tool_fences: ToolFences,
    /// Where its credential is accepted from, what it may call, how often.
    #[serde(default, skip_serializing_if = "Bounds::is_none")]
    pub bounds: Bounds,
    /// Which servers it reaches: this machine's own tools if nothing is said, and otherwise what is said, of which `host` is this machine.
    #[serde(default, skip_serializing_if = "Reach::is_none")]
    pub reach: Reach,
    /// Who acts as this principal, if it isn't itself: both are recorded, and the permissions are the principal's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonator: Option<String>,
}

/// A revision of the protocol by its date, e.g. `2026-07-28`; later ones are greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ProtocolRevision(String);

impl ProtocolRevision {
    /// Reads a date.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_date = text.len() == 10
            && text.bytes().enumerate().all(
                |(at, b)| {
                    if matches!(at, 4 | 7) { b == b'-' } else { b.is_ascii_digit() }
                },
            );
        if is_date {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(Code::Invalid, format!("invalid protocol revision `{}`", text.escape_debug()))
            .with_hint("a revision is a date, e.g. 2026-07-28"))
    }

    /// The date.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ProtocolRevision {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<ProtocolRevision> for String {
    fn from(revision: ProtocolRevision) -> Self {
        revision.0
    }
}

/// The kinds of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// Nobody showed a credential: may do nothing.
    Anonymous,
    /// A token of the host server (`ro`, `rw`).
    Token,
    /// The administrator's token: manages, and calls no tool.
    Admin,
    /// The token of who watches the server: reads its metrics, and nothing else.
    Metrics,
    /// A process of this machine, vouched for by the kernel or by having started us.
    Local,
    /// A person with a login of the control plane: may what rules grant, and calls no tool.
    User,
    /// An account of a program: the same, granted to other subjects.
    ServiceAccount,
}

impl From<Role> for PrincipalKind {
    fn from(role: Role) -> Self {
        match role {
            Role::Ro | Role::Rw => Self::Token,
            Role::Admin => Self::Admin,
            Role::Metrics => Self::Metrics,
            Role::Account => Self::ServiceAccount,
        }
    }
}

impl Principal {
    /// The one that may do nothing.
    pub fn anonymous() -> Self {
        Self {
            kind: PrincipalKind::Anonymous,
            name: String::new(),
            credential: String::new(),
            ceiling: None,
            min_protocol: None,
            fence: Fence::default(),
            tool_fences: ToolFences::default(),
            bounds: Bounds::default(),
            reach: Reach::default(),
            impersonator: None,
        }
    }

    /// A local process that was started with, or vouched for, this ceiling.
    pub fn local(name: impl Into<String>, ceiling: Tier) -> Self {
        Self {
            kind: PrincipalKind::Local,
            name: name.into(),
            credential: "local".to_owned(),
            ceiling: Some(ceiling),
            min_protocol: None,
            fence: Fence::default(),
            tool_fences: ToolFences::default(),
            bounds: Bounds::default(),
            reach: Reach::default(),
            impersonator: None,
        }
    }

    /// Whether it may speak this revision of the protocol.
    pub fn may_speak(&self, revision: &str) -> bool {
        self.min_protocol.as_ref().is_none_or(|min| revision >= min.as_str())
    }

    /// The role word of the record: `ro`, `rw`, `danger`, `admin`, `metrics`, `user`, `account` or `none`.
    pub fn role(&self) -> &'static str {
        match (self.kind, self.ceiling) {
            (PrincipalKind::Admin, _) => "admin",
            (PrincipalKind::Metrics, _) => "metrics",
            (PrincipalKind::User, _) => "user",
            (PrincipalKind::ServiceAccount, _) => "account",
            (_, Some(ceiling)) => ceiling.role(),
            (_, None) => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_a_date_and_nothing_else() {
        assert_eq!(ProtocolRevision::parse("2026-07-28").unwrap().as_str(), "2026-07-28");
        for bad in ["", "modern", "2026-7-28", "2026-07-28 ", "2026/07/28", "2O26-07-28"] {
            assert!(ProtocolRevision::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_has_a_least_revision_may_speak_it_and_later_ones() {
        let any = Principal::local("x", Tier::Read);
        let min = ProtocolRevision::parse("2025-11-25").ok();
        let bound = Principal { min_protocol: min, ..any.clone() };
        for (revision, may) in [("2025-06-18", false), ("2025-11-25", true), ("2026-07-28", true)] {
            assert!(any.may_speak(revision));
            assert_eq!(bound.may_speak(revision), may, "{revision}");
        }
    }
}
