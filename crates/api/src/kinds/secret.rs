//! `secret`: values that nobody is shown. The store seals them; everywhere else, `***` stands for each.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Column, Descriptor, Kept, Kind, MadeBy, Names, Scope, Section, Sensitive, none};
use crate::error::{Code, Error};
use crate::limits::spec::{SECRET_BYTES, SECRET_KEYS};
use crate::member::{self, Spec, key};

/// Values that nobody is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretSpec {
    /// The values by their keys; `***` means the one that is there.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
}

/// Without the values.
impl fmt::Debug for SecretSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretSpec").field(&self.data.keys().collect::<Vec<_>>()).finish()
    }
}

impl Spec for SecretSpec {
    fn settle(&mut self) -> Result<(), Error> {
        if self.data.len() > SECRET_KEYS {
            let message = format!("`data`: it has {} keys: use up to {SECRET_KEYS}", self.data.len());
            return Err(Error::new(Code::TooLarge, message).at("data"));
        }
        for (name, value) in &self.data {
            key("data", name)?;
            if value.len() > SECRET_BYTES {
                let field = format!("data.{name}");
                let message = format!("`{field}`: it has {} bytes: use up to {SECRET_BYTES}", value.len());
                return Err(Error::new(Code::TooLarge, message).at(&field));
            }
        }
        Ok(())
    }
}

/// The line of the table.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "secret",
    plural: "secrets",
    route: "secrets",
    aliases: &["sec"],
    about: "Values that servers need and nobody is shown.",
    identity: "name",
    names: Names::Plain,
    scope: Scope::System,
    made_by: MadeBy::Anybody,
    kept: Kept::Stored,
    sensitive: &[Sensitive::Values("data")],
    sets: &[],
    columns: &[Column::new("KEYS", "data")],
    sections: &[Section { heading: "Data", paths: &["data"] }],
    order: 10,
    builtins: Vec::new,
    read: member::read::<SecretSpec>,
    references: none,
    conditions: none,
    sample,
    schema: |generator| generator.subschema_for::<SecretSpec>(),
};

/// A document in which every member is set that can be.
fn sample() -> Value {
    json!({"name": "ha-token", "data": {"TOKEN": "s3cr3t", "user.name": "ann"}})
}

impl Kind for SecretSpec {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_and_never_printed() {
        let spec = json!({"data": {"A": "topsecret", "b.c": "***"}});
        assert_eq!((DESCRIPTOR.read)(spec.clone()).unwrap(), spec);
        let spec: SecretSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(format!("{spec:?}"), r#"SecretSpec(["A", "b.c"])"#);
    }

    #[test]
    fn what_is_too_much_or_no_text_is_refused_without_being_repeated() {
        for bad in [
            json!({"data": {"A": 17_263_981}}),
            json!({"data": {"A": {"x": "17263981"}}}),
            json!({"data": {"": "17263981"}}),
            json!({"data": {"a b": "17263981"}}),
            json!({"data": {"A": "17263981".repeat(10_000)}}),
            json!({"data": ["17263981"]}),
            json!({"data": "17263981"}),
        ] {
            let error = (DESCRIPTOR.read)(bad.clone()).unwrap_err();
            assert!(error.field.is_some(), "{bad}");
            assert!(!format!("{error:?}").contains("17263981"), "{error:?}");
        }
    }
}
