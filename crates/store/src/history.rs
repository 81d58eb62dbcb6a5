//! What has happened: every change with what was before and after, in the order of revisions.

use hayward_api::Metadata;
use hayward_api::kinds::Descriptor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StoreError;
use crate::limits::{HISTORY_BYTES, HISTORY_ROWS};
use crate::resource::{Resource, damaged, parse};
use crate::sql::{On, Query, Row, query};
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
    /// Bytes of text of both.
    pub(crate) bytes: usize,
}

impl Change {
    pub(crate) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let step = "read history";
        let text = |column: &str| row.get::<String>(column).map_err(StoreError::at(step));
        let kept = |column: &str| row.get::<Option<String>>(column).map_err(StoreError::at(step));
        let (before, after) = (kept("before")?, kept("after")?);
        let bytes = [&before, &after].into_iter().flatten().map(String::len).sum();
        let snapshot = |text: Option<String>| text.map(|text| parse(&text)).transpose();
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
            before: snapshot(before)?,
            after: snapshot(after)?,
            bytes,
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

/// The lines of history that a condition means, in this order, until they have so many bytes: one at least, if there is one.
/// What doesn't fit is not even read.
macro_rules! fitting {
    ($order:literal, $bytes:literal, $meant:expr) => {
        concat!(
            "SELECT * FROM history WHERE revision IN (SELECT revision FROM (
                 SELECT revision, SUM(bytes) OVER (ORDER BY revision ",
            $order,
            ") - bytes AS bytes_before FROM (
                     SELECT revision, COALESCE(OCTET_LENGTH(before), 0) + COALESCE(OCTET_LENGTH(after), 0) AS bytes
                     FROM history WHERE ",
            $meant,
            ") AS sizes) AS sums WHERE bytes_before < ",
            $bytes,
            ") ORDER BY revision ",
            $order
        )
    };
}
pub(crate) use fitting;

/// The changes that a query asks for.
pub(crate) async fn changes<'a>(query: Query, on: impl Into<On<'a>>) -> Result<Vec<Change>, StoreError> {
    let rows = query.fetch_all(on).await.map_err(StoreError::at("read history"))?;
    rows.iter().map(Change::from_row).collect()
}

impl Store {
    /// The changes that are kept of the resource of this uid or name, oldest first: the last [`HISTORY_ROWS`], and of these
    /// as many as have [`HISTORY_BYTES`]. What is deleted has a history, too; of a name that was used again, it is that of all
    /// who bore it.
    pub async fn history(
        &self,
        kind: &Descriptor,
        scope: Option<&str>,
        word: &str,
    ) -> Result<Vec<Change>, StoreError> {
        let mut changes = self.newest_of(kind, scope, word, HISTORY_ROWS).await?;
        changes.reverse();
        Ok(changes)
    }

    /// The last change of the resource of this uid or name, if any is kept.
    pub async fn last_change(
        &self,
        kind: &Descriptor,
        scope: Option<&str>,
        word: &str,
    ) -> Result<Option<Change>, StoreError> {
        Ok(self.newest_of(kind, scope, word, 1).await?.pop())
    }

    async fn newest_of(
        &self,
        kind: &Descriptor,
        scope: Option<&str>,
        word: &str,
        rows: u64,
    ) -> Result<Vec<Change>, StoreError> {
        let newest = query(fitting!("DESC", "$5", meant!("", " ORDER BY revision DESC LIMIT $4")))
            .bind(kind.name)
            .bind(word)
            .bind(scope.unwrap_or_default())
            .bind(rows)
            .bind(HISTORY_BYTES);
        changes(newest, &self.pools.readers).await
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
