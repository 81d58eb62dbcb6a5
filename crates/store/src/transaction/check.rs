//! What must hold when a change is made: nothing that it leaves behind refers to what isn't there.

use hayward_api::{Code, Error};

use super::Transaction;
use crate::error::StoreError;
use crate::resource::{damaged, invalid};
use crate::sql::{Row, query};

/// Faults that are told at once.
const FAULTS: i64 = 10;

impl Transaction {
    pub(super) async fn check(&mut self) -> Result<(), StoreError> {
        if self.last_revision == self.begun_at {
            return Ok(());
        }
        if self.has_deleted {
            self.check_deleted().await?;
        }
        self.check_references().await?;
        self.check_keys().await?;
        self.check_scopes().await?;
        self.check_owners().await
    }

    /// What was deleted is referred to by nobody.
    async fn check_deleted(&mut self) -> Result<(), StoreError> {
        let rows = query(
            "SELECT DISTINCT h.kind, h.name, r.kind AS by_kind, r.name AS by_name, r.scope AS by_scope
             FROM history h
             JOIN refs f ON f.kind = h.kind AND f.name = h.name AND (h.scope = '' OR h.scope = f.scope)
             JOIN resources r ON r.uid = f.uid
             WHERE h.revision > $1 AND h.change = 'deleted' AND r.resource_version <= $1
               AND NOT EXISTS (SELECT 1 FROM resources t
                               WHERE t.kind = f.kind AND t.name = f.name AND t.scope IN ('', f.scope))
             ORDER BY h.kind, h.name, by_kind, by_scope, by_name LIMIT $2",
        )
        .bind(self.begun_at)
        .bind(FAULTS)
        .fetch_all(&mut self.tx)
        .await
        .map_err(StoreError::at("check references"))?;
        let Some(first) = rows.first() else { return Ok(()) };
        let (kind, name) = (text(first, "kind")?, text(first, "name")?);
        let mut by = Vec::new();
        for row in &rows {
            if text(row, "kind")? == kind && text(row, "name")? == name {
                by.push(format!("{} `{}`", text(row, "by_kind")?, text(row, "by_name")?));
            }
        }
        Err(StoreError::Referred { kind, name, by: by.join(", ") })
    }

    /// What was changed refers to what is there.
    async fn check_references(&mut self) -> Result<(), StoreError> {
        let rows = query(
            "SELECT r.kind AS by_kind, r.name AS by_name, f.kind, f.name, f.scope, f.field
             FROM resources r JOIN refs f ON f.uid = r.uid
             WHERE r.resource_version > $1
               AND NOT EXISTS (SELECT 1 FROM resources t
                               WHERE t.kind = f.kind AND t.name = f.name AND t.scope IN ('', f.scope))
             ORDER BY r.resource_version, f.field LIMIT $2",
        )
        .bind(self.begun_at)
        .bind(FAULTS)
        .fetch_all(&mut self.tx)
        .await
        .map_err(StoreError::at("check references"))?;
        let mut faults = Vec::new();
        for row in &rows {
            let (kind, name, field) = (text(row, "kind")?, text(row, "name")?, text(row, "field")?);
            let (by_kind, by_name) = (text(row, "by_kind")?, text(row, "by_name")?);
            faults
                .push(format!("{by_kind} `{by_name}`: `{field}` names {kind} `{name}`, which is not there"));
        }
        if faults.is_empty() {
            return Ok(());
        }
        let error = Error::new(Code::Invalid, faults.join("; "));
        Err(StoreError::Invalid(error.with_hint("make it first, or in the same apply")))
    }

    /// What was changed belongs to a project that is there.
    async fn check_scopes(&mut self) -> Result<(), StoreError> {
        let row = query(
            "SELECT r.kind, r.name, r.scope FROM resources r
             WHERE r.resource_version > $1 AND r.scope <> ''
               AND NOT EXISTS (SELECT 1 FROM resources p
                               WHERE p.kind = 'project' AND p.scope = '' AND p.name = r.scope)
             ORDER BY r.resource_version LIMIT 1",
        )
        .bind(self.begun_at)
        .fetch_optional(&mut self.tx)
        .await
        .map_err(StoreError::at("check projects"))?;
        let Some(row) = row else { return Ok(()) };
        let (kind, name, scope) = (text(&row, "kind")?, text(&row, "name")?, text(&row, "scope")?);
        Err(invalid(format!("{kind} `{name}`: `project` names project `{scope}`, which is not there")))
    }

    /// What was changed goes with an owner that is there.
    async fn check_owners(&mut self) -> Result<(), StoreError> {
        let row = query(
            "SELECT r.kind, r.name FROM resources r
             WHERE r.resource_version > $1 AND r.owner IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM resources o WHERE o.uid = r.owner)
             ORDER BY r.resource_version LIMIT 1",
        )
        .bind(self.begun_at)
        .fetch_optional(&mut self.tx)
        .await
        .map_err(StoreError::at("check owners"))?;
        let Some(row) = row else { return Ok(()) };
        Err(invalid(format!("{} `{}`: its owner is not there", text(&row, "kind")?, text(&row, "name")?)))
    }
}

fn text(row: &Row, column: &str) -> Result<String, StoreError> {
    row.get(column).map_err(|error| damaged("a reference", &error))
}
