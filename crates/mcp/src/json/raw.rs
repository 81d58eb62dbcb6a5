//! A piece of JSON that was checked, as the bytes that came in.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::object::{elements_of, text_of};
use super::scan::{JsonError, Limits, scan};

/// Checked JSON text of one value, without white space around it.
///
/// Invariant: the bytes are UTF-8 and one JSON value that passed [`scan`], or that we wrote
/// ourselves. Cloning and slicing cost a reference count.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Raw(Bytes);

impl Raw {
    /// Checks untrusted bytes.
    pub fn parse(bytes: impl Into<Bytes>, limits: Limits) -> Result<Self, JsonError> {
        let bytes = bytes.into();
        let range = scan(&bytes, limits)?;
        Ok(Self(bytes.slice(range)))
    }

    /// The JSON of a value of ours.
    ///
    /// # Errors
    /// If its `Serialize` fails, e.g. for a map whose keys aren't strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(value).map(|bytes| Self(bytes.into()))
    }

    /// `{}`.
    pub fn empty_object() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    /// `null`.
    pub fn null() -> Self {
        Self(Bytes::from_static(b"null"))
    }

    /// Takes over text that was just written or is a part of something checked.
    pub(crate) fn trusted(bytes: Bytes) -> Self {
        debug_assert!(scan(&bytes, Limits { depth_max: usize::MAX, keys_max: usize::MAX }).is_ok());
        Self(bytes)
    }

    /// The JSON text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when it was made")
    }

    /// The bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The same in memory of its own, for what is kept longer than the message that it came in.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether this is an object.
    pub fn is_object(&self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        &self.0[..] == b"null"
    }

    /// The first elements, at most this many, to the letter; none if this is no array.
    pub fn elements(&self, max: usize) -> Vec<Self> {
        elements_of(self, max)
    }

    /// What it says, if it is a string.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        text_of(&self.0)
    }

    /// A typed view, for what we read ourselves.
    pub fn view<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get().to_owned(), Limits::default()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_value_keeps_its_text_to_the_letter() {
        let raw = Raw::parse(&b" {\"n\": 1.0e2, \"u\": \"\\u0041\"} "[..], Limits::default()).unwrap();
        assert_eq!(raw.as_str(), r#"{"n": 1.0e2, "u": "\u0041"}"#);
        assert_eq!(serde_json::to_string(&raw).unwrap(), raw.as_str());
    }

    #[test]
    fn deserializing_refuses_what_scanning_refuses() {
        assert!(serde_json::from_str::<Raw>(r#"{"a":1,"a":2}"#).is_err());
        assert_eq!(serde_json::from_str::<Raw>("[1]").unwrap().as_str(), "[1]");
    }
}
