//! Tokens: the temporary ones of a first start, and the desk that makes and revokes stored ones.

mod alone;
mod ask;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hayward_api::fence::tools::ToolFences;
use hayward_api::kinds::token::{Role, TokenSpec};
use hayward_api::principal::PrincipalKind;
use hayward_api::{Bounds, Code, Error, Fence, Principal, Reach, Time};
use hayward_audit::secrets::{Secret, Secrets};
use hayward_auth::{CredentialRecord, Credentials, Token, TokenId};
use hayward_gateway::Protocol;
use hayward_gateway::tokens::{Revoked, TokenView, Tokens};
use hayward_store::{Actor, Store, TokenEntry};
use hayward_tool::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::fences::checked;
use crate::fences::tools::{checked_tools, known};
use crate::stack::Stack;

pub(crate) use alone::alone;
pub(crate) use ask::{Ask, Told};

/// How often it is written down which tokens were used.
const NOTE_EVERY: Duration = Duration::from_mins(1);

/// Tokens that die with the process.
pub(crate) struct Temporary {
    pub(crate) admin: Token,
    pub(crate) rw: Token,
    pub(crate) ro: Token,
    pub(crate) metrics: Token,
}

/// The id of a temporary token, and its name.
type TemporaryName = (TokenId, String);

impl Temporary {
    /// Sees to it that no reply shows them.
    fn hold(&self, secrets: &Secrets) -> Result<(), Failure> {
        let held =
            self.all().map(|(token, role)| Secret::new(&role.temporary_name(), token.reveal().as_bytes()));
        let held: Vec<_> = held.into_iter().collect::<Result<_, _>>().map_err(Failure::unavailable)?;
        secrets.hold(held).map_err(Failure::unavailable)
    }

    fn all(&self) -> [(&Token, Role); 4] {
        let (admin, metrics) = ((&self.admin, Role::Admin), (&self.metrics, Role::Metrics));
        [admin, (&self.rw, Role::Rw), (&self.ro, Role::Ro), metrics]
    }

    fn names(&self) -> Vec<TemporaryName> {
        self.all().map(|(token, role)| (token.id(), role.temporary_name())).into()
    }

    /// Makes temporary tokens, unless an enabled admin token is stored: then somebody administers this
    /// server, and nothing is handed out unasked.
    pub(crate) async fn unless_stored(stack: &Stack) -> Result<Option<Self>, Failure> {
        let stored = stack.store.list_tokens().await.map_err(Error::from)?;
        if stored.iter().any(|token| token.spec.role == Role::Admin && token.spec.enabled) {
            return Ok(None);
        }
        let mint = |role| {
            let token = Token::mint(role);
            stack.credentials.insert_temporary(record(&token, role, stack.fence.clone()));
            token
        };
        let (admin, metrics) = (mint(Role::Admin), mint(Role::Metrics));
        let minted = Self { admin, rw: mint(Role::Rw), ro: mint(Role::Ro), metrics };
        minted.hold(&stack.secrets)?;
        Ok(Some(minted))
    }
}

fn record(token: &Token, role: Role, fence: Fence) -> CredentialRecord {
    let principal = Principal {
        kind: PrincipalKind::from(role),
        name: role.temporary_name(),
        credential: token.id().to_string(),
        ceiling: role.ceiling(),
        min_protocol: None,
        fence,
        tool_fences: ToolFences::default(),
        bounds: Bounds::default(),
        reach: Reach::default(),
        impersonator: None,
    };
    CredentialRecord {
        id: token.id(),
        digest: token.digest(),
        principal: Arc::new(principal),
        enabled: true,
        expires_at_unix: None,
        made_with: None,
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
        min_protocol: entry.spec.min_protocol,
        fence: entry.spec.fence,
        tool_fences: entry.spec.tool_fences,
        bounds: entry.spec.bounds,
        reach: entry.spec.reach,
        expires_at: entry.expires_at_unix.and_then(Time::from_unix),
    }
}

/// What was asked for, with the real paths of its roots, if it can be meant and granted on this machine. What the live one
/// says already is not asked again.
pub(crate) fn meant(spec: TokenSpec, live: Option<&TokenSpec>, data_dir: &Path) -> Result<TokenSpec, Error> {
    let is_new = |is_same: fn(&TokenSpec, &TokenSpec) -> bool| !live.is_some_and(|live| is_same(&spec, live));
    // Which tools servers of others have, nobody here can say.
    if spec.reach.is_none() && is_new(|spec, live| spec.bounds.tools == live.bounds.tools) {
        spec.bounds.tools.iter().try_for_each(known)?;
    }
    let is_over = |end: &Time| end.unix() <= jiff::Timestamp::now().as_second();
    if let Some(end) = spec.expires_at.filter(is_over)
        && is_new(|spec, live| spec.expires_at == live.expires_at)
    {
        let error =
            Error::new(Code::Invalid, format!("the token would be over before it is made: {end} is past"));
        return Err(error.with_hint("name a time to come, or leave it out for a token without an end"));
    }
    let is_new_fence = is_new(|spec, live| spec.fence == live.fence);
    let fence = if is_new_fence { checked(&spec.fence, data_dir)? } else { spec.fence.clone() };
    let are_new = is_new(|spec, live| spec.tool_fences == live.tool_fences);
    let tool_fences =
        if are_new { checked_tools(&spec.tool_fences, data_dir)? } else { spec.tool_fences.clone() };
    Ok(TokenSpec { fence, tool_fences, ..spec })
}

fn revoked(entry: &TokenEntry) -> Revoked {
    Revoked { id: entry.id.to_string(), name: entry.metadata.name.to_string() }
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
    temporary: Arc<[TemporaryName]>,
    data_dir: Arc<Path>,
    /// Held from a change of the store to that of the credentials: what was revoked between the two would
    /// come back.
    change: Arc<Mutex<()>>,
}

impl TokenDesk {
    /// A desk over the store, the credentials and the temporary tokens of this stack.
    pub(crate) fn new(stack: &Stack, temporary: Option<&Temporary>) -> Self {
        Self {
            store: stack.store.clone(),
            credentials: Arc::clone(&stack.credentials),
            protocol: Arc::clone(&stack.protocol),
            temporary: temporary.map(Temporary::names).unwrap_or_default().into(),
            data_dir: stack.data_dir().into(),
            change: Arc::default(),
        }
    }

    /// Revokes a temporary token that is meant by its name or its whole id, if it is still accepted.
    fn revoke_temporary(&self, word: &str) -> Option<Revoked> {
        let means = |(id, name): &&TemporaryName| name == word || id.as_str() == word;
        let (id, name) = self.temporary.iter().find(means)?;
        self.credentials.remove(*id).then(|| Revoked { id: id.to_string(), name: name.clone() })
    }

    /// Lets in whom the store knows under this id. Where that fails, whoever follows the store does it, and the token is shown
    /// all the same: that is the only time.
    async fn accept(&self, id: TokenId) {
        if let Err(error) = self.try_accept(id).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a new token is not let in yet");
        }
    }

    /// Only the new one is added: temporary tokens stand in no store.
    async fn try_accept(&self, id: TokenId) -> Result<(), Error> {
        // Whoever revokes it on another way waits, and then finds it in memory, too.
        let _held = self.store.begin().await?;
        let stored = self.store.credential_records().await?;
        if let Some(record) = stored.into_iter().find(|record| record.id == id) {
            self.credentials.insert(record);
        }
        Ok(())
    }

    /// The stored tokens are revoked, and with them the temporary one of their role: first nobody is let in under them
    /// any more, then what runs is ended.
    fn end_role(&self, role: Role, stored: &[TokenEntry]) -> Vec<Revoked> {
        for entry in stored {
            self.credentials.remove(entry.id);
        }
        let temporary = self.revoke_temporary(&role.temporary_name());
        let ended: Vec<_> = stored.iter().map(revoked).chain(temporary).collect();
        for token in &ended {
            self.protocol.road().revoke(&token.id);
        }
        ended
    }

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
            let stored = desk.store.list_tokens().await?;
            // What isn't written yet is known in memory: a list writes nothing.
            let current = |entry: TokenEntry| TokenEntry {
                last_used_unix: desk.credentials.last_used(entry.id).max(entry.last_used_unix),
                ..entry
            };
            Ok(stored.into_iter().map(current).map(view).collect())
        })
    }

    fn create(
        &self,
        name: String,
        spec: TokenSpec,
        actor: Arc<Principal>,
    ) -> BoxFuture<'static, Result<String, Error>> {
        let desk = self.clone();
        Box::pin(async move {
            let spec = meant(spec, None, &desk.data_dir)?;
            let _change = desk.change.lock().await;
            let (_metadata, token) = desk.store.create_token(&name, spec, &Actor::from(&*actor)).await?;
            desk.accept(token.id()).await;
            Ok(token.reveal().to_owned())
        })
    }

    fn revoke(&self, token: String, actor: Arc<Principal>) -> BoxFuture<'static, Result<Revoked, Error>> {
        let desk = self.clone();
        Box::pin(async move {
            let _change = desk.change.lock().await;
            let word = named(&token);
            // First nobody is let in under it any more, then what runs is ended.
            let ended = if let Some(temporary) = desk.revoke_temporary(&word) {
                temporary
            } else {
                let stored = desk.store.revoke_token(&word, &Actor::from(&*actor)).await?;
                desk.credentials.remove(stored.id);
                revoked(&stored)
            };
            desk.protocol.road().revoke(&ended.id);
            Ok(ended)
        })
    }

    fn rotate(&self, role: Role, actor: Arc<Principal>) -> BoxFuture<'static, Result<String, Error>> {
        let desk = self.clone();
        Box::pin(async move {
            let _change = desk.change.lock().await;
            let (token, old) = desk.store.rotate_role(role, &Actor::from(&*actor)).await?;
            desk.end_role(role, &old);
            desk.accept(token.id()).await;
            Ok(token.reveal().to_owned())
        })
    }

    fn revoke_role(
        &self,
        role: Role,
        actor: Arc<Principal>,
    ) -> BoxFuture<'static, Result<Vec<Revoked>, Error>> {
        let desk = self.clone();
        Box::pin(async move {
            let _change = desk.change.lock().await;
            let stored = desk.store.revoke_role(role, &Actor::from(&*actor)).await?;
            Ok(desk.end_role(role, &stored))
        })
    }
}

#[cfg(test)]
mod tests {
    use hayward_api::Tier;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    async fn desk(dir: &Path) -> (Stack, TokenDesk) {
        let stack = Stack::for_test(&dir.join("data")).await;
        let desk = TokenDesk::new(&stack, None);
        (stack, desk)
    }

    fn actor() -> Arc<Principal> {
        Arc::new(Principal::local("test", Tier::Operate))
    }

    #[tokio::test]
    async fn a_change_waits_for_the_one_before_it_to_reach_memory() {
        let dir = tempfile::tempdir().unwrap();
        let (stack, desk) = desk(dir.path()).await;
        let token = desk.create("a".to_owned(), Role::Ro.into(), actor()).await.unwrap();
        let other = desk.change.lock().await;
        let mut create = desk.create("b".to_owned(), Role::Ro.into(), actor());
        let mut revoke = desk.revoke("a".to_owned(), actor());
        // There is one writer: what began before this one would be done by then.
        let by = Actor::from(&*actor());
        let later = desk.store.create_token("c", Role::Ro, &by);
        tokio::select! {
            biased;
            _ = &mut create => panic!("it did not wait"),
            _ = &mut revoke => panic!("it did not wait"),
            made = later => drop(made.unwrap()),
        }
        let names: Vec<String> = desk.list().await.unwrap().into_iter().map(|token| token.name).collect();
        assert_eq!(names, ["a", "c"]);
        drop(other);
        let made = create.await.unwrap();
        revoke.await.unwrap();
        assert!(desk.credentials.identify(&made, NOW).is_ok());
        assert!(desk.credentials.identify(&token, NOW).is_err());
        stack.close().await;
    }

    #[tokio::test]
    async fn a_list_knows_the_last_use_and_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (stack, desk) = desk(dir.path()).await;
        let token = desk.create("a".to_owned(), Role::Ro.into(), actor()).await.unwrap();
        desk.credentials.identify(&token, NOW).unwrap();
        let used = rfc3339(NOW);
        assert_eq!(desk.list().await.unwrap()[0].last_used, used);
        assert_eq!(stack.store.list_tokens().await.unwrap()[0].last_used_unix, None);
        desk.note_uses().await.unwrap();
        assert_eq!(desk.list().await.unwrap()[0].last_used, used);
        assert_eq!(stack.store.list_tokens().await.unwrap()[0].last_used_unix, Some(NOW));
        stack.close().await;
    }
}
