//! Who is calling.

use serde::{Deserialize, Serialize};

use crate::Tier;

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
    /// A process of this machine, vouched for by the kernel or by having started us.
    Local,
}

impl Principal {
    /// The one that may do nothing.
    pub fn anonymous() -> Self {
        Self { kind: PrincipalKind::Anonymous, name: String::new(), credential: String::new(), ceiling: None }
    }

    /// A local process that was started with, or vouched for, this ceiling.
    pub fn local(name: impl Into<String>, ceiling: Tier) -> Self {
        Self {
            kind: PrincipalKind::Local,
            name: name.into(),
            credential: "local".to_owned(),
            ceiling: Some(ceiling),
        }
    }

    /// The role word of the record: `ro`, `rw`, `danger`, `admin` or `none`.
    pub fn role(&self) -> &'static str {
        match (self.kind, self.ceiling) {
            (PrincipalKind::Admin, _) => "admin",
            (_, Some(ceiling)) => ceiling.role(),
            (_, None) => "none",
        }
    }
}
