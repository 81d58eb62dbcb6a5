//! What the control plane needs of others: the record, and what this machine knows.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hayward_api::kinds::token::TokenSpec;
use hayward_api::{Caller, Error};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// A future that whoever implements a port returns.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is asked for, as the record says it.
#[derive(Clone, Debug)]
pub struct Managed {
    /// Its name, e.g. `servers.create`.
    pub name: String,
    /// What of: an object without secrets.
    pub arguments: Value,
    /// Whether anything may be different afterwards.
    pub effect: Effect,
}

/// Whether something may be different afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing will.
    Look,
    /// It may.
    Change,
}

/// A value of a secret, and what may be shown in its place.
pub struct Hidden {
    /// The name of the secret and that of the value, e.g. `ha-credentials.TOKEN`.
    pub name: String,
    /// The value.
    pub value: Zeroizing<String>,
}

/// The record. No effect without an intent that is in it, and no answer before its outcome is.
pub trait Record: Send + Sync {
    /// Does the work between an intent and an outcome, to its end even if nobody waits any more. If the intent can't be
    /// recorded, nothing is done.
    fn around(
        &self,
        caller: Caller,
        managed: Managed,
        work: BoxFuture<'static, Result<(), Error>>,
    ) -> BoxFuture<'static, Result<(), Error>>;

    /// Notes that this was asked for and is not permitted.
    fn denied(&self, caller: Caller, name: String, reason: String) -> BoxFuture<'static, ()>;

    /// Ends what runs under this credential: it is revoked.
    fn end(&self, credential: &str);

    /// From when this is done on, no answer, no record and no log shows these values of secrets; those that it was told
    /// before are forgotten.
    fn hide(&self, values: Vec<Hidden>) -> BoxFuture<'static, ()>;

    /// The same text without the values of secrets that are hidden.
    fn cleaned<'t>(&self, text: &'t str) -> Cow<'t, str>;
}

/// How a server of others fares, as the gateway sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The revision of the protocol that it speaks; none before it was ever reached.
    pub revision: Option<String>,
    /// What of it is shown.
    pub shown: Shown,
    /// What of it is not, and why.
    pub kept_back: Vec<KeptBack>,
    /// Why what is shown may be otherwise by now.
    pub stale: Option<String>,
}

/// How much of a server is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Tools.
    pub tools: usize,
    /// Resources and templates of them.
    pub resources: usize,
    /// Prompts.
    pub prompts: usize,
}

/// Something of a server that is not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeptBack {
    /// How its server calls it.
    pub name: String,
    /// Why.
    pub why: String,
    /// Whether somebody can approve it; for what else it is kept back, nobody can.
    pub waits: bool,
    /// Whether it is a tool, or what is approved like one.
    #[serde(skip)]
    pub is_tool: bool,
}

/// Where a request of the protocol goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To one server.
    Server(String),
    /// To the servers of a project.
    Project(String),
}

/// What the gateway sees of servers of others, and how they are asked.
pub trait Gateway: Send + Sync {
    /// How this server fares; none if the gateway knows none of this name.
    fn seen(&self, server: &str) -> Option<Seen>;

    /// Which of these names no tool of this server has, as it calls them; none of a server that hasn't said what it has.
    fn unknown(&self, server: &str, tools: &[&str]) -> Vec<String>;

    /// Asks there what this says: an object with `method`, and perhaps `params` and `id`. Returns the message that it is
    /// answered with.
    fn ask(
        &self,
        caller: Caller,
        target: Target,
        request: Bytes,
    ) -> BoxFuture<'static, Result<Vec<u8>, Error>>;
}

/// What only the machine can say of what is declared.
pub trait Machine: Send + Sync {
    /// The spec of a token with the real paths of its fences, if it can be granted on this machine. What is so already, as the
    /// live one says, is not asked again: a token that is over, or whose folder is gone, can still be disabled.
    fn token(&self, spec: TokenSpec, live: Option<&TokenSpec>) -> Result<TokenSpec, Error>;

    /// The last lines of the record that are about calls and management, newest last.
    fn events(&self, count: usize) -> BoxFuture<'static, Result<Vec<Value>, Error>>;
}

/// [`Record::around`] for work that has a result.
pub(crate) async fn recorded<T: Send + 'static>(
    record: &dyn Record,
    caller: Caller,
    managed: Managed,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let place = Arc::new(Mutex::new(None));
    let made = Arc::clone(&place);
    let work = async move {
        let result = work.await?;
        *made.lock().await = Some(result);
        Ok(())
    };
    record.around(caller, managed, Box::pin(work)).await?;
    let result = place.lock().await.take();
    result.ok_or_else(|| {
        Error::new(hayward_api::Code::Internal, "the result was lost: look into the server's log")
    })
}
