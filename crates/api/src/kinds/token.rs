//! `token`: a bearer credential of the host server, and what it may do.
//!
//! The resource holds metadata only. The hash of the secret half sits in the store's
//! credentials table; the token itself is shown once and kept nowhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Column, Descriptor, Kept, Kind, MadeBy, Names, Scope, Section, none, refer};
use crate::bounds::Bounds;
use crate::error::Error;
use crate::fence::Fence;
use crate::fence::tools::ToolFences;
use crate::member::{self, Spec, wrong};
use crate::principal::ProtocolRevision;
use crate::reach::Reach;
use crate::tier::Tier;
use crate::time::Time;

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Calls read tools.
    Ro,
    /// Calls read and operate tools.
    Rw,
    /// Manages tokens; calls no tool.
    Admin,
    /// Reads `/metrics`, and nothing else.
    Metrics,
    /// Acts as an account of the control plane, whose permissions it has; calls no tool.
    Account,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Ro, Self::Rw, Self::Admin, Self::Metrics, Self::Account];

    /// The name of the token of this role that dies with a daemon: no stored one may bear it.
    pub fn temporary_name(self) -> String {
        format!("temporary-{}", self.as_str())
    }

    /// The word that is used in files and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ro => "ro",
            Self::Rw => "rw",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
            Self::Account => "account",
        }
    }

    /// The highest tier that a token of this role may use.
    pub const fn ceiling(self) -> Option<Tier> {
        match self {
            Self::Ro => Some(Tier::Read),
            Self::Rw => Some(Tier::Operate),
            Self::Admin | Self::Metrics | Self::Account => None,
        }
    }
}

/// The desired state of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TokenSpec {
    /// What it may do.
    pub role: Role,
    /// The account that it acts as, if its role is `account`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A disabled token is refused as if it did not exist.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// The oldest revision of the protocol that it may speak, e.g. `2026-07-28`; any if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_protocol: Option<ProtocolRevision>,
    /// What its commands and file tools may reach; what the daemon's user may if nothing is said.
    #[serde(default, skip_serializing_if = "Fence::is_default")]
    pub fence: Fence,
    /// What it is kept to beside when it calls certain tools, by the name of the tool, e.g. `bash_execute` or `read_*`.
    #[serde(default, skip_serializing_if = "ToolFences::is_empty")]
    pub tool_fences: ToolFences,
    /// Where it is accepted from, what it may call, how often; bound to nothing if nothing is said.
    #[serde(default, skip_serializing_if = "Bounds::is_none")]
    pub bounds: Bounds,
    /// Which servers it reaches: this machine's own tools if nothing is said, and otherwise what is said, of which `host` is this machine.
    #[serde(default, skip_serializing_if = "Reach::is_none")]
    pub reach: Reach,
    /// From when on it is refused; never if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

impl From<Role> for TokenSpec {
    /// An enabled token of this role.
    fn from(role: Role) -> Self {
        Self {
            role,
            account: None,
            enabled: true,
            min_protocol: None,
            fence: Fence::default(),
            tool_fences: ToolFences::default(),
            bounds: Bounds::default(),
            reach: Reach::default(),
            expires_at: None,
        }
    }
}

fn enabled() -> bool {
    true
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "token",
    plural: "tokens",
    route: "tokens",
    aliases: &["tok"],
    about: "A bearer credential, and what it may do.",
    identity: "name",
    names: Names::Plain,
    scope: Scope::System,
    made_by: MadeBy::Anybody,
    kept: Kept::Stored,
    sensitive: &[],
    sets: &[],
    columns: &[
        Column::new("ROLE", "role"),
        Column::new("ENABLED", "enabled"),
        Column::new("EXPIRES", "expiresAt"),
        Column::wide("ACCOUNT", "account"),
    ],
    sections: &[Section { heading: "Fence", paths: &["fence", "toolFences", "bounds", "reach"] }],
    order: 90,
    builtins: Vec::new,
    read: member::read::<TokenSpec>,
    references: |spec: &Value| refer(spec, "account", "user"),
    conditions: none,
    sample,
    schema: |generator| generator.subschema_for::<TokenSpec>(),
};

impl Spec for TokenSpec {
    fn settle(&mut self) -> Result<(), Error> {
        self.fence.check().map_err(|error| error.at("fence"))?;
        self.bounds.check().map_err(|error| error.at("bounds"))?;
        self.tool_fences.check().map_err(|error| error.at("toolFences"))?;
        self.reach.check("reach")?;
        if !self.reach.is_none() && !matches!(self.role, Role::Ro | Role::Rw) {
            return Err(wrong("reach", "only tokens of the roles `ro` and `rw` reach something")
                .with_hint("rules grant servers and projects to accounts"));
        }
        match (self.role, &self.account) {
            (Role::Account, None) => {
                Err(wrong("account", "it is missing").with_hint("name the account that the token acts as"))
            }
            (Role::Account, Some(account)) => {
                self.account = Some(Names::Email.canonical(account).map_err(|error| error.at("account"))?);
                Ok(())
            }
            (_, Some(_)) => Err(wrong("account", "only tokens of role `account` act as one")),
            (_, None) => Ok(()),
        }
    }
}

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({
            "name": "laptop", "role": "rw", "enabled": false, "minProtocol": "2025-11-25",
            "fence": {"profile": "confined", "roots": ["/srv"]},
            "toolFences": {"bash_execute": {"profile": "confined", "roots": ["/srv/a"]}},
            "bounds": {"sources": ["10.0.0.0/8"], "tools": ["read_*"], "requestsPerMinute": 60},
            "reach": {"servers": ["ha"], "projects": ["home"]}, "expiresAt": "2030-01-31T00:00:00Z"})
}

impl Kind for TokenSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_enabled_unless_it_says_otherwise() {
        let spec: TokenSpec = serde_json::from_value(json!({"role": "ro"})).unwrap();
        assert!(spec.enabled);
    }

    #[test]
    fn a_spec_from_before_fences_is_full_and_is_stored_as_it_was() {
        let old = json!({"role": "rw", "enabled": true});
        let spec: TokenSpec = serde_json::from_value(old.clone()).unwrap();
        assert!(spec.fence.is_default() && spec.tool_fences.is_empty());
        assert_eq!(json!(spec), old);
    }

    #[test]
    fn bounds_and_an_end_that_cannot_be_meant_are_refused() {
        let with = |more: serde_json::Value| {
            let mut spec = json!({"role": "ro"});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            (DESCRIPTOR.read)(spec)
        };
        assert!(
            with(json!({"bounds": {"sources": ["10.0.0.0/8"]}, "expiresAt": "2027-01-31T00:00:00Z"})).is_ok()
        );
        assert!(with(json!({"bounds": {"sources": ["nas"]}})).is_err());
        assert!(with(json!({"bounds": {"source": []}})).is_err());
        assert!(with(json!({"expiresAt": "soon"})).is_err());
    }

    #[test]
    fn a_token_of_an_account_names_it_and_no_other_does() {
        let spec = (DESCRIPTOR.read)(json!({"role": "account", "account": "CI@x.org"})).unwrap();
        assert_eq!(spec, json!({"role": "account", "account": "ci@x.org", "enabled": true}));
        assert_eq!((DESCRIPTOR.references)(&spec)[0].kind, "user");
        for bad in [json!({"role": "account"}), json!({"role": "ro", "account": "ci"})] {
            assert_eq!((DESCRIPTOR.read)(bad).unwrap_err().field.as_deref(), Some("account"));
        }
    }

    #[test]
    fn a_fence_that_cannot_be_meant_is_refused() {
        let with = |fence| (DESCRIPTOR.read)(json!({"role": "rw", "fence": fence}));
        assert!(with(json!({"profile": "confined", "roots": ["/srv/a"]})).is_ok());
        assert!(with(json!({"profile": "confined", "roots": ["a"]})).is_err());
        assert!(with(json!({"roots": ["/srv/a"]})).is_err());
    }

    #[test]
    fn a_fence_of_a_tool_that_cannot_be_meant_is_refused() {
        let with = |fences| (DESCRIPTOR.read)(json!({"role": "rw", "toolFences": fences}));
        assert!(with(json!({"bash_execute": {"profile": "confined", "roots": ["/srv/a"]}})).is_ok());
        assert!(with(json!({"bash_execute": {"profile": "confined", "roots": ["a"]}})).is_err());
        assert!(with(json!({"bash_execute": {"profile": "confined", "newer": true}})).is_err());
        assert!((DESCRIPTOR.read)(json!({"role": "rw", "tool_fences": {}})).is_err());
    }

    #[test]
    fn unknown_roles_and_fields_are_refused() {
        for bad in [
            json!({"role": "zz"}),
            json!({"role": "ro", "x": 1}),
            json!({"role": "ro", "minProtocol": "new"}),
            json!({}),
            json!(null),
        ] {
            assert!((DESCRIPTOR.read)(bad.clone()).is_err(), "{bad}");
        }
        assert!((DESCRIPTOR.read)(json!({"role": "rw", "minProtocol": "2026-07-28"})).is_ok());
        assert!((DESCRIPTOR.read)(json!({"role": "rw", "enabled": false})).is_ok());
    }
}
