//! A resource as the database hands it over: one text, and nothing of it is parsed before somebody asks.
//!
//! Each value of a row is copied twice, and freed by another task than made it: for lists of thousands, that cost more than
//! everything else. So all columns come as one, with a sign between them that names don't have and JSON writes as `\u001f`.

use hayward_api::Metadata;
use hayward_api::metadata::API_VERSION;
use hayward_api::names::ResourceName;
use serde_json::Value;

use crate::error::StoreError;
use crate::resource::{Resource, damaged, parse};
use crate::sql::Row;
use crate::status::Status;

/// Stands between the columns.
const SEPARATOR: char = '\u{1f}';

/// The columns of the resource `r` as `packed`, in the order of [`Field`]; with those of its status `s`, if that is joined.
macro_rules! packed {
    () => {
        crate::raw::packed!("0, '', ''")
    };
    (status) => {
        crate::raw::packed!(
            "COALESCE(s.observed_generation, 0), COALESCE(s.status, ''), COALESCE(s.updated_at, '')"
        )
    };
    ($status:literal) => {
        concat!(
            " CASE WHEN r.uid IS NOT NULL THEN concat_ws('\u{1f}', r.uid, r.kind, r.scope, r.name, r.api_version,
                  r.generation, r.resource_version, r.created_at, r.updated_at, COALESCE(r.owner, ''), r.labels,
                  r.annotations, r.spec, COALESCE(r.applied, ''), ",
            $status,
            ") END AS packed "
        )
    };
}
pub(crate) use packed;

#[derive(Clone, Copy)]
enum Field {
    Uid,
    Kind,
    Scope,
    Name,
    ApiVersion,
    Generation,
    ResourceVersion,
    CreatedAt,
    UpdatedAt,
    Owner,
    Labels,
    Annotations,
    Spec,
    Applied,
    ObservedGeneration,
    Status,
    StatusAt,
}

const FIELDS: usize = Field::StatusAt as usize + 1;

/// A stored resource, unread. What can be wrong with it is told by whatever reads it.
#[derive(Clone, Debug)]
pub struct RawResource {
    text: String,
    /// Where each field ends.
    ends: [usize; FIELDS],
}

impl RawResource {
    /// The resource of a row; none if there is none in it.
    pub(crate) fn from_row(row: &Row) -> Result<Option<Self>, StoreError> {
        let text: Option<String> = row.get("packed").map_err(StoreError::at("read a resource"))?;
        text.map(Self::split).transpose()
    }

    fn split(text: String) -> Result<Self, StoreError> {
        let mut ends = [text.len(); FIELDS];
        let mut separators = memchr::memchr_iter(SEPARATOR as u8, text.as_bytes());
        for end in &mut ends[..FIELDS - 1] {
            *end = separators.next().ok_or_else(|| damaged("a row", "columns are missing"))?;
        }
        if separators.next().is_some() {
            return Err(damaged("a row", "there are more columns than there should be"));
        }
        let raw = Self { text, ends };
        match raw.get(Field::ApiVersion) {
            API_VERSION => Ok(raw),
            unknown => Err(damaged("an unknown version of a spec", unknown)),
        }
    }

    fn get(&self, field: Field) -> &str {
        let field = field as usize;
        let start = field.checked_sub(1).map_or(0, |before| self.ends[before] + 1);
        &self.text[start..self.ends[field]]
    }

    fn maybe(&self, field: Field) -> Option<&str> {
        Some(self.get(field)).filter(|text| !text.is_empty())
    }

    fn number(&self, field: Field) -> Result<u64, StoreError> {
        let text = self.get(field);
        text.parse().map_err(|_| damaged("a count", text))
    }

    /// Never changes and is never used again.
    pub fn uid(&self) -> &str {
        self.get(Field::Uid)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.get(Field::Name)
    }

    /// Its project; none for the whole system.
    pub fn scope(&self) -> Option<&str> {
        self.maybe(Field::Scope)
    }

    /// Counts changes of the spec, from 1.
    pub fn generation(&self) -> Result<u64, StoreError> {
        self.number(Field::Generation)
    }

    /// The revision of the store at which it last changed.
    pub fn resource_version(&self) -> Result<u64, StoreError> {
        self.number(Field::ResourceVersion)
    }

    /// When it was made (RFC 3339, UTC).
    pub fn created_at(&self) -> &str {
        self.get(Field::CreatedAt)
    }

    /// When it last changed (RFC 3339, UTC); empty where nobody kept it.
    pub fn updated_at(&self) -> &str {
        self.get(Field::UpdatedAt)
    }

    /// The uid of the resource that it goes with.
    pub fn owner(&self) -> Option<&str> {
        self.maybe(Field::Owner)
    }

    /// What selectors ask for: JSON, an object of texts.
    pub fn labels(&self) -> &str {
        self.get(Field::Labels)
    }

    /// What people and tools note beside it: JSON, an object of texts.
    pub fn annotations(&self) -> &str {
        self.get(Field::Annotations)
    }

    /// What is wanted: JSON, an object; values of secrets as `***`.
    pub fn spec(&self) -> &str {
        self.get(Field::Spec)
    }

    /// What is the case, if somebody said so.
    pub fn status(&self) -> Result<Option<Status>, StoreError> {
        let Some(status) = self.maybe(Field::Status) else { return Ok(None) };
        Ok(Some(Status {
            observed_generation: self.number(Field::ObservedGeneration)?,
            status: parse(status)?,
            updated_at: self.get(Field::StatusAt).to_owned(),
        }))
    }

    /// All of it, read.
    pub fn read(&self) -> Result<Resource, StoreError> {
        let name = |text: &str| ResourceName::parse(text).map_err(|error| damaged("a name", &error));
        Ok(Resource {
            kind: self.get(Field::Kind).to_owned(),
            metadata: Metadata {
                uid: self.uid().to_owned(),
                name: name(self.name())?,
                scope: self.scope().map(name).transpose()?,
                generation: self.generation()?,
                resource_version: self.resource_version()?,
                created_at: self.created_at().to_owned(),
                updated_at: self.updated_at().to_owned(),
                labels: parse(self.labels())?,
                annotations: parse(self.annotations())?,
                owner: self.owner().map(ToOwned::to_owned),
            },
            spec: self.spec_value()?,
            applied: self.maybe(Field::Applied).map(ToOwned::to_owned),
            status: self.status()?,
        })
    }

    /// The spec, read.
    pub fn spec_value(&self) -> Result<Value, StoreError> {
        parse(self.spec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(fields: usize, version: &str) -> String {
        let mut all = vec![
            "u",
            "server",
            "",
            "s",
            version,
            "1",
            "7",
            "t0",
            "t1",
            "",
            "{}",
            "{}",
            r#"{"a":"\u001f"}"#,
            "",
            "0",
            "",
            "",
            "more",
        ];
        all.truncate(fields);
        all.join("\u{1f}")
    }

    #[test]
    fn columns_are_what_stands_between_the_signs() {
        let raw = RawResource::split(packed(FIELDS, API_VERSION)).unwrap();
        let resource = raw.read().unwrap();
        assert_eq!((raw.uid(), raw.scope(), raw.owner()), ("u", None, None));
        assert_eq!((resource.kind.as_str(), resource.metadata.resource_version), ("server", 7));
        assert_eq!(resource.spec["a"], "\u{1f}");
        assert!(resource.status.is_none() && resource.applied().unwrap().is_none());
    }

    #[test]
    fn a_row_of_too_few_or_too_many_columns_or_another_version_is_damaged() {
        for (fields, version) in
            [(FIELDS - 1, API_VERSION), (FIELDS + 1, API_VERSION), (FIELDS, "hayward/v9")]
        {
            let refused = RawResource::split(packed(fields, version));
            assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{fields} {version}");
        }
    }
}
