//! What has happened: every change with what was before and after, in the order of revisions.

use hayward_api::Metadata;
use hayward_api::kinds::Descriptor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StoreError;
use crate::resource::{Resource, damaged, parse};
use crate::sql::{On, Row, query};
use crate::store::Store;

/// The word for changes of logins, which are no resources: they say nothing but that there was a change.
pub const LOGIN: &str = "login";

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// It changed.
    Updated,
    /// It is gone.
    Deleted,
}

impl ChangeKind {
    /// The word of history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        [Self::Created, Self::Updated, Self::Deleted]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| StoreError::Corrupt { detail: format!("history says `{word}`") })
    }
}

/// A resource as it was after a change; values of secrets as `***`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What every resource has.
    pub metadata: Metadata,
    /// What was wanted.
    pub spec: Value,
}

impl Snapshot {
    /// As history keeps it.
    pub(crate) fn text(resource: &Resource) -> String {
        serde_json::json!({"metadata": resource.metadata, "spec": resource.spec}).to_string()
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number: each is one greater than the one before.
    pub revision: u64,
    /// What happened.
    pub change: ChangeKind,
    /// The kind of the resource; [`LOGIN`] if a login began or ended.
    pub kind: String,
    /// Its scope; none for the whole system.
    pub scope: Option<String>,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Who did it.
    pub actor: String,
    /// When (RFC 3339, UTC).
    pub at: String,
    /// The resource before.
    pub before: Option<Snapshot>,
    /// The resource after.
    pub after: Option<Snapshot>,
}

impl Change {
    pub(crate) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let step = "read history";
        let text = |column: &str| row.get::<String>(column).map_err(StoreError::at(step));
        let snapshot = |column: &str| -> Result<Option<Snapshot>, StoreError> {
            let text: Option<String> = row.get(column).map_err(StoreError::at(step))?;
            text.map(|text| parse(&text)).transpose()
        };
        let revision: i64 = row.get("revision").map_err(StoreError::at(step))?;
        Ok(Self {
            revision: revision.cast_unsigned(),
            change: ChangeKind::parse(&text("change")?)?,
            kind: text("kind")?,
            scope: Some(text("scope")?).filter(|scope| !scope.is_empty()),
            name: text("name")?,
            uid: text("uid")?,
            actor: text("actor")?,
            at: text("at")?,
            before: snapshot("before")?,
            after: snapshot("after")?,
        })
    }
}

/// A statement about the changes of what `$2` means, of kind `$1`: the resource of this uid, or else those that bore this
/// name in scope `$3`. The condition stands between any two of the parts.
macro_rules! meant {
    ($first:literal, $($part:literal),+) => {
        concat!($first, $(
            "kind = $1 AND (uid = $2 OR (name = $2 AND scope = $3
                 AND NOT EXISTS (SELECT 1 FROM history u WHERE u.uid = $2 AND u.kind = $1)))",
            $part
        ),+)
    };
}

impl Store {
    /// The changes that are kept of the resource of this uid or name, oldest first. What is deleted has a history, too;
    /// of a name that was used again, it is that of all who bore it.
    pub async fn history(
        &self,
        kind: &Descriptor,
        scope: Option<&str>,
        word: &str,
    ) -> Result<Vec<Change>, StoreError> {
        let rows = query(meant!("SELECT * FROM history WHERE ", " ORDER BY revision"))
            .bind(kind.name)
            .bind(word)
            .bind(scope.unwrap_or_default())
            .fetch_all(&self.pools.readers)
            .await
            .map_err(StoreError::at("read history"))?;
        rows.iter().map(Change::from_row).collect()
    }

    /// The resource of this uid or name as it was at a revision, also if it is deleted by now.
    ///
    /// Not found if it wasn't there then, or if there is no such revision yet; compacted if that isn't known any more.
    pub async fn at(
        &self,
        kind: &Descriptor,
        scope: Option<&str>,
        word: &str,
        revision: u64,
    ) -> Result<Snapshot, StoreError> {
        at(&self.pools.readers, kind, scope, word, revision).await
    }
}

/// The change after which, or before which, the resource was as it was at the revision, says how it was.
pub(crate) async fn at<'a>(
    on: impl Into<On<'a>>,
    kind: &Descriptor,
    scope: Option<&str>,
    word: &str,
    revision: u64,
) -> Result<Snapshot, StoreError> {
    let rows = query(meant!(
        "SELECT * FROM history WHERE revision IN ((SELECT MAX(revision) FROM history WHERE ",
        " AND revision <= $4), (SELECT MIN(revision) FROM history WHERE ",
        " AND revision > $4)) AND $4 <= (SELECT value FROM revision) ORDER BY revision"
    ))
    .bind(kind.name)
    .bind(word)
    .bind(scope.unwrap_or_default())
    .bind(i64::try_from(revision).unwrap_or(i64::MAX))
    .fetch_all(on)
    .await
    .map_err(StoreError::at("read history"))?;
    let changes: Vec<Change> = rows.iter().map(Change::from_row).collect::<Result<_, _>>()?;
    let not_found =
        || StoreError::NotFound { kind: kind.name, name: format!("{word}` at version `{revision}") };
    match changes.into_iter().next() {
        None => Err(not_found()),
        Some(change) if change.revision <= revision => change.after.ok_or_else(not_found),
        Some(change) => match (change.before, change.change) {
            (Some(before), _) if before.metadata.resource_version <= revision => Ok(before),
            (_, ChangeKind::Created) => Err(not_found()),
            (Some(_), _) => Err(StoreError::Compacted { from: revision }),
            (None, _) => Err(damaged("history without what was before", &change.revision)),
        },
    }
}
