//! Values that a server is given, or the secrets that they come from: variables of its environment, headers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::limits::spec::{LIST, WORD_BYTES};
use crate::member::{arguments, bounded, distinct, key, wrong};

/// A key of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretRef {
    /// The name of the secret.
    pub name: String,
    /// The key in it.
    pub key: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ValueFrom {
    /// A key of a secret.
    pub secret_ref: SecretRef,
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnvEntry {
    /// Its name.
    pub name: String,
    /// Its value, for everybody to see; or
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// where its value comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// Checks the variables of an environment by themselves, and that none is there twice.
pub(crate) fn environment<'a, E: 'a>(
    env: &'a [E],
    name: impl Fn(&'a E) -> &'a str,
    check: impl Fn(&E) -> Result<(), Error>,
) -> Result<(), Error> {
    entries("env", env, name, check)
}

/// Checks entries with names by themselves, and that none is there twice.
pub(crate) fn entries<'a, E: 'a>(
    field: &str,
    list: &'a [E],
    name: impl Fn(&'a E) -> &'a str,
    check: impl Fn(&E) -> Result<(), Error>,
) -> Result<(), Error> {
    bounded(field, list, LIST)?;
    for (at, entry) in list.iter().enumerate() {
        check(entry).map_err(|error| error.at(&format!("{field}[{at}]")))?;
    }
    distinct(field, list.iter().map(name))
}

/// The name of a header that may be said for a server: none that the protocol or the way there says itself.
pub(crate) fn header(name: &str) -> Result<(), Error> {
    const OURS: [&str; 10] = [
        "accept",
        "connection",
        "content-length",
        "content-type",
        "host",
        "last-event-id",
        "te",
        "transfer-encoding",
        "upgrade",
        "trailer",
    ];
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let lower = name.to_ascii_lowercase();
    if name.is_empty() || name.len() > WORD_BYTES || !name.bytes().all(is_token) {
        return Err(wrong("name", "a header is made of letters, digits and `-`"));
    }
    if OURS.contains(&&*lower) || lower.starts_with("mcp-") || lower.starts_with("proxy-") {
        return Err(wrong("name", "this header is said by the protocol").with_hint("leave it out"));
    }
    Ok(())
}

impl EnvEntry {
    pub(crate) fn check(&self) -> Result<(), Error> {
        variable(&self.name)?;
        self.check_value()
    }

    /// The same of a header.
    pub(crate) fn check_header(&self) -> Result<(), Error> {
        header(&self.name)?;
        if self.value.as_ref().is_some_and(|value| value.contains(|c: char| c.is_control())) {
            return Err(wrong("value", "the value of a header is one line"));
        }
        self.check_value()
    }

    fn check_value(&self) -> Result<(), Error> {
        value(self.value.as_ref(), self.value_from.as_ref())?;
        if self.value.is_none() && self.value_from.is_none() {
            return Err(wrong("value", "neither it nor `valueFrom` is said"));
        }
        Ok(())
    }
}

/// The name of a variable.
pub(crate) fn variable(name: &str) -> Result<(), Error> {
    let is_good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.len() <= WORD_BYTES;
    if is_good { Ok(()) } else { Err(wrong("name", "a variable is made of letters, digits and `_`")) }
}

/// A value or where it comes from.
pub(crate) fn value(value: Option<&String>, from: Option<&ValueFrom>) -> Result<(), Error> {
    if value.is_some() && from.is_some() {
        return Err(wrong("valueFrom", "there is a `value` already").with_hint("say one of the two"));
    }
    if let Some(value) = value {
        arguments("value", std::slice::from_ref(value))
            .map_err(|error| Error { field: None, ..error }.at("value"))?;
    }
    let Some(ValueFrom { secret_ref }) = from else { return Ok(()) };
    let plain = |field: &str, text: &str| {
        crate::kinds::Names::Plain.canonical(text).map(drop).map_err(|error| error.at(field))
    };
    plain("valueFrom.secretRef.name", &secret_ref.name)?;
    key("valueFrom.secretRef.key", &secret_ref.key)
}
