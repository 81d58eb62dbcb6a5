//! Tokens: a resource and its credential, made and revoked together.

use std::path::Path;
use std::sync::Arc;

use hayward_api::kinds::token::{DESCRIPTOR, Role, TokenSpec};
use hayward_api::principal::PrincipalKind;
use hayward_api::{Metadata, Principal, Time};
use hayward_auth::{CredentialRecord, Digest, PresentedToken, Token, TokenId};
use serde_json::json;

use crate::dialect::{DatabaseUrl, open_to_read};
use crate::error::StoreError;
use crate::limits::ID_PREFIX_CHARS;
use crate::raw::packed;
use crate::resource::{Actor, Desired, Key, Resource};
use crate::sql::{On, Row, query};
use crate::store::{FILE, Store};
use crate::transaction::{Deletion, NewCredential, Transaction};

/// Notes when a credential was last used; each is one of a token or one of a login.
const USED: [&str; 2] = [
    "UPDATE credentials SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)",
    "UPDATE logins SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)",
];

/// A token as lists show it.
#[derive(Clone, Debug)]
pub struct TokenEntry {
    /// What every resource has.
    pub metadata: Metadata,
    /// What it may do.
    pub spec: TokenSpec,
    /// The public id of its credential.
    pub id: TokenId,
    /// From this second on (Unix time) it is refused.
    pub expires_at_unix: Option<i64>,
    /// When it was last used (Unix time), as of the last flush.
    pub last_used_unix: Option<i64>,
}

/// Every token of the database in this folder, or of the one that is used instead of it, by name, whoever has it open; none
/// if there is no database. Changes nothing, so another release's database stays as it is.
pub async fn read_tokens(dir: &Path, database: Option<&DatabaseUrl>) -> Result<Vec<TokenEntry>, StoreError> {
    let Some(reader) = open_to_read(&dir.join(FILE), database).await? else { return Ok(Vec::new()) };
    let stored = fetch(&reader).await;
    reader.close().await;
    Ok(stored?.into_iter().map(|stored| stored.entry).collect())
}

impl Store {
    /// Makes a token. The secret is in the answer and nowhere else.
    pub async fn create_token(
        &self,
        name: &str,
        spec: impl Into<TokenSpec>,
        actor: &Actor,
    ) -> Result<(Metadata, Token), StoreError> {
        let spec = spec.into();
        let token = Token::mint(spec.role);
        let expires_at_unix = spec.expires_at.map(Time::unix);
        let credential = NewCredential { id: token.id(), digest: token.digest(), expires_at_unix };
        Ok((self.keep_token(name, &spec, &credential, actor).await?, token))
    }

    /// Takes over a token that somebody else made, as it is presented; only its digest is kept.
    pub async fn import_token(
        &self,
        name: &str,
        spec: impl Into<TokenSpec>,
        token: &PresentedToken,
        actor: &Actor,
    ) -> Result<Metadata, StoreError> {
        let spec = spec.into();
        let expires_at_unix = spec.expires_at.map(Time::unix);
        let credential = NewCredential { id: token.id, digest: token.digest, expires_at_unix };
        self.keep_token(name, &spec, &credential, actor).await
    }

    async fn keep_token(
        &self,
        name: &str,
        spec: &TokenSpec,
        credential: &NewCredential,
        actor: &Actor,
    ) -> Result<Metadata, StoreError> {
        let mut change = self.begin().await?;
        let metadata = change.keep_token(name, spec, credential, actor).await?;
        change.commit().await?;
        Ok(metadata)
    }

    /// Every token, by name.
    pub async fn list_tokens(&self) -> Result<Vec<TokenEntry>, StoreError> {
        let stored = fetch(&self.pools.readers).await?;
        Ok(stored.into_iter().map(|stored| stored.entry).collect())
    }

    /// Revokes the token of this name, uid, id, or beginning of an id that only one has.
    pub async fn revoke_token(&self, word: &str, actor: &Actor) -> Result<TokenEntry, StoreError> {
        let mut change = self.begin().await?;
        let stored = fetch(&mut change.tx).await?;
        let entry = pick(stored.into_iter().map(|stored| stored.entry).collect(), word)?;
        change
            .delete(&Key::global(&DESCRIPTOR, entry.metadata.name.as_str()), None, Deletion::Refuse, actor)
            .await?;
        change.commit().await?;
        Ok(entry)
    }

    /// Revokes every token of this role.
    pub async fn revoke_role(&self, role: Role, actor: &Actor) -> Result<Vec<TokenEntry>, StoreError> {
        let mut change = self.begin().await?;
        let revoked = change.revoke_role(role, actor).await?;
        change.commit().await?;
        Ok(revoked)
    }

    /// Puts a new token of this role, called as the role is, in the place of all there are of it; those are told, too. The
    /// secret is in the answer and nowhere else.
    pub async fn rotate_role(
        &self,
        role: Role,
        actor: &Actor,
    ) -> Result<(Token, Vec<TokenEntry>), StoreError> {
        let mut change = self.begin().await?;
        let revoked = change.revoke_role(role, actor).await?;
        let token = change.create_token(role.as_str(), role.into(), actor).await?.1;
        change.commit().await?;
        Ok((token, revoked))
    }

    /// Writes when credentials were last used (Unix time); an older time changes nothing.
    pub async fn flush_last_used(&self, used: &[(TokenId, i64)]) -> Result<(), StoreError> {
        let step = "write last-used times";
        let mut change = self.pools.begin_aside().await.map_err(StoreError::at(step))?;
        // In one order, lest two nodes wait for each other.
        let mut used = used.to_vec();
        used.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        for (id, unix) in &used {
            for statement in USED {
                query(statement)
                    .bind(id.as_str())
                    .bind(*unix)
                    .execute(&mut change)
                    .await
                    .map_err(StoreError::at(step))?;
            }
        }
        change.commit().await.map_err(StoreError::at(step))
    }
}

impl Transaction {
    /// Has the credential of a token end when its spec now says, if that says something else than before.
    pub(crate) async fn move_end(&mut self, old: &Resource, new: &Resource) -> Result<(), StoreError> {
        if new.kind != DESCRIPTOR.name {
            return Ok(());
        }
        let end = |token: &Resource| token.spec::<TokenSpec>().map(|spec| spec.expires_at.map(Time::unix));
        let (before, after) = (end(old)?, end(new)?);
        if before == after {
            return Ok(());
        }
        query("UPDATE credentials SET expires_at = $2 WHERE uid = $1")
            .bind(&new.metadata.uid)
            .bind(after)
            .execute(&mut self.tx)
            .await
            .map(drop)
            .map_err(StoreError::at("move the end of a credential"))
    }

    async fn create_token(
        &mut self,
        name: &str,
        spec: TokenSpec,
        actor: &Actor,
    ) -> Result<(Metadata, Token), StoreError> {
        let token = Token::mint(spec.role);
        let expires_at_unix = spec.expires_at.map(Time::unix);
        let credential = NewCredential { id: token.id(), digest: token.digest(), expires_at_unix };
        Ok((self.keep_token(name, &spec, &credential, actor).await?, token))
    }

    async fn keep_token(
        &mut self,
        name: &str,
        spec: &TokenSpec,
        credential: &NewCredential,
        actor: &Actor,
    ) -> Result<Metadata, StoreError> {
        let resource = self.create(&Desired::new(&DESCRIPTOR, None, name, json!(spec)), actor).await?;
        self.put_credential(&resource.metadata.uid, credential).await?;
        Ok(resource.metadata)
    }

    async fn revoke_role(&mut self, role: Role, actor: &Actor) -> Result<Vec<TokenEntry>, StoreError> {
        let stored = fetch(&mut self.tx).await?.into_iter().map(|stored| stored.entry);
        let meant: Vec<_> = stored.filter(|entry| entry.spec.role == role).collect();
        for entry in &meant {
            self.delete(
                &Key::global(&DESCRIPTOR, entry.metadata.name.as_str()),
                None,
                Deletion::Refuse,
                actor,
            )
            .await?;
        }
        Ok(meant)
    }
}

pub(crate) struct Stored {
    pub(crate) entry: TokenEntry,
    digest: Digest,
}

impl Stored {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let step = "read a credential";
        let resource = Resource::from_row(row)?;
        let id: String = row.get("credential_id").map_err(StoreError::at(step))?;
        let digest: Vec<u8> = row.get("digest").map_err(StoreError::at(step))?;
        let stored_end = row.get("expires_at").map_err(StoreError::at(step))?;
        let spec: TokenSpec = resource.spec()?;
        let damaged = || StoreError::Corrupt { detail: format!("credential `{id}`") };
        Ok(Self {
            digest: Digest::from_bytes(digest.try_into().map_err(|_| damaged())?),
            entry: TokenEntry {
                // Specs of old say nothing of it.
                expires_at_unix: spec.expires_at.map(Time::unix).or(stored_end),
                spec,
                metadata: resource.metadata,
                id: TokenId::parse(&id).ok_or_else(damaged)?,
                last_used_unix: row.get("last_used_at").map_err(StoreError::at(step))?,
            },
        })
    }

    pub(crate) fn into_record(self) -> CredentialRecord {
        let TokenEntry { metadata, spec, id, expires_at_unix, .. } = self.entry;
        let principal = Principal {
            kind: PrincipalKind::from(spec.role),
            // Whoever acts as an account has its name, and what rules grant to that.
            name: spec.account.unwrap_or_else(|| metadata.name.into()),
            credential: id.to_string(),
            ceiling: spec.role.ceiling(),
            min_protocol: spec.min_protocol,
            fence: spec.fence,
            tool_fences: spec.tool_fences,
            bounds: spec.bounds,
            reach: spec.reach,
            impersonator: None,
        };
        CredentialRecord {
            id,
            digest: self.digest,
            principal: Arc::new(principal),
            enabled: spec.enabled,
            expires_at_unix,
            made_with: None,
        }
    }
}

pub(crate) async fn fetch<'a>(on: impl Into<On<'a>>) -> Result<Vec<Stored>, StoreError> {
    let rows: Vec<Row> = query(concat!(
        "SELECT c.id AS credential_id, c.digest, c.expires_at, c.last_used_at, ",
        packed!(),
        "FROM resources r JOIN credentials c ON c.uid = r.uid
         WHERE r.kind = $1 ORDER BY r.name, c.id",
    ))
    .bind(DESCRIPTOR.name)
    .fetch_all(on)
    .await
    .map_err(StoreError::at("read credentials"))?;
    rows.iter().map(Stored::from_row).collect()
}

/// The token that a word means. What names it exactly wins over what its id begins with.
fn pick(tokens: Vec<TokenEntry>, word: &str) -> Result<TokenEntry, StoreError> {
    type Means = fn(&TokenEntry, &str) -> bool;
    let ways: [Means; 4] = [
        |token, word| token.metadata.uid == word,
        |token, word| token.metadata.name.as_str() == word,
        |token, word| token.id.as_str() == word,
        |token, word| word.len() >= ID_PREFIX_CHARS && token.id.as_str().starts_with(word),
    ];
    let Some(means) = ways.into_iter().find(|means| tokens.iter().any(|token| means(token, word))) else {
        return Err(StoreError::NotFound { kind: DESCRIPTOR.name, name: word.to_owned() });
    };
    let mut found = tokens.into_iter().filter(|token| means(token, word));
    match (found.next(), found.next()) {
        (Some(token), None) => Ok(token),
        _ => Err(StoreError::Ambiguous { kind: DESCRIPTOR.name, word: word.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hayward_api::names::ResourceName;

    use super::*;

    fn entry(name: &str, uid: &str, id: &str) -> TokenEntry {
        TokenEntry {
            metadata: Metadata {
                uid: uid.to_owned(),
                name: ResourceName::parse(name).unwrap(),
                scope: None,
                generation: 1,
                resource_version: 1,
                created_at: String::new(),
                updated_at: String::new(),
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
                owner: None,
            },
            spec: Role::Ro.into(),
            id: TokenId::parse(id).unwrap(),
            expires_at_unix: None,
            last_used_unix: None,
        }
    }

    fn picked(word: &str) -> Result<String, StoreError> {
        let tokens = vec![
            entry("a", "u1", "AAAA11111111"),
            entry("b", "u2", "AAAA22222222"),
            entry("AAAA22222222", "u3", "BBBB33333333"),
            entry("u1", "u4", "CCCC44444444"),
        ];
        pick(tokens, word).map(|token| token.metadata.uid)
    }

    #[test]
    fn a_token_is_meant_by_name_uid_id_and_unique_beginning() {
        for (word, uid) in
            [("a", "u1"), ("u2", "u2"), ("AAAA11111111", "u1"), ("AAAA1", "u1"), ("BBBB", "u3")]
        {
            assert_eq!(picked(word).unwrap(), uid, "{word}");
        }
        assert_eq!(picked("u1").unwrap(), "u1", "a uid wins over a name");
        assert_eq!(picked("AAAA22222222").unwrap(), "u3", "a name wins over an id");
    }

    #[test]
    fn what_could_mean_several_or_is_too_short_is_refused() {
        assert!(matches!(picked("AAAA"), Err(StoreError::Ambiguous { .. })));
        for word in ["", "A", "AAA", "BBB", "c", "AAAA3"] {
            assert!(matches!(picked(word), Err(StoreError::NotFound { .. })), "{word}");
        }
    }
}
