//! What others say has happened: kept and shown, and never vouched for. The record proper is the audit log's.

use serde_json::Value;

use crate::error::StoreError;
use crate::resource::parse;
use crate::sql::{Row, insert_all, query};
use crate::store::Store;

/// An event that somebody reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// When it happened (RFC 3339, UTC), as they say.
    pub at: String,
    /// What kind of event it is.
    pub event_kind: String,
    /// The session that it belongs to.
    pub session_id: Option<String>,
    /// The project.
    pub project_name: Option<String>,
    /// What ties events together.
    pub correlation_id: Option<String>,
    /// The user that it is about.
    pub user_name: Option<String>,
    /// Who reports it.
    pub reported_by: String,
    /// All that was reported.
    pub content: Value,
}

/// Which claims are asked for; what is none is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimFilter {
    /// Those of this session.
    pub session_id: Option<String>,
    /// Those of this project.
    pub project_name: Option<String>,
    /// Those of this kind.
    pub event_kind: Option<String>,
    /// Those that are tied together by this.
    pub correlation_id: Option<String>,
    /// Those about this user.
    pub user_name: Option<String>,
    /// Those from this time on (RFC 3339, UTC).
    pub from: Option<String>,
    /// Those up to this time (RFC 3339, UTC).
    pub to: Option<String>,
    /// At most so many.
    pub limit: u64,
    /// After so many.
    pub offset: u64,
}

/// A session, as claims make one out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedSession {
    /// Its id.
    pub session_id: String,
    /// The project, if an event names one.
    pub project_name: Option<String>,
    /// The user, if an event names one.
    pub user_name: Option<String>,
    /// The first event (RFC 3339, UTC).
    pub first_at: String,
    /// The last event (RFC 3339, UTC).
    pub last_at: String,
    /// How many events there are.
    pub events: u64,
}

const READ: &str = "read reported events";

/// What a filter asks for; each condition holds if nothing is asked.
macro_rules! filtered {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " FROM claims WHERE ($1 IS NULL OR session_id = $1) AND ($2 IS NULL OR project_name = $2)
               AND ($3 IS NULL OR event_kind = $3) AND ($4 IS NULL OR correlation_id = $4)
               AND ($5 IS NULL OR user_name = $5) AND ($6 IS NULL OR at >= $6) AND ($7 IS NULL OR at <= $7) ",
            $after
        )
    };
}

impl Store {
    /// Keeps what somebody reports; the oldest beyond the limit are forgotten.
    pub async fn put_claims(&self, claims: &[Claim]) -> Result<(), StoreError> {
        const CLAIMS: &str = "INSERT INTO claims (at, event_kind, session_id, project_name, correlation_id, user_name, reported_by, content) VALUES ";
        let step = "store reported events";
        let mut change = self.pools.begin_aside().await.map_err(StoreError::at(step))?;
        let row = |claim: &Claim| {
            [
                (&claim.at).into(),
                (&claim.event_kind).into(),
                (&claim.session_id).into(),
                (&claim.project_name).into(),
                (&claim.correlation_id).into(),
                (&claim.user_name).into(),
                (&claim.reported_by).into(),
                claim.content.to_string().into(),
            ]
        };
        let rows = claims.iter().map(row).collect();
        insert_all(&mut change, CLAIMS, rows).await.map_err(StoreError::at(step))?;
        query("DELETE FROM claims WHERE number <= (SELECT MAX(number) FROM claims) - $1")
            .bind(self.limits.claims_max)
            .execute(&mut change)
            .await
            .map_err(StoreError::at(step))?;
        change.commit().await.map_err(StoreError::at(step))
    }

    /// The claims that are asked for, newest first.
    pub async fn claims(&self, filter: &ClaimFilter) -> Result<Vec<Claim>, StoreError> {
        let rows = bound(filtered!("SELECT *", "ORDER BY at DESC, number DESC LIMIT $8 OFFSET $9"), filter)
            .bind(filter.limit)
            .bind(filter.offset)
            .fetch_all(&self.pools.readers)
            .await
            .map_err(StoreError::at(READ))?;
        rows.iter().map(claim).collect()
    }

    /// The sessions that the claims that are asked for belong to, the one with the newest event first.
    pub async fn claimed_sessions(&self, filter: &ClaimFilter) -> Result<Vec<ClaimedSession>, StoreError> {
        let rows = bound(
            filtered!(
                "SELECT session_id, MAX(project_name) AS project_name, MAX(user_name) AS user_name,
                        MIN(at) AS first_at, MAX(at) AS last_at, COUNT(*) AS events",
                "AND session_id IS NOT NULL GROUP BY session_id ORDER BY MAX(at) DESC, session_id LIMIT $8 OFFSET $9"
            ),
            filter,
        )
        .bind(filter.limit)
        .bind(filter.offset)
        .fetch_all(&self.pools.readers)
        .await
        .map_err(StoreError::at(READ))?;
        rows.iter().map(session).collect()
    }
}

fn bound(text: &'static str, filter: &ClaimFilter) -> crate::sql::Query {
    query(text)
        .bind(&filter.session_id)
        .bind(&filter.project_name)
        .bind(&filter.event_kind)
        .bind(&filter.correlation_id)
        .bind(&filter.user_name)
        .bind(&filter.from)
        .bind(&filter.to)
}

fn claim(row: &Row) -> Result<Claim, StoreError> {
    let read = || {
        let claim = Claim {
            at: row.get("at")?,
            event_kind: row.get("event_kind")?,
            session_id: row.get("session_id")?,
            project_name: row.get("project_name")?,
            correlation_id: row.get("correlation_id")?,
            user_name: row.get("user_name")?,
            reported_by: row.get("reported_by")?,
            content: Value::Null,
        };
        Ok((claim, row.get::<String>("content")?))
    };
    let (claim, content) = read().map_err(StoreError::at(READ))?;
    Ok(Claim { content: parse(&content)?, ..claim })
}

fn session(row: &Row) -> Result<ClaimedSession, StoreError> {
    let read = || {
        Ok(ClaimedSession {
            session_id: row.get("session_id")?,
            project_name: row.get("project_name")?,
            user_name: row.get("user_name")?,
            first_at: row.get("first_at")?,
            last_at: row.get("last_at")?,
            events: row.get::<i64>("events")?.cast_unsigned(),
        })
    };
    read().map_err(StoreError::at(READ))
}
