//! Tokens: the temporary ones of a first start, and the desk that makes and revokes stored ones.

use std::sync::Arc;
use std::time::Duration;

use hayward_api::kinds::token::Role;
use hayward_api::principal::PrincipalKind;
use hayward_api::{Error, Principal};
use hayward_auth::{CredentialRecord, Credentials, Token};
use hayward_gateway::Protocol;
use hayward_gateway::tokens::{TokenView, Tokens};
use hayward_store::{Actor, Store, TokenEntry};
use hayward_tool::BoxFuture;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::stack::Stack;

/// How often it is written down which tokens were used.
const NOTE_EVERY: Duration = Duration::from_mins(1);

/// Tokens that die with the process.
pub(crate) struct Temporary {
    pub(crate) admin: Token,
    pub(crate) rw: Token,
    pub(crate) ro: Token,
}

impl Temporary {
    /// Makes temporary tokens, unless an enabled admin token is stored: then somebody administers this
    /// server, and nothing is handed out unasked.
    pub(crate) async fn unless_stored(stack: &Stack) -> Result<Option<Self>, Failure> {
        let stored = stack.store.list_tokens().await.map_err(Error::from)?;
        if stored.iter().any(|token| token.spec.role == Role::Admin && token.spec.enabled) {
            return Ok(None);
        }
        let mint = |role| {
            let token = Token::mint(role);
            stack.credentials.insert(record(&token, role));
            token
        };
        Ok(Some(Self { admin: mint(Role::Admin), rw: mint(Role::Rw), ro: mint(Role::Ro) }))
    }
}

fn record(token: &Token, role: Role) -> CredentialRecord {
    let kind = if role == Role::Admin { PrincipalKind::Admin } else { PrincipalKind::Token };
    let principal = Principal {
        kind,
        name: format!("temporary-{}", role.as_str()),
        credential: token.id().to_string(),
        ceiling: role.ceiling(),
    };
    CredentialRecord {
        id: token.id(),
        digest: token.digest(),
        principal: Arc::new(principal),
        enabled: true,
        expires_at_unix: None,
    }
}

/// A stored token as lists show it.
pub(crate) fn view(entry: TokenEntry) -> TokenView {
    TokenView {
        id: entry.id.to_string(),
        name: entry.metadata.name.to_string(),
        created_at: entry.metadata.created_at,
        last_used: entry.last_used_unix.and_then(rfc3339),
        enabled: entry.spec.enabled,
        role: entry.spec.role,
    }
}

fn rfc3339(unix: i64) -> Option<String> {
    jiff::Timestamp::from_second(unix).ok().map(|time| time.to_string())
}

/// What the store knows a token by: its id, if this is the token itself.
pub(crate) fn named(word: &str) -> String {
    Token::parse(word).map_or_else(|_| word.to_owned(), |token| token.id.to_string())
}

/// Keeps tokens in the store, and the table of credentials in step with it.
#[derive(Clone)]
pub(crate) struct TokenDesk {
    store: Store,
    credentials: Arc<Credentials>,
    protocol: Arc<Protocol>,
}

impl TokenDesk {
    /// A desk over the store and the credentials of this stack.
    pub(crate) fn new(stack: &Stack) -> Self {
        Self {
            store: stack.store.clone(),
            credentials: Arc::clone(&stack.credentials),
            protocol: Arc::clone(&stack.protocol),
        }
    }
}

impl TokenDesk {
    /// Writes down which tokens were used, now and then until `shutdown` fires and once more then.
    pub(crate) async fn note_uses_until(self, shutdown: CancellationToken) {
        loop {
            let is_last = shutdown.run_until_cancelled(sleep(NOTE_EVERY)).await.is_none();
            if let Err(error) = self.note_uses().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the last uses of tokens are lost");
            }
            if is_last {
                return;
            }
        }
    }

    async fn note_uses(&self) -> Result<(), Error> {
        let used = self.credentials.take_used();
        if used.is_empty() {
            return Ok(());
        }
        Ok(self.store.flush_last_used(&used).await?)
    }
}

impl Tokens for TokenDesk {
    fn list(&self) -> BoxFuture<'static, Result<Vec<TokenView>, Error>> {
        let desk = self.clone();
        Box::pin(async move {
            desk.note_uses().await?;
            Ok(desk.store.list_tokens().await?.into_iter().map(view).collect())
        })
    }

    fn create(
        &self,
        name: String,
        role: Role,
        actor: Arc<Principal>,
    ) -> BoxFuture<'static, Result<String, Error>> {
        let desk = self.clone();
        Box::pin(async move {
            let (_metadata, token) = desk.store.create_token(&name, role, &Actor::from(&*actor)).await?;
            // Only the new one is added: temporary tokens stand in no store.
            let stored = desk.store.credential_records().await?;
            if let Some(record) = stored.into_iter().find(|record| record.id == token.id()) {
                desk.credentials.insert(record);
            }
            Ok(token.reveal().to_owned())
        })
    }

    fn revoke(&self, token: String, actor: Arc<Principal>) -> BoxFuture<'static, Result<String, Error>> {
        let desk = self.clone();
        Box::pin(async move {
            let revoked = desk.store.revoke_token(&named(&token), &Actor::from(&*actor)).await?;
            // First nobody is let in under it any more, then what runs is ended.
            desk.credentials.remove(revoked.id);
            let id = revoked.id.to_string();
            desk.protocol.road().revoke(&id);
            Ok(id)
        })
    }
}
