//! What was approved of the tools of a server, and what waits for somebody to approve it.

use std::collections::HashSet;

use crate::error::StoreError;
use crate::history::ChangeKind;
use crate::resource::Actor;
use crate::sql::{Row, query};
use crate::store::Store;
use crate::transaction::Transaction;

/// The word for changes of what is approved, which is no resource: it says nothing but that there was a change.
pub const TOOL_PIN: &str = "toolpin";

/// A tool of a server, or what the server says to models (under an empty name).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolPin {
    /// How its server calls it.
    pub name: String,
    /// The digest of what was approved; none if nothing was.
    pub digest: Option<String>,
    /// What was approved.
    pub definition: Option<String>,
    /// What waits; none if nothing does.
    pub pending: Option<PendingTool>,
}

/// A tool that waits for somebody to approve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingTool {
    /// The digest of what its server says.
    pub digest: String,
    /// What its server says.
    pub definition: String,
    /// Why it waits.
    pub why: String,
}

impl ToolPin {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let text = |column: &str| row.get::<Option<String>>(column).map_err(StoreError::at(READ));
        let pending = match (text("pending_digest")?, text("pending")?, text("why")?) {
            (Some(digest), Some(definition), why) => {
                Some(PendingTool { digest, definition, why: why.unwrap_or_default() })
            }
            _ => None,
        };
        Ok(Self {
            name: row.get("name").map_err(StoreError::at(READ))?,
            digest: text("digest")?,
            definition: text("definition")?,
            pending,
        })
    }
}

const READ: &str = "read what is approved of tools";
const KEEP: &str = "keep what is approved of tools";

impl Store {
    /// What is known of the tools of the server of this uid, by name.
    pub async fn tool_pins(&self, server_uid: &str) -> Result<Vec<ToolPin>, StoreError> {
        let rows = query("SELECT * FROM tool_pins WHERE server_uid = $1 ORDER BY name")
            .bind(server_uid)
            .fetch_all(&self.pools.readers)
            .await;
        rows.map_err(StoreError::at(READ))?.iter().map(ToolPin::from_row).collect()
    }

    /// The uids of all servers of which anything is approved, or waits.
    pub async fn servers_with_tool_pins(&self) -> Result<HashSet<String>, StoreError> {
        let rows = query("SELECT DISTINCT server_uid FROM tool_pins")
            .fetch_all(&self.pools.readers)
            .await
            .map_err(StoreError::at(READ))?;
        rows.iter().map(|row| row.get("server_uid").map_err(StoreError::at(READ))).collect()
    }

    /// Keeps what a server offers now: what nobody has to approve (name, digest, definition) is approved, unless something
    /// else was before; what waits replaces what waited before.
    pub async fn keep_tool_pins(
        &self,
        server_uid: &str,
        approved: &[(String, String, String)],
        waiting: &[(String, PendingTool)],
    ) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        query("DELETE FROM tool_pins WHERE server_uid = $1 AND digest IS NULL")
            .bind(server_uid)
            .execute(&mut change.tx)
            .await
            .map_err(StoreError::at(KEEP))?;
        query("UPDATE tool_pins SET pending_digest = NULL, pending = NULL, why = NULL WHERE server_uid = $1")
            .bind(server_uid)
            .execute(&mut change.tx)
            .await
            .map_err(StoreError::at(KEEP))?;
        for (name, digest, definition) in approved {
            query(
                "INSERT INTO tool_pins (server_uid, name, digest, definition) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (server_uid, name) DO UPDATE
                 SET digest = excluded.digest, definition = excluded.definition WHERE tool_pins.digest IS NULL",
            )
            .bind(server_uid)
            .bind(name.as_str())
            .bind(digest.as_str())
            .bind(definition.as_str())
            .execute(&mut change.tx)
            .await
            .map_err(StoreError::at(KEEP))?;
        }
        for (name, pending) in waiting {
            query(
                "INSERT INTO tool_pins (server_uid, name, pending_digest, pending, why) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (server_uid, name) DO UPDATE
                 SET pending_digest = excluded.pending_digest, pending = excluded.pending, why = excluded.why",
            )
            .bind(server_uid)
            .bind(name.as_str())
            .bind(pending.digest.as_str())
            .bind(pending.definition.as_str())
            .bind(pending.why.as_str())
            .execute(&mut change.tx)
            .await
            .map_err(StoreError::at(KEEP))?;
        }
        change.commit().await
    }
}

impl Transaction {
    /// Approves what waits of this tool, if it is what whoever approves has seen: the thing of this digest.
    pub async fn approve_tool(
        &mut self,
        (server_uid, server): (&str, &str),
        name: &str,
        digest: &str,
        actor: &Actor,
    ) -> Result<(), StoreError> {
        let approved = query(
            "UPDATE tool_pins SET digest = pending_digest, definition = pending,
                 pending_digest = NULL, pending = NULL, why = NULL
             WHERE server_uid = $1 AND name = $2 AND pending_digest = $3",
        )
        .bind(server_uid)
        .bind(name)
        .bind(digest)
        .execute(&mut self.tx)
        .await
        .map_err(StoreError::at("approve a tool"))?;
        if approved == 0 {
            return Err(StoreError::NotFound { kind: "tool that waits", name: name.to_owned() });
        }
        self.signal_of(TOOL_PIN, ChangeKind::Updated, (server_uid, server), actor);
        Ok(())
    }
}
