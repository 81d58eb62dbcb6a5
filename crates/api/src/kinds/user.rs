//! `user`: an account of a person or of a program.
//!
//! The resource holds what others may see. A password is taken and never shown: the store keeps a digest of it, elsewhere.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Column, Descriptor, Kept, Kind, MadeBy, Names, Scope, Sensitive, none};
use crate::error::Error;
use crate::limits::spec::PASSWORD_BYTES;
use crate::member::{self, Spec, line, wrong};
use crate::time::Time;

/// What an account says of its holder. It grants nothing: that is what `rbac` is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum UserRole {
    /// Somebody.
    #[default]
    User,
    /// Somebody who looks after the system.
    Admin,
}

/// An account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct UserSpec {
    /// What people call its holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A word about its holder, `USER` or `ADMIN`. It grants nothing.
    #[serde(default)]
    pub role: UserRole,
    /// Whether it belongs to a program: it has no password, and is granted things as a `ServiceAccount`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub service_account: bool,
    /// A disabled account is refused everywhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// From when on it is refused; never if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// A new password, of 8 to 1024 bytes. It is never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// Without the password.
impl fmt::Debug for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserSpec").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

impl Spec for UserSpec {
    fn settle(&mut self) -> Result<(), Error> {
        line("name", self.name.as_ref())?;
        let Some(password) = &self.password else { return Ok(()) };
        if self.service_account {
            let error = wrong("password", "a service account has none");
            return Err(error.with_hint("make a token of role `account` for it"));
        }
        if !PASSWORD_BYTES.contains(&password.len()) {
            let (least, most) = (PASSWORD_BYTES.start(), PASSWORD_BYTES.end());
            return Err(wrong("password", format!("use {least} to {most} bytes")));
        }
        Ok(())
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "user",
    plural: "users",
    route: "users",
    aliases: &[],
    about: "An account of a person, or of a program.",
    identity: "email",
    names: Names::Email,
    scope: Scope::System,
    made_by: MadeBy::Anybody,
    kept: Kept::Stored,
    sensitive: &[Sensitive::Password("password")],
    sets: &[],
    columns: &[
        Column::new("NAME", "name"),
        Column::new("ROLE", "role"),
        Column::new("SERVICE", "serviceAccount"),
        Column::wide("DISABLED", "disabled"),
        Column::wide("EXPIRES", "expiresAt"),
    ],
    sections: &[],
    order: 30,
    builtins: Vec::new,
    read: member::read::<UserSpec>,
    references: none,
    conditions: none,
    sample,
    schema: |generator| generator.subschema_for::<UserSpec>(),
};

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({
            "email": "ann@example.org", "name": "Ann", "role": "ADMIN", "disabled": true,
            "expiresAt": "2030-01-31T00:00:00Z", "password": "correct horse"})
}

impl Kind for UserSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_says_little_unless_more_is_said() {
        assert_eq!((DESCRIPTOR.read)(json!({})).unwrap(), json!({"role": "USER"}));
        let spec = json!({"name": "Ann", "role": "ADMIN", "password": "long enough"});
        assert_eq!((DESCRIPTOR.read)(spec.clone()).unwrap(), spec);
        let spec: UserSpec = serde_json::from_value(spec).unwrap();
        assert!(!format!("{spec:?}").contains("long enough"));
    }

    #[test]
    fn passwords_and_accounts_that_cannot_be_meant_are_refused() {
        for (bad, field) in [
            (json!({"password": "short"}), "password"),
            (json!({"password": "x".repeat(1025)}), "password"),
            (json!({"password": "long enough", "serviceAccount": true}), "password"),
            (json!({"role": "admin"}), "role"),
            (json!({"expiresAt": "soon"}), "expiresAt"),
            (json!({"email": "x@y"}), "email"),
        ] {
            assert_eq!((DESCRIPTOR.read)(bad.clone()).unwrap_err().field.as_deref(), Some(field), "{bad}");
        }
    }
}
