//! Following changes, from a revision on.
//!
//! Changes are read from history, in order; what is sent between tasks only says "look again".
//! So a slow reader costs no memory, and one that comes back late resumes or is told to list.

use std::collections::VecDeque;

use sqlx::Row as _;
use tokio::sync::watch;

use crate::dialect::{Pool, Row};
use crate::error::StoreError;
use crate::limits::WATCH_BATCH;

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// Its spec changed.
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

/// One change. Specs are as JSON text, without the values of sensitive fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number: each is one greater than the one before.
    pub revision: u64,
    /// What happened.
    pub change: ChangeKind,
    /// The kind of the resource.
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
    /// The spec before.
    pub before: Option<String>,
    /// The spec after.
    pub after: Option<String>,
}

impl Change {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let step = "read history";
        let text = |column: &str| row.try_get::<String, _>(column).map_err(StoreError::at(step));
        let maybe = |column: &str| row.try_get(column).map_err(StoreError::at(step));
        let revision: i64 = row.try_get("revision").map_err(StoreError::at(step))?;
        Ok(Self {
            revision: revision.cast_unsigned(),
            change: ChangeKind::parse(&text("change")?)?,
            kind: text("kind")?,
            scope: Some(text("scope")?).filter(|scope| !scope.is_empty()),
            name: text("name")?,
            uid: text("uid")?,
            actor: text("actor")?,
            at: text("at")?,
            before: maybe("before")?,
            after: maybe("after")?,
        })
    }
}

/// Changes of any kind, one after the other, without end.
#[derive(Debug)]
pub struct Watch {
    readers: Pool,
    /// The last revision that was read.
    read: u64,
    wake: watch::Receiver<u64>,
    waiting: VecDeque<Change>,
}

impl Watch {
    pub(crate) async fn open(
        readers: Pool,
        from: u64,
        wake: watch::Receiver<u64>,
    ) -> Result<Self, StoreError> {
        let (current, oldest): (i64, Option<i64>) =
            sqlx::query_as("SELECT value, (SELECT MIN(revision) FROM history) FROM revision")
                .fetch_one(&readers)
                .await
                .map_err(StoreError::at("read the revision"))?;
        // Nothing is lost if the next revision is either kept or still to come.
        let next_kept = oldest.map_or(current.cast_unsigned() + 1, i64::cast_unsigned);
        if from > current.cast_unsigned() || from + 1 < next_kept {
            return Err(StoreError::Compacted { from });
        }
        Ok(Self { readers, read: from, wake, waiting: VecDeque::new() })
    }

    /// The next change; waits for it. Cancellation-safe: a change that wasn't returned comes again.
    pub async fn next(&mut self) -> Result<Change, StoreError> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return Ok(change);
            }
            // Before reading, so that a change right after the read wakes at once.
            self.wake.borrow_and_update();
            self.fill().await?;
            if self.waiting.is_empty() && self.wake.changed().await.is_err() {
                return Err(StoreError::at("wait for changes")(sqlx::Error::PoolClosed));
            }
        }
    }

    async fn fill(&mut self) -> Result<(), StoreError> {
        let rows = sqlx::query("SELECT * FROM history WHERE revision > $1 ORDER BY revision LIMIT $2")
            .bind(self.read.cast_signed())
            .bind(WATCH_BATCH)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::at("read history"))?;
        let changes: VecDeque<Change> = rows.iter().map(Change::from_row).collect::<Result<_, _>>()?;
        if changes.front().is_some_and(|first| first.revision != self.read + 1) {
            return Err(StoreError::Compacted { from: self.read });
        }
        self.read = changes.back().map_or(self.read, |last| last.revision);
        self.waiting = changes;
        Ok(())
    }
}
