//! Logins: what a person shows after having shown a password, until it ends.
//!
//! History says that one began or ended and nothing else of it, so that every node sees to its credentials.

use std::collections::HashSet;

use hayward_auth::password::PasswordHash;
use hayward_auth::{Digest, TokenId};

use crate::error::StoreError;
use crate::history::ChangeKind;
use crate::limits::IMPERSONATION;
use crate::resource::{Actor, damaged};
use crate::sql::{Row, query};
use crate::store::Store;
use crate::transaction::Transaction;

/// A login that begins.
#[derive(Clone)]
pub struct NewLogin<'a> {
    /// Its public id.
    pub id: TokenId,
    /// The digest of its secret.
    pub digest: Digest,
    /// The uid of the user.
    pub user: &'a str,
    /// Now (Unix time).
    pub created_unix: i64,
    /// From this second on (Unix time) it is refused.
    pub expires_unix: i64,
    /// The password that was shown, if one was: it must still be the user's.
    pub password: Option<&'a PasswordHash>,
    /// Who acts as this user, if it isn't the user.
    pub impersonator: Option<Impersonator<'a>>,
}

/// Who acts as another.
#[derive(Clone, Copy, Debug)]
pub struct Impersonator<'a> {
    /// As history shows it.
    pub name: &'a str,
    /// The credential that it showed: the login ends with it, however that ends.
    pub credential: TokenId,
}

impl NewLogin<'_> {
    /// From this second on (Unix time) it is refused: one by impersonation lasts an hour at most, whatever was asked for.
    pub fn ends_unix(&self) -> i64 {
        let longest = i64::try_from(IMPERSONATION.as_secs()).unwrap_or(i64::MAX);
        let latest = self.impersonator.map(|_| self.created_unix.saturating_add(longest));
        latest.map_or(self.expires_unix, |latest| self.expires_unix.min(latest))
    }
}

/// A login as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginEntry {
    /// Its public id.
    pub id: TokenId,
    /// The uid of the user.
    pub user: String,
    /// When it began (Unix time).
    pub created_unix: i64,
    /// From this second on (Unix time) it is refused.
    pub expires_unix: i64,
    /// When it was last used (Unix time), as of the last flush.
    pub last_used_unix: Option<i64>,
    /// The name of who acts as this user, if it isn't the user.
    pub impersonator: Option<String>,
    /// The credential that it was made with by impersonation.
    pub made_with: Option<TokenId>,
}

const READ: &str = "read logins";

impl LoginEntry {
    pub(crate) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let id: String = row.get("id").map_err(StoreError::at(READ))?;
        let known = |id: &str| TokenId::parse(id).ok_or_else(|| damaged("the id of a login", id));
        let id = known(&id)?;
        let made_with: Option<String> = row.get("made_with").map_err(StoreError::at(READ))?;
        let made_with = made_with.as_deref().map(known).transpose()?;
        let read = || {
            Ok(Self {
                id,
                user: row.get("uid")?,
                created_unix: row.get("created_at")?,
                expires_unix: row.get("expires_at")?,
                last_used_unix: row.get("last_used_at")?,
                impersonator: row.get("impersonator")?,
                made_with,
            })
        };
        read().map_err(StoreError::at(READ))
    }
}

impl Transaction {
    /// Begins a login. Those that are over are forgotten. One by a password that isn't the user's any more is refused as
    /// [`StoreError::Done`]: whoever changed it waits for nobody who looked at it before.
    pub async fn create_login(&mut self, login: &NewLogin<'_>, actor: &Actor) -> Result<(), StoreError> {
        let step = "store a login";
        let over = query("DELETE FROM logins WHERE expires_at <= $1").bind(login.created_unix);
        over.execute(&mut self.tx).await.map_err(StoreError::at(step))?;
        let inserted = query(
            "INSERT INTO logins (id, uid, digest, created_at, expires_at, impersonator, made_with)
             SELECT $1, uid, $3, $4, $5, $6, $7 FROM resources r WHERE uid = $2 AND kind = 'user'
                 AND ($8 IS NULL OR EXISTS (SELECT 1 FROM passwords p WHERE p.uid = r.uid AND p.digest = $8))",
        )
        .bind(login.id.as_str())
        .bind(login.user)
        .bind(login.digest.as_bytes().as_slice())
        .bind(login.created_unix)
        .bind(login.ends_unix())
        .bind(login.impersonator.map(|by| by.name))
        .bind(login.impersonator.map(|by| by.credential.to_string()))
        .bind(login.password.map(PasswordHash::as_str))
        .execute(&mut self.tx)
        .await
        .map_err(StoreError::at(step))?;
        if inserted == 0 && login.password.is_some() {
            return Err(StoreError::Done { what: "the password is another one by now" });
        }
        if inserted == 0 {
            return Err(StoreError::NotFound { kind: "user", name: login.user.to_owned() });
        }
        self.signal(ChangeKind::Created, (login.user, login.id.as_str()), actor);
        self.end_oldest_logins(login, actor).await
    }

    /// Ends those of the user of a new login that are more than it may have at the same time.
    async fn end_oldest_logins(&mut self, new: &NewLogin<'_>, actor: &Actor) -> Result<(), StoreError> {
        let rows = query(
            "WITH old AS (SELECT id FROM logins WHERE uid = $1 AND id <> $2
                          ORDER BY created_at DESC, id LIMIT $4 OFFSET $3)
             DELETE FROM logins WHERE id IN (SELECT id FROM old) OR made_with IN (SELECT id FROM old) RETURNING *",
        );
        // The new one is one of them.
        let others = self.store.limits.user_logins_max.saturating_sub(1);
        let rows = rows.bind(new.user).bind(new.id.as_str()).bind(others).bind(i64::MAX);
        let rows = rows.fetch_all(&mut self.tx).await.map_err(StoreError::at("end old logins"))?;
        for row in &rows {
            let entry = LoginEntry::from_row(row)?;
            self.signal(ChangeKind::Deleted, (&entry.user, entry.id.as_str()), actor);
        }
        Ok(())
    }

    /// Ends logins: one by its id, or all of a user by its uid; with each, those that it made by impersonation. Says which.
    pub async fn delete_logins(
        &mut self,
        ended: EndLogins<'_>,
        actor: &Actor,
    ) -> Result<Vec<TokenId>, StoreError> {
        let (id, user) = match &ended {
            EndLogins::One(id) => (id.as_str(), ""),
            EndLogins::OfUser(user) => ("", *user),
        };
        let rows = query(
            "DELETE FROM logins WHERE id = $1 OR uid = $2
                 OR made_with IN (SELECT id FROM logins WHERE id = $1 OR uid = $2) RETURNING *",
        )
        .bind(id)
        .bind(user)
        .fetch_all(&mut self.tx)
        .await
        .map_err(StoreError::at("end logins"))?;
        let entries: Vec<_> = rows.iter().map(LoginEntry::from_row).collect::<Result<_, _>>()?;
        for entry in &entries {
            self.signal(ChangeKind::Deleted, (&entry.user, entry.id.as_str()), actor);
        }
        Ok(entries.into_iter().map(|entry| entry.id).collect())
    }
}

/// Which logins end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndLogins<'a> {
    /// The one of this id.
    One(TokenId),
    /// All of the user of this uid.
    OfUser(&'a str),
}

impl Store {
    /// Begins a login.
    pub async fn create_login(&self, login: &NewLogin<'_>, actor: &Actor) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        change.create_login(login, actor).await?;
        change.commit().await
    }

    /// Ends logins; says which.
    pub async fn delete_logins(
        &self,
        ended: EndLogins<'_>,
        actor: &Actor,
    ) -> Result<Vec<TokenId>, StoreError> {
        let mut change = self.begin().await?;
        let ids = change.delete_logins(ended, actor).await?;
        change.commit().await?;
        Ok(ids)
    }

    /// The logins of the user of this uid, or all there are; oldest first.
    pub async fn list_logins(&self, user: Option<&str>) -> Result<Vec<LoginEntry>, StoreError> {
        let rows = query("SELECT * FROM logins WHERE $1 OR uid = $2 ORDER BY created_at, id")
            .bind(user.is_none())
            .bind(user.unwrap_or_default())
            .fetch_all(&self.pools.readers)
            .await
            .map_err(StoreError::at(READ))?;
        rows.iter().map(LoginEntry::from_row).collect()
    }

    /// The uids of all users that have a password.
    pub async fn users_with_password(&self) -> Result<HashSet<String>, StoreError> {
        let step = "read passwords";
        let rows = query("SELECT uid FROM passwords").fetch_all(&self.pools.readers).await;
        let rows = rows.map_err(StoreError::at(step))?;
        rows.iter().map(|row| row.get("uid").map_err(StoreError::at(step))).collect()
    }

    /// The hash of the password of the user of this uid, if it has one.
    pub async fn password(&self, user: &str) -> Result<Option<PasswordHash>, StoreError> {
        let row = query("SELECT digest FROM passwords WHERE uid = $1")
            .bind(user)
            .fetch_optional(&self.pools.readers)
            .await
            .map_err(StoreError::at("read a password"))?;
        let Some(row) = row else { return Ok(None) };
        let text: String = row.get("digest").map_err(StoreError::at("read a password"))?;
        PasswordHash::parse(&text).map(Some).map_err(|_| damaged("the hash of a password", user))
    }
}
