//! How an upstream and we find out what we both speak.
//!
//! ```text
//!  auto     server/discover ──► a modern server: done
//!                          └──► anything else ──► initialize ──► notifications/initialized: done
//! ```
//!
//! No single error tells a legacy server (2026-07-28, basic/transports): whatever isn't the answer of a modern one leads to
//! `initialize`. What says that it is the credential, or the connection, doesn't.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::error::UpstreamError;
use super::exchange::Exchange;
use super::outgoing::{Outgoing, notification};
use super::{Options, Wire};
use crate::era::{Era, Revision};
use crate::error::{HEADER_MISMATCH, MISSING_CLIENT_CAPABILITY, RpcError, UNSUPPORTED_PROTOCOL_VERSION};
use crate::json::{Object, ObjectWriter, Raw};
use crate::limits::{UPSTREAM_REVISIONS_MAX, UPSTREAM_SHOWN_CHARS};

/// Which eras to try with an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EraChoice {
    /// Find out.
    #[default]
    Auto,
    /// `initialize` alone.
    Legacy,
    /// `server/discover` alone.
    Modern,
}

/// What an upstream says of itself.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The revision that we speak with it.
    pub revision: Revision,
    /// What it can do: an object.
    pub capabilities: Raw,
    /// Who it says it is: an object with `name` and `version`, or an empty one.
    pub info: Raw,
    /// What a model should know before it uses it.
    pub instructions: Option<String>,
}

impl Declared {
    /// Whether it declares this capability.
    pub fn can(&self, capability: &str) -> bool {
        Object::of(&self.capabilities).is_some_and(|it| it.has(capability))
    }

    /// Whether it tells those who subscribe how a resource changes.
    pub fn can_subscribe(&self) -> bool {
        let resources = Object::of(&self.capabilities).and_then(|it| it.get_object("resources"));
        resources.and_then(|it| it.get("subscribe")).is_some_and(|it| it.as_str() == "true")
    }

    /// Whether it declares this extension.
    pub fn has_extension(&self, extension: &str) -> bool {
        let extensions = Object::of(&self.capabilities).and_then(|it| it.get_object("extensions"));
        extensions.is_some_and(|extensions| extensions.has(extension))
    }

    fn of(result: &Object, revision: Revision, info: Option<Raw>) -> Self {
        let object =
            |raw: Option<Raw>| raw.filter(Raw::is_object).unwrap_or_else(Raw::empty_object).detached();
        Self {
            revision,
            capabilities: object(result.get("capabilities")),
            info: object(info),
            instructions: result.get_str("instructions").map(std::borrow::Cow::into_owned),
        }
    }
}

/// Agrees on a revision.
pub(super) async fn greet(
    wire: &Wire,
    options: &Options,
    next_id: &AtomicI64,
) -> Result<Declared, UpstreamError> {
    let greeting = Greeting { wire, options, next_id };
    // The oldest transport is older than the modern era.
    let is_legacy = options.era == EraChoice::Legacy || matches!(wire, Wire::Sse(_));
    if !is_legacy && let Some(server) = greeting.discover().await? {
        return Ok(server);
    }
    greeting.initialize().await
}

struct Greeting<'a> {
    wire: &'a Wire,
    options: &'a Options,
    next_id: &'a AtomicI64,
}

impl Greeting<'_> {
    /// What a modern server says; none of one that has to be asked in the old way.
    async fn discover(&self) -> Result<Option<Declared>, UpstreamError> {
        let may_be_legacy = self.options.era == EraChoice::Auto;
        let is_probe = may_be_legacy && matches!(self.wire, Wire::Lines(_));
        let timeout = if is_probe { self.options.probe_timeout } else { self.options.handshake_timeout };
        let outgoing =
            Outgoing { abilities: self.options.abilities, ..Outgoing::new("server/discover", None) };
        let mut told = self.discover_once(&outgoing, timeout, is_probe).await?;
        // It may refuse a revision and name it among those that it speaks: then it is asked once more.
        if matches!(told, Err(Refusal::Again(_))) {
            told = self.discover_once(&outgoing, timeout, is_probe).await?;
        }
        match told {
            Ok(declared) => Ok(Some(declared)),
            Err(Refusal::Legacy(_)) if may_be_legacy => Ok(None),
            Err(Refusal::Legacy(error) | Refusal::Modern(error) | Refusal::Again(error)) => Err(error),
        }
    }

    async fn discover_once(
        &self,
        outgoing: &Outgoing<'_>,
        timeout: Duration,
        is_probe: bool,
    ) -> Result<Result<Declared, Refusal>, UpstreamError> {
        match self.ask("server/discover", outgoing, Revision::NEWEST_MODERN, timeout).await {
            Ok(Ok(result)) => Ok(read_discovered(&result)),
            Ok(Err(error)) => Ok(Err(read_refusal(&error))),
            Err(error) if is_of_legacy(&error, is_probe) => Ok(Err(Refusal::Legacy(error))),
            Err(error) => Err(error),
        }
    }

    async fn initialize(&self) -> Result<Declared, UpstreamError> {
        let params = ObjectWriter::new(256)
            .str("protocolVersion", Revision::NEWEST_LEGACY.as_str())
            .raw("capabilities", &self.options.abilities.to_capabilities())
            .raw("clientInfo", &self.options.client)
            .end();
        let outgoing = Outgoing::new("initialize", Some(&params));
        let timeout = self.options.handshake_timeout;
        let result = self
            .ask("initialize", &outgoing, Revision::NEWEST_LEGACY, timeout)
            .await?
            .map_err(|error| UpstreamError::Handshake(RpcError::of(&error)))?;
        let result = Object::of(&result)
            .ok_or_else(|| UpstreamError::Protocol("the result of `initialize` is no object".to_owned()))?;
        let theirs = result.get_str("protocolVersion").unwrap_or_default();
        let revision = Revision::find(&theirs)
            .filter(|revision| revision.era() == Era::Legacy)
            .ok_or_else(|| UpstreamError::Revision { theirs: shown(&theirs) })?;
        let server = Declared::of(&result, revision, result.get("serverInfo"));
        let told = notification("notifications/initialized", None, revision, &self.options.client);
        let timeout = self.options.handshake_timeout;
        tokio::time::timeout(timeout, self.wire.tell(told))
            .await
            .unwrap_or(Err(UpstreamError::Timeout { method: "notifications/initialized", timeout }))?;
        if let Wire::Http(http) = self.wire {
            http.begin(revision);
        }
        Ok(server)
    }

    async fn ask(
        &self,
        method: &'static str,
        outgoing: &Outgoing<'_>,
        revision: Revision,
        timeout: Duration,
    ) -> Result<Result<Raw, Raw>, UpstreamError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let sent = outgoing.write(id, revision, &self.options.client);
        let asked = async { Exchange::new(id, self.wire.open(sent).await?).response().await };
        match tokio::time::timeout(timeout, asked).await {
            Ok(told) => told,
            Err(_) => Err(UpstreamError::Timeout { method, timeout }),
        }
    }
}

/// Why `server/discover` found no server to speak with.
enum Refusal {
    /// It may be a legacy one.
    Legacy(UpstreamError),
    /// It is a modern one that we have nothing in common with.
    Modern(UpstreamError),
    /// It is a modern one that speaks what we speak, and refused it.
    Again(UpstreamError),
}

fn read_discovered(result: &Raw) -> Result<Declared, Refusal> {
    let not_modern = || {
        Refusal::Legacy(UpstreamError::Protocol("`server/discover` names no `supportedVersions`".to_owned()))
    };
    let result = Object::of(result).ok_or_else(not_modern)?;
    let supported =
        result.get("supportedVersions").filter(|raw| raw.as_str().starts_with('[')).ok_or_else(not_modern)?;
    let revision = common(&supported)?;
    let meta = result.get_object("_meta");
    let info = meta.and_then(|meta| meta.get("io.modelcontextprotocol/serverInfo"));
    Ok(Declared::of(&result, revision, info))
}

/// The modern revision that both of us speak.
fn common(supported: &Raw) -> Result<Revision, Refusal> {
    let theirs: Vec<String> = supported
        .elements(UPSTREAM_REVISIONS_MAX)
        .iter()
        .filter_map(|raw| raw.text().map(|text| shown(&text)))
        .collect();
    let found = |era: Era| {
        Revision::ALL
            .into_iter()
            .find(|revision| revision.era() == era && theirs.iter().any(|name| name == revision.as_str()))
    };
    found(Era::Modern).ok_or_else(|| {
        let error = UpstreamError::Revision { theirs: theirs.join(", ") };
        if found(Era::Legacy).is_some() { Refusal::Legacy(error) } else { Refusal::Modern(error) }
    })
}

fn read_refusal(error: &Raw) -> Refusal {
    let error = RpcError::of(error);
    match (error.code, &error.data) {
        (UNSUPPORTED_PROTOCOL_VERSION, Some(data)) => {
            let supported = Object::of(data).and_then(|data| data.get("supported"));
            match supported.map(|supported| common(&supported)) {
                Some(Err(refusal)) => refusal,
                Some(Ok(_)) => Refusal::Again(UpstreamError::Handshake(error)),
                None => Refusal::Modern(UpstreamError::Handshake(error)),
            }
        }
        (HEADER_MISMATCH | MISSING_CLIENT_CAPABILITY | UNSUPPORTED_PROTOCOL_VERSION, _) => {
            Refusal::Modern(UpstreamError::Handshake(error))
        }
        _ => Refusal::Legacy(UpstreamError::Handshake(error)),
    }
}

/// Whether this is how a legacy upstream may take a request that it doesn't know.
fn is_of_legacy(error: &UpstreamError, is_probe: bool) -> bool {
    match error {
        UpstreamError::Timeout { .. } => is_probe,
        UpstreamError::Status { status, .. } => {
            matches!(status, 400 | 404 | 405 | 406 | 415 | 422 | 500 | 501)
        }
        UpstreamError::Protocol(_) | UpstreamError::SessionGone => true,
        UpstreamError::Connection(_)
        | UpstreamError::Ended
        | UpstreamError::Unauthorized { .. }
        | UpstreamError::TooLong { .. }
        | UpstreamError::Revision { .. }
        | UpstreamError::Handshake(_) => false,
    }
}

/// What an upstream calls a revision, as an error shows it.
fn shown(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(UPSTREAM_SHOWN_CHARS).collect();
    if name.is_empty() { "no revision".to_owned() } else { name }
}
