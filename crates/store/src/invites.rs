//! Invites: whoever has one may make an account, once and before it ends.

use hayward_auth::{Digest, TokenId};
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::error::StoreError;
use crate::resource::{Actor, damaged, parse};
use crate::sql::{Row, query};
use crate::store::Store;
use crate::transaction::Transaction;

/// An invite that is made.
#[derive(Clone, Debug)]
pub struct NewInvite {
    /// Its public id.
    pub id: TokenId,
    /// The digest of its secret.
    pub digest: Digest,
    /// What it is for, in the words of who made it.
    pub content: Value,
    /// Now (Unix time).
    pub created_unix: i64,
    /// From this second on (Unix time) it is refused.
    pub expires_unix: i64,
    /// The credential that it was made with, if it is to end with that.
    pub made_with: Option<TokenId>,
}

/// An invite as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Its public id.
    pub id: TokenId,
    /// What it is for.
    pub content: Value,
    /// Who made it.
    pub made_by: String,
    /// The credential that it was made with, if it ends with that.
    pub made_with: Option<TokenId>,
    /// When it was made (Unix time).
    pub created_unix: i64,
    /// From this second on (Unix time) it is refused.
    pub expires_unix: i64,
    /// When it was redeemed (Unix time), if it was.
    pub redeemed_unix: Option<i64>,
}

const READ: &str = "read invites";

impl Invite {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let text = |column: &str| row.get::<String>(column).map_err(StoreError::at(READ));
        let id = text("id")?;
        let known = |id: &str| TokenId::parse(id).ok_or_else(|| damaged("the id of an invite", id));
        let made_with: Option<String> = row.get("made_with").map_err(StoreError::at(READ))?;
        let number = |column: &str| row.get::<i64>(column).map_err(StoreError::at(READ));
        Ok(Self {
            id: known(&id)?,
            content: parse(&text("content")?)?,
            made_by: text("made_by")?,
            made_with: made_with.as_deref().map(known).transpose()?,
            created_unix: number("created_at")?,
            expires_unix: number("expires_at")?,
            redeemed_unix: row.get("redeemed_at").map_err(StoreError::at(READ))?,
        })
    }
}

impl Store {
    /// Makes an invite. Those that are long over are forgotten.
    pub async fn create_invite(&self, invite: &NewInvite, actor: &Actor) -> Result<(), StoreError> {
        let step = "store an invite";
        let kept = i64::try_from(crate::limits::INVITES_KEPT.as_secs()).unwrap_or(i64::MAX);
        let over =
            query("DELETE FROM invites WHERE expires_at < $1").bind(invite.created_unix.saturating_sub(kept));
        over.execute(&self.pools.writer).await.map_err(StoreError::at(step))?;
        query(
            "INSERT INTO invites (id, digest, content, made_by, created_at, expires_at, made_with)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(invite.id.as_str())
        .bind(invite.digest.as_bytes().as_slice())
        .bind(invite.content.to_string())
        .bind(actor.as_str())
        .bind(invite.created_unix)
        .bind(invite.expires_unix)
        .bind(invite.made_with.map(|id| id.to_string()))
        .execute(&self.pools.writer)
        .await
        .map(drop)
        .map_err(StoreError::at(step))
    }

    /// The invites that are kept, oldest first.
    pub async fn list_invites(&self) -> Result<Vec<Invite>, StoreError> {
        let rows =
            query("SELECT * FROM invites ORDER BY created_at, id").fetch_all(&self.pools.readers).await;
        rows.map_err(StoreError::at(READ))?.iter().map(Invite::from_row).collect()
    }

    /// Takes an invite back.
    pub async fn delete_invite(&self, id: TokenId) -> Result<(), StoreError> {
        let gone =
            query("DELETE FROM invites WHERE id = $1").bind(id.as_str()).execute(&self.pools.writer).await;
        match gone.map_err(StoreError::at("take an invite back"))? {
            0 => Err(StoreError::NotFound { kind: "invite", name: id.to_string() }),
            _ => Ok(()),
        }
    }
}

impl Transaction {
    /// Uses an invite up, with whatever else this change does: of many who try, one succeeds. Unknown and wrong are
    /// the same: not found. Whoever has a right one hears that it is done with.
    pub async fn redeem_invite(
        &mut self,
        id: TokenId,
        digest: &Digest,
        now_unix: i64,
    ) -> Result<Invite, StoreError> {
        let not_found = || StoreError::NotFound { kind: "invite", name: id.to_string() };
        let row =
            query("SELECT * FROM invites WHERE id = $1").bind(id.as_str()).fetch_optional(&mut self.tx).await;
        let row = row.map_err(StoreError::at(READ))?.ok_or_else(not_found)?;
        let known: Vec<u8> = row.get("digest").map_err(StoreError::at(READ))?;
        let is_right: bool = known.as_slice().ct_eq(digest.as_bytes().as_slice()).into();
        let invite = Invite::from_row(&row)?;
        if !is_right {
            return Err(not_found());
        }
        if invite.redeemed_unix.is_some() || invite.expires_unix <= now_unix {
            return Err(StoreError::Done { what: "the invite is used or over" });
        }
        let used = query("UPDATE invites SET redeemed_at = $2 WHERE id = $1 AND redeemed_at IS NULL")
            .bind(id.as_str())
            .bind(now_unix)
            .execute(&mut self.tx)
            .await
            .map_err(StoreError::at("redeem an invite"))?;
        if used == 0 {
            // Taken back at this moment.
            return Err(not_found());
        }
        Ok(Invite { redeemed_unix: Some(now_unix), ..invite })
    }
}
