//! What `identify` needs to know of everybody who has a credential: tokens, and the logins of people.
//!
//! Whoever acts as an account is refused as soon as the account is disabled, over, or gone; and a login that was made
//! by impersonation as soon as the credential is that it was made with.

use std::collections::HashMap;
use std::sync::Arc;

use hayward_api::kinds::user::{DESCRIPTOR as USER, UserSpec};
use hayward_api::principal::PrincipalKind;
use hayward_api::{Principal, Time};
use hayward_auth::{CredentialRecord, Digest};

use crate::error::StoreError;
use crate::list::{ListScope, list};
use crate::logins::LoginEntry;
use crate::resource::damaged;
use crate::sql::query;
use crate::store::Store;
use crate::tokens::{Stored, fetch};

/// What counts of an account.
struct Account {
    name: String,
    kind: PrincipalKind,
    enabled: bool,
    expires_at_unix: Option<i64>,
}

impl Account {
    /// The same credential as this account.
    fn stand_for(&self, record: &CredentialRecord, impersonator: Option<String>) -> CredentialRecord {
        let principal = Principal {
            kind: self.kind,
            name: self.name.clone(),
            impersonator,
            ..(*record.principal).clone()
        };
        let ends = [record.expires_at_unix, self.expires_at_unix];
        CredentialRecord {
            principal: Arc::new(principal),
            enabled: record.enabled && self.enabled,
            expires_at_unix: ends.into_iter().flatten().min(),
            ..*record
        }
    }
}

impl Store {
    /// What `identify` needs of every token and every login, disabled ones included.
    ///
    /// To follow them, take [`Store::revision`] first and watch from there.
    pub async fn credential_records(&self) -> Result<Vec<CredentialRecord>, StoreError> {
        let accounts = self.accounts().await?;
        let by_name: HashMap<&str, &Account> =
            accounts.values().map(|account| (account.name.as_str(), account)).collect();
        let as_account = |stored: Stored| {
            let account = stored.entry.spec.account.clone();
            let record = stored.into_record();
            match account.as_deref().map(|name| by_name.get(name)) {
                None => record,
                Some(Some(account)) => account.stand_for(&record, None),
                Some(None) => CredentialRecord { enabled: false, ..record },
            }
        };
        let mut records: Vec<_> = fetch(&self.pools.readers).await?.into_iter().map(as_account).collect();
        records.extend(self.login_records(&accounts).await?);
        Ok(records)
    }

    async fn accounts(&self) -> Result<HashMap<String, Account>, StoreError> {
        let users = list(&self.pools.readers, &USER, ListScope::System).await?;
        let account = |user: crate::resource::Resource| {
            let spec: UserSpec = user.spec()?;
            let is_program = spec.service_account;
            let account = Account {
                name: user.metadata.name.into(),
                kind: if is_program { PrincipalKind::ServiceAccount } else { PrincipalKind::User },
                enabled: !spec.disabled,
                expires_at_unix: spec.expires_at.map(Time::unix),
            };
            Ok((user.metadata.uid, account))
        };
        users.items.into_iter().map(account).collect()
    }

    async fn login_records(
        &self,
        accounts: &HashMap<String, Account>,
    ) -> Result<Vec<CredentialRecord>, StoreError> {
        let rows = query("SELECT * FROM logins").fetch_all(&self.pools.readers).await;
        let mut records = Vec::new();
        for row in &rows.map_err(StoreError::at("read logins"))? {
            let login = LoginEntry::from_row(row)?;
            let digest: Vec<u8> = row.get("digest").map_err(StoreError::at("read logins"))?;
            let digest = digest.try_into().map_err(|_| damaged("the digest of a login", &login.id))?;
            // Gone since the accounts were read: the next look won't find the login either.
            let Some(account) = accounts.get(&login.user) else { continue };
            let record = CredentialRecord {
                id: login.id,
                digest: Digest::from_bytes(digest),
                principal: Arc::new(Principal { credential: login.id.to_string(), ..Principal::anonymous() }),
                enabled: true,
                expires_at_unix: Some(login.expires_unix),
                made_with: login.made_with,
            };
            records.push(account.stand_for(&record, login.impersonator));
        }
        Ok(records)
    }
}
