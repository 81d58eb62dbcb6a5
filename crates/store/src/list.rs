//! Reading resources: one, by any word that means it, or all there are of a kind.

use hayward_api::kinds::Descriptor;

use crate::error::StoreError;
use crate::raw::{RawResource, packed};
use crate::resource::{Key, Resource};
use crate::sql::{On, Row, query};
use crate::store::Store;
use crate::transaction::Transaction;

const STEP: &str = "list resources";

/// Which resources of a kind a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListScope<'a> {
    /// All there are.
    All,
    /// Those that belong to no project.
    System,
    /// Those of this project.
    Project(&'a str),
}

/// A list, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T = Resource> {
    /// The last revision of that moment: a watch from here misses nothing.
    pub revision: u64,
    /// By scope, then by name, byte by byte.
    pub items: Vec<T>,
    /// Scope and name after which a part of it goes on, if it may.
    pub next: Option<(String, String)>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Scope and name of the last before it; both empty for the first part.
    pub after: (String, String),
    /// How many at most.
    pub rows: u32,
}

/// Resources with their status, if they have one.
macro_rules! resources {
    ($rest:literal) => {
        concat!("SELECT ", packed!(status), "FROM resources r LEFT JOIN status s ON s.uid = r.uid ", $rest)
    };
}

/// Resources of kind `$1` by their name or their uid, with their status. No name looks like a uid, so none is there twice.
///
/// `PostgreSQL` plans this once, perhaps while it believes that there is next to nothing: of a uid *and* a kind it would then look
/// through all of the kind for ever.
macro_rules! meant {
    ($name:literal, $uid:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            packed!(status),
            "FROM (SELECT * FROM resources WHERE ",
            $name,
            " UNION ALL SELECT * FROM resources WHERE ",
            $uid,
            " AND kind || '' = $1) r LEFT JOIN status s ON s.uid = r.uid WHERE ",
            $rest
        )
    };
}

/// The revision, and resources of this source with their status.
macro_rules! listing {
    ($source:literal) => {
        concat!(
            "SELECT v.value AS revision, ",
            packed!(status),
            "FROM revision v LEFT JOIN ",
            $source,
            " LEFT JOIN status s ON s.uid = r.uid"
        )
    };
}

impl Store {
    /// The resource of this name or uid.
    pub async fn get(&self, key: &Key<'_>) -> Result<Resource, StoreError> {
        get(&self.pools.readers, key).await?.ok_or_else(|| key.not_found())
    }

    /// The resource that a name or uid means, in a scope (none within: of no project), or wherever it is.
    ///
    /// A uid wins over a name. Without a scope, one of no project wins over those of projects; if several
    /// projects have one, that is told.
    pub async fn find(
        &self,
        kind: &'static Descriptor,
        scope: Option<Option<&str>>,
        word: &str,
    ) -> Result<Resource, StoreError> {
        find(&self.pools.readers, kind, scope, word).await
    }

    /// Every resource of a kind, as of one moment.
    pub async fn list(&self, kind: &Descriptor, scope: ListScope<'_>) -> Result<Listed, StoreError> {
        list(&self.pools.readers, kind, scope).await
    }

    /// The same as it lies in the database, for whoever hands it on: all of it, or a part.
    pub async fn list_raw(
        &self,
        kind: &Descriptor,
        scope: ListScope<'_>,
        part: Option<&Part>,
    ) -> Result<Listed<RawResource>, StoreError> {
        list_raw(&self.pools.readers, kind, scope, part).await
    }

    /// What the resource of this uid owns, of whatever kind.
    pub async fn owned(&self, uid: &str) -> Result<Vec<Resource>, StoreError> {
        let rows = query(resources!("WHERE r.owner = $1 ORDER BY r.kind, r.scope, r.name"))
            .bind(uid)
            .fetch_all(&self.pools.readers)
            .await
            .map_err(StoreError::at(STEP))?;
        from_rows(&rows)
    }
}

impl Transaction {
    /// The resource of this name or uid, as this change has it.
    pub async fn get(&mut self, key: &Key<'_>) -> Result<Resource, StoreError> {
        get(&mut self.tx, key).await?.ok_or_else(|| key.not_found())
    }

    /// The resource that a word means, as this change has it; see [`Store::find`].
    pub async fn find(
        &mut self,
        kind: &'static Descriptor,
        scope: Option<Option<&str>>,
        word: &str,
    ) -> Result<Resource, StoreError> {
        find(&mut self.tx, kind, scope, word).await
    }

    /// Every resource of a kind, as this change has them.
    pub async fn list(&mut self, kind: &Descriptor, scope: ListScope<'_>) -> Result<Listed, StoreError> {
        list(&mut self.tx, kind, scope).await
    }
}

pub(crate) async fn get<'a>(on: impl Into<On<'a>>, key: &Key<'_>) -> Result<Option<Resource>, StoreError> {
    let row = query(meant!(
        "kind = $1 AND scope = $2 AND name = $3",
        "uid = $3",
        "r.scope = $2 ORDER BY (CASE WHEN r.uid = $3 THEN 0 ELSE 1 END) LIMIT 1"
    ))
    .bind(key.kind.name)
    .bind(key.scope_text())
    .bind(key.name)
    .fetch_optional(on)
    .await
    .map_err(StoreError::at("read a resource"))?;
    row.as_ref().map(Resource::from_row).transpose()
}

#[expect(clippy::option_option, reason = "anywhere, nowhere in particular, and one project are three things")]
async fn find<'a>(
    on: impl Into<On<'a>>,
    kind: &'static Descriptor,
    scope: Option<Option<&str>>,
    word: &str,
) -> Result<Resource, StoreError> {
    // Two of the best rank are enough to know that several are meant.
    let rows = query(meant!(
        "kind = $1 AND name = $2",
        "uid = $2",
        "($3 OR r.scope = $4)
         ORDER BY (CASE WHEN r.uid = $2 THEN 0 WHEN r.scope = '' THEN 1 ELSE 2 END), r.scope LIMIT 2"
    ))
    .bind(kind.name)
    .bind(word)
    .bind(scope.is_none())
    .bind(scope.flatten().unwrap_or_default())
    .fetch_all(on)
    .await
    .map_err(StoreError::at("read a resource"))?;
    let found = from_rows(&rows)?;
    let is_rival = |other: &Resource, best: &Resource| {
        best.metadata.scope.is_some() && other.metadata.name == best.metadata.name
    };
    match found.as_slice() {
        [] => Err(StoreError::NotFound { kind: kind.name, name: word.to_owned() }),
        [best, other] if best.metadata.uid != word && is_rival(other, best) => {
            Err(StoreError::Ambiguous { kind: kind.name, word: word.to_owned() })
        }
        [best, ..] => Ok(best.clone()),
    }
}

pub(crate) async fn list<'a>(
    on: impl Into<On<'a>>,
    kind: &Descriptor,
    scope: ListScope<'_>,
) -> Result<Listed, StoreError> {
    let Listed { revision, items, next } = list_raw(on, kind, scope, None).await?;
    let items = items.iter().map(RawResource::read).collect::<Result<_, _>>()?;
    Ok(Listed { revision, items, next })
}

async fn list_raw<'a>(
    on: impl Into<On<'a>>,
    kind: &Descriptor,
    scope: ListScope<'_>,
    part: Option<&Part>,
) -> Result<Listed<RawResource>, StoreError> {
    let (is_all, scope) = match scope {
        ListScope::All => (true, ""),
        ListScope::System => (false, ""),
        ListScope::Project(project) => (false, project),
    };
    // One statement, so one moment; the revision comes also if there is nothing else.
    let listing = match part {
        None => query(listing!("resources r ON r.kind = $1 AND ($2 OR r.scope = $3)")),
        Some(_) => query(listing!(
            "(SELECT * FROM resources WHERE kind = $1 AND ($2 OR scope = $3)
                 AND (scope > $4 OR (scope = $4 AND name > $5)) ORDER BY scope, name LIMIT $6) r ON TRUE"
        )),
    };
    let listing = listing.bind(kind.name).bind(is_all).bind(scope);
    let listing = match part {
        None => listing,
        Some(Part { after: (scope, name), rows }) => listing.bind(scope).bind(name).bind(i64::from(*rows)),
    };
    let (mut revision, mut items) = (None, Vec::new());
    let rows = listing.fetch_each(on, |row| {
        if revision.is_none() {
            revision = Some(row.get::<i64>("revision").map_err(StoreError::at(STEP))?);
        }
        items.extend(RawResource::from_row(row)?);
        Ok(())
    });
    rows.await.map_err(StoreError::at(STEP))??;
    items.sort_by(|a, b| (a.scope(), a.name()).cmp(&(b.scope(), b.name())));
    let missing = || StoreError::Corrupt { detail: "there is no revision".to_owned() };
    let is_full = part.is_some_and(|part| usize::try_from(part.rows).is_ok_and(|rows| items.len() >= rows));
    let last = items.last().filter(|_| is_full);
    let next = last.map(|last| (last.scope().unwrap_or_default().to_owned(), last.name().to_owned()));
    Ok(Listed { revision: revision.ok_or_else(missing)?.cast_unsigned(), items, next })
}

pub(crate) fn from_rows(rows: &[Row]) -> Result<Vec<Resource>, StoreError> {
    rows.iter().map(Resource::from_row).collect()
}
