//! Tokens: the temporary ones of a first start, and the desk that makes and revokes stored ones.

use std::sync::Arc;

use hayward_api::kinds::token::Role;
use hayward_api::principal::PrincipalKind;
use hayward_api::{Code, Error, Principal};
use hayward_auth::{CredentialRecord, Credentials, Token};
use hayward_gateway::Protocol;
use hayward_gateway::tokens::{TokenView, Tokens};
use hayward_store::{Actor, Store, TokenEntry};
use hayward_tool::BoxFuture;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::stack::Stack;

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
///
/// A change that was begun runs to its end even if whoever asked for it goes away meanwhile: a token
/// that is revoked in the store and still accepted would be the worst of both.
pub(crate) struct TokenDesk {
    parts: Parts,
    changes: TaskTracker,
}

#[derive(Clone)]
struct Parts {
    store: Store,
    credentials: Arc<Credentials>,
    protocol: Arc<Protocol>,
}

impl TokenDesk {
    /// A desk over the store and the credentials of this stack.
    pub(crate) fn new(stack: &Stack) -> Self {
        let parts = Parts {
            store: stack.store.clone(),
            credentials: Arc::clone(&stack.credentials),
            protocol: Arc::clone(&stack.protocol),
        };
        Self { parts, changes: TaskTracker::new() }
    }

    async fn run<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let gone = |_| Error::new(Code::Internal, "the change was lost: look into the server's log");
        self.changes.spawn(change).await.map_err(gone)?
    }
}

impl Parts {
    async fn create(self, name: String, role: Role, actor: Actor) -> Result<String, Error> {
        let (_metadata, token) = self.store.create_token(&name, role, &actor).await?;
        let records = self.store.credential_records().await?;
        // Only the new one is added: temporary tokens stand in no store.
        records
            .into_iter()
            .filter(|record| record.id == token.id())
            .for_each(|record| self.credentials.insert(record));
        Ok(token.reveal().to_owned())
    }

    async fn revoke(self, word: String, actor: Actor) -> Result<String, Error> {
        let revoked = self.store.revoke_token(&word, &actor).await?;
        self.credentials.remove(revoked.id);
        let id = revoked.id.to_string();
        self.protocol.road().revoke(&id);
        Ok(id)
    }
}

impl Tokens for TokenDesk {
    fn list(&self) -> BoxFuture<'_, Result<Vec<TokenView>, Error>> {
        Box::pin(async move {
            let stored = self.parts.store.list_tokens().await?;
            Ok(stored.into_iter().map(view).collect())
        })
    }

    fn create<'a>(
        &'a self,
        name: &'a str,
        role: Role,
        actor: &'a Principal,
    ) -> BoxFuture<'a, Result<String, Error>> {
        Box::pin(self.run(self.parts.clone().create(name.to_owned(), role, actor.into())))
    }

    fn revoke<'a>(&'a self, token: &'a str, actor: &'a Principal) -> BoxFuture<'a, Result<String, Error>> {
        Box::pin(self.run(self.parts.clone().revoke(named(token), actor.into())))
    }
}
